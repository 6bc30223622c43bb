/* A growing byte buffer with a maximum, read from the front and written at the back.
 * A buffer that could not grow has failed and stays so: append as much as you like, ask once. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/slice.h"

struct buf {
    char *data;   /* owns */
    size_t start; /* first unread byte */
    size_t end;   /* behind the last byte */
    size_t capacity;
    size_t max_bytes; /* limit of the unread length */
    bool failed;      /* an append did not fit or found no memory */
};

/* Allocates nothing yet. max_bytes > 0. */
void buf_init(struct buf *b, size_t max_bytes);
void buf_fini(struct buf *b);
/* Empties it, forgives a failure, keeps the memory. */
void buf_clear(struct buf *b);
/* As buf_clear, and gives the memory back. */
void buf_release(struct buf *b);

static inline size_t buf_length(const struct buf *b)
{
    return b->end - b->start;
}
static inline const char *buf_data(const struct buf *b)
{
    return b->data == NULL ? NULL : b->data + b->start;
}
static inline struct slice buf_slice(const struct buf *b)
{
    return slice_of(buf_data(b), buf_length(b));
}

/* Room for `bytes` more at the end, borrowed until the next call; NULL when the buffer has failed.
 * Follow with buf_commit(b, n), n <= bytes. */
MUST_USE char *buf_reserve(struct buf *b, size_t bytes);
void buf_commit(struct buf *b, size_t bytes);
/* Each returns false when the buffer has failed, now or before. */
bool buf_append(struct buf *b, const void *data, size_t bytes);
bool buf_append_cstr(struct buf *b, const char *text);
bool buf_append_slice(struct buf *b, struct slice s);
bool buf_append_byte(struct buf *b, char byte);
bool buf_printf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* A NUL behind the end that does not count; NULL when failed. Borrowed until the next call. */
MUST_USE const char *buf_cstr(struct buf *b);
/* Drops bytes at the front. */
void buf_consume(struct buf *b, size_t bytes);

#endif
