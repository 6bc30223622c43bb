/* Which partitions of a Hudi table a query needs not read, since its conditions hold for none of their rows. */
#ifndef HUDI_SCAN_PARTITIONS_H
#define HUDI_SCAN_PARTITIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "apply/target.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "plan.h"
#include "reach_rows.h"
#include "relation.h"

struct scan_conditions {
    const struct reach_condition *items; /* of the foreign table's columns; borrows */
    size_t count;
    const struct apply_target *view; /* borrows */
};

/* Takes slices out of *read, but leaves one at least. *kept: the partitions that stay, as one text; NULL:
 * all do. */
MUST_USE bool scan_partitions_prune(struct arena *a, const struct hudi_table *t,
                                    const struct scan_conditions *c, struct hudi_slices *read,
                                    const char **kept, struct err *err);
/* Were the conditions compared as the files' types want it? False: what was pruned must be read. */
bool scan_partitions_are_right(const struct scan_conditions *c, const struct relation *r);

#endif
