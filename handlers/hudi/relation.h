/* A set of slices as one relation in SQL, with one column per synchronised column of the target.
 *
 * Files of one table need not have one schema: columns come and go, types widen, and DuckDB would take
 * the first file's word for all. So files are put into groups of equal schema, and each group gets a
 * SELECT of its own, with its own casts. Columns are called c0, c1, …; meta columns ct and sn.
 *
 * Slices with log files are merged (merge_sql.h): the relation has the rows that are left of base files,
 * and those of log files that won.
 *
 * From a table to its rows:
 *
 *   hudi_table_open   hudi_plan_between   duck_open
 *        -> relation_open(plan.read)  -> relation_put: a query for DuckDB */
#ifndef HUDI_RELATION_H
#define HUDI_RELATION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "columns.h"
#include "duck.h"
#include "log_schema.h"
#include "plan.h"

#define RELATION_COMMIT_TIME "_hoodie_commit_time"
#define RELATION_COMMIT_SEQNO "_hoodie_commit_seqno"

enum relation_source {
    RELATION_FILES,        /* base files without log files */
    RELATION_MERGED_FILES, /* base files with log files: the rows that those leave */
    RELATION_LOG_TABLE,    /* Avro blocks of log files, in a table */
    RELATION_LOG_FILES,    /* Parquet blocks of log files */
    RELATION_FOLDED        /* rows put together from several: its columns are c0, c1, … */
};

struct relation_group {
    enum relation_source source;
    const char *signature; /* names and types of all columns, and the path's values */
    struct duck_vector *columns;
    size_t column_count;
    const char **values;         /* of the table's partition columns; NULL: files have them */
    const char *table;           /* RELATION_LOG_TABLE */
    const struct log_type *type; /* its Avro schema */
    bool is_partial;             /* rows hold only the columns that change */
    const char **paths;          /* local files */
    size_t count;
};

struct relation {
    const struct columns *columns;  /* borrows */
    const struct hudi_table *table; /* borrows */
    struct relation_group *groups;
    size_t count;
    const char *prefix; /* of the names of tables that merge log files; NULL: there are none */
};

/* Fetches the files and reads their schemas; of base files no rows, log files as a whole.
 * Errors   store, XX001 not Parquet or damaged, 0A000 log files that are not supported */
MUST_USE bool relation_open(struct arena *a, struct duck *d, const struct hudi_table *table,
                            const struct columns *columns, const struct hudi_slices *slices,
                            struct relation *out, struct err *err);

/* Appends "SELECT … FROM …" of one group. COLUMNS_KEY has ct as well where there are meta fields,
 * under the names of the columns that the key consists of (c3, c0, …).
 * Errors: 42804 a column cannot be stored */
MUST_USE bool relation_put_group(struct buf *b, const struct relation *r, size_t group,
                                 enum columns_part part, struct err *err);
/* The same for the files [from, to) of the group, where it has files. */
MUST_USE bool relation_put_files(struct buf *b, const struct relation *r, size_t group, size_t from,
                                 size_t to, enum columns_part part, struct err *err);
/* Appends all groups as one parenthesised query; without files one without rows. */
MUST_USE bool relation_put(struct buf *b, const struct relation *r, enum columns_part part,
                           struct err *err);
/* Appends the expression of one column of `columns`, without "AS". */
MUST_USE bool relation_put_value(struct buf *b, const struct relation *r,
                                 const struct relation_group *g, size_t column, struct err *err);
/* Appends the name of a meta column of type text, or NULL. */
void relation_put_meta(struct buf *b, const struct relation_group *g, const char *name);
/* Is there a file in which a column of that name stands? Case as in columns_find. */
bool relation_has(const struct relation *r, const char *name);

#endif
