/* Writers change types over time, and deletes carry their ordering value in one of Avro's types and not
 * in the column's. So each field gets a class, the widest of what the sources have, and each source an
 * expression that brings its value there. Several fields are compared as a row. */
#include "merge_order.h"

#include "columns.h"
#include "log_rows.h"

static enum merge_order_class class_of(enum duck_type t)
{
    switch (t) {
    case DUCK_FLOAT:
    case DUCK_DOUBLE: return MERGE_ORDER_REAL;
    case DUCK_DECIMAL: return MERGE_ORDER_DECIMAL;
    case DUCK_BLOB: return MERGE_ORDER_BYTES;
    case DUCK_TEXT:
    case DUCK_UUID:
    case DUCK_OTHER:
    case DUCK_LIST:
    case DUCK_STRUCT:
    case DUCK_MAP: return MERGE_ORDER_TEXT;
    case DUCK_NULL: return MERGE_ORDER_NONE;
    default: return MERGE_ORDER_INT;
    }
}

static bool counts_millis(const struct relation_group *g, const char *field)
{
    for (size_t i = 0; g->type != NULL && i < g->type->nfields; i++) {
        if (!slice_equals_nocase(slice_cstr(g->type->fields[i].name), field))
            continue;
        enum log_logical l = log_type_value(g->type->fields[i].type)->logical;
        return l == LOG_TIMESTAMP_MILLIS || l == LOG_LOCAL_TIMESTAMP_MILLIS || l == LOG_TIME_MILLIS;
    }
    return false;
}

bool merge_orders_read(struct arena *a, const struct relation *r, struct merge_orders *out,
                       struct err *err)
{
    const struct hudi_names *names = &r->table->ordering;
    out->count = names->count;
    out->items = arena_alloc_array(a, names->count + 1, sizeof *out->items);
    if (out->items == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < names->count; i++) {
        struct merge_order_field *f = &out->items[i];
        f->name = names->items[i];
        for (size_t k = 0; k < r->count; k++) {
            const struct relation_group *g = &r->groups[k];
            const struct duck_vector *v = columns_find(g->columns, g->column_count, f->name);
            if (v == NULL)
                continue;
            enum merge_order_class class = class_of(v->type);
            f->class = class > f->class ? class : f->class;
            if (v->type == DUCK_DECIMAL && v->scale > f->scale)
                f->scale = v->scale;
            f->counts_millis |= counts_millis(g, f->name);
        }
    }
    return true;
}

static void put_integer(struct buf *b, const struct duck_vector *v)
{
    switch (v->type) {
    case DUCK_DATE: buf_append_cstr(b, "datediff('day', DATE '1970-01-01', "); break;
    case DUCK_TIME:
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMPTZ: buf_append_cstr(b, "epoch_us("); break;
    case DUCK_TIMESTAMP_S:
    case DUCK_TIMESTAMP_MS:
    case DUCK_TIMESTAMP_NS:
        buf_append_cstr(b, "epoch_us(CAST(");
        duck_put_name(b, v->name);
        buf_append_cstr(b, " AS TIMESTAMP))");
        return;
    default: buf_append_cstr(b, "TRY_CAST("); break;
    }
    duck_put_name(b, v->name);
    bool cast = v->type < DUCK_DATE;
    buf_append_cstr(b, cast ? " AS BIGINT)" : ")");
}

static void put_type(struct buf *b, const struct merge_order_field *f)
{
    switch (f->class) {
    case MERGE_ORDER_DECIMAL: buf_printf(b, "DECIMAL(38,%u)", f->scale); return;
    case MERGE_ORDER_REAL: buf_append_cstr(b, "DOUBLE"); return;
    case MERGE_ORDER_TEXT: buf_append_cstr(b, "VARCHAR"); return;
    case MERGE_ORDER_BYTES: buf_append_cstr(b, "BLOB"); return;
    default: buf_append_cstr(b, "BIGINT"); return;
    }
}

static void put_field(struct buf *b, const struct merge_order_field *f,
                      const struct relation_group *g)
{
    const struct duck_vector *v = columns_find(g->columns, g->column_count, f->name);
    if (v != NULL && f->class == MERGE_ORDER_INT) {
        put_integer(b, v);
        return;
    }
    buf_append_cstr(b, v == NULL ? "CAST(" : "TRY_CAST(");
    if (v == NULL)
        buf_append_cstr(b, "NULL");
    else
        duck_put_name(b, v->name);
    buf_append_cstr(b, " AS ");
    put_type(b, f);
    buf_append_byte(b, ')');
}

static void put_delete_field(struct buf *b, const struct merge_order_field *f, size_t i)
{
    if (f->class == MERGE_ORDER_BYTES) {
        buf_printf(b, "encode(t%zu)", i);
        return;
    }
    buf_printf(b, "TRY_CAST(t%zu AS ", i);
    put_type(b, f);
    buf_append_byte(b, ')');
    if (f->class == MERGE_ORDER_INT && f->counts_millis)
        buf_printf(b, " * CASE WHEN k%zu = %d THEN 1000 ELSE 1 END", i, (int)LOG_ORDER_LONG);
}

static void put_value(struct buf *b, const struct merge_orders *o, const struct relation_group *g,
                      size_t i)
{
    if (g == NULL)
        put_delete_field(b, &o->items[i], i);
    else
        put_field(b, &o->items[i], g);
}

/* One value as it is; several as a struct (DuckDB makes no tables of unnamed rows), NULL when all are. */
static void put_row(struct buf *b, const struct merge_orders *o, const struct relation_group *g)
{
    if (o->count == 0)
        buf_append_cstr(b, "CAST(NULL AS BIGINT)");
    if (o->count == 1)
        put_value(b, o, g, 0);
    if (o->count < 2)
        return;
    buf_append_cstr(b, "CASE WHEN ");
    for (size_t i = 0; i < o->count; i++) {
        put_value(b, o, g, i);
        buf_append_cstr(b, i + 1 == o->count ? " IS NOT NULL" : " IS NOT NULL OR ");
    }
    buf_append_cstr(b, " THEN struct_pack(");
    for (size_t i = 0; i < o->count; i++) {
        buf_printf(b, "%so%zu := ", i == 0 ? "" : ", ", i);
        put_value(b, o, g, i);
    }
    buf_append_cstr(b, ") END");
}

void merge_orders_put(struct buf *b, const struct merge_orders *o, const struct relation_group *g)
{
    put_row(b, o, g);
}

void merge_orders_put_delete(struct buf *b, const struct merge_orders *o)
{
    put_row(b, o, NULL);
}
