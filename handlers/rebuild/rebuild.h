/* What the files of a rebuild job share: the rebuild at hand, its steps, text of users, locks. */
#ifndef REBUILD_REBUILD_H
#define REBUILD_REBUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "task/job.h"

/* The vendor's steps, by their number (hologres.rebuild_step.step_id). */
enum rebuild_step {
    STEP_PREPARE = 1,
    STEP_CREATE_TMP_TABLE,
    STEP_GET_SRC_TABLE_SNAPSHOT,
    STEP_INSERT,
    STEP_SET_READONLY,
    STEP_CHECK_SNAPSHOT,
    STEP_RE_INSERT,
    STEP_CHECK_CHILDREN,
    STEP_CREATE_CHILDREN,
    STEP_INSERT_CHILDREN,
    STEP_SWAP
};

struct rebuild {
    struct job *job;
    struct arena a;           /* of the run: names and the like */
    const char *relid;        /* decimal */
    const char *name;         /* schema.table, quoted */
    const char *owner;        /* role */
    const char *strategy;     /* NULL: not decided */
    const char *capture;      /* copy: "key", "readonly"; NULL: not decided */
    const char *new_name;     /* copy: schema.table, quoted; NULL: not made yet */
    bool binlog;              /* WITH (binlog_mode) */
    bool waits;               /* it has paused for that */
    bool resumed;             /* and was resumed */
    unsigned lock_timeout_ms; /* longest wait for a strong lock */
    unsigned max_lock_wait_s; /* attempts in all; 0: no limit */
    unsigned workers;         /* connections that copy and build at the same time */
    unsigned switch_rows;     /* a log shorter than this is left for the swap */
    bool throttles;           /* rests while a replica is far behind */
    enum rebuild_step step;   /* that is under way; 0: none */
};

/* --- steps (step.c): rows of hologres.rebuild_step ------------------------------------------------- */

MUST_USE bool step_is_done(struct rebuild *r, enum rebuild_step step, bool *done, struct err *err);
/* In a transaction of its own: the step is `doing`, by our server process. */
MUST_USE bool step_start(struct rebuild *r, enum rebuild_step step, const char *message,
                         struct err *err);
/* The message, in a transaction of its own. */
MUST_USE bool step_tell(struct rebuild *r, struct err *err, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* In the transaction at hand, which the caller commits. */
MUST_USE bool step_finish(struct rebuild *r, enum rebuild_step step, const char *message,
                          struct err *err);
/* The step under way has failed for good. Best effort. */
void step_fail(struct rebuild *r, const struct err *why);
/* A step is done, but something behind it failed: the message says what. Best effort. */
void step_warn(struct rebuild *r, enum rebuild_step step, const struct err *why);

/* --- queries with the query_id as $1 (step.c) ------------------------------------------------------- */

MUST_USE bool rebuild_query(struct rebuild *r, const char *sql, struct pgresult **out,
                            struct err *err);
/* As above with another value as $2. */
MUST_USE bool rebuild_query2(struct rebuild *r, const char *sql, const char *value,
                             struct pgresult **out, struct err *err);
/* The text in the only row and column, in the arena of the run; "" for NULL. */
MUST_USE bool rebuild_fetch(struct rebuild *r, const char *sql, const char **text, struct err *err);

/* --- text of users (owner.c) ------------------------------------------------------------------------- */

/* Inside a transaction: makes what owner_run evaluates. number tells several of a transaction apart;
 * body is PL/pgSQL statements, which may insert into pg_temp.rebuild_out (value jsonb). */
MUST_USE bool owner_prepare(struct rebuild *r, unsigned number, const char *role, const char *body,
                            struct err *err);
/* The rows of a query, role and statement, as functions with the numbers behind *count, which becomes the
 * last one. */
MUST_USE bool owner_prepare_each(struct rebuild *r, const char *query, unsigned *count,
                                 struct err *err);
MUST_USE bool owner_run(struct rebuild *r, unsigned number, struct err *err);
/* What the body left in rebuild_out, in the arena of the run; "" for nothing. */
MUST_USE bool owner_take(struct rebuild *r, const char **value, struct err *err);
/* Removes what the first two made. Temporary functions outlive a transaction: call it before the
 * commit. */
MUST_USE bool owner_drop(struct rebuild *r, unsigned number, struct err *err);
/* owner_run as statements of a message of several. */
void owner_write_run(struct buf *b, unsigned number);
/* After owner_run: what it reported is forgotten, and it can run again. */
MUST_USE bool owner_forget(struct rebuild *r, unsigned number, struct err *err);
/* owner_drop behind the commit, where the tables are gone. */
MUST_USE bool owner_drop_committed(struct rebuild *r, unsigned number, struct err *err);

/* --- locks (lock.c) ------------------------------------------------------------------------------------ */

struct lock_attempts {
    bool beside_readers; /* the lock lets others read */
    unsigned count;
    int64_t start_ms;
    const char
        *holders; /* who held it when the last attempt failed; the rebuild's arena; NULL: unknown */
};

/* lock_timeout of the next attempt. */
unsigned lock_timeout_ms(const struct rebuild *r, struct lock_attempts *l);
/* Sets it, in the transaction at hand. */
MUST_USE bool lock_attempt(struct rebuild *r, struct lock_attempts *l, struct err *err);
/* Was it a lock that somebody holds? */
bool lock_is_busy(const struct err *err);
/* After a failed attempt: waits at most so long until all who held the table then have let it go. */
MUST_USE bool lock_gap(struct rebuild *r, struct lock_attempts *l, int wait_ms, bool *gap,
                       struct err *err);
/* After a failure: true when it was a lock that somebody holds and there is time for another attempt. Rolls
 * back. */
bool lock_is_worth_it(struct rebuild *r, struct lock_attempts *l, struct err *err);
/* The step's message: who holds a lock on the table. */
MUST_USE bool lock_tell(struct rebuild *r, struct err *err);
/* lock_is_worth_it, lock_tell if it takes long, and the wait until the next attempt has a chance. */
bool lock_again(struct rebuild *r, struct lock_attempts *l, struct err *err);

/* --- replicas (throttle.c) ---------------------------------------------------------------------------- */

/* *rested: a replica was too far behind, and a second has passed; the caller looks again before he works. */
MUST_USE bool throttle_rest(struct rebuild *r, bool *rested, struct err *err);
/* Until none is, or the run has to stop. */
MUST_USE bool throttle_wait(struct rebuild *r, struct err *err);

/* --- ways ------------------------------------------------------------------------------------------------ */

MUST_USE bool in_place_prepare(struct rebuild *r, struct err *err); /* in_place.c */
MUST_USE bool in_place_swap(struct rebuild *r, struct err *err);

#endif
