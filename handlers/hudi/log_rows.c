/* The schema is walked once a record, its columns beside it; a value goes straight into its column.
 *
 * avro-c is not used for this: its value reader believes every length and count and builds a tree of
 * values first, and its schemas drop logical types. Here a cursor knows how many bytes are left,
 * and depth is that of the schema, which log_schema.c bounds. */
#include "log_rows.h"

#include <stdlib.h>
#include <string.h>

#include "avro_cursor.h"
#include "duck_append.h"
#include "protocol/copy_binary.h"

#define TABLE_SQL_BYTES ((size_t)16 << 20)

__extension__ typedef unsigned __int128 log_uint128;

struct log_rows {
    const struct log_type *type;
    bool *wanted; /* by field */
    struct duck_append *ap;
    struct duck_column *columns;
    size_t count;
    const char *field; /* being read, for errors */
    const char *reason;
    struct avro_cursor in;
};

static void read_value(struct log_rows *r, const struct log_type *t, struct duck_column *c,
                       uint64_t row);

static void fail(struct log_rows *r, const char *reason)
{
    if (!r->in.bad || r->reason == NULL)
        r->reason = reason;
    r->in.bad = true;
}

/* ---- UTF-8 ---- */

static size_t tail_length(unsigned char lead)
{
    return lead >= 0xC2 && lead <= 0xDF   ? 1
           : lead >= 0xE0 && lead <= 0xEF ? 2
           : lead >= 0xF0 && lead <= 0xF4 ? 3
                                          : 0;
}

static bool is_tail(const unsigned char *p, size_t n)
{
    for (size_t i = 1; i <= n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return false;
    return !(p[0] == 0xE0 && p[1] < 0xA0) && !(p[0] == 0xED && p[1] > 0x9F) &&
           !(p[0] == 0xF0 && p[1] < 0x90) && !(p[0] == 0xF4 && p[1] > 0x8F);
}

static bool is_utf8(struct slice s)
{
    const unsigned char *p = (const unsigned char *)s.data, *end = p + s.len;
    while (p < end) {
        uint64_t eight;
        if (end - p >= 8 && (memcpy(&eight, p, 8), eight & UINT64_C(0x8080808080808080)) == 0) {
            p += 8;
            continue;
        }
        if (*p < 0x80) {
            p++;
            continue;
        }
        size_t n = tail_length(*p);
        if (n == 0 || (size_t)(end - p) <= n || !is_tail(p, n))
            return false;
        p += n + 1;
    }
    return true;
}

/* ---- skipping ---- */

static void skip_value(struct log_rows *r, const struct log_type *t);

static void skip_items(struct log_rows *r, const struct log_type *t)
{
    for (uint64_t n; (n = avro_get_count(&r->in)) > 0;)
        for (; n > 0 && !r->in.bad; n--) {
            size_t before = r->in.left.len;
            if (t->kind == LOG_MAP)
                (void)avro_get_bytes(&r->in);
            skip_value(r, t->item);
            if (r->in.left.len == before)
                r->in.bad = true;
        }
}

static const struct log_type *read_branch(struct log_rows *r, const struct log_type *t)
{
    int64_t branch = avro_get_long(&r->in);
    if (branch >= 0 && (uint64_t)branch < t->nbranches)
        return t->branches[branch];
    fail(r, "a branch that its union does not have");
    return NULL;
}

static void skip_value(struct log_rows *r, const struct log_type *t)
{
    const struct log_type *branch;
    switch (t->kind) {
    case LOG_NULL: return;
    case LOG_BOOLEAN: (void)avro_get_raw(&r->in, 1); return;
    case LOG_INT:
    case LOG_LONG:
    case LOG_ENUM: (void)avro_get_long(&r->in); return;
    case LOG_FLOAT: (void)avro_get_raw(&r->in, 4); return;
    case LOG_DOUBLE: (void)avro_get_raw(&r->in, 8); return;
    case LOG_BYTES:
    case LOG_STRING: (void)avro_get_bytes(&r->in); return;
    case LOG_FIXED: (void)avro_get_raw(&r->in, t->size); return;
    case LOG_RECORD:
        for (size_t i = 0; i < t->nfields && !r->in.bad; i++)
            skip_value(r, t->fields[i].type);
        return;
    case LOG_ARRAY:
    case LOG_MAP: skip_items(r, t); return;
    case LOG_UNION:
        branch = read_branch(r, t);
        if (branch != NULL)
            skip_value(r, branch);
        return;
    }
}

/* ---- scalars ---- */

static void read_int(struct log_rows *r, struct duck_column *c, uint64_t row)
{
    int64_t v = avro_get_long(&r->in);
    if (v < INT32_MIN || v > INT32_MAX)
        fail(r, "an int out of range");
    else
        ((int32_t *)c->data)[row] = (int32_t)v;
}

static void read_long(struct log_rows *r, struct duck_column *c, uint64_t row, int64_t factor)
{
    int64_t v = avro_get_long(&r->in);
    if (__builtin_mul_overflow(v, factor, &((int64_t *)c->data)[row]))
        fail(r, "a time out of range");
}

static void read_number(struct log_rows *r, const struct log_type *t, struct duck_column *c,
                        uint64_t row)
{
    switch (t->logical) {
    case LOG_TIME_MILLIS:
    case LOG_TIMESTAMP_MILLIS:
    case LOG_LOCAL_TIMESTAMP_MILLIS: read_long(r, c, row, 1000); return;
    default: break;
    }
    if (t->kind == LOG_INT)
        read_int(r, c, row);
    else
        read_long(r, c, row, 1);
}

static void read_real(struct log_rows *r, struct duck_column *c, uint64_t row, size_t bytes)
{
    struct slice s = avro_get_raw(&r->in, bytes);
    if (!r->in.bad)
        memcpy((char *)c->data + row * bytes, s.data, bytes);
}

static void read_boolean(struct log_rows *r, struct duck_column *c, uint64_t row)
{
    struct slice s = avro_get_raw(&r->in, 1);
    if (!r->in.bad)
        ((bool *)c->data)[row] = s.data[0] != 0;
}

/* Big-endian two's complement of any length. False: more than 128 bits. */
static bool read_unscaled(struct slice s, copy_int128 *out)
{
    bool negative = s.len > 0 && (s.data[0] & 0x80) != 0;
    unsigned char sign = negative ? 0xFF : 0;
    while (s.len > sizeof *out) {
        if ((unsigned char)s.data[0] != sign || ((s.data[1] & 0x80) != 0) != negative)
            return false;
        s = slice_part(s, 1, s.len);
    }
    log_uint128 v = negative ? ~(log_uint128)0 : 0;
    for (size_t i = 0; i < s.len; i++)
        v = v << 8 | (unsigned char)s.data[i];
    memcpy(out, &v, sizeof v);
    return true;
}

static bool has_digits(copy_int128 v, unsigned digits)
{
    log_uint128 bound = 1;
    for (unsigned i = 0; i < digits; i++)
        bound *= 10;
    return (v < 0 ? -(log_uint128)v : (log_uint128)v) < bound;
}

static void read_decimal(struct log_rows *r, const struct log_type *t, struct duck_column *c,
                         uint64_t row)
{
    copy_int128 v;
    struct slice s = t->kind == LOG_FIXED ? avro_get_raw(&r->in, t->size) : avro_get_bytes(&r->in);
    if (r->in.bad)
        return;
    if (!read_unscaled(s, &v) || !has_digits(v, t->precision)) {
        fail(r, "a decimal of too many digits");
        return;
    }
    switch (c->carrier) {
    case DUCK_INT16: ((int16_t *)c->data)[row] = (int16_t)v; return;
    case DUCK_INT32: ((int32_t *)c->data)[row] = (int32_t)v; return;
    case DUCK_INT64: ((int64_t *)c->data)[row] = (int64_t)v; return;
    default: memcpy((char *)c->data + row * sizeof v, &v, sizeof v); return;
    }
}

static void put_text(struct log_rows *r, struct duck_column *c, uint64_t row, struct slice s)
{
    if (r->in.bad)
        return;
    if (s.len > UINT32_MAX || !is_utf8(s))
        fail(r, "a string that is not UTF-8");
    else
        duck_column_put_bytes(r->ap, c, row, s);
}

static void read_bytes(struct log_rows *r, struct duck_column *c, uint64_t row, struct slice s)
{
    if (!r->in.bad && s.len <= UINT32_MAX)
        duck_column_put_bytes(r->ap, c, row, s);
}

static void read_enum(struct log_rows *r, const struct log_type *t, struct duck_column *c,
                      uint64_t row)
{
    int64_t i = avro_get_long(&r->in);
    if (i < 0 || (uint64_t)i >= t->size)
        fail(r, "a symbol that its enum does not have");
    else
        put_text(r, c, row, slice_cstr(t->symbols[i]));
}

/* ---- what nests ---- */

static void read_items(struct log_rows *r, const struct log_type *t, struct duck_column *c,
                       uint64_t row)
{
    struct duck_list_entry e = {c->length, 0};
    for (uint64_t n; (n = avro_get_count(&r->in)) > 0;)
        for (; n > 0 && !r->in.bad; n--) {
            size_t before = r->in.left.len;
            uint64_t at = duck_column_add_item(r->ap, c);
            if (at == UINT64_MAX) {
                fail(r, "more items than there is memory for");
                return;
            }
            struct duck_column *item = &c->children[0];
            if (t->kind == LOG_MAP) {
                put_text(r, &item->children[0], at, avro_get_bytes(&r->in));
                item = &item->children[1];
            }
            if (!r->in.bad)
                read_value(r, t->item, item, at);
            e.length++;
            if (r->in.left.len == before)
                fail(r, "items of no bytes");
        }
    ((struct duck_list_entry *)c->data)[row] = e;
}

static void read_union(struct log_rows *r, const struct log_type *t, struct duck_column *c,
                       uint64_t row)
{
    const struct log_type *branch = read_branch(r, t);
    if (branch != NULL)
        read_value(r, branch, c, row);
}

static void read_value(struct log_rows *r, const struct log_type *t, struct duck_column *c,
                       uint64_t row)
{
    if (t->logical == LOG_DECIMAL) {
        read_decimal(r, t, c, row);
        return;
    }
    switch (t->kind) {
    case LOG_NULL: duck_column_put_null(r->ap, c, row); return;
    case LOG_BOOLEAN: read_boolean(r, c, row); return;
    case LOG_INT:
    case LOG_LONG: read_number(r, t, c, row); return;
    case LOG_FLOAT: read_real(r, c, row, 4); return;
    case LOG_DOUBLE: read_real(r, c, row, 8); return;
    case LOG_BYTES: read_bytes(r, c, row, avro_get_bytes(&r->in)); return;
    case LOG_STRING: put_text(r, c, row, avro_get_bytes(&r->in)); return;
    case LOG_FIXED: read_bytes(r, c, row, avro_get_raw(&r->in, t->size)); return;
    case LOG_ENUM: read_enum(r, t, c, row); return;
    case LOG_RECORD:
        for (size_t i = 0; i < t->nfields && !r->in.bad; i++)
            read_value(r, t->fields[i].type, &c->children[i], row);
        return;
    case LOG_ARRAY:
    case LOG_MAP: read_items(r, t, c, row); return;
    case LOG_UNION: read_union(r, t, c, row); return;
    }
}

/* ---- records ---- */

static bool make_table(struct log_rows *r, struct duck *d, const char *table, struct err *err)
{
    struct buf b;
    buf_init(&b, TABLE_SQL_BYTES);
    buf_append_cstr(&b, "CREATE TABLE ");
    duck_put_name(&b, table);
    buf_append_cstr(&b, " (");
    for (size_t i = 0; i < r->type->nfields; i++) {
        if (!r->wanted[i])
            continue;
        duck_put_name(&b, r->type->fields[i].name);
        buf_append_byte(&b, ' ');
        log_type_put_sql(&b, r->type->fields[i].type);
        buf_append_cstr(&b, ", ");
    }
    buf_append_cstr(&b, LOG_SLICE_COLUMN " INTEGER, " LOG_SEQ_COLUMN " BIGINT)");
    const char *sql = buf_cstr(&b);
    bool ok = sql == NULL ? err_no_memory(err) : duck_run(d, sql, err);
    buf_fini(&b);
    return ok;
}

bool log_rows_open(struct arena *a, struct duck *d, const char *table, const struct log_type *type,
                   bool (*wanted)(const void *arg, const char *field), const void *arg,
                   struct log_rows **out, struct err *err)
{
    struct log_rows *r = arena_alloc(a, sizeof *r);
    if (r == NULL)
        return err_no_memory(err);
    r->type = type;
    r->wanted = arena_alloc_array(a, type->nfields + 1, sizeof *r->wanted);
    if (r->wanted == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < type->nfields; i++)
        r->wanted[i] = wanted == NULL || wanted(arg, type->fields[i].name);
    if (!make_table(r, d, table, err) || !duck_append_open(d, table, &r->ap, err))
        return false;
    r->columns = duck_append_columns(r->ap, &r->count);
    *out = r;
    return true;
}

bool log_rows_put(struct log_rows *r, struct slice datum, int32_t slice, int64_t seq,
                  struct err *err)
{
    uint64_t row = duck_append_row(r->ap);
    size_t column = 0;
    r->in = (struct avro_cursor){datum, false};
    r->reason = NULL;
    for (size_t i = 0; i < r->type->nfields && !r->in.bad; i++) {
        r->field = r->type->fields[i].name;
        if (r->wanted[i])
            read_value(r, r->type->fields[i].type, &r->columns[column++], row);
        else
            skip_value(r, r->type->fields[i].type);
    }
    if (r->in.bad)
        return err_set(err, SQLSTATE_DATA_CORRUPTED,
                       "record of a log file is damaged at field \"%s\": %s", r->field,
                       r->reason == NULL ? "it is cut off" : r->reason);
    ((int32_t *)r->columns[r->count - 2].data)[row] = slice;
    ((int64_t *)r->columns[r->count - 1].data)[row] = seq;
    return duck_append_next(r->ap, err);
}

bool log_rows_close(struct log_rows *r, struct err *err)
{
    if (r == NULL)
        return true;
    struct duck_append *ap = r->ap;
    r->ap = NULL;
    return duck_append_close(ap, err);
}
