/* Writes messages at the end of a buffer: wire_begin, puts, wire_finish.
 *
 * A failed buffer stays failed and is asked once: put as much as you like, wire_finish tells. Until
 * then nobody may consume from the buffer. After a failure it holds half a message and must not be
 * sent. */
#ifndef PROTOCOL_WIRE_WRITER_H
#define PROTOCOL_WIRE_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/slice.h"
#include "protocol/wire_reader.h"

struct wire_writer {
    struct buf *out;      /* borrows */
    size_t length_offset; /* of the open message's length word, from buf_data */
};

void wire_writer_init(struct wire_writer *w, struct buf *out);
/* type 0: a message without type byte (StartupMessage, CancelRequest, SSLRequest). */
void wire_begin(struct wire_writer *w, char type);
/* Fills in the length. False: the buffer has failed (full, without memory, text with a NUL inside). */
MUST_USE bool wire_finish(struct wire_writer *w);

void wire_put_byte(struct wire_writer *w, uint8_t value);
void wire_put_u16(struct wire_writer *w, uint16_t value);
void wire_put_u32(struct wire_writer *w, uint32_t value);
void wire_put_u64(struct wire_writer *w, uint64_t value);
/* The text and a NUL; a NUL inside fails the buffer, it would begin the next field. */
void wire_put_cstr(struct wire_writer *w, struct slice text);
void wire_put_bytes(struct wire_writer *w, struct slice bytes);
void wire_put_value(struct wire_writer *w, struct wire_value v);

#endif
