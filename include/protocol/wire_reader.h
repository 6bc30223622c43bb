/* A cursor over the body of one message. Bounds are checked here, once, and the verdict is sticky:
 * after the first thing that does not fit every get returns zero or an empty slice and wire_end says
 * false, so that a reader of a message gets everything and asks once.
 *
 * Everything handed out points into the body and dies with it. */
#ifndef PROTOCOL_WIRE_READER_H
#define PROTOCOL_WIRE_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/slice.h"

struct wire_reader {
    const char *data; /* borrows */
    size_t length;
    size_t at;
    bool bad;
};

void wire_reader_init(struct wire_reader *r, struct slice body);
static inline size_t wire_left(const struct wire_reader *r)
{
    return r->length - r->at;
}
static inline bool wire_is_bad(const struct wire_reader *r)
{
    return r->bad;
}
/* The verdict: nothing was bad and nothing is left over. */
MUST_USE bool wire_end(const struct wire_reader *r);
/* Makes the verdict bad; returns false. For rules that the cursor cannot know. */
bool wire_refuse(struct wire_reader *r);

uint8_t wire_get_byte(struct wire_reader *r);
uint16_t wire_get_u16(struct wire_reader *r);
uint32_t wire_get_u32(struct wire_reader *r);
uint64_t wire_get_u64(struct wire_reader *r);
/* The bytes up to a NUL, which stands behind the slice and is consumed; so .data is a C string, also
 * when the verdict is bad ("" then). */
struct slice wire_get_cstr(struct wire_reader *r);
struct slice wire_get_bytes(struct wire_reader *r, size_t count);
/* All that is left. */
struct slice wire_get_rest(struct wire_reader *r);
/* Counts of things of at least `size` bytes each: refused when the bytes left cannot hold them, so
 * that a count from a peer is never a size before it was compared. The 16-bit count is unsigned, as
 * in the server: more than 32767 parameters are legal. */
uint16_t wire_get_count16(struct wire_reader *r, size_t size);
uint32_t wire_get_count32(struct wire_reader *r, size_t size);

/* A value of a DataRow or Bind: Int32 length, -1 for NULL, then the bytes. */
struct wire_value {
    bool is_null;
    struct slice bytes;
};
struct wire_value wire_get_value(struct wire_reader *r);

/* Every message but the first of a client starts with its type and its length. */
#define WIRE_HEADER_BYTES 5

struct wire_header {
    char type;
    uint32_t body_bytes; /* without type and length word */
};
/* `bytes` holds WIRE_HEADER_BYTES. False: the length word is below 4 or above 1 GiB - 1; the server
 * closes such a connection without a word. */
MUST_USE bool wire_read_header(const char *bytes, struct wire_header *h);

#endif
