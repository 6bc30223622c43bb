/* The encoder writes straight into the caller's buffer: one reserve per value, bytes in network
 * order, no intermediate form. Millions of rows a second pass here, so the shape is flat; what a
 * type means (zones, ranges, lengths) was settled by the caller.
 *
 * numeric is the one with work to do. PostgreSQL stores base-10000 digits around the decimal point:
 *
 *     1234567.891  ->  123 4567 . 8910      ndigits 3, weight 1 (first digit counts 10000^1)
 *
 * so integer and fraction are cut into groups of four from the point outwards, and groups of zero at
 * both ends are left out. Integer and fraction are split first: the padded whole of a 38-digit
 * value would not fit 128 bits. */
#include "protocol/copy_binary.h"

#include <assert.h>
#include <string.h>

__extension__ typedef unsigned __int128 copy_uint128;

#define NUMERIC_NEGATIVE 0x4000
#define NUMERIC_BASE 10000
#define NUMERIC_MAX_SCALE 38
#define NUMERIC_MAX_GROUPS 24

static inline char *put16(char *at, uint16_t v)
{
    v = __builtin_bswap16(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static inline char *put32(char *at, uint32_t v)
{
    v = __builtin_bswap32(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

static inline char *put64(char *at, uint64_t v)
{
    v = __builtin_bswap64(v);
    memcpy(at, &v, sizeof v);
    return at + sizeof v;
}

void copy_put_header(struct buf *b)
{
    static const char signature[11] = "PGCOPY\n\377\r\n";
    static const char flags_and_extension[8] = {0};
    buf_append(b, signature, sizeof signature);
    buf_append(b, flags_and_extension, sizeof flags_and_extension);
}

void copy_put_trailer(struct buf *b)
{
    copy_put_row(b, UINT16_MAX);
}

void copy_put_row(struct buf *b, uint16_t fields)
{
    char *at = buf_reserve(b, 2);
    if (at == NULL)
        return;
    put16(at, fields);
    buf_commit(b, 2);
}

void copy_put_null(struct buf *b)
{
    char *at = buf_reserve(b, 4);
    if (at == NULL)
        return;
    put32(at, UINT32_MAX);
    buf_commit(b, 4);
}

void copy_put_bool(struct buf *b, bool v)
{
    char *at = buf_reserve(b, 5);
    if (at == NULL)
        return;
    at = put32(at, 1);
    *at = v ? 1 : 0;
    buf_commit(b, 5);
}

void copy_put_int2(struct buf *b, int16_t v)
{
    char *at = buf_reserve(b, 6);
    if (at == NULL)
        return;
    put16(put32(at, 2), (uint16_t)v);
    buf_commit(b, 6);
}

void copy_put_int4(struct buf *b, int32_t v)
{
    char *at = buf_reserve(b, 8);
    if (at == NULL)
        return;
    put32(put32(at, 4), (uint32_t)v);
    buf_commit(b, 8);
}

void copy_put_int8(struct buf *b, int64_t v)
{
    char *at = buf_reserve(b, 12);
    if (at == NULL)
        return;
    put64(put32(at, 8), (uint64_t)v);
    buf_commit(b, 12);
}

void copy_put_float4(struct buf *b, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    copy_put_int4(b, (int32_t)bits);
}

void copy_put_float8(struct buf *b, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    copy_put_int8(b, (int64_t)bits);
}

void copy_put_bytes(struct buf *b, struct slice s)
{
    char *at = buf_reserve(b, 4 + s.len);
    if (at == NULL)
        return;
    at = put32(at, (uint32_t)s.len);
    if (s.len > 0)
        memcpy(at, s.data, s.len);
    buf_commit(b, 4 + s.len);
}

void copy_put_jsonb(struct buf *b, struct slice text)
{
    char *at = buf_reserve(b, 5 + text.len);
    if (at == NULL)
        return;
    at = put32(at, (uint32_t)text.len + 1);
    *at++ = 1; /* version of the binary form */
    if (text.len > 0)
        memcpy(at, text.data, text.len);
    buf_commit(b, 5 + text.len);
}

size_t copy_begin_value(struct buf *b)
{
    size_t mark = buf_length(b);
    copy_put_null(b); /* stands for the length until the end is known */
    return mark;
}

void copy_end_value(struct buf *b, size_t mark)
{
    if (b->failed)
        return;
    size_t length = buf_length(b) - mark - 4;
    put32(b->data + b->start + mark, (uint32_t)length);
}

void copy_put_array_head(struct buf *b, uint32_t element_oid, uint32_t count, bool has_null)
{
    size_t bytes = count == 0 ? 12 : 20;
    char *at = buf_reserve(b, bytes);
    if (at == NULL)
        return;
    at = put32(at, count == 0 ? 0 : 1); /* dimensions */
    at = put32(at, has_null ? 1 : 0);
    at = put32(at, element_oid);
    if (count > 0) {
        at = put32(at, count);
        put32(at, 1); /* lower bound */
    }
    buf_commit(b, bytes);
}

/* Powers of ten up to 10^38. */
static copy_uint128 power_of_ten(unsigned n)
{
    copy_uint128 p = 1;
    while (n-- > 0)
        p *= 10;
    return p;
}

/* Groups of four digits, most significant first, of an integer; returns their number. */
static unsigned cut_integer(copy_uint128 v, uint16_t *groups)
{
    uint16_t reversed[NUMERIC_MAX_GROUPS];
    unsigned n = 0;
    while (v > UINT64_MAX) {
        reversed[n++] = (uint16_t)(v % NUMERIC_BASE);
        v /= NUMERIC_BASE;
    }
    for (uint64_t small = (uint64_t)v; small > 0; small /= NUMERIC_BASE)
        reversed[n++] = (uint16_t)(small % NUMERIC_BASE);
    for (unsigned i = 0; i < n; i++)
        groups[i] = reversed[n - 1 - i];
    return n;
}

/* The `scale` digits behind the point as groups, the last one filled up with zeros. */
static unsigned cut_fraction(copy_uint128 fraction, unsigned scale, uint16_t *groups)
{
    static const uint16_t pad[4] = {1, 1000, 100, 10};
    static const uint16_t tail[4] = {1, 10, 100, 1000};
    unsigned n = (scale + 3) / 4;
    unsigned i = n;
    if (scale % 4 != 0) {
        groups[--i] = (uint16_t)((unsigned)(fraction % tail[scale % 4]) * pad[scale % 4]);
        fraction /= tail[scale % 4];
    }
    for (; i > 0 && fraction > UINT64_MAX; fraction /= NUMERIC_BASE)
        groups[--i] = (uint16_t)(fraction % NUMERIC_BASE);
    for (uint64_t small = (uint64_t)fraction; i > 0; small /= NUMERIC_BASE)
        groups[--i] = (uint16_t)(small % NUMERIC_BASE);
    return n;
}

void copy_put_numeric(struct buf *b, copy_int128 unscaled, unsigned scale)
{
    assert(scale <= NUMERIC_MAX_SCALE);
    bool negative = unscaled < 0;
    copy_uint128 v = negative ? -(copy_uint128)unscaled : (copy_uint128)unscaled;
    uint16_t groups[NUMERIC_MAX_GROUPS];
    unsigned before, count;
    if (scale == 0) {
        count = before = cut_integer(v, groups);
    } else if (v <= UINT64_MAX && scale <= 18) {
        uint64_t one = (uint64_t)power_of_ten(scale);
        before = cut_integer((uint64_t)v / one, groups);
        count = before + cut_fraction((uint64_t)v % one, scale, groups + before);
    } else {
        copy_uint128 one = power_of_ten(scale);
        before = cut_integer(v / one, groups);
        count = before + cut_fraction(v % one, scale, groups + before);
    }
    unsigned first = 0;
    while (first < count && groups[first] == 0)
        first++;
    while (count > first && groups[count - 1] == 0)
        count--;
    unsigned digits = count - first;
    int weight = digits == 0 ? 0 : (int)before - 1 - (int)first;

    size_t bytes = 12 + 2 * (size_t)digits;
    char *at = buf_reserve(b, bytes);
    if (at == NULL)
        return;
    at = put32(at, 8 + 2 * digits);
    at = put16(at, (uint16_t)digits);
    at = put16(at, (uint16_t)weight);
    at = put16(at, negative && digits > 0 ? NUMERIC_NEGATIVE : 0);
    at = put16(at, (uint16_t)scale);
    for (unsigned i = first; i < count; i++)
        at = put16(at, groups[i]);
    buf_commit(b, bytes);
}

/* Length of the valid UTF-8 sequence at p, 0 if there is none (RFC 3629: shortest form, no
 * surrogates, up to U+10FFFF). */
static size_t sequence_length(const unsigned char *p, size_t left)
{
    static const unsigned char least[5] = {0, 0, 0xC2, 0xE0, 0xF0};
    size_t n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
    if (p[0] < least[n] || p[0] > 0xF4 || left < n)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xF0 && p[1] < 0x90);
    bool too_large = p[0] == 0xF4 && p[1] > 0x8F;
    bool surrogate = p[0] == 0xED && p[1] > 0x9F;
    return overlong || too_large || surrogate ? 0 : n;
}

enum copy_text_fault copy_check_text(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.data;
    const unsigned char *end = s.len == 0 ? p : p + s.len; /* p may be NULL then */
    while (p < end) {
        if (end - p >= 8) {
            uint64_t word;
            memcpy(&word, p, sizeof word);
            bool high = (word & UINT64_C(0x8080808080808080)) != 0;
            bool zero =
                ((word - UINT64_C(0x0101010101010101)) & ~word & UINT64_C(0x8080808080808080)) != 0;
            if (!high && !zero) {
                p += 8;
                continue;
            }
        }
        if (*p == 0)
            return COPY_TEXT_HAS_NUL;
        size_t n = *p < 0x80 ? 1 : sequence_length(p, (size_t)(end - p));
        if (n == 0)
            return COPY_TEXT_NOT_UTF8;
        p += n;
    }
    return COPY_TEXT_GOOD;
}

size_t copy_count_characters(struct slice s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++)
        n += ((unsigned char)s.data[i] & 0xC0) != 0x80;
    return n;
}
