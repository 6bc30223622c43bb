/* Brings batches of rows into a target table, inside a transaction that the caller began.
 *
 *   apply_new(c, &spec, &ap)
 *   apply_begin(ap, APPLY_ROWS)  …rows in binary COPY form into apply_buffer(ap), apply_flush(ap)
 *   apply_end(ap, &n)            the same for APPLY_KEYS: primary keys to delete
 *   apply_write(ap, &action, &counts)
 *
 * Rows are staged in a temporary table, then written as the target's owner inside a function from
 * which no other role can be reached (write.c): what a user attached to the table (triggers, defaults,
 * checks, domains) never runs with rights beyond the owner's. An empty plain table is loaded directly: apply_begin(ap, APPLY_DIRECT)
 * instead of all the rest.
 *
 * Fields of a row: the columns of spec.columns in that order; APPLY_ROWS: then, where
 * spec.commit_fields is set, commit time and sequence number as text; APPLY_KEYS: the key columns in
 * the order of the primary key. */
#ifndef APPLY_APPLY_H
#define APPLY_APPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "apply/target.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "pgclient/pgclient.h"

struct apply;

struct apply_spec { /* borrowed as long as the struct apply lives */
    const struct apply_target *target;
    const size_t *columns; /* places in target->columns; all key columns are among them */
    size_t count;
    const size_t *ordering; /* places in target->columns: which of two rows of a key wins */
    size_t ordering_count;
    bool commit_fields;
};

MUST_USE bool apply_new(struct pgclient *c, const struct apply_spec *spec, struct apply **out,
                        struct err *err);
/* Leaves the transaction as it is. */
void apply_free(struct apply *ap);

/* Is the target empty? Locks it (ROW EXCLUSIVE), so that until the end of the transaction nobody adds
 * a trigger or the like. Row security cannot hide rows from it. Errors: 42501 */
MUST_USE bool apply_is_empty(struct apply *ap, bool *empty, struct err *err);

enum apply_stream { APPLY_ROWS, APPLY_KEYS, APPLY_DIRECT };

MUST_USE bool apply_begin(struct apply *ap, enum apply_stream stream, struct err *err);
/* Where rows are appended; its header is written. */
struct buf *apply_buffer(struct apply *ap);
/* Sends what has gathered once it is worth it; call after each chunk of rows. */
MUST_USE bool apply_flush(struct apply *ap, struct err *err);
/* rows  how many arrived. Errors of APPLY_DIRECT: 23505 when a key comes twice */
MUST_USE bool apply_end(struct apply *ap, int64_t *rows, struct err *err);
/* Ends a stream that cannot be completed; the transaction is in error afterwards. */
void apply_abort(struct apply *ap, const char *reason);

struct apply_action {
    bool
        into_empty; /* the target was empty: plain INSERT, which is twice as fast, is tried first */
    bool only_differing; /* rows that are equal already are left alone (their xmin stays) */
    bool delete_missing; /* target keys that were not staged go */
    bool delete_staged;  /* keys of APPLY_KEYS go; they must have been staged */
};

struct apply_counts {
    int64_t upserted;
    int64_t deleted;
};

/* Writes what was staged and drops it. Where a key was staged twice the row with the highest ordering
 * values stays, then the latest commit, then the latest in it.
 * Errors: the server's; 42501 when the service cannot become the owner */
MUST_USE bool apply_write(struct apply *ap, const struct apply_action *action,
                          struct apply_counts *counts, struct err *err);

#endif
