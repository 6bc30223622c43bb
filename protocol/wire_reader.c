/* Reading a message body. The invariant: at <= length, always; a get that would move `at` beyond it
 * moves nothing and makes the cursor bad instead, and a bad cursor moves no more. No arithmetic is
 * done on a number from the peer before it was compared with the bytes left. */
#include "protocol/wire_reader.h"

#define MAX_MESSAGE_BYTES 0x3fffffffu /* PQ_LARGE_MESSAGE_LIMIT of the server */

void wire_reader_init(struct wire_reader *r, struct slice body)
{
    *r = (struct wire_reader){.data = body.data == NULL ? "" : body.data, .length = body.len};
}

bool wire_end(const struct wire_reader *r)
{
    return !r->bad && r->at == r->length;
}

bool wire_refuse(struct wire_reader *r)
{
    r->bad = true;
    return false;
}

/* The next `count` bytes, or NULL and the cursor is bad. */
static const unsigned char *advance(struct wire_reader *r, size_t count)
{
    if (r->bad || count > wire_left(r)) {
        r->bad = true;
        return NULL;
    }
    const char *p = r->data + r->at;
    r->at += count;
    return (const unsigned char *)p;
}

static uint64_t get_integer(struct wire_reader *r, size_t bytes)
{
    const unsigned char *p = advance(r, bytes);
    uint64_t value = 0;
    for (size_t i = 0; p != NULL && i < bytes; i++)
        value = value << 8 | p[i];
    return value;
}

uint8_t wire_get_byte(struct wire_reader *r)
{
    return (uint8_t)get_integer(r, 1);
}

uint16_t wire_get_u16(struct wire_reader *r)
{
    return (uint16_t)get_integer(r, 2);
}

uint32_t wire_get_u32(struct wire_reader *r)
{
    return (uint32_t)get_integer(r, 4);
}

uint64_t wire_get_u64(struct wire_reader *r)
{
    return get_integer(r, 8);
}

struct slice wire_get_cstr(struct wire_reader *r)
{
    const char *from = r->bad || wire_left(r) == 0 ? NULL : r->data + r->at;
    const char *nul = from == NULL ? NULL : memchr(from, '\0', wire_left(r));
    if (nul == NULL) {
        r->bad = true;
        return slice_of("", 0);
    }
    r->at += (size_t)(nul - from) + 1;
    return slice_of(from, (size_t)(nul - from));
}

struct slice wire_get_bytes(struct wire_reader *r, size_t count)
{
    if (count == 0 && !r->bad)
        return slice_of("", 0);
    const unsigned char *p = advance(r, count);
    return p == NULL ? slice_of("", 0) : slice_of((const char *)p, count);
}

struct slice wire_get_rest(struct wire_reader *r)
{
    return wire_get_bytes(r, r->bad ? 0 : wire_left(r));
}

static uint32_t bounded(struct wire_reader *r, uint32_t count, size_t size)
{
    if (!r->bad && size > 0 && count > wire_left(r) / size)
        r->bad = true;
    return r->bad ? 0 : count;
}

uint16_t wire_get_count16(struct wire_reader *r, size_t size)
{
    return (uint16_t)bounded(r, wire_get_u16(r), size);
}

uint32_t wire_get_count32(struct wire_reader *r, size_t size)
{
    return bounded(r, wire_get_u32(r), size);
}

struct wire_value wire_get_value(struct wire_reader *r)
{
    uint32_t length = wire_get_u32(r);
    if (r->bad || length == UINT32_MAX)
        return (struct wire_value){.is_null = true, .bytes = slice_of("", 0)};
    return (struct wire_value){.bytes = wire_get_bytes(r, length)};
}

/* Without a reader: it is called for each row of every result. */
bool wire_read_header(const char *bytes, struct wire_header *h)
{
    const unsigned char *p = (const unsigned char *)bytes;
    uint32_t length = (uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4];
    h->type = bytes[0];
    h->body_bytes = length - 4;
    return length >= 4 && length <= MAX_MESSAGE_BYTES;
}
