/* Writing a message. The length word is left open at wire_begin and filled at wire_finish; its place
 * is kept as an offset, since the buffer may move while it grows. */
#include "protocol/wire_writer.h"

#include <assert.h>

void wire_writer_init(struct wire_writer *w, struct buf *out)
{
    *w = (struct wire_writer){.out = out};
}

void wire_begin(struct wire_writer *w, char type)
{
    if (type != 0)
        buf_append_byte(w->out, type);
    w->length_offset = buf_length(w->out);
    wire_put_u32(w, 0);
}

static void encode_u32(char *to, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        to[i] = (char)(value >> (24 - 8 * i));
}

bool wire_finish(struct wire_writer *w)
{
    struct buf *b = w->out;
    if (b->failed)
        return false;
    assert(buf_length(b) >= w->length_offset + 4);
    size_t length = buf_length(b) - w->length_offset;
    if (length > INT32_MAX)
        b->failed = true;
    encode_u32(b->data + b->start + w->length_offset, (uint32_t)length);
    return !b->failed;
}

static void put_integer(struct wire_writer *w, uint64_t value, size_t bytes)
{
    char raw[8];
    for (size_t i = 0; i < bytes; i++)
        raw[i] = (char)(value >> (8 * (bytes - 1 - i)));
    buf_append(w->out, raw, bytes);
}

void wire_put_byte(struct wire_writer *w, uint8_t value)
{
    put_integer(w, value, 1);
}

void wire_put_u16(struct wire_writer *w, uint16_t value)
{
    put_integer(w, value, 2);
}

void wire_put_u32(struct wire_writer *w, uint32_t value)
{
    put_integer(w, value, 4);
}

void wire_put_u64(struct wire_writer *w, uint64_t value)
{
    put_integer(w, value, 8);
}

void wire_put_cstr(struct wire_writer *w, struct slice text)
{
    if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL)
        w->out->failed = true;
    buf_append_slice(w->out, text);
    buf_append_byte(w->out, '\0');
}

void wire_put_bytes(struct wire_writer *w, struct slice bytes)
{
    buf_append_slice(w->out, bytes);
}

void wire_put_value(struct wire_writer *w, struct wire_value v)
{
    if (v.is_null) {
        wire_put_u32(w, UINT32_MAX);
        return;
    }
    if (v.bytes.len > INT32_MAX)
        w->out->failed = true;
    wire_put_u32(w, (uint32_t)v.bytes.len);
    wire_put_bytes(w, v.bytes);
}
