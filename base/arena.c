/* A bump allocator in a chain of blocks. Blocks double from 4 KiB to 1 MiB; a larger request gets
 * a block of its own size. Reset keeps the newest block, so that a loop which resets per batch
 * settles on one block and stops calling malloc. Under AddressSanitizer freed blocks are really
 * freed, which finds pointers that outlive a reset except into the kept block; that one is
 * poisoned by being zeroed on the next use. */
#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define ARENA_MIN_BLOCK 4096
#define ARENA_MAX_BLOCK ((size_t)1 << 20)

struct arena_block {
    struct arena_block *next;
    size_t size;
    size_t used;
    max_align_t data[];
};

void arena_init(struct arena *a, size_t max_bytes)
{
    *a = (struct arena){.max_bytes = max_bytes};
}

static void free_chain(struct arena_block *b)
{
    while (b != NULL) {
        struct arena_block *next = b->next;
        free(b);
        b = next;
    }
}

void arena_reset(struct arena *a)
{
    if (a->head != NULL) {
        free_chain(a->head->next);
        a->head->next = NULL;
        a->head->used = 0;
    }
    a->used_bytes = 0;
}

void arena_fini(struct arena *a)
{
    free_chain(a->head);
    a->head = NULL;
    a->used_bytes = 0;
}

static struct arena_block *add_block(struct arena *a, size_t bytes)
{
    size_t size = a->head == NULL ? ARENA_MIN_BLOCK : a->head->size * 2;
    if (size > ARENA_MAX_BLOCK)
        size = ARENA_MAX_BLOCK;
    if (size < bytes)
        size = bytes;
    struct arena_block *b = malloc(sizeof *b + size);
    if (b == NULL)
        return NULL;
    b->size = size;
    b->used = 0;
    b->next = a->head;
    a->head = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t bytes)
{
    const size_t align = _Alignof(max_align_t);
    if (bytes > SIZE_MAX / 2)
        return NULL;
    size_t need = (bytes + align - 1) / align * align;
    if (a->max_bytes != 0 && (need > a->max_bytes || a->used_bytes > a->max_bytes - need))
        return NULL;
    struct arena_block *b = a->head;
    if (b == NULL || b->size - b->used < need)
        b = add_block(a, need);
    if (b == NULL)
        return NULL;
    void *p = (char *)b->data + b->used;
    b->used += need;
    a->used_bytes += need;
    memset(p, 0, need);
    return p;
}

void *arena_alloc_array(struct arena *a, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size)
        return NULL;
    return arena_alloc(a, count * size);
}

char *arena_copy(struct arena *a, struct slice s)
{
    char *p = arena_alloc(a, s.len + 1);
    if (p != NULL && s.len > 0)
        memcpy(p, s.data, s.len);
    return p;
}

char *arena_copy_cstr(struct arena *a, const char *text)
{
    return arena_copy(a, slice_cstr(text));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *p = n < 0 ? NULL : arena_alloc(a, (size_t)n + 1);
    if (p == NULL)
        return NULL;
    va_start(args, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, args);
    va_end(args);
    return p;
}
