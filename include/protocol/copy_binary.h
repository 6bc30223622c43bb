/* Rows of COPY … FROM STDIN (FORMAT binary), as chapter "COPY" of the PostgreSQL manual and the
 * server's *_recv functions define them.
 *
 *   copy_put_header(b);
 *   for each row:  copy_put_row(b, fields);  then one copy_put_… per field
 *   copy_put_trailer(b);
 *
 * Nothing here allocates beside the buffer's own growth, and nothing fails alone: a buffer that
 * could not grow has failed and is asked once (base/buf.h). Values are the server's, so the caller
 * converts and checks before: texts with copy_check_text, lengths with copy_count_characters. */
#ifndef PROTOCOL_COPY_BINARY_H
#define PROTOCOL_COPY_BINARY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/slice.h"

__extension__ typedef __int128 copy_int128;

/* Days and microseconds between 1970-01-01 and PostgreSQL's zero, 2000-01-01. */
#define COPY_EPOCH_DAYS 10957
#define COPY_EPOCH_USECS INT64_C(946684800000000)
/* What the server takes for -infinity and infinity. */
#define COPY_DATE_MINUS_INFINITY INT32_MIN
#define COPY_DATE_INFINITY INT32_MAX
#define COPY_TIMESTAMP_MINUS_INFINITY INT64_MIN
#define COPY_TIMESTAMP_INFINITY INT64_MAX

void copy_put_header(struct buf *b);
void copy_put_trailer(struct buf *b);
void copy_put_row(struct buf *b, uint16_t fields);

void copy_put_null(struct buf *b);
void copy_put_bool(struct buf *b, bool v);
void copy_put_int2(struct buf *b, int16_t v);
void copy_put_int4(struct buf *b, int32_t v); /* also date: days since 2000-01-01 */
void copy_put_int8(struct buf *b, int64_t v); /* also time, timestamp(tz): microseconds */
void copy_put_float4(struct buf *b, float v);
void copy_put_float8(struct buf *b, double v);
/* unscaled / 10^scale, scale 0 to 38; the server shows `scale` digits behind the point. */
void copy_put_numeric(struct buf *b, copy_int128 unscaled, unsigned scale);
/* Any type whose binary form is its bytes: text, varchar, char(n), bytea, json, uuid (16 bytes). */
void copy_put_bytes(struct buf *b, struct slice s);
void copy_put_jsonb(struct buf *b, struct slice text);

/* A value whose length is known at its end: jsonb or json made piece by piece, arrays.
 *   size_t mark = copy_begin_value(b); … any appends … copy_end_value(b, mark); */
MUST_USE size_t copy_begin_value(struct buf *b);
void copy_end_value(struct buf *b, size_t mark);
/* Head of a one-dimensional array inside a value; then `count` values follow. An empty array has no
 * dimension. */
void copy_put_array_head(struct buf *b, uint32_t element_oid, uint32_t count, bool has_null);

enum copy_text_fault { COPY_TEXT_GOOD, COPY_TEXT_HAS_NUL, COPY_TEXT_NOT_UTF8 };
/* Can a PostgreSQL text in a UTF8 database hold these bytes? */
enum copy_text_fault copy_check_text(struct slice s);
/* Characters of valid UTF-8. */
size_t copy_count_characters(struct slice s);

#endif
