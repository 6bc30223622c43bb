/* One function walks a value, however deep it nests; one table-like switch prints a scalar. Files are
 * trusted for nothing here: depth is bounded by the schema, which DuckDB bounds. */
#include "render.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "protocol/copy_binary.h"

#define RENDER_SCALAR_BYTES 64
#define USECS_PER_DAY INT64_C(86400000000)

__extension__ typedef unsigned __int128 render_uint128;

/* Digits with the point `scale` places from the right. */
static void put_decimal(struct buf *b, copy_int128 v, unsigned scale)
{
    char text[RENDER_SCALAR_BYTES];
    size_t at = sizeof text;
    render_uint128 left = v < 0 ? -(render_uint128)v : (render_uint128)v;
    for (unsigned digits = 0; left > 0 || digits <= scale; digits++) {
        if (digits == scale && scale > 0)
            text[--at] = '.';
        text[--at] = (char)('0' + (int)(left % 10));
        left /= 10;
    }
    if (v < 0)
        text[--at] = '-';
    buf_append(b, text + at, sizeof text - at);
}

/* The shortest digits that read back as the same value. */
static void put_float(struct buf *b, double v, bool single)
{
    if (isnan(v) || isinf(v)) {
        buf_append_cstr(b, isnan(v) ? "NaN" : v < 0 ? "-Infinity" : "Infinity");
        return;
    }
    char text[RENDER_SCALAR_BYTES];
    for (int digits = single ? 6 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (single ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v)
            break;
    }
    buf_append_cstr(b, text);
}

/* Proleptic Gregorian date of a day number (Howard Hinnant, "chrono-Compatible Low-Level Date
 * Algorithms"). */
static void put_date(struct buf *b, int64_t days)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    int day = (int)(doy - (153 * mp + 2) / 5 + 1);
    int month = (int)(mp < 10 ? mp + 3 : mp - 9);
    int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);
    buf_printf(b, "%04" PRId64 "-%02d-%02d", year, month, day);
}

static void put_time(struct buf *b, int64_t usecs)
{
    int64_t s = usecs / 1000000;
    buf_printf(b, "%02d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60), (int)(s % 60));
    if (usecs % 1000000 != 0)
        buf_printf(b, ".%06d", (int)(usecs % 1000000));
}

static void put_timestamp(struct buf *b, int64_t usecs)
{
    int64_t days = usecs / USECS_PER_DAY - (usecs % USECS_PER_DAY < 0 ? 1 : 0);
    put_date(b, days);
    buf_append_byte(b, ' ');
    put_time(b, usecs - days * USECS_PER_DAY);
}

static void put_hex(struct buf *b, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        buf_append_byte(b, digits[bytes[i] >> 4]);
        buf_append_byte(b, digits[bytes[i] & 15]);
    }
}

static void put_uuid(struct buf *b, const struct duck_vector *v, uint64_t row)
{
    static const unsigned char cuts[6] = {0, 4, 6, 8, 10, 16};
    render_uint128 u =
        (render_uint128)duck_integer_at(v->data, DUCK_INT128, row) ^ ((render_uint128)1 << 127);
    unsigned char bytes[16];
    for (int i = 15; i >= 0; i--, u >>= 8)
        bytes[i] = (unsigned char)u;
    for (int i = 0; i < 5; i++) {
        if (i > 0)
            buf_append_byte(b, '-');
        put_hex(b, bytes + cuts[i], (size_t)(cuts[i + 1] - cuts[i]));
    }
}

static void put_scalar(struct buf *b, const struct duck_vector *v, uint64_t row)
{
    struct slice s;
    switch (v->type) {
    case DUCK_BOOL: buf_append_cstr(b, ((const bool *)v->data)[row] ? "true" : "false"); break;
    case DUCK_FLOAT: put_float(b, (double)((const float *)v->data)[row], true); break;
    case DUCK_DOUBLE: put_float(b, ((const double *)v->data)[row], false); break;
    case DUCK_DECIMAL: put_decimal(b, duck_integer_at(v->data, v->carrier, row), v->scale); break;
    case DUCK_DATE: put_date(b, ((const int32_t *)v->data)[row]); break;
    case DUCK_TIME: put_time(b, ((const int64_t *)v->data)[row]); break;
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ: put_timestamp(b, ((const int64_t *)v->data)[row]); break;
    case DUCK_TIMESTAMP_S: put_timestamp(b, ((const int64_t *)v->data)[row] * 1000000); break;
    case DUCK_TIMESTAMP_MS: put_timestamp(b, ((const int64_t *)v->data)[row] * 1000); break;
    case DUCK_TIMESTAMP_NS: put_timestamp(b, ((const int64_t *)v->data)[row] / 1000); break;
    case DUCK_TEXT: buf_append_slice(b, duck_text(v, row)); break;
    case DUCK_UUID: put_uuid(b, v, row); break;
    case DUCK_BLOB:
        s = duck_text(v, row);
        buf_append_cstr(b, "\\x");
        put_hex(b, (const unsigned char *)s.data, s.len);
        break;
    case DUCK_TIME_TZ: put_time(b, ((const int64_t *)v->data)[row] >> 24); break;
    case DUCK_NULL:
    case DUCK_OTHER: buf_append_cstr(b, "?"); break;
    default: put_decimal(b, duck_integer_at(v->data, v->type, row), 0); break;
    }
}

static bool is_bare(const struct duck_vector *v, uint64_t row)
{
    switch (v->type) {
    case DUCK_BOOL:
    case DUCK_INT8:
    case DUCK_INT16:
    case DUCK_INT32:
    case DUCK_INT64:
    case DUCK_UINT8:
    case DUCK_UINT16:
    case DUCK_UINT32:
    case DUCK_UINT64: return true;
    case DUCK_FLOAT: return isfinite(((const float *)v->data)[row]);
    case DUCK_DOUBLE: return isfinite(((const double *)v->data)[row]);
    default: return false;
    }
}

static void put_quoted_scalar(struct buf *b, const struct duck_vector *v, uint64_t row)
{
    if (v->type == DUCK_TEXT) {
        json_write_string(b, duck_text(v, row));
        return;
    }
    size_t before = buf_length(b);
    put_scalar(b, v, row);
    if (b->failed)
        return;
    /* A backslash is the only character of these texts that JSON escapes: the "\x" of bytes. */
    bool escape = v->type == DUCK_BLOB;
    size_t length = buf_length(b) - before;
    if (buf_reserve(b, 3) == NULL)
        return;
    char *at = b->data + b->start + before;
    memmove(at + 1 + (escape ? 1 : 0), at, length);
    at[0] = '"';
    if (escape)
        at[1] = '\\';
    at[length + 1 + (escape ? 1 : 0)] = '"';
    buf_commit(b, 2 + (escape ? 1 : 0));
}

static void put_json_key(struct buf *b, const struct duck_vector *keys, uint64_t row)
{
    if (duck_is_null(keys, row)) {
        buf_append_cstr(b, "\"\"");
    } else if (keys->child_count > 0) {
        struct buf inner;
        buf_init(&inner, b->max_bytes);
        render_json(&inner, keys, row);
        json_write_string(b, buf_slice(&inner));
        buf_fini(&inner);
    } else {
        put_quoted_scalar(b, keys, row);
    }
}

static void put_list(struct buf *b, const struct duck_vector *v, uint64_t row)
{
    struct duck_list_entry e = ((const struct duck_list_entry *)v->data)[row];
    buf_append_byte(b, '[');
    for (uint64_t i = 0; i < e.length; i++) {
        if (i > 0)
            buf_append_byte(b, ',');
        render_json(b, &v->children[0], e.offset + i);
    }
    buf_append_byte(b, ']');
}

static void put_map(struct buf *b, const struct duck_vector *v, uint64_t row)
{
    struct duck_list_entry e = ((const struct duck_list_entry *)v->data)[row];
    const struct duck_vector *pair = v->children[0].children;
    buf_append_byte(b, '{');
    for (uint64_t i = 0; i < e.length; i++) {
        if (i > 0)
            buf_append_byte(b, ',');
        put_json_key(b, &pair[0], e.offset + i);
        buf_append_byte(b, ':');
        render_json(b, &pair[1], e.offset + i);
    }
    buf_append_byte(b, '}');
}

static void put_struct(struct buf *b, const struct duck_vector *v, uint64_t row)
{
    buf_append_byte(b, '{');
    for (size_t i = 0; i < v->child_count; i++) {
        if (i > 0)
            buf_append_byte(b, ',');
        json_write_string(b, slice_cstr(v->children[i].name));
        buf_append_byte(b, ':');
        render_json(b, &v->children[i], row);
    }
    buf_append_byte(b, '}');
}

void render_json(struct buf *b, const struct duck_vector *v, uint64_t row)
{
    if (duck_is_null(v, row))
        buf_append_cstr(b, "null");
    else if (v->type == DUCK_LIST)
        put_list(b, v, row);
    else if (v->type == DUCK_MAP)
        put_map(b, v, row);
    else if (v->type == DUCK_STRUCT)
        put_struct(b, v, row);
    else if (is_bare(v, row))
        put_scalar(b, v, row);
    else
        put_quoted_scalar(b, v, row);
}

void render_text(struct buf *b, const struct duck_vector *v, uint64_t row)
{
    if (duck_is_null(v, row))
        buf_append_cstr(b, "null");
    else if (v->child_count > 0)
        render_json(b, v, row);
    else
        put_scalar(b, v, row);
}
