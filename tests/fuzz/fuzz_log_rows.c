/* An Avro schema and a record, of any content, separated by a NUL byte. Columns are those of a stand-in for
 * DuckDB's appender: memory of the exact size, so that a value in the wrong place is found. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "duck_append.h"
#include "log_rows.h"
#include "log_schema.h"

#define COLUMNS_MAX 64
#define DEPTH_MAX 12

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the stand-in ---- */

struct duck_append {
    struct duck_column *columns;
    size_t count;
};

static const struct log_type *current; /* the record type whose table is opened */
static size_t made;                    /* columns, nested ones included */

static size_t width_of(const struct log_type *t)
{
    return t->kind == LOG_BOOLEAN ? 1 : 16; /* as wide as the widest, DuckDB's string included */
}

static void make_rows(struct duck_column *c, const struct log_type *t, size_t rows)
{
    c->data = calloc(rows, width_of(t));
    c->validity = calloc(rows / 64 + 1, sizeof *c->validity);
}

static void free_column(struct duck_column *c)
{
    for (size_t i = 0; i < c->child_count; i++)
        free_column(&c->children[i]);
    free(c->data);
    free(c->validity);
    free(c->children);
}

static bool make_column(struct duck_column *c, const struct log_type *type, size_t rows, int depth);

static bool make_children(struct duck_column *c, const struct log_type *const *types, size_t n,
                          size_t rows, int depth)
{
    c->children = calloc(n + 1, sizeof *c->children);
    for (size_t i = 0; i < n; i++) {
        c->child_count++;
        if (!make_column(&c->children[i], types[i], rows, depth + 1))
            return false;
    }
    return true;
}

static bool make_struct(struct duck_column *c, const struct log_type *t, size_t rows, int depth)
{
    const struct log_type *types[COLUMNS_MAX];
    if (t->nfields > COLUMNS_MAX)
        return false;
    for (size_t i = 0; i < t->nfields; i++)
        types[i] = t->fields[i].type;
    c->type = DUCK_STRUCT;
    return make_children(c, types, t->nfields, rows, depth);
}

static bool make_column(struct duck_column *c, const struct log_type *type, size_t rows, int depth)
{
    static const struct log_type key = {.kind = LOG_STRING};
    const struct log_type *t = log_type_value(type);
    *c = (struct duck_column){.type = DUCK_INT64, .carrier = DUCK_INT128};
    c->capacity = rows;
    if (++made > COLUMNS_MAX || depth > DEPTH_MAX)
        return false;
    make_rows(c, t, rows);
    if (t->kind == LOG_RECORD)
        return make_struct(c, t, rows, depth);
    if (t->kind != LOG_ARRAY && t->kind != LOG_MAP)
        return true;
    c->type = t->kind == LOG_ARRAY ? DUCK_LIST : DUCK_MAP;
    if (t->kind == LOG_ARRAY)
        return make_children(c, &t->item, 1, 64, depth);
    c->children = calloc(2, sizeof *c->children);
    c->child_count = 1;
    const struct log_type *pair[] = {&key, t->item};
    c->children[0] = (struct duck_column){.type = DUCK_STRUCT};
    c->children[0].data = calloc(1, 1);
    c->children[0].validity = calloc(1, 8);
    return make_children(&c->children[0], pair, 2, 64, depth);
}

bool duck_append_open(struct duck *d, const char *table, struct duck_append **out, struct err *err)
{
    static const struct log_type number = {.kind = LOG_LONG};
    struct duck_append *ap = calloc(1, sizeof *ap);
    (void)d, (void)table;
    ap->columns = calloc(current->nfields + 2, sizeof *ap->columns);
    made = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < current->nfields; i++, ap->count++)
        ok = make_column(&ap->columns[i], current->fields[i].type, 1, 0);
    for (size_t i = 0; ok && i < 2; i++, ap->count++) {
        made = 0;
        ok = make_column(&ap->columns[ap->count], &number, 1, 0);
    }
    *out = ap;
    if (ok)
        return true;
    (void)duck_append_close(ap, NULL);
    return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "too many columns");
}

struct duck_column *duck_append_columns(struct duck_append *ap, size_t *count)
{
    *count = ap->count;
    return ap->columns;
}

uint64_t duck_append_row(const struct duck_append *ap)
{
    (void)ap;
    return 0;
}

bool duck_append_next(struct duck_append *ap, struct err *err)
{
    (void)ap, (void)err;
    return true;
}

bool duck_append_close(struct duck_append *ap, struct err *err)
{
    (void)err;
    for (size_t i = 0; i < ap->count; i++)
        free_column(&ap->columns[i]);
    free(ap->columns);
    free(ap);
    return true;
}

void duck_column_put_null(struct duck_append *ap, struct duck_column *c, uint64_t row)
{
    (void)ap;
    c->validity[row / 64] |= 1;
}

void duck_column_put_bytes(struct duck_append *ap, struct duck_column *c, uint64_t row,
                           struct slice s)
{
    (void)ap;
    unsigned char sum = 0;
    for (size_t i = 0; i < s.len; i++)
        sum ^= (unsigned char)s.data[i];
    ((unsigned char *)c->data)[row * 16] = sum;
}

uint64_t duck_column_add_item(struct duck_append *ap, struct duck_column *c)
{
    (void)ap;
    return c->length >= 64 ? UINT64_MAX : c->length++;
}

bool duck_run(struct duck *d, const char *sql, struct err *err)
{
    (void)d, (void)err;
    return strlen(sql) > 0;
}

void duck_put_name(struct buf *b, const char *name)
{
    buf_append_cstr(b, name);
}

/* ---- the target ---- */

static void read_record(struct arena *a, const struct log_type *type, struct slice datum)
{
    struct err err = {0};
    struct log_rows *r = NULL;
    current = type;
    if (!log_rows_open(a, NULL, "t", type, NULL, NULL, &r, &err))
        return;
    if (!log_rows_put(r, datum, 1, 2, &err) && !err_is_set(&err))
        abort();
    (void)log_rows_close(r, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct err err = {0};
    const struct log_type *type;
    struct slice all = slice_of((const char *)data, size);
    size_t n = slice_find_byte(all, '\0');
    arena_init(&a, (size_t)64 << 20);
    if (log_schema_read(&a, slice_part(all, 0, n), &type, &err))
        read_record(&a, type, slice_part(all, n < size ? n + 1 : n, size));
    else if (!err_is_set(&err))
        abort();
    arena_fini(&a);
    return 0;
}
