/* Memory that is released all at once: the lifetime of a session, a statement or a batch
 * (STYLE.md section 7). */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

#include "base/attr.h"
#include "base/slice.h"

struct arena {
    struct arena_block *head; /* owns; newest block, from which memory is cut */
    size_t used_bytes;        /* handed out since the last reset */
    size_t max_bytes;         /* limit of used_bytes; 0: none */
};

/* max_bytes  the arena refuses (returns NULL) beyond it; 0: no limit. Allocates nothing yet. */
void arena_init(struct arena *a, size_t max_bytes);
/* Releases all but one block; every pointer into the arena dies. */
void arena_reset(struct arena *a);
/* Releases everything. The arena can be used again. */
void arena_fini(struct arena *a);

/* Zeroed memory, aligned for any type, borrowed until reset. NULL: no memory or beyond the limit. */
MUST_USE void *arena_alloc(struct arena *a, size_t bytes);
/* count * size with the multiplication checked. */
MUST_USE void *arena_alloc_array(struct arena *a, size_t count, size_t size);
/* Copies with a NUL behind; NULL as above. */
MUST_USE char *arena_copy(struct arena *a, struct slice s);
MUST_USE char *arena_copy_cstr(struct arena *a, const char *text);
MUST_USE char *arena_printf(struct arena *a, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
