/* Only keys, ordering values and places are merged here; the rows themselves are selected from their
 * sources afterwards, so that each value keeps the type that its file gave it, and what a merge holds in
 * memory is narrow.
 *
 * By commit time the last row of a key in the log files stands for it, and nothing in the base file
 * does. By event time:
 *
 *   an unconditional delete (`cut`) closes the past: rows before it, the base file's too, are gone
 *   among the rest the highest ordering value wins, the later of equal ones; deletes take part
 *   the base file's row wins if its value is higher still */
#include "merge_sql.h"

#include <string.h>

#include "log_rows.h"

#define MERGE_SQL_BYTES ((size_t)256 << 20)
#define RECORD_KEY "_hoodie_record_key"

bool merge_run_sql(struct merger *m, struct err *err)
{
    const char *sql = buf_cstr(&m->sql);
    bool ok = sql == NULL ? err_no_memory(err) : duck_run(m->duck, sql, err);
    buf_clear(&m->sql);
    return ok;
}

static bool is_log(const struct relation_group *g)
{
    return g->source == RELATION_LOG_TABLE || g->source == RELATION_LOG_FILES;
}

/* ---- sources ---- */

void merge_put_files(struct buf *b, const char *const *paths, size_t count, const char *more)
{
    buf_append_cstr(b, "read_parquet([");
    for (size_t i = 0; i < count; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        duck_put_text(b, paths[i]);
    }
    buf_printf(b, "], hive_partitioning=false, union_by_name=false%s)", more);
}

/* "k1:v1,k2:v2", or the value of a single field. Where records have no meta fields both sides are made
 * so; deletes were written by the table's key generator. */
void merge_put_key(struct buf *b, const struct hudi_table *t, const struct relation_group *g)
{
    if (t->has_meta_fields) {
        buf_append_cstr(b, RECORD_KEY);
        return;
    }
    for (size_t i = 0; i < t->record_key.count; i++) {
        const char *name = t->record_key.items[i];
        const struct duck_vector *v = columns_find(g->columns, g->column_count, name);
        buf_append_cstr(b, i == 0 ? "" : " || ',' || ");
        if (t->record_key.count > 1) {
            duck_put_text(b, name);
            buf_append_cstr(b, " || ':' || ");
        }
        buf_append_cstr(b, "coalesce(CAST(");
        duck_put_name(b, v == NULL ? name : v->name);
        buf_append_cstr(b, " AS VARCHAR), '__null__')");
    }
}

/* A single field's key may have been written as "name:value". */
void merge_put_delete_key(struct buf *b, const struct hudi_table *t)
{
    if (t->has_meta_fields || !t->names_keys || t->record_key.count != 1) {
        buf_append_cstr(b, "key");
        return;
    }
    const char *name = t->record_key.items[0];
    buf_append_cstr(b, "CASE WHEN starts_with(key, ");
    duck_put_text(b, name);
    buf_printf(b, " || ':') THEN substr(key, %zu) ELSE key END", strlen(name) + 2);
}

static bool check_keys(const struct relation *r, struct err *err)
{
    const struct hudi_table *t = r->table;
    size_t n = t->has_meta_fields ? 1 : t->record_key.count;
    for (size_t i = 0; i < r->count; i++)
        for (size_t k = 0; k < n && r->groups[i].source != RELATION_FILES; k++) {
            const struct relation_group *g = &r->groups[i];
            const char *name = t->has_meta_fields ? RECORD_KEY : t->record_key.items[k];
            if (columns_find(g->columns, g->column_count, name) == NULL)
                return err_set(err, SQLSTATE_DATA_CORRUPTED,
                               "files of the Hudi table lack the key column \"%s\"", name);
        }
    return true;
}

static void put_log_files(struct buf *b, const struct relation *r, const struct relation_group *g)
{
    buf_append_cstr(b, "(SELECT q.*, m.slice AS " LOG_SLICE_COLUMN
                       ", m.first + q.file_row_number AS " LOG_SEQ_COLUMN " FROM ");
    merge_put_files(b, g->paths, g->count, ", filename='__file', file_row_number=true");
    buf_printf(b, " q JOIN %sblock m ON m.path = q.__file)", r->prefix);
}

/* All rows of a group of log rows, with slice and sequence number. */
void merge_put_log_rows(struct buf *b, const struct relation *r, const struct relation_group *g)
{
    if (g->source == RELATION_LOG_TABLE)
        duck_put_name(b, g->table);
    else
        put_log_files(b, r, g);
}

void merge_put_source(struct buf *b, const struct relation *r, const struct relation_group *g)
{
    switch (g->source) {
    case RELATION_FILES: merge_put_files(b, g->paths, g->count, ""); return;
    case RELATION_MERGED_FILES:
        buf_append_cstr(b, "(SELECT b.* FROM ");
        merge_put_files(b, g->paths, g->count, ", filename='__file'");
        buf_printf(b, " b ANTI JOIN %swinner w ON w.base = b.__file AND w.key = ", r->prefix);
        merge_put_key(b, r->table, g);
        buf_append_byte(b, ')');
        return;
    case RELATION_LOG_TABLE:
    case RELATION_LOG_FILES:
        buf_append_cstr(b, "(SELECT l.* FROM ");
        merge_put_log_rows(b, r, g);
        buf_printf(b,
                   " l SEMI JOIN (SELECT seq FROM %swinner WHERE NOT deleted) w "
                   "ON w.seq = l." LOG_SEQ_COLUMN ")",
                   r->prefix);
        return;
    case RELATION_FOLDED: buf_printf(b, "%sfold", r->prefix); return;
    }
}

/* ---- tables ---- */

static bool make_slices(struct merger *m, const char *const *bases, size_t count, struct err *err)
{
    bool any = false;
    buf_printf(&m->sql, "CREATE TABLE %sslice (slice INTEGER, base VARCHAR)", m->r->prefix);
    if (!merge_run_sql(m, err))
        return false;
    buf_printf(&m->sql, "INSERT INTO %sslice VALUES ", m->r->prefix);
    for (size_t i = 0; i < count; i++) {
        if (bases[i] == NULL)
            continue;
        buf_printf(&m->sql, "%s(%zu, ", any ? ", " : "", i);
        duck_put_text(&m->sql, bases[i]);
        buf_append_byte(&m->sql, ')');
        any = true;
    }
    if (any)
        return merge_run_sql(m, err);
    buf_clear(&m->sql);
    return true;
}

/* Is the row a delete? */
void merge_put_deleted(struct buf *b, const struct hudi_table *t, const struct relation_group *g)
{
    const struct duck_vector *flag =
        columns_find(g->columns, g->column_count, "_hoodie_is_deleted");
    const struct duck_vector *operation =
        columns_find(g->columns, g->column_count, "_hoodie_operation");
    const struct duck_vector *field =
        t->merge.delete_field == NULL
            ? NULL
            : columns_find(g->columns, g->column_count, t->merge.delete_field);
    buf_append_cstr(b, "(false");
    if (flag != NULL && flag->type == DUCK_BOOL)
        buf_append_cstr(b, " OR coalesce(_hoodie_is_deleted, false)");
    if (operation != NULL && operation->type == DUCK_TEXT)
        buf_append_cstr(b, " OR coalesce(_hoodie_operation IN ('D', '-U'), false)");
    if (field != NULL) {
        const char *fold = t->merge.delete_any_case ? "lower" : "";
        buf_printf(b, " OR coalesce(%s(CAST(", fold);
        duck_put_name(b, field->name);
        buf_printf(b, " AS VARCHAR)) = %s(", fold);
        duck_put_text(b, t->merge.delete_marker);
        buf_append_cstr(b, "), false)");
    }
    buf_append_byte(b, ')');
}

/* SELECT slice, seq, key, deleted, ord, cut of all rows and deletes of log files */
static void put_log_keys(struct merger *m)
{
    struct buf *b = &m->sql;
    bool any = false;
    for (size_t i = 0; i < m->r->count; i++) {
        const struct relation_group *g = &m->r->groups[i];
        if (!is_log(g))
            continue;
        buf_append_cstr(b, any ? " UNION ALL " : "");
        buf_append_cstr(b, "SELECT " LOG_SLICE_COLUMN " AS slice, " LOG_SEQ_COLUMN " AS seq, ");
        merge_put_key(b, m->r->table, g);
        buf_append_cstr(b, " AS key, ");
        merge_put_deleted(b, m->r->table, g);
        buf_append_cstr(b, " AS deleted, ");
        merge_orders_put(b, &m->orders, g);
        buf_append_cstr(b, " AS ord, deleted AND ord IS NULL AS cut FROM ");
        merge_put_log_rows(b, m->r, g);
        any = true;
    }
    if (m->l->has_deletes) {
        buf_append_cstr(b, any ? " UNION ALL " : "");
        buf_append_cstr(b, "SELECT slice, seq, ");
        merge_put_delete_key(b, m->r->table);
        buf_append_cstr(b, " AS key, true AS deleted, ");
        merge_orders_put_delete(b, &m->orders);
        buf_printf(b, " AS ord, d.cut OR ord IS NULL AS cut FROM %sdelete d", m->r->prefix);
        any = true;
    }
    if (!any)
        buf_append_cstr(b, "SELECT 0 AS slice, CAST(0 AS BIGINT) AS seq, '' AS key, "
                           "false AS deleted, CAST(NULL AS BIGINT) AS ord, false AS cut "
                           "WHERE false");
}

static bool make_last(struct merger *m, struct err *err)
{
    struct buf *b = &m->sql;
    buf_printf(b, "CREATE TABLE %slast AS ", m->r->prefix);
    if (!m->by_event) {
        buf_append_cstr(b, "SELECT slice, key, max(seq) AS seq, arg_max(deleted, seq) AS deleted, "
                           "true AS closed, NULL AS ord FROM (");
        put_log_keys(m);
        buf_append_cstr(b, ") GROUP BY slice, key");
        return merge_run_sql(m, err);
    }
    buf_append_cstr(b, "SELECT slice, key, seq, deleted, past IS NOT NULL AS closed, ord FROM ("
                       "SELECT *, max(CASE WHEN cut THEN seq END) OVER (PARTITION BY slice, key) "
                       "AS past FROM (");
    put_log_keys(m);
    buf_append_cstr(b, ")) WHERE past IS NULL OR seq >= past QUALIFY row_number() OVER "
                       "(PARTITION BY slice, key "
                       "ORDER BY cut, ord DESC NULLS LAST, seq DESC) = 1");
    return merge_run_sql(m, err);
}

/* Keys and ordering values of base files that are merged. False: there are none. */
static bool put_base_keys(struct merger *m)
{
    bool any = false;
    for (size_t i = 0; i < m->r->count; i++) {
        const struct relation_group *g = &m->r->groups[i];
        if (g->source != RELATION_MERGED_FILES)
            continue;
        buf_append_cstr(&m->sql,
                        any ? " UNION ALL SELECT __file AS file, " : "SELECT __file AS file, ");
        merge_put_key(&m->sql, m->r->table, g);
        buf_append_cstr(&m->sql, " AS key, ");
        merge_orders_put(&m->sql, &m->orders, g);
        buf_append_cstr(&m->sql, " AS ord FROM ");
        merge_put_files(&m->sql, g->paths, g->count, ", filename='__file'");
        any = true;
    }
    return any;
}

/* Keys whose row in the base file wins. */
static bool make_kept(struct merger *m, struct err *err)
{
    const char *p = m->r->prefix;
    buf_printf(&m->sql,
               "CREATE TABLE %skept AS SELECT DISTINCT f.slice, f.key FROM %slast f "
               "JOIN %sslice s ON s.slice = f.slice JOIN (",
               p, p, p);
    if (!m->by_event || m->folds || !put_base_keys(m)) {
        buf_clear(&m->sql);
        buf_printf(&m->sql, "CREATE TABLE %skept (slice INTEGER, key VARCHAR)", p);
        return merge_run_sql(m, err);
    }
    buf_append_cstr(&m->sql, ") b ON b.file = s.base AND b.key = f.key WHERE NOT f.closed AND "
                             "b.ord IS NOT NULL AND (f.ord IS NULL OR b.ord > f.ord)");
    return merge_run_sql(m, err);
}

static bool make_winner(struct merger *m, struct err *err)
{
    const char *p = m->r->prefix;
    buf_printf(&m->sql,
               "CREATE TABLE %swinner AS SELECT f.slice, f.key, f.seq, f.deleted, s.base "
               "FROM %slast f LEFT JOIN %sslice s ON s.slice = f.slice "
               "ANTI JOIN %skept k ON k.slice = f.slice AND k.key = f.key",
               p, p, p, p);
    return merge_run_sql(m, err);
}

static bool must_fold(const struct relation *r, const struct log_load *l)
{
    bool folds = r->table->merge.partial != MERGE_WHOLE;
    for (size_t i = 0; i < l->count; i++)
        folds |= l->sources[i].is_partial;
    return folds && r->columns != NULL && l->count > 0;
}

/* Rows of log files come out of <p>fold then, together with those that they change. */
static bool replace_log_groups(struct merger *m, struct relation *r, struct err *err)
{
    size_t kept = 0;
    struct relation_group *groups = arena_alloc_array(m->l->arena, r->count + 1, sizeof *groups);
    if (groups == NULL)
        return err_no_memory(err);
    struct relation_group folded = {.source = RELATION_FOLDED, .signature = "fold"};
    for (size_t i = 0; i < r->count; i++) {
        const struct relation_group *g = &r->groups[i];
        if (!is_log(g))
            groups[kept++] = *g;
        else if (g->column_count > folded.column_count) {
            folded.columns = g->columns;
            folded.column_count = g->column_count;
        }
    }
    groups[kept++] = folded;
    r->groups = groups;
    r->count = kept;
    return true;
}

static bool run_all(struct merger *m, struct relation *r, const char *const *bases, size_t nslices,
                    struct err *err)
{
    if (!check_keys(r, err) || !merge_orders_read(m->l->arena, r, &m->orders, err) ||
        !make_slices(m, bases, nslices, err) || !make_last(m, err) || !make_kept(m, err) ||
        !make_winner(m, err))
        return false;
    return !m->folds || (merge_fold(m, err) && replace_log_groups(m, r, err));
}

bool merge_run(struct duck *d, struct relation *r, const struct log_load *l,
               const char *const *bases, size_t nslices, struct err *err)
{
    struct merger m = {.duck = d, .r = r, .l = l};
    m.by_event = r->table->merge.order == MERGE_EVENT_TIME && r->table->ordering.count > 0;
    m.folds = must_fold(r, l);
    buf_init(&m.sql, MERGE_SQL_BYTES);
    bool ok = run_all(&m, r, bases, nslices, err);
    buf_fini(&m.sql);
    return ok;
}
