/* The value half: a chunk of columns becomes rows of binary COPY.
 *
 * Each field of the row is bound once a result to a function for its pair of types, so that the loop
 * over rows is a walk along an array of function pointers. A value that PostgreSQL cannot hold makes
 * its function return false with a reason; the error is put together there, with column, row key
 * and value, since only here all three are at hand. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "columns.h"
#include "protocol/copy_binary.h"
#include "render.h"

#define ENCODER_VALUE_BYTES ((size_t)1 << 30)
#define ENCODER_SHOWN_BYTES 200

/* PostgreSQL's ranges (datatype/timestamp.h), counted from 2000-01-01. */
#define DATE_MIN INT64_C(-2451545)
#define DATE_MAX INT64_C(2145031948)
#define TIMESTAMP_MIN INT64_C(-211813488000000000)
#define TIMESTAMP_MAX INT64_C(9223371331199999999)

__extension__ typedef unsigned __int128 encoder_uint128;

struct field {
    bool (*put)(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b);
    bool (*put_element)(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b);
    const struct apply_column *target; /* NULL: commit time or sequence number */
    enum apply_form form;              /* of the value that `put` or `put_element` writes */
    encoder_uint128 bound;             /* numeric(p,s): integer part must be below; 0: no limit */
    const char *sqlstate;              /* why the last value was refused */
    const char *reason;
};

struct encoder {
    struct field *fields;
    size_t count;
    const struct columns *columns;
    enum columns_part part;
};

static bool fault(struct field *f, const char *sqlstate, const char *reason)
{
    f->sqlstate = sqlstate;
    f->reason = reason;
    return false;
}

static bool out_of_range(struct field *f)
{
    return fault(f, SQLSTATE_NUMERIC_VALUE_OUT_OF_RANGE, "is out of range");
}

/* Integers: any width to any width, checked. */

static bool put_int2(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    copy_int128 n = duck_integer_at(v->data, v->type, row);
    if (n < INT16_MIN || n > INT16_MAX)
        return out_of_range(f);
    copy_put_int2(b, (int16_t)n);
    return true;
}

static bool put_int4(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    copy_int128 n = duck_integer_at(v->data, v->type, row);
    if (n < INT32_MIN || n > INT32_MAX)
        return out_of_range(f);
    copy_put_int4(b, (int32_t)n);
    return true;
}

static bool put_int8(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    copy_int128 n = duck_integer_at(v->data, v->type, row);
    if (n < INT64_MIN || n > INT64_MAX)
        return out_of_range(f);
    copy_put_int8(b, (int64_t)n);
    return true;
}

static bool put_same_int4(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    (void)f;
    copy_put_int4(b, ((const int32_t *)v->data)[row]);
    return true;
}

static bool put_same_int8(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    (void)f;
    copy_put_int8(b, ((const int64_t *)v->data)[row]);
    return true;
}

static bool put_bool(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    (void)f;
    copy_put_bool(b, ((const bool *)v->data)[row]);
    return true;
}

static bool put_float4(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    (void)f;
    copy_put_float4(b, ((const float *)v->data)[row]);
    return true;
}

static bool put_float8(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    (void)f;
    copy_put_float8(b, ((const double *)v->data)[row]);
    return true;
}

static encoder_uint128 power_of_ten(unsigned n)
{
    encoder_uint128 p = 1;
    while (n-- > 0)
        p *= 10;
    return p;
}

/* Digits behind the point beyond the column's scale are rounded by the server, as in any INSERT. */
static bool put_numeric(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    copy_int128 n = duck_integer_at(v->data, v->carrier, row);
    if (f->bound > 0) {
        encoder_uint128 whole = n < 0 ? -(encoder_uint128)n : (encoder_uint128)n;
        if (whole >= f->bound && whole / power_of_ten(v->scale) >= f->bound)
            return out_of_range(f);
    }
    copy_put_numeric(b, n, v->scale);
    return true;
}

static bool put_date(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    int64_t days = (int64_t)((const int32_t *)v->data)[row] - COPY_EPOCH_DAYS;
    if (days < DATE_MIN || days > DATE_MAX || days > INT32_MAX)
        return out_of_range(f);
    copy_put_int4(b, (int32_t)days);
    return true;
}

static bool put_timestamp(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    int64_t usecs = ((const int64_t *)v->data)[row];
    if (usecs < TIMESTAMP_MIN + COPY_EPOCH_USECS || usecs == INT64_MAX)
        return out_of_range(f);
    copy_put_int8(b, usecs - COPY_EPOCH_USECS);
    return true;
}

/* Text: PostgreSQL holds no NUL byte; varchar(n) and char(n) count characters, and blanks at the end
 * of a char(n) mean nothing. */

static bool check_text(struct field *f, struct slice s)
{
    enum copy_text_fault bad = copy_check_text(s);
    if (bad == COPY_TEXT_HAS_NUL)
        return fault(f, SQLSTATE_CHARACTER_NOT_IN_REPERTOIRE, "holds a NUL byte");
    if (bad == COPY_TEXT_NOT_UTF8)
        return fault(f, SQLSTATE_CHARACTER_NOT_IN_REPERTOIRE, "is not valid UTF-8");
    return true;
}

static bool check_length(struct field *f, struct slice s)
{
    if (f->target == NULL || f->target->max_characters == 0 || s.len <= f->target->max_characters)
        return true;
    while (f->target->blank_padded && s.len > 0 && s.data[s.len - 1] == ' ')
        s.len--;
    if (copy_count_characters(s) <= f->target->max_characters)
        return true;
    return fault(f, SQLSTATE_STRING_DATA_RIGHT_TRUNCATION, "is too long");
}

static bool put_text(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    struct slice s = duck_text(v, row);
    if (!check_text(f, s) || !check_length(f, s))
        return false;
    copy_put_bytes(b, s);
    return true;
}

static bool put_bytea(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    (void)f;
    copy_put_bytes(b, duck_text(v, row));
    return true;
}

static bool put_json_text(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    struct slice s = duck_text(v, row);
    if (!check_text(f, s))
        return false;
    if (f->form == APPLY_JSONB)
        copy_put_jsonb(b, s);
    else
        copy_put_bytes(b, s);
    return true;
}

static bool put_nested(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    size_t mark = copy_begin_value(b);
    if (f->form == APPLY_JSONB)
        buf_append_byte(b, 1);
    render_json(b, v, row);
    copy_end_value(b, mark);
    if (b->failed)
        return true; /* told when the rows are sent */
    struct slice s = slice_of(buf_data(b) + mark + 4, buf_length(b) - mark - 4);
    if (f->form == APPLY_JSONB && memmem(s.data, s.len, "\\u0000", 6) != NULL)
        return fault(f, SQLSTATE_CHARACTER_NOT_IN_REPERTOIRE, "holds a NUL byte");
    return check_length(f, s);
}

static bool put_uuid(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    (void)f;
    encoder_uint128 u =
        (encoder_uint128)duck_integer_at(v->data, DUCK_INT128, row) ^ ((encoder_uint128)1 << 127);
    char bytes[16];
    for (int i = 15; i >= 0; i--, u >>= 8)
        bytes[i] = (char)(unsigned char)u;
    copy_put_bytes(b, slice_of(bytes, sizeof bytes));
    return true;
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* 32 hex digits, hyphens behind any group of four, braces around: as uuid_in takes it. */
static bool put_uuid_text(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    struct slice s = duck_text(v, row);
    unsigned char bytes[16] = {0};
    size_t digits = 0;
    if (s.len > 2 && s.data[0] == '{' && s.data[s.len - 1] == '}')
        s = slice_part(s, 1, s.len - 1);
    for (size_t i = 0; i < s.len; i++) {
        int h = hex_value(s.data[i]);
        if (h < 0 && s.data[i] == '-' && digits % 4 == 0 && digits > 0 && i + 1 < s.len &&
            s.data[i + 1] != '-')
            continue;
        if (h < 0 || digits == 32)
            return fault(f, SQLSTATE_INVALID_TEXT_REPRESENTATION, "is not a UUID");
        bytes[digits / 2] = (unsigned char)(bytes[digits / 2] << 4 | h);
        digits++;
    }
    if (digits != 32)
        return fault(f, SQLSTATE_INVALID_TEXT_REPRESENTATION, "is not a UUID");
    copy_put_bytes(b, slice_of((const char *)bytes, sizeof bytes));
    return true;
}

static bool put_uuid_bytes(struct field *f, const struct duck_vector *v, uint64_t row,
                           struct buf *b)
{
    struct slice s = duck_text(v, row);
    if (s.len != 16)
        return fault(f, SQLSTATE_INVALID_TEXT_REPRESENTATION, "is not a UUID of 16 bytes");
    copy_put_bytes(b, s);
    return true;
}

static bool put_array(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b)
{
    const struct duck_vector *child = &v->children[0];
    struct duck_list_entry e = ((const struct duck_list_entry *)v->data)[row];
    bool has_null = false;
    for (uint64_t i = 0; i < e.length && !has_null; i++)
        has_null = duck_is_null(child, e.offset + i);
    if (e.length > INT32_MAX)
        return fault(f, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "has too many elements");
    size_t mark = copy_begin_value(b);
    copy_put_array_head(b, f->target->element_oid, (uint32_t)e.length, has_null);
    for (uint64_t i = 0; i < e.length; i++) {
        if (duck_is_null(child, e.offset + i))
            copy_put_null(b);
        else if (!f->put_element(f, child, e.offset + i, b))
            return false;
    }
    copy_end_value(b, mark);
    return true;
}

typedef bool put_fn(struct field *f, const struct duck_vector *v, uint64_t row, struct buf *b);

static put_fn *choose_text(enum duck_type type, enum apply_form form)
{
    if (type == DUCK_LIST || type == DUCK_STRUCT || type == DUCK_MAP)
        return put_nested;
    return form == APPLY_JSON || form == APPLY_JSONB ? put_json_text : put_text;
}

/* columns.c has made sure that the pair is one of these. */
static put_fn *choose(const struct duck_vector *v, enum apply_form form)
{
    switch (form) {
    case APPLY_BOOL: return put_bool;
    case APPLY_INT2: return put_int2;
    case APPLY_INT4: return v->type == DUCK_INT32 ? put_same_int4 : put_int4;
    case APPLY_INT8: return v->type == DUCK_INT64 ? put_same_int8 : put_int8;
    case APPLY_FLOAT4: return put_float4;
    case APPLY_FLOAT8: return put_float8;
    case APPLY_NUMERIC: return put_numeric;
    case APPLY_DATE: return put_date;
    case APPLY_TIME: return put_same_int8;
    case APPLY_TIMESTAMP:
    case APPLY_TIMESTAMPTZ: return put_timestamp;
    case APPLY_BYTEA: return put_bytea;
    case APPLY_UUID:
        return v->type == DUCK_UUID   ? put_uuid
               : v->type == DUCK_BLOB ? put_uuid_bytes
                                      : put_uuid_text;
    case APPLY_TEXT:
    case APPLY_BY_TEXT:
    case APPLY_JSON:
    case APPLY_JSONB: return choose_text(v->type, form);
    case APPLY_ARRAY: return put_array;
    }
    return NULL;
}

static void bind(struct field *f, const struct apply_column *target, const struct duck_vector *v)
{
    f->target = target;
    f->form = target == NULL ? APPLY_TEXT : target->form;
    f->put = choose(v, f->form);
    /* A column of NULLs only comes as an integer, whatever the target is: nothing is ever put. */
    if (f->form == APPLY_ARRAY && v->type == DUCK_LIST) {
        f->form = target->element;
        f->put_element = choose(&v->children[0], f->form);
    }
    if (target != NULL && target->precision > 0) {
        int whole = (int)target->precision - target->scale;
        f->bound = whole <= 0 ? 1 : whole > 38 ? 0 : power_of_ten((unsigned)whole);
    }
}

static const struct apply_column *target_of(const struct encoder *e, size_t i)
{
    const struct columns *c = e->columns;
    if (e->part == COLUMNS_KEY)
        return c->items[c->key[i]].target;
    return i < c->count ? c->items[i].target : NULL;
}

static size_t field_count(const struct columns *c, enum columns_part part)
{
    if (part == COLUMNS_KEY)
        return c->key_count;
    return c->count + (part == COLUMNS_ROW && c->commit_fields ? 2 : 0);
}

bool encoder_new(const struct columns *cols, enum columns_part part, const struct duck_chunk *chunk,
                 struct encoder **out, struct err *err)
{
    size_t count = field_count(cols, part);
    if (chunk->columns != count)
        return err_set(err, SQLSTATE_INTERNAL_ERROR, "result has %zu columns instead of %zu",
                       chunk->columns, count);
    struct encoder *e = calloc(1, sizeof *e);
    if (e == NULL)
        return err_no_memory(err);
    *e = (struct encoder){.count = count, .columns = cols, .part = part};
    e->fields = calloc(count + 1, sizeof *e->fields);
    if (e->fields == NULL) {
        free(e);
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++)
        bind(&e->fields[i], target_of(e, i), &chunk->vectors[i]);
    *out = e;
    return true;
}

void encoder_free(struct encoder *e)
{
    if (e == NULL)
        return;
    free(e->fields);
    free(e);
}

/* "id = 5, name = x" */
static void put_row_key(struct encoder *e, const struct duck_chunk *chunk, uint64_t row,
                        struct buf *b)
{
    for (size_t i = 0; i < e->columns->key_count; i++) {
        size_t at = e->part == COLUMNS_KEY ? i : e->columns->key[i];
        buf_printf(b, "%s%s = ", i == 0 ? "" : ", ",
                   e->columns->items[e->columns->key[i]].target->name);
        render_text(b, &chunk->vectors[at], row);
    }
}

static const char *shown(struct buf *b)
{
    const char *text = buf_cstr(b);
    return text == NULL ? "?" : text;
}

static bool refuse(struct encoder *e, const struct duck_chunk *chunk, uint64_t row, size_t i,
                   struct err *err)
{
    struct field *f = &e->fields[i];
    struct buf key, value;
    buf_init(&key, ENCODER_VALUE_BYTES);
    buf_init(&value, ENCODER_VALUE_BYTES);
    put_row_key(e, chunk, row, &key);
    render_text(&value, &chunk->vectors[i], row);
    err_set(err, f->sqlstate, "value of column \"%s\" %s for type %s",
            f->target == NULL ? "_hoodie_commit_time" : f->target->name, f->reason,
            f->target == NULL ? "text" : f->target->type);
    err_detail(err, "Row key: %.*s. Value: %.*s.", ENCODER_SHOWN_BYTES, shown(&key),
               ENCODER_SHOWN_BYTES, shown(&value));
    buf_fini(&key);
    buf_fini(&value);
    return false;
}

static bool put_null(struct encoder *e, size_t i, struct buf *b)
{
    struct field *f = &e->fields[i];
    if (f->target != NULL && (f->target->not_null || f->target->key_position > 0))
        return fault(f, SQLSTATE_NOT_NULL_VIOLATION, "is null, which is not allowed");
    copy_put_null(b);
    return true;
}

bool encoder_put(struct encoder *e, const struct duck_chunk *chunk, struct buf *b, struct err *err)
{
    for (uint64_t row = 0; row < chunk->rows; row++) {
        copy_put_row(b, (uint16_t)e->count);
        for (size_t i = 0; i < e->count; i++) {
            const struct duck_vector *v = &chunk->vectors[i];
            struct field *f = &e->fields[i];
            bool ok = duck_is_null(v, row) ? put_null(e, i, b) : f->put(f, v, row, b);
            if (!ok)
                return refuse(e, chunk, row, i, err);
        }
    }
    return true;
}
