/* Arrays in an arena whose length is not known beforehand. */
#ifndef HUDI_GROW_H
#define HUDI_GROW_H

#include "base/arena.h"
#include "base/attr.h"

/* Room for one more member behind `count`: returns `items`, or a copy twice as large. The old array
 * stays in the arena. NULL: no memory. */
MUST_USE void *grow_array(struct arena *a, void *items, size_t count, size_t *capacity,
                          size_t item_bytes);

#endif
