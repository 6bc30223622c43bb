/* Log files of a set of slices into DuckDB: what base files are merged with.
 *
 * Records of Avro blocks go into one temporary table for each schema, Parquet blocks into files that
 * DuckDB reads, deletes into one table. A row's place in the order of its slice is its sequence number
 * (LOG_SEQ_COLUMN): the block's number, and the row's within it. */
#ifndef HUDI_LOG_LOAD_H
#define HUDI_LOG_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "columns.h"
#include "duck.h"
#include "log_schema.h"
#include "plan.h"

struct log_rows;
struct duck_append;

/* Rows of one schema. */
struct log_source {
    const char *signature;       /* schema, and values of the path */
    const char **values;         /* of the table's partition columns; NULL: records have them */
    const struct log_type *type; /* Avro; NULL: Parquet */
    const char *table;           /* Avro: its name */
    struct log_rows *rows;       /* Avro: being filled */
    const char **paths;          /* Parquet: local files */
    size_t npaths;
    size_t paths_room;
    struct duck_vector *columns;
    size_t column_count;
    bool is_partial; /* rows hold only the columns that change */
};

struct log_load {
    struct arena *arena; /* borrows, as all below */
    struct duck *duck;
    const struct hudi_table *table;
    const struct columns *columns; /* NULL: all fields are wanted */
    const char *prefix;            /* of the names of the tables */
    struct log_source *sources;
    size_t count;
    size_t room;
    struct duck_append *deletes; /* being filled */
    struct duck_append *blocks;  /* Parquet blocks: path, slice, first sequence number */
    bool has_deletes, has_files;
    int64_t nblocks;
};

/* Names of the tables: <prefix>delete (slice, seq, key, cut, k0, t0, …) and <prefix>block (path, slice,
 * first); each exists only if has_deletes, has_files say so. */
void log_load_init(struct log_load *l, struct arena *a, struct duck *d,
                   const struct hudi_table *table, const struct columns *columns,
                   const char *prefix);
/* Reads the log files of one slice, whose local paths are `paths`. `number` goes into LOG_SLICE_COLUMN.
 * Errors   store, log_scan, XX001 damaged */
MUST_USE bool log_load_slice(struct log_load *l, const struct hudi_slice *s,
                             const char *const *paths, const struct hudi_state *state,
                             int32_t number, struct err *err);
/* Writes what is left and describes the columns; with NULL instead of an error it only frees. Call it
 * once in any case. */
bool log_load_end(struct log_load *l, struct err *err);

#endif
