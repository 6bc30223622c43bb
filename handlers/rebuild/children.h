/* Partitions of the source that come and go while its rows are copied. Nothing of all this does anything
 * for a table that is not partitioned. */
#ifndef REBUILD_CHILDREN_H
#define REBUILD_CHILDREN_H

#include "rebuild.h"

/* Takes up what was attached or detached since the last time, in transactions of its own.
 * Errors  whatever making a partition of the copy says; its step is check_additional_child_table */
MUST_USE bool children_sync(struct rebuild *r, struct err *err);
/* In the transaction at hand: nobody attaches or detaches until its end.
 * Errors  55P03 somebody did since the last children_sync */
MUST_USE bool children_hold(struct rebuild *r, struct err *err);

#endif
