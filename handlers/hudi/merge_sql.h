/* What log files do to base files, as SQL over the tables of log_load.h.
 *
 *   <p>slice    slice, base        local path of the slice's base file
 *   <p>last     slice, key, seq, deleted, closed, ord   what all log files of a slice say of a key
 *   <p>winner   the same and base, without keys whose row in the base file wins (event time)
 *   <p>fold     slice, key, c0, c1, …, ct, sn   partial updates: rows put together (merge_fold.c) */
#ifndef HUDI_MERGE_SQL_H
#define HUDI_MERGE_SQL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "duck.h"
#include "log_load.h"
#include "merge_order.h"
#include "relation.h"

struct merger {
    struct duck *duck;
    const struct relation *r;
    const struct log_load *l;
    struct merge_orders orders;
    bool by_event;
    bool folds; /* rows of several sources make one */
    struct buf sql;
};

/* Makes the tables. bases: local paths by slice; NULL: the slice has none.
 * Errors   as duck_run; XX001 a file without the columns of the key; 0A000 */
MUST_USE bool merge_run(struct duck *d, struct relation *r, const struct log_load *l,
                        const char *const *bases, size_t nslices, struct err *err);
/* merge_fold.c: makes <p>fold. */
MUST_USE bool merge_fold(struct merger *m, struct err *err);

/* Appends what a group's rows are selected from. */
void merge_put_source(struct buf *b, const struct relation *r, const struct relation_group *g);
/* Appends read_parquet(…) with `more` behind the other arguments. */
void merge_put_files(struct buf *b, const char *const *paths, size_t count, const char *more);

/* Parts of statements, for merge_fold.c: all rows of a group of log rows, with slice and sequence
 * number; a row's key; a delete's; whether a row is a delete. */
void merge_put_log_rows(struct buf *b, const struct relation *r, const struct relation_group *g);
void merge_put_key(struct buf *b, const struct hudi_table *t, const struct relation_group *g);
void merge_put_delete_key(struct buf *b, const struct hudi_table *t);
void merge_put_deleted(struct buf *b, const struct hudi_table *t, const struct relation_group *g);
/* Runs m->sql and empties it. */
MUST_USE bool merge_run_sql(struct merger *m, struct err *err);

#endif
