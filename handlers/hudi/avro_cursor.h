/* Avro's binary encoding, read from the front. The verdict is sticky: after a bad read all reads give
 * nothing. */
#ifndef HUDI_AVRO_CURSOR_H
#define HUDI_AVRO_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/slice.h"

struct avro_cursor {
    struct slice left;
    bool bad;
};

static inline struct slice avro_get_raw(struct avro_cursor *c, uint64_t bytes)
{
    if (c->bad || bytes > c->left.len) {
        c->bad = true;
        return slice_of(NULL, 0);
    }
    struct slice s = slice_of(c->left.data, (size_t)bytes);
    c->left = slice_of(c->left.data + bytes, c->left.len - (size_t)bytes);
    return s;
}

/* Zigzag variable-length integer. */
static inline int64_t avro_get_long(struct avro_cursor *c)
{
    uint64_t v = 0;
    for (int shift = 0; shift < 64 && !c->bad && c->left.len > 0; shift += 7) {
        unsigned char b = (unsigned char)c->left.data[0];
        c->left = slice_of(c->left.data + 1, c->left.len - 1);
        v |= (uint64_t)(b & 0x7F) << shift;
        if ((b & 0x80) == 0)
            return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
    }
    c->bad = true;
    return 0;
}

/* Length and bytes of a string or bytes value. */
static inline struct slice avro_get_bytes(struct avro_cursor *c)
{
    int64_t n = avro_get_long(c);
    return avro_get_raw(c, n < 0 ? UINT64_MAX : (uint64_t)n);
}

/* Items of the next block of an array or map, 0 at its end. An item takes at least one byte; items
 * of no bytes at all would let a few bytes stand for any number of them: refused. */
static inline uint64_t avro_get_count(struct avro_cursor *c)
{
    int64_t n = avro_get_long(c);
    if (n < 0 && n != INT64_MIN) {
        n = -n;
        (void)avro_get_long(c); /* size of the block, for those who skip it */
    }
    if (n < 0 || (uint64_t)n > c->left.len)
        c->bad = true;
    return c->bad ? 0 : (uint64_t)n;
}

#endif
