/* DuckDB's appender takes whole chunks, which we fill in place: a fixed-width value is one store, and
 * a table of a million rows costs no call a value. A chunk is reset and filled again; its pointers
 * are looked up anew each time, since DuckDB may have given the vectors other memory.
 *
 * The child of a list lies in a vector of its own that grows as items come; growing moves it, so its
 * pointers, and those below it, are looked up again then. */
#include "duck_append.h"

#include <stdlib.h>

#include "duck_session.h"

#define FIRST_ITEMS 2048

struct duck_append {
    struct duck *d; /* borrows */
    struct arena a; /* columns */
    duckdb_appender appender;
    duckdb_data_chunk chunk;
    struct duck_column *columns;
    size_t count;
    uint64_t row;
    uint64_t rows_max;
};

static bool has_items(const struct duck_column *c)
{
    return c->type == DUCK_LIST || c->type == DUCK_MAP;
}

static bool mirror(struct arena *a, const struct duck_vector *from, size_t count,
                   struct duck_column **out, struct err *err)
{
    *out = arena_alloc_array(a, count + 1, sizeof **out);
    if (*out == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        struct duck_column *c = &(*out)[i];
        c->type = from[i].type;
        c->carrier = from[i].carrier;
        c->scale = from[i].scale;
        c->child_count = from[i].child_count;
        if (!mirror(a, from[i].children, c->child_count, &c->children, err))
            return false;
    }
    return true;
}

/* ---- pointers ---- */

static void point(struct duck *d, struct duck_column *c, duckdb_vector raw)
{
    c->vector = raw;
    c->data = d->f.duckdb_vector_get_data(raw);
    d->f.duckdb_vector_ensure_validity_writable(raw);
    c->validity = d->f.duckdb_vector_get_validity(raw);
    if (has_items(c))
        point(d, &c->children[0], d->f.duckdb_list_vector_get_child(raw));
    else if (c->type == DUCK_STRUCT)
        for (size_t i = 0; i < c->child_count; i++)
            point(d, &c->children[i], d->f.duckdb_struct_vector_get_child(raw, i));
}

static void forget_items(struct duck_column *c)
{
    c->length = 0;
    c->capacity = 0;
    for (size_t i = 0; i < c->child_count; i++)
        forget_items(&c->children[i]);
}

static void start_chunk(struct duck_append *ap)
{
    struct duck *d = ap->d;
    d->f.duckdb_data_chunk_reset(ap->chunk);
    ap->row = 0;
    for (size_t i = 0; i < ap->count; i++) {
        forget_items(&ap->columns[i]);
        point(d, &ap->columns[i], d->f.duckdb_data_chunk_get_vector(ap->chunk, i));
    }
}

uint64_t duck_column_add_item(struct duck_append *ap, struct duck_column *c)
{
    struct duck *d = ap->d;
    if (c->length == c->capacity) {
        uint64_t room = c->capacity == 0 ? FIRST_ITEMS : c->capacity * 2;
        /* Only rows within the size survive a move. */
        if (d->f.duckdb_list_vector_set_size(c->vector, c->length) != DuckDBSuccess ||
            d->f.duckdb_list_vector_reserve(c->vector, room) != DuckDBSuccess)
            return UINT64_MAX;
        c->capacity = room;
        point(d, &c->children[0], d->f.duckdb_list_vector_get_child(c->vector));
    }
    return c->length++;
}

/* ---- values ---- */

void duck_column_put_null(struct duck_append *ap, struct duck_column *c, uint64_t row)
{
    ap->d->f.duckdb_validity_set_row_invalid(c->validity, row);
    if (has_items(c)) {
        ((struct duck_list_entry *)c->data)[row] = (struct duck_list_entry){c->length, 0};
        return;
    }
    for (size_t i = 0; c->type == DUCK_STRUCT && i < c->child_count; i++)
        duck_column_put_null(ap, &c->children[i], row);
}

void duck_column_put_bytes(struct duck_append *ap, struct duck_column *c, uint64_t row,
                           struct slice s)
{
    ap->d->f.duckdb_vector_assign_string_element_len(c->vector, row, s.len == 0 ? "" : s.data,
                                                     s.len);
}

/* ---- rows ---- */

static bool failed(struct duck_append *ap, struct err *err)
{
    return duck_text_error(ap->d->f.duckdb_appender_error(ap->appender), err);
}

static void set_sizes(struct duck *d, const struct duck_column *c)
{
    if (has_items(c))
        (void)d->f.duckdb_list_vector_set_size(c->vector, c->length);
    for (size_t i = 0; i < c->child_count; i++)
        set_sizes(d, &c->children[i]);
}

static bool flush(struct duck_append *ap, struct err *err)
{
    struct duck *d = ap->d;
    if (ap->row == 0)
        return true;
    if (duck_must_stop(d))
        return err_set(err, SQLSTATE_QUERY_CANCELED, "canceling the task's run");
    for (size_t i = 0; i < ap->count; i++)
        set_sizes(d, &ap->columns[i]);
    d->f.duckdb_data_chunk_set_size(ap->chunk, ap->row);
    if (d->f.duckdb_append_data_chunk(ap->appender, ap->chunk) != DuckDBSuccess)
        return failed(ap, err);
    start_chunk(ap);
    return true;
}

struct duck_column *duck_append_columns(struct duck_append *ap, size_t *count)
{
    *count = ap->count;
    return ap->columns;
}

uint64_t duck_append_row(const struct duck_append *ap)
{
    return ap->row;
}

bool duck_append_next(struct duck_append *ap, struct err *err)
{
    return ++ap->row < ap->rows_max || flush(ap, err);
}

static bool make_chunk(struct duck_append *ap, struct err *err)
{
    struct duck *d = ap->d;
    duckdb_logical_type *types = calloc(ap->count + 1, sizeof(void *));
    if (types == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < ap->count; i++)
        types[i] = d->f.duckdb_appender_column_type(ap->appender, i);
    ap->chunk = d->f.duckdb_create_data_chunk(types, ap->count);
    for (size_t i = 0; i < ap->count; i++)
        d->f.duckdb_destroy_logical_type(&types[i]);
    free(types);
    if (ap->chunk == NULL)
        return err_no_memory(err);
    ap->rows_max = d->f.duckdb_vector_size();
    start_chunk(ap);
    return true;
}

static bool describe_table(struct duck_append *ap, const char *table, struct err *err)
{
    struct duck_vector *v;
    struct buf b;
    buf_init(&b, 4096);
    buf_append_cstr(&b, "SELECT * FROM ");
    duck_put_name(&b, table);
    const char *sql = buf_cstr(&b);
    bool ok = sql == NULL ? err_no_memory(err)
                          : duck_describe(ap->d, &ap->a, sql, &v, &ap->count, err) &&
                                mirror(&ap->a, v, ap->count, &ap->columns, err);
    buf_fini(&b);
    return ok;
}

bool duck_append_open(struct duck *d, const char *table, struct duck_append **out, struct err *err)
{
    struct duck_append *ap = calloc(1, sizeof *ap);
    if (ap == NULL)
        return err_no_memory(err);
    ap->d = d;
    arena_init(&ap->a, 0);
    bool ok = describe_table(ap, table, err);
    if (ok && d->f.duckdb_appender_create_ext(d->connection, NULL, NULL, table, &ap->appender) !=
                  DuckDBSuccess)
        ok = failed(ap, err);
    if (!ok || !make_chunk(ap, err)) {
        duck_append_close(ap, NULL);
        return false;
    }
    *out = ap;
    return true;
}

bool duck_append_close(struct duck_append *ap, struct err *err)
{
    bool ok = true;
    if (ap == NULL)
        return true;
    struct duck *d = ap->d;
    if (err != NULL && ap->appender != NULL) {
        ok = flush(ap, err);
        if (ok && d->f.duckdb_appender_close(ap->appender) != DuckDBSuccess)
            ok = failed(ap, err);
    }
    if (ap->chunk != NULL)
        d->f.duckdb_destroy_data_chunk(&ap->chunk);
    if (ap->appender != NULL)
        (void)d->f.duckdb_appender_destroy(&ap->appender);
    arena_fini(&ap->a);
    free(ap);
    return ok;
}
