/* What a run must read to bring a target from one commit of a Hudi table to a later one.
 *
 * Works on file listings, properties and commit metadata only; opens no data file. Everything is
 * borrowed from the arena that was passed in. spec: Apache Hudi timeline and file layout, table
 * versions 0 to 9. */
#ifndef HUDI_PLAN_H
#define HUDI_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "merge_mode.h"
#include "objstore/objstore.h"

struct hudi_names {
    const char **items;
    size_t count;
};

/* hoodie.properties, understood. */
struct hudi_table {
    struct objstore *store; /* borrows; paths below are relative to it */
    const char *name;
    int version; /* 0 to 9 */
    int layout;  /* timeline layout 1 or 2 (version 0 counts as 1) */
    bool merge_on_read;
    struct hudi_names record_key; /* as in the properties; empty when they name none */
    struct hudi_names ordering;   /* precombine or ordering fields */
    struct hudi_names partition;  /* without ":SIMPLE" and the like */
    bool hive_style;
    bool url_encoded;
    bool drops_partition_columns; /* partition columns stand in the path alone */
    bool has_meta_fields;
    bool partition_is_value; /* folders are named by the columns' values as they are, not by something
                                made of them (key generators Simple and Complex) */
    bool names_keys;             /* the key of a single field may be written "name:value" */
    struct merge_mode merge;     /* of a merge-on-read table */
    bool timeline_is_utc;        /* hoodie.table.timeline.timezone */
    const char *payload_class;   /* Java class, or merge mode's name; NULL: none named */
    const char *timeline_folder; /* ".hoodie" or ".hoodie/timeline" */
    const char *archive_folder;  /* where older instants go */
};

/* Opens a table: reads .hoodie/hoodie.properties and refuses what cannot be read exactly.
 * Errors   42P01 no Hudi table there (detail names the folder), 0A000 what was found (version,
 *          base file format, bootstrap, merger), XX001 damaged properties, 58030 store (transient) */
MUST_USE bool hudi_table_open(struct arena *a, struct objstore *store, struct hudi_table *out,
                              struct err *err);

/* The commits whose rows count; log files hold those of others too. */
struct hudi_state;

/* Are the rows that the commit of this requested time wrote part of the state? */
bool hudi_state_has(const struct hudi_state *s, struct slice requested);

struct hudi_slice { /* a file group at one time: a base file, log files to merge with it, or both */
    const char *path; /* of the base file, relative to the table; NULL: none */
    const char *partition_path;
    const char *file_id;
    const char
        *instant;      /* requested time of the commit that wrote the base file, or the first log */
    const char **logs; /* paths, in the order in which they are merged */
    size_t nlogs;
};

struct hudi_slices {
    struct hudi_slice *items;
    size_t count;
    const struct hudi_state *state; /* which blocks of the log files count */
};

enum hudi_plan_kind {
    HUDI_PLAN_NOTHING,  /* no completed commit behind `after` */
    HUDI_PLAN_FULL,     /* first run: all rows of the snapshot */
    HUDI_PLAN_CHANGES,  /* rows of `read`, and keys that vanished from `before` */
    HUDI_PLAN_RECONCILE /* the way from `after` is lost (archived, cleaned, rolled back): all rows of
                            the snapshot, and target keys that it does not have; `reason` says why */
};

struct hudi_plan {
    enum hudi_plan_kind kind;
    const char *to;           /* requested time of the commit that is reached; NULL: NOTHING */
    const char *to_completed; /* completion time in layout 2; in layout 1 the same as `to`. Store it
                                    and pass it as after_completed next time */
    int64_t flushed_ms;       /* completion of `to`, Unix time in milliseconds, UTC */
    size_t commits;           /* completed commits in (after, to] */
    const char *reason;       /* RECONCILE, else NULL */
    bool restoring;           /* NOTHING, because a restore is under way */
    bool after_is_ahead;      /* `after` is later than the newest commit: a WARNING */
    size_t left;              /* completed commits that this run leaves for later ones */
    int64_t left_since_ms;    /* completion of the first of them, as flushed_ms; 0: none */
    const char *waits_for;    /* layout 1: completed commits are left for a later run because this
                                    earlier one is pending; else NULL */
    struct hudi_slices
        read; /* new slices of touched groups; FULL, RECONCILE: all of the snapshot */
    struct hudi_names commit_times; /* CHANGES: only rows with such a _hoodie_commit_time are
                                    upserts. Empty: rows must be compared with `before`, which then
                                    has all touched groups (meta fields off, or columns changed) */
    struct hudi_slices
        before;              /* slices at `after` of the groups from which keys may have vanished */
    struct hudi_slices rest; /* CHANGES: slices of the snapshot that are not in `read` */
};

/* after            position reached, requested time of 14 or 17 digits; NULL or "": from the beginning
 * after_completed  the plan's `to_completed` when an earlier run of ours reached `after`: then `after`
 *                  must still be on the timeline, or the run is RECONCILE. NULL: the position was
 *                  set by hand, any time that may lie between commits
 * max_commits      reach at most so many commits per run; -1 or 0: no limit
 * Errors           XX001 timeline or commit metadata damaged, 58030 store (transient), 58P01 a data
 *                  file is gone (transient: plan again), 0A000, 22023 `after` is not a time */
MUST_USE bool hudi_plan_make(struct arena *a, const struct hudi_table *t, const char *after,
                             const char *after_completed, int64_t max_commits,
                             struct hudi_plan *out, struct err *err);

/* What a query reads: the state of the table at `upto`, or what (after, upto] changed in it.
 * after   as above; NULL: kind is FULL and `read` is the snapshot at `upto`. Otherwise CHANGES: the
 *         rows of `read` with a time of `commit_times`; RECONCILE where that way is lost
 * upto    any time of 14 or 17 digits; NULL: the newest commit. A state whose files were cleaned
 *         cannot be had: then the plan goes on to the next one that is whole, which `to` names
 * Pending commits do not hold anything up: a query asks for what is there now.
 * Errors  as above */
MUST_USE bool hudi_plan_between(struct arena *a, const struct hudi_table *t, const char *after,
                                const char *upto, struct hudi_plan *out, struct err *err);

/* All completed instants that change data, oldest first: what `max_commits` = 1 walks through. */
MUST_USE bool hudi_instants_list(struct arena *a, const struct hudi_table *t,
                                 struct hudi_names *out, struct err *err);

/* Values of the partition columns as the folder's name tells them, for tables whose files lack these
 * columns. values has t->partition.count members; NULL: SQL NULL. Hive style ("f=v") and URL
 * encoding are undone; one column may span several folders ("2024/05/01").
 * Errors   XX001 the path has fewer folders than the table has partition columns */
MUST_USE bool hudi_partition_values(struct arena *a, const struct hudi_table *t,
                                    const char *partition_path, const char ***values,
                                    struct err *err);

#endif
