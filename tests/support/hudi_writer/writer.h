/* hudi_writer: makes copy-on-write Hudi tables in local folders, for the demo, the tests and the
 * benchmark. Its data comes from SQL that DuckDB runs; its files have the names, the columns and the
 * metadata that Hudi's own writers leave.
 *
 * A tool for trusted input: any failure ends it with a message and exit code 1, before the completed
 * file of the instant appears, so that readers see whole commits only. One writer at a time. */
#ifndef HUDI_WRITER_H
#define HUDI_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "file_view.h"
#include "objstore/objstore.h"
#include "plan.h"
#include "properties.h"
#include "timeline.h"

struct db;

struct stat_out { /* one write statistic of the commit */
    const char *partition;
    const char *file_id;
    const char *path;
    const char *prev_commit; /* NULL: a new group */
    int64_t num_writes;
    int64_t num_updates;
    int64_t num_inserts;
    int64_t num_deletes;
    int64_t size_bytes;
};

struct options { /* of the command line; NULL or 0: not given */
    const char *dir;
    const char *name;
    const char *key;
    const char *partition;
    const char *ordering;
    const char *sql;
    const char *time;      /* requested time of the instant */
    const char *completed; /* completion time (layout 2) */
    const char *codec;     /* "gzip", "snappy", "zstd"; default gzip as Hudi's */
    const char *partition_path;
    const char *timezone;
    const char *extra; /* more properties, "k=v;k=v" */
    int layout;
    int version;
    int groups; /* new file groups per partition */
    int keep;   /* clean: versions; archive: instants */
    bool hive_style;
    bool url_encode;
    bool no_meta;
    bool drop_partition_columns;
    bool whole_table; /* insert-overwrite of the table */
    bool global;      /* a key lives in one partition only: moving it deletes the old row */
};

struct writer {
    struct arena arena;
    struct options o;
    struct objstore *store;
    struct hudi_table table;
    struct properties properties;
    struct timeline timeline;
    struct view view;
    bool *all; /* every completed commit, for view_slice */
    struct db *db;
    const char *instant;        /* requested time of what is being written */
    const char *action;         /* "commit", "replacecommit", … */
    const char *operation;      /* "UPSERT", … */
    const char *pending_action; /* name of the requested and inflight files */
    struct stat_out *stats;
    size_t nstats;
    size_t stats_room;
    struct replaced_group *replaced;
    size_t nreplaced;
    size_t replaced_room;
    const char *schema; /* Avro schema of the rows, JSON */
};

NORETURN void die(const char *fmt, ...) PRINTF_LIKE(1, 2);
void die_of(const struct err *err);
/* The pointer, or the end of the program. */
void *have(void *p);
/* Formats into w->arena. */
char *text(struct writer *w, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* ---- folder.c: files and instants ---- */
void folder_make(const char *path);
/* Writes by temporary name and rename, so that the file appears whole. */
void folder_publish(struct writer *w, const char *path, const void *data, size_t bytes);
int64_t folder_file_size(struct writer *w, const char *path);
void folder_remove(struct writer *w, const char *path);
void folder_open(struct writer *w); /* properties, timeline, view */
void instant_begin(struct writer *w, const char *action, const char *operation);
void instant_complete(struct writer *w, const void *data, size_t bytes);
void partition_begin(struct writer *w, const char *partition);

/* ---- metadata.c: what instants' files hold ---- */
void metadata_write_commit(const struct writer *w, struct buf *out);
void metadata_write_clustering_plan(struct buf *out);
void metadata_write_rollback(const struct writer *w, const char *commit, const char *action,
                             struct buf *out);
void metadata_write_clean(const struct writer *w, int64_t files, const char *earliest,
                          struct buf *out);

/* ---- rows.c: data commits ---- */
void rows_open(struct writer *w); /* DuckDB and the table `slice` of current files */
const char *rows_literal(struct writer *w, const char *text);
const char *rows_ident(struct writer *w, const char *name);
/* Writes one base file: the rows of `select`, which have all columns but the file's own name. */
void rows_write_file(struct writer *w, const char *select, struct stat_out *stat);
const char *rows_new_file_id(struct writer *w);
/* SQL of a row's key and partition path, over the data columns. */
const char *rows_key_expression(struct writer *w);
const char *rows_partition_expression(struct writer *w);
void rows_upsert(struct writer *w, bool insert);
void rows_delete(struct writer *w);
void rows_overwrite(struct writer *w);

/* ---- services.c: everything that changes no row ---- */
void service_create(struct writer *w);
void service_cluster(struct writer *w);
void service_delete_partition(struct writer *w);
void service_clean(struct writer *w);
void service_archive(struct writer *w);
void service_rollback(struct writer *w);
void service_begin(struct writer *w);
void service_show(struct writer *w);
void service_check(struct writer *w);

#endif
