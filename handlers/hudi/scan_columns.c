/* The text of the statement tells (reach.h). Two kinds of columns are always brought, since the copy's
 * other columns are read as NULL of their type: those of domains, which may refuse NULL, and those
 * whose name is beyond ASCII, where the server's folding is not ours. */
#include "scan_columns.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "inner_sql.h"
#include "reach.h"

#define ARRAY_TEXT_BYTES ((size_t)1 << 20)

static const char columns_query[] =
    "SELECT n.nspname, c.relname, a.attname, t.typtype = 'd' OR a.attname ~ '[^\\x01-\\x7f]',"
    "       coalesce(k.collisdeterministic, true)"
    "  FROM pg_catalog.pg_class c"
    "  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    "  JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0"
    "  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    "  LEFT JOIN pg_catalog.pg_collation k ON k.oid = a.attcollation"
    " WHERE c.oid = $1::pg_catalog.oid ORDER BY a.attnum";

/* What a collation takes for equal need not be so byte by byte: such conditions are left out. */
static void drop_conditions(struct scan_needs *n, const struct pgresult *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < n->condition_count; i++)
        if (pgresult_bool(r, n->conditions[i].column, 4))
            n->conditions[kept++] = n->conditions[i];
    n->condition_count = kept;
}

/* A text that cannot be read is in doubt. */
static bool read_tree(struct arena *a, const char *statement, const struct reach_table *t,
                      bool *names, struct scan_needs *out, struct err *err)
{
    struct json *tree;
    struct err why;
    bool ok = true;
    if (!inner_sql_read(slice_cstr(statement), &tree, &why))
        return true;
    enum reach how = reach_columns(a, json_root(tree), t, names);
    if (how == REACH_COLUMNS)
        out->wanted = names;
    if (how != REACH_UNKNOWN)
        ok = reach_rows(a, json_root(tree), t, &out->conditions, &out->condition_count, err);
    json_free(tree);
    return ok;
}

static bool find(struct arena *a, const struct pgresult *r, const char *statement, bool *names,
                 struct scan_needs *out, struct err *err)
{
    size_t count = pgresult_rows(r);
    const char **columns = arena_alloc_array(a, count, sizeof *columns);
    if (columns == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < count; i++)
        columns[i] = pgresult_value(r, i, 2);
    struct reach_table t = {pgresult_value(r, 0, 0), pgresult_value(r, 0, 1), columns, count};
    if (!read_tree(a, statement, &t, names, out, err))
        return false;
    drop_conditions(out, r);
    bool any = false;
    for (size_t i = 0; i < count; i++)
        any |= names[i] |= pgresult_bool(r, i, 3);
    names[0] |= !any; /* rows are still to be counted */
    return true;
}

bool scan_columns_find(struct arena *a, struct job *job, const char *relid, const char *statement,
                       size_t count, struct scan_needs *out, struct err *err)
{
    struct pgresult *r;
    bool *names = arena_alloc_array(a, count + 1, sizeof *names);
    *out = (struct scan_needs){.wanted = NULL};
    if (names == NULL)
        return err_no_memory(err);
    if (statement == NULL)
        return true;
    if (!pgclient_query(job->db, columns_query, 1, &relid, &r, err))
        return false;
    bool ok = count == 0 || pgresult_rows(r) != count || find(a, r, statement, names, out, err);
    pgresult_free(r);
    return ok;
}

bool scan_columns_write(struct arena *a, const bool *wanted, size_t count, const char **out,
                        struct err *err)
{
    struct buf b;
    *out = NULL;
    if (wanted == NULL)
        return true;
    buf_init(&b, ARRAY_TEXT_BYTES);
    for (size_t i = 0; i < count; i++)
        if (wanted[i])
            buf_printf(&b, "%s%zu", buf_length(&b) == 0 ? "{" : ",", i + 1);
    buf_append_cstr(&b, "}");
    const char *text = buf_cstr(&b);
    *out = text == NULL ? NULL : arena_copy_cstr(a, text);
    buf_fini(&b);
    return *out != NULL || err_no_memory(err);
}

void scan_columns_add(bool *wanted, size_t count, const char *array)
{
    for (const char *at = array; wanted != NULL && at != NULL && *at != '\0';) {
        char *end;
        unsigned long number = strtoul(at, &end, 10);
        if (end == at) {
            at++;
            continue;
        }
        if (number >= 1 && number <= count)
            wanted[number - 1] = true;
        at = end;
    }
}
