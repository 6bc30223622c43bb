/* Each group knows where its rows come from (merge_sql.c writes that as SQL), and its columns.
 *
 * Schemas are compared as texts: every name and type of a file in order, nested ones included. Most
 * tables have one such text, a table whose columns changed has a few. Where partition columns stand
 * in the path alone, the path's values belong to the text too. */
#include "relation.h"

#include <string.h>
#include <strings.h>

#include "log_load.h"
#include "merge_sql.h"

#define SIGNATURE_BYTES ((size_t)16 << 20)

static void put_signature(struct buf *b, const struct duck_vector *v, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_printf(b, "%zu:%s %d %u %u(", strlen(v[i].name), v[i].name, (int)v[i].type, v[i].width,
                   v[i].scale);
        put_signature(b, v[i].children, v[i].child_count);
        buf_append_cstr(b, ")");
    }
}

static void put_values(struct buf *b, const struct relation_group *g, size_t count)
{
    for (size_t i = 0; g->values != NULL && i < count; i++)
        buf_printf(b, " %zu=%s", i, g->values[i] == NULL ? "\\N" : g->values[i]);
}

static bool describe(struct arena *a, struct duck *d, const char *path, struct relation_group *g,
                     struct err *err)
{
    struct buf b;
    buf_init(&b, SIGNATURE_BYTES);
    buf_append_cstr(&b, "SELECT * FROM ");
    merge_put_files(&b, &path, 1, "");
    const char *sql = buf_cstr(&b);
    bool ok = sql == NULL ? err_no_memory(err)
                          : duck_describe(d, a, sql, &g->columns, &g->column_count, err);
    buf_fini(&b);
    return ok;
}

static bool sign(struct arena *a, const struct hudi_table *table, struct relation_group *g,
                 struct err *err)
{
    struct buf b;
    buf_init(&b, SIGNATURE_BYTES);
    buf_printf(&b, "%d ", (int)g->source);
    put_signature(&b, g->columns, g->column_count);
    put_values(&b, g, table->partition.count);
    const char *text = buf_cstr(&b);
    g->signature = text == NULL ? NULL : arena_copy_cstr(a, text);
    buf_fini(&b);
    return g->signature != NULL || err_no_memory(err);
}

/* Adds a file to the group with its schema, or makes one. */
static bool add(struct arena *a, struct relation *r, const struct relation_group *file,
                const char *path, size_t capacity, struct err *err)
{
    struct relation_group *g = NULL;
    for (size_t i = 0; i < r->count && g == NULL; i++)
        if (strcmp(r->groups[i].signature, file->signature) == 0)
            g = &r->groups[i];
    if (g == NULL) {
        g = &r->groups[r->count++];
        *g = *file;
        g->paths = arena_alloc_array(a, capacity, sizeof *g->paths);
        if (g->paths == NULL)
            return err_no_memory(err);
    }
    g->paths[g->count++] = path;
    return true;
}

/* Local paths of all files of the slices: base[i] of slice i (NULL: it has none), and its logs in
 * order behind logs[i]. */
struct fetched {
    const char **base;
    const char ***logs;
};

static bool fetch(struct arena *a, const struct hudi_table *table, const struct hudi_slices *slices,
                  struct fetched *out, struct err *err)
{
    size_t total = 0, n = 0;
    for (size_t i = 0; i < slices->count; i++)
        total += (slices->items[i].path == NULL ? 0 : 1) + slices->items[i].nlogs;
    const char **names = arena_alloc_array(a, total + 1, sizeof *names);
    const char **paths = arena_alloc_array(a, total + 1, sizeof *paths);
    out->base = arena_alloc_array(a, slices->count + 1, sizeof *out->base);
    out->logs = arena_alloc_array(a, slices->count + 1, sizeof *out->logs);
    if (names == NULL || paths == NULL || out->base == NULL || out->logs == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < slices->count; i++) {
        const struct hudi_slice *s = &slices->items[i];
        if (s->path != NULL)
            names[n++] = s->path;
        for (size_t k = 0; k < s->nlogs; k++)
            names[n++] = s->logs[k];
    }
    if (!objstore_fetch_all(table->store, a, names, total, paths, err))
        return false;
    n = 0;
    for (size_t i = 0; i < slices->count; i++) {
        out->base[i] = slices->items[i].path == NULL ? NULL : paths[n++];
        out->logs[i] = &paths[n];
        n += slices->items[i].nlogs;
    }
    return true;
}

static bool add_base(struct arena *a, struct duck *d, struct relation *r,
                     const struct hudi_slice *s, const char *path, size_t capacity, struct err *err)
{
    struct relation_group file = {.source = s->nlogs == 0 ? RELATION_FILES : RELATION_MERGED_FILES};
    if (!describe(a, d, path, &file, err))
        return false;
    if (r->table->drops_partition_columns &&
        !hudi_partition_values(a, r->table, s->partition_path, &file.values, err))
        return false;
    return sign(a, r->table, &file, err) && add(a, r, &file, path, capacity, err);
}

static bool has_logs(const struct hudi_slices *slices)
{
    for (size_t i = 0; i < slices->count; i++)
        if (slices->items[i].nlogs > 0)
            return true;
    return false;
}

/* Sources of log rows as groups behind those of base files. */
static bool add_sources(struct arena *a, struct relation *r, const struct log_load *l,
                        struct err *err)
{
    struct relation_group *groups = arena_alloc_array(a, r->count + l->count + 1, sizeof *groups);
    if (groups == NULL)
        return err_no_memory(err);
    if (r->count > 0)
        memcpy(groups, r->groups, r->count * sizeof *groups);
    r->groups = groups;
    for (size_t i = 0; i < l->count; i++) {
        const struct log_source *s = &l->sources[i];
        r->groups[r->count++] = (struct relation_group){
            .source = s->type != NULL ? RELATION_LOG_TABLE : RELATION_LOG_FILES,
            .signature = s->signature,
            .columns = s->columns,
            .column_count = s->column_count,
            .values = s->values,
            .table = s->table,
            .type = s->type,
            .is_partial = s->is_partial,
            .paths = s->paths,
            .count = s->npaths};
    }
    return true;
}

static bool open_slices(struct arena *a, struct duck *d, struct relation *r, struct log_load *l,
                        const struct hudi_slices *slices, const struct fetched *f, struct err *err)
{
    for (size_t i = 0; i < slices->count; i++) {
        const struct hudi_slice *s = &slices->items[i];
        if (s->path != NULL && !add_base(a, d, r, s, f->base[i], slices->count - i, err))
            return false;
        if (s->nlogs > 0 && !log_load_slice(l, s, f->logs[i], slices->state, (int32_t)i, err))
            return false;
    }
    return true;
}

bool relation_open(struct arena *a, struct duck *d, const struct hudi_table *table,
                   const struct columns *columns, const struct hudi_slices *slices,
                   struct relation *out, struct err *err)
{
    struct log_load l;
    *out = (struct relation){.columns = columns, .table = table};
    struct fetched f;
    const char *prefix = arena_printf(a, "r%u_", duck_next_name(d));
    out->groups = arena_alloc_array(a, slices->count + 1, sizeof *out->groups);
    if (out->groups == NULL || prefix == NULL)
        return err_no_memory(err);
    if (!fetch(a, table, slices, &f, err))
        return false;
    log_load_init(&l, a, d, table, columns, prefix);
    bool ok = open_slices(a, d, out, &l, slices, &f, err);
    if (!log_load_end(&l, ok ? err : NULL))
        return false;
    if (!has_logs(slices))
        return true;
    out->prefix = prefix;
    return add_sources(a, out, &l, err) && merge_run(d, out, &l, f.base, slices->count, err);
}

static const char *path_value(const struct relation *r, const struct relation_group *g,
                              const char *source)
{
    for (size_t i = 0; g->values != NULL && i < r->table->partition.count; i++)
        if (strcasecmp(r->table->partition.items[i], source) == 0)
            return g->values[i];
    return NULL;
}

bool relation_put_value(struct buf *b, const struct relation *r, const struct relation_group *g,
                        size_t column, struct err *err)
{
    const struct column *c = &r->columns->items[column];
    const struct duck_vector *v = columns_find(g->columns, g->column_count, c->source);
    return columns_put_expression(b, c, v, v == NULL ? path_value(r, g, c->source) : NULL, err);
}

static bool put_column(struct buf *b, const struct relation *r, const struct relation_group *g,
                       size_t i, enum columns_part part, struct err *err)
{
    bool trim = part == COLUMNS_KEY && r->columns->items[i].target->blank_padded;
    buf_append_cstr(b, trim ? "rtrim(" : "");
    if (g->source == RELATION_FOLDED)
        buf_printf(b, "c%zu", i);
    else if (!relation_put_value(b, r, g, i, err))
        return false;
    buf_printf(b, "%s AS c%zu", trim ? ")" : "", i);
    return true;
}

void relation_put_meta(struct buf *b, const struct relation_group *g, const char *name)
{
    const struct duck_vector *v = columns_find(g->columns, g->column_count, name);
    if (v == NULL || v->type != DUCK_TEXT)
        buf_append_cstr(b, "CAST(NULL AS VARCHAR)");
    else
        duck_put_name(b, v->name);
}

static void put_meta(struct buf *b, const struct relation_group *g, const char *name,
                     const char *alias)
{
    buf_append_cstr(b, ", ");
    if (g->source == RELATION_FOLDED)
        buf_append_cstr(b, alias);
    else
        relation_put_meta(b, g, name);
    buf_printf(b, " AS %s", alias);
}

static bool put_rows(struct buf *b, const struct relation *r, const struct relation_group *g,
                     enum columns_part part, struct err *err)
{
    size_t count = part == COLUMNS_KEY ? r->columns->key_count : r->columns->count;
    buf_append_cstr(b, "SELECT ");
    for (size_t i = 0; i < count; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        if (!put_column(b, r, g, part == COLUMNS_KEY ? r->columns->key[i] : i, part, err))
            return false;
    }
    if (r->columns->commit_fields && part != COLUMNS_LOAD)
        put_meta(b, g, RELATION_COMMIT_TIME, "ct");
    if (r->columns->commit_fields && part == COLUMNS_ROW)
        put_meta(b, g, RELATION_COMMIT_SEQNO, "sn");
    buf_append_cstr(b, " FROM ");
    merge_put_source(b, r, g);
    return true;
}

bool relation_put_group(struct buf *b, const struct relation *r, size_t group,
                        enum columns_part part, struct err *err)
{
    return put_rows(b, r, &r->groups[group], part, err);
}

bool relation_put_files(struct buf *b, const struct relation *r, size_t group, size_t from,
                        size_t to, enum columns_part part, struct err *err)
{
    struct relation_group g = r->groups[group];
    if (g.paths != NULL) {
        g.paths += from;
        g.count = to - from;
    }
    return put_rows(b, r, &g, part, err);
}

/* The shape of the columns without files. */
static void put_nothing(struct buf *b, const struct relation *r, enum columns_part part)
{
    size_t count = part == COLUMNS_KEY ? r->columns->key_count : r->columns->count;
    buf_append_cstr(b, "SELECT ");
    for (size_t i = 0; i < count; i++)
        buf_printf(b, "%sNULL AS c%zu", i == 0 ? "" : ", ",
                   part == COLUMNS_KEY ? r->columns->key[i] : i);
    if (r->columns->commit_fields && part != COLUMNS_LOAD)
        buf_append_cstr(b, ", CAST(NULL AS VARCHAR) AS ct");
    if (r->columns->commit_fields && part == COLUMNS_ROW)
        buf_append_cstr(b, ", CAST(NULL AS VARCHAR) AS sn");
    buf_append_cstr(b, " WHERE false");
}

bool relation_put(struct buf *b, const struct relation *r, enum columns_part part, struct err *err)
{
    buf_append_cstr(b, "(");
    if (r->count == 0)
        put_nothing(b, r, part);
    for (size_t i = 0; i < r->count; i++) {
        buf_append_cstr(b, i == 0 ? "" : " UNION ALL ");
        if (!relation_put_group(b, r, i, part, err))
            return false;
    }
    buf_append_cstr(b, ")");
    return true;
}

bool relation_has(const struct relation *r, const char *name)
{
    for (size_t i = 0; i < r->count; i++)
        if (columns_find(r->groups[i].columns, r->groups[i].column_count, name) != NULL ||
            path_value(r, &r->groups[i], name) != NULL)
            return true;
    return false;
}
