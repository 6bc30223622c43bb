/* Partial updates: a row in a log file that does not say the value of every column. Which columns it
 * says depends on how the table's writers work:
 *
 *   blocks marked IS_PARTIAL        those of the block's schema
 *   MERGE_IGNORE_NULLS              those that are not NULL
 *   MERGE_IGNORE_DEFAULTS           those that are not the schema's default
 *   MERGE_FILL_UNAVAILABLE          those that do not hold the marker
 *
 * All rows of a key stand in an order: by commit time as they were written, the base file's first; by
 * event time by ordering value, the later of equal ones behind. What stands before a delete is gone;
 * of the rest the last row that says a column gives its value. The commit time that tells which commits
 * changed the row is that of the row written last, which need not be the last by ordering value.
 *
 * Values of one column from different sources meet in one column here, so DuckDB widens them to a
 * common type; elsewhere each keeps its own. */
#include <string.h>

#include "log_rows.h"
#include "merge_sql.h"

static bool puts_key_of(const struct relation_group *g)
{
    return g->source != RELATION_FILES && g->source != RELATION_FOLDED;
}

static bool is_log(const struct relation_group *g)
{
    return g->source == RELATION_LOG_TABLE || g->source == RELATION_LOG_FILES;
}

static const char *default_of(const struct relation_group *g, const char *name)
{
    for (size_t i = 0; g->type != NULL && i < g->type->nfields; i++)
        if (strcmp(g->type->fields[i].name, name) == 0)
            return g->type->fields[i].default_text;
    return NULL;
}

static bool is_numeric(enum duck_type t)
{
    return (t >= DUCK_INT8 && t <= DUCK_UINT64) || t == DUCK_FLOAT || t == DUCK_DOUBLE;
}

/* " AND the column is not its default". Defaults of other types than these are none. */
static void put_not_default(struct buf *b, const struct duck_vector *v, const char *text)
{
    buf_append_cstr(b, " AND ");
    duck_put_name(b, v->name);
    buf_append_cstr(b, " IS DISTINCT FROM ");
    if (text != NULL && v->type == DUCK_TEXT)
        duck_put_text(b, text);
    else
        buf_append_cstr(b, text != NULL && (is_numeric(v->type) || v->type == DUCK_BOOL) ? text
                                                                                         : "NULL");
}

static void put_not_marker(struct buf *b, const struct duck_vector *v, const char *marker)
{
    buf_append_cstr(b, " AND ");
    duck_put_name(b, v->name);
    buf_append_cstr(b, " IS DISTINCT FROM ");
    buf_append_cstr(b, v->type == DUCK_BLOB ? "encode(" : "(");
    duck_put_text(b, marker);
    buf_append_byte(b, ')');
}

/* Does the row say the value of this column? */
static void put_present(struct buf *b, const struct relation *r, const struct relation_group *g,
                        size_t column)
{
    const struct merge_mode *mode = &r->table->merge;
    const struct duck_vector *v =
        columns_find(g->columns, g->column_count, r->columns->items[column].source);
    if (v == NULL) {
        bool whole = mode->partial == MERGE_WHOLE && !g->is_partial;
        buf_append_cstr(b, whole ? "true" : "false");
        return;
    }
    buf_append_cstr(b, "(true");
    if (mode->partial == MERGE_IGNORE_NULLS)
        put_not_default(b, v, NULL);
    if (mode->partial == MERGE_IGNORE_DEFAULTS)
        put_not_default(b, v, default_of(g, v->name));
    if (mode->partial == MERGE_FILL_UNAVAILABLE && (v->type == DUCK_TEXT || v->type == DUCK_BLOB))
        put_not_marker(b, v, mode->unavailable);
    buf_append_byte(b, ')');
}

static bool put_values(struct buf *b, const struct relation *r, const struct relation_group *g,
                       struct err *err)
{
    for (size_t i = 0; i < r->columns->count; i++) {
        buf_append_cstr(b, ", ");
        put_present(b, r, g, i);
        buf_printf(b, " AS p%zu, ", i);
        if (!relation_put_value(b, r, g, i, err))
            return false;
        buf_printf(b, " AS c%zu", i);
    }
    buf_append_cstr(b, ", ");
    relation_put_meta(b, g, RELATION_COMMIT_TIME);
    buf_append_cstr(b, " AS ct, ");
    relation_put_meta(b, g, RELATION_COMMIT_SEQNO);
    buf_append_cstr(b, " AS sn");
    return true;
}

/* SELECT slice, seq, key, deleted, ord, cut, p0, c0, …, ct, sn */
static bool put_log_rows(struct merger *m, const struct relation_group *g, struct err *err)
{
    struct buf *b = &m->sql;
    buf_append_cstr(b, "SELECT " LOG_SLICE_COLUMN " AS slice, " LOG_SEQ_COLUMN " AS seq, ");
    merge_put_key(b, m->r->table, g);
    buf_append_cstr(b, " AS key, ");
    merge_put_deleted(b, m->r->table, g);
    buf_append_cstr(b, " AS deleted, ");
    merge_orders_put(b, &m->orders, g);
    buf_printf(b, " AS ord, deleted AND (ord IS NULL OR %s) AS cut",
               m->by_event ? "false" : "true");
    if (!put_values(b, m->r, g, err))
        return false;
    buf_append_cstr(b, " FROM ");
    merge_put_log_rows(b, m->r, g);
    return true;
}

/* Of base files those rows whose key is in a log file. */
static bool put_base_rows(struct merger *m, const struct relation_group *g, struct err *err)
{
    struct buf *b = &m->sql;
    buf_append_cstr(b, "SELECT w.slice AS slice, CAST(0 AS BIGINT) AS seq, w.key AS key, "
                       "false AS deleted, w.ord AS ord, false AS cut");
    for (size_t i = 0; i < m->r->columns->count; i++)
        buf_printf(b, ", w.p%zu, w.c%zu", i, i);
    buf_append_cstr(b, ", w.ct, w.sn FROM (SELECT s.slice, f.* FROM (SELECT __file, ");
    merge_put_key(b, m->r->table, g);
    buf_append_cstr(b, " AS key, ");
    merge_orders_put(b, &m->orders, g);
    buf_append_cstr(b, " AS ord");
    if (!put_values(b, m->r, g, err))
        return false;
    buf_append_cstr(b, " FROM ");
    merge_put_files(b, g->paths, g->count, ", filename='__file'");
    buf_printf(b,
               ") f JOIN %sslice s ON s.base = f.__file) w SEMI JOIN %slast l "
               "ON l.slice = w.slice AND l.key = w.key",
               m->r->prefix, m->r->prefix);
    return true;
}

static void put_deletes(struct merger *m)
{
    struct buf *b = &m->sql;
    buf_append_cstr(b, " UNION ALL SELECT slice, seq, ");
    merge_put_delete_key(b, m->r->table);
    buf_append_cstr(b, " AS key, true AS deleted, ");
    merge_orders_put_delete(b, &m->orders);
    buf_printf(b, " AS ord, d.cut OR ord IS NULL OR %s AS cut", m->by_event ? "false" : "true");
    for (size_t i = 0; i < m->r->columns->count; i++)
        buf_append_cstr(b, ", false, NULL");
    buf_printf(b, ", NULL, NULL FROM %sdelete d", m->r->prefix);
}

static bool put_all_rows(struct merger *m, struct err *err)
{
    bool any = false;
    for (size_t i = 0; i < m->r->count; i++) {
        const struct relation_group *g = &m->r->groups[i];
        if (!puts_key_of(g))
            continue;
        buf_append_cstr(&m->sql, any ? " UNION ALL " : "");
        if (!(is_log(g) ? put_log_rows : put_base_rows)(m, g, err))
            return false;
        any = true;
    }
    if (m->l->has_deletes)
        put_deletes(m);
    return true;
}

bool merge_fold(struct merger *m, struct err *err)
{
    struct buf *b = &m->sql;
    buf_printf(b, "CREATE TABLE %sfold AS WITH every AS (", m->r->prefix);
    if (!put_all_rows(m, err))
        return false;
    buf_append_cstr(b, "), live AS (SELECT *, max(CASE WHEN cut THEN seq END) "
                       "OVER (PARTITION BY slice, key) AS past FROM every), "
                       "ranked AS (SELECT *, row_number() OVER (PARTITION BY slice, key ORDER BY ");
    buf_append_cstr(b, m->by_event ? "ord NULLS FIRST, seq" : "seq");
    buf_append_cstr(b, ") AS place FROM live WHERE past IS NULL OR seq > past), "
                       "kept AS (SELECT *, max(CASE WHEN deleted THEN place END) "
                       "OVER (PARTITION BY slice, key) AS dead FROM ranked) "
                       "SELECT slice, key");
    for (size_t i = 0; i < m->r->columns->count; i++)
        buf_printf(b, ", last(c%zu ORDER BY place) FILTER (WHERE p%zu) AS c%zu", i, i, i);
    buf_append_cstr(b, ", last(ct ORDER BY seq) AS ct, last(sn ORDER BY seq) AS sn "
                       "FROM kept WHERE dead IS NULL OR place > dead GROUP BY slice, key");
    return merge_run_sql(m, err);
}
