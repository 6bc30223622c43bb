/* Schemas are compared as texts: every name and type of a file in order, nested ones included. Most
 * tables have one such text, a table whose columns changed has a few. Where partition columns stand
 * in the path alone, the path's values belong to the text too. */
#include "relation.h"

#include <string.h>
#include <strings.h>

#define SIGNATURE_BYTES ((size_t)16 << 20)
#define COMMIT_TIME "_hoodie_commit_time"
#define COMMIT_SEQNO "_hoodie_commit_seqno"

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

static void put_source(struct buf *b, const char *const *paths, size_t count)
{
    buf_append_cstr(b, "read_parquet([");
    for (size_t i = 0; i < count; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        duck_put_text(b, paths[i]);
    }
    buf_append_cstr(b, "], hive_partitioning=false, union_by_name=false)");
}

static bool describe(struct arena *a, struct duck *d, const char *path, struct relation_group *g,
                     struct err *err)
{
    struct buf b;
    buf_init(&b, SIGNATURE_BYTES);
    buf_append_cstr(&b, "SELECT * FROM ");
    put_source(&b, &path, 1);
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

static bool fetch(struct arena *a, const struct hudi_table *table, const struct hudi_slices *slices,
                  const char **paths, struct err *err)
{
    const char **names = arena_alloc_array(a, slices->count + 1, sizeof *names);
    if (names == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < slices->count; i++)
        names[i] = slices->items[i].path;
    return objstore_fetch_all(table->store, a, names, slices->count, paths, err);
}

bool relation_open(struct arena *a, struct duck *d, const struct hudi_table *table,
                   const struct columns *columns, const struct hudi_slices *slices,
                   struct relation *out, struct err *err)
{
    *out = (struct relation){.columns = columns, .table = table};
    out->groups = arena_alloc_array(a, slices->count + 1, sizeof *out->groups);
    if (out->groups == NULL)
        return err_no_memory(err);
    const char **paths = arena_alloc_array(a, slices->count + 1, sizeof *paths);
    if (paths == NULL)
        return err_no_memory(err);
    if (!fetch(a, table, slices, paths, err))
        return false;
    for (size_t i = 0; i < slices->count; i++) {
        struct relation_group file = {0};
        const char *path = paths[i];
        if (!describe(a, d, path, &file, err))
            return false;
        if (table->drops_partition_columns &&
            !hudi_partition_values(a, table, slices->items[i].partition_path, &file.values, err))
            return false;
        if (!sign(a, table, &file, err) || !add(a, out, &file, path, slices->count - i, err))
            return false;
    }
    return true;
}

static const char *path_value(const struct relation *r, const struct relation_group *g,
                              const char *source)
{
    for (size_t i = 0; g->values != NULL && i < r->table->partition.count; i++)
        if (strcasecmp(r->table->partition.items[i], source) == 0)
            return g->values[i];
    return NULL;
}

static bool put_column(struct buf *b, const struct relation *r, const struct relation_group *g,
                       size_t i, enum columns_part part, struct err *err)
{
    const struct column *c = &r->columns->items[i];
    const struct duck_vector *v = columns_find(g->columns, g->column_count, c->source);
    bool trim = part == COLUMNS_KEY && c->target->blank_padded;
    buf_append_cstr(b, trim ? "rtrim(" : "");
    if (!columns_put_expression(b, c, v, v == NULL ? path_value(r, g, c->source) : NULL, err))
        return false;
    buf_printf(b, "%s AS c%zu", trim ? ")" : "", i);
    return true;
}

static void put_meta(struct buf *b, const struct relation_group *g, const char *name,
                     const char *alias)
{
    const struct duck_vector *v = columns_find(g->columns, g->column_count, name);
    buf_append_cstr(b, ", ");
    if (v == NULL || v->type != DUCK_TEXT)
        buf_append_cstr(b, "CAST(NULL AS VARCHAR)");
    else
        duck_put_name(b, v->name);
    buf_printf(b, " AS %s", alias);
}

bool relation_put_group(struct buf *b, const struct relation *r, size_t group,
                        enum columns_part part, struct err *err)
{
    const struct relation_group *g = &r->groups[group];
    size_t count = part == COLUMNS_KEY ? r->columns->key_count : r->columns->count;
    buf_append_cstr(b, "SELECT ");
    for (size_t i = 0; i < count; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        if (!put_column(b, r, g, part == COLUMNS_KEY ? r->columns->key[i] : i, part, err))
            return false;
    }
    if (r->columns->commit_fields && part != COLUMNS_LOAD)
        put_meta(b, g, COMMIT_TIME, "ct");
    if (r->columns->commit_fields && part == COLUMNS_ROW)
        put_meta(b, g, COMMIT_SEQNO, "sn");
    buf_append_cstr(b, " FROM ");
    put_source(b, g->paths, g->count);
    return true;
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
