/* The parts of a rebuild that copies rows. Each goes on where a former run stopped. */
#ifndef REBUILD_COPY_H
#define REBUILD_COPY_H

#include "rebuild.h"

struct pool;

MUST_USE bool copy_create(struct rebuild *r, struct err *err);
MUST_USE bool copy_snapshot(struct rebuild *r, struct err *err);
/* Are the triggers, or the read-only mark, still there? */
MUST_USE bool copy_has_capture(struct rebuild *r, bool *has, struct err *err);
MUST_USE bool copy_insert(struct rebuild *r, struct err *err);
/* After the error that a value has no partition: true when it has now, and the work can be done again. */
MUST_USE bool copy_add_partition(struct rebuild *r, unsigned *times, struct err *err);
/* Rounds until hardly anything is logged. */
MUST_USE bool copy_catch_up(struct rebuild *r, struct err *err);
/* Runs each row of a query with the query_id as $1; its first column is a statement. */
MUST_USE bool copy_run_each(struct rebuild *r, const char *query, struct err *err);

MUST_USE bool slices_copy(struct rebuild *r, struct pool *p, struct err *err);   /* slices.c */
MUST_USE bool indexes_build(struct rebuild *r, struct pool *p, struct err *err); /* indexes.c */

MUST_USE bool swap_tables(struct rebuild *r, struct err *err); /* swap.c */
/* Behind the swap: what need not be done under its lock. */
MUST_USE bool swap_clean_up(struct rebuild *r, struct err *err);

#endif
