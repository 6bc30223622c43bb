/* Doubling keeps the arena's waste below the size of the final array. */
#include "grow.h"

#include <stdint.h>
#include <string.h>

#define GROW_FIRST_CAPACITY 16

void *grow_array(struct arena *a, void *items, size_t count, size_t *capacity, size_t item_bytes)
{
    if (count < *capacity)
        return items;
    if (*capacity > SIZE_MAX / 2)
        return NULL;
    size_t wanted = *capacity == 0 ? GROW_FIRST_CAPACITY : *capacity * 2;
    void *larger = arena_alloc_array(a, wanted, item_bytes);
    if (larger == NULL)
        return NULL;
    if (count > 0)
        memcpy(larger, items, count * item_bytes);
    *capacity = wanted;
    return larger;
}
