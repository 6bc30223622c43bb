/* One contiguous block; unread bytes are moved to the front only when room is needed at the back
 * and at least half of the block lies unused in front, so that a byte is moved O(1) times. */
#include "base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST_CAPACITY 256

void buf_init(struct buf *b, size_t max_bytes)
{
    assert(max_bytes > 0);
    *b = (struct buf){.max_bytes = max_bytes};
}

void buf_fini(struct buf *b)
{
    free(b->data);
    *b = (struct buf){.max_bytes = b->max_bytes};
}

void buf_clear(struct buf *b)
{
    b->start = b->end = 0;
    b->failed = false;
}

void buf_release(struct buf *b)
{
    buf_fini(b);
}

static bool grow(struct buf *b, size_t need)
{
    size_t capacity = b->capacity == 0 ? BUF_FIRST_CAPACITY : b->capacity;
    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? need : capacity * 2;
    char *data = malloc(capacity);
    if (data == NULL)
        return false;
    size_t length = buf_length(b);
    if (length > 0)
        memcpy(data, b->data + b->start, length);
    free(b->data);
    b->data = data;
    b->start = 0;
    b->end = length;
    b->capacity = capacity;
    return true;
}

static bool make_room(struct buf *b, size_t bytes, size_t max_length)
{
    size_t length = buf_length(b);
    if (b->failed)
        return false;
    if (bytes > max_length || length > max_length - bytes) {
        b->failed = true;
        return false;
    }
    if (b->capacity - b->end >= bytes)
        return true;
    if (b->capacity >= length + bytes && b->start >= b->capacity / 2) {
        memmove(b->data, b->data + b->start, length);
        b->start = 0;
        b->end = length;
        return true;
    }
    b->failed = !grow(b, length + bytes);
    return !b->failed;
}

char *buf_reserve(struct buf *b, size_t bytes)
{
    return make_room(b, bytes, b->max_bytes) ? b->data + b->end : NULL;
}

void buf_commit(struct buf *b, size_t bytes)
{
    assert(bytes <= b->capacity - b->end);
    b->end += bytes;
}

bool buf_append(struct buf *b, const void *data, size_t bytes)
{
    if (bytes == 0)
        return !b->failed;
    char *at = buf_reserve(b, bytes);
    if (at == NULL)
        return false;
    memcpy(at, data, bytes);
    b->end += bytes;
    return true;
}

bool buf_append_cstr(struct buf *b, const char *text)
{
    return buf_append(b, text, strlen(text));
}

bool buf_append_slice(struct buf *b, struct slice s)
{
    return buf_append(b, s.data, s.len);
}

bool buf_append_byte(struct buf *b, char byte)
{
    return buf_append(b, &byte, 1);
}

bool buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n > b->max_bytes || !make_room(b, (size_t)n + 1, b->max_bytes + 1)) {
        b->failed = true;
        return false;
    }
    va_start(args, fmt);
    vsnprintf(b->data + b->end, (size_t)n + 1, fmt, args);
    va_end(args);
    b->end += (size_t)n;
    return true;
}

const char *buf_cstr(struct buf *b)
{
    if (!make_room(b, 1, b->max_bytes + 1))
        return NULL;
    b->data[b->end] = '\0';
    return b->data + b->start;
}

void buf_consume(struct buf *b, size_t bytes)
{
    assert(bytes <= buf_length(b));
    b->start += bytes;
    if (b->start == b->end)
        b->start = b->end = 0;
}
