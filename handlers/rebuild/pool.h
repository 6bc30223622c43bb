/* Several connections that work on a rebuild at the same time: the run's own, in the caller's thread, and
 * further ones, each in a thread of its own. */
#ifndef REBUILD_POOL_H
#define REBUILD_POOL_H

#include "rebuild.h"

struct pool;

/* What each of them does: takes the next piece of work from `arg`, which they share, until there is none, or
 * until somebody else has failed. r is its own: its job, its arena, the rest as in pool_new. */
typedef bool pool_work(struct rebuild *r, struct pool *p, void *arg, struct err *err);

/* Opens nothing yet. r is borrowed until pool_free, and is not the caller's during pool_run. NULL: no
 * memory. */
struct pool *pool_new(struct rebuild *r);
void pool_free(struct pool *p);
/* Runs `work` on up to `workers` connections (r->workers at most); returns when all have ended. Who gets no
 * connection, because the server has none left, does not take part. When one fails, the statements of the
 * others are cancelled, and their transactions are rolled back. Errors: the first one. */
MUST_USE bool pool_run(struct pool *p, size_t workers, pool_work *work, void *arg, struct err *err);
/* For `work`: somebody has failed. */
bool pool_is_ending(struct pool *p);

#endif
