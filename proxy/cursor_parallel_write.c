/* The questions of cursor_parallel.c that depend on the cursor: each is one statement for the session's own
 * connection. What stands in one comes from a plan or from the client's text, so names and texts are quoted. */
#include "cursor_parallel_write.h"

#include <string.h>

#include "base/buf.h"

#define SQL_MAX_BYTES ((size_t)1024 * 1024)

/* "schema"."name" inside a literal */
static void put_relation(struct buf *b, const struct cursor_plan_scan *scan)
{
    const char *const parts[] = {scan->schema, scan->relation};
    for (size_t i = 0; i < 2; i++) {
        buf_append_cstr(b, i == 0 ? "E'\"" : ".\"");
        for (const char *at = parts[i]; *at != '\0'; at++) {
            if (*at == '"' || *at == '\'' || *at == '\\')
                buf_append_byte(b, *at);
            buf_append_byte(b, *at);
        }
        buf_append_byte(b, '"');
    }
    buf_append_byte(b, '\'');
}

static void put_relations(struct buf *b, const struct cursor_plan *p, bool divided)
{
    const char *separator = "";
    buf_append_cstr(b, "ARRAY[");
    for (size_t i = 0; i < p->scan_count; i++) {
        if (divided && !p->scans[i].is_divided)
            continue;
        buf_append_cstr(b, separator);
        put_relation(b, &p->scans[i]);
        separator = ", ";
    }
    buf_append_cstr(b, "]::pg_catalog.regclass[]");
}

const char *cursor_parallel_write_safe(struct arena *a, const struct cursor_plan *p,
                                       struct slice query, enum encoding e)
{
    static const char unsafe[] =
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE (p.proparallel <> 's' OR "
        "(p.provolatile <> 'i' AND p.oid >= 16384)) AND "
        "pg_catalog.strpos($1, pg_catalog.quote_ident(p.proname) || '(') > 0) "
        "OR EXISTS (SELECT FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = "
        "o.oprcode "
        "WHERE o.oid >= 16384 AND p.provolatile <> 'i' AND pg_catalog.strpos($1, o.oprname::text) "
        "> 0) "
        "OR EXISTS (SELECT FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = "
        "c.castfunc "
        "WHERE c.oid >= 16384 AND p.provolatile <> 'i') "
        "OR pg_catalog.pg_my_temp_schema() <> 0 AND EXISTS (SELECT FROM (SELECT relnamespace, "
        "relname FROM pg_catalog.pg_class UNION ALL SELECT pronamespace, proname FROM "
        "pg_catalog.pg_proc UNION ALL SELECT typnamespace, typname FROM pg_catalog.pg_type) x (n, "
        "name), (SELECT pg_catalog.concat($1, ' ', ";
    static const char is_named[] =
        ")) q (text) WHERE x.n = pg_catalog.pg_my_temp_schema() AND CASE WHEN x.name ~ E'\\\\W' "
        "THEN pg_catalog.strpos(q.text, x.name::pg_catalog.text) > 0 "
        "ELSE q.text ~* (E'\\\\m' || x.name || E'\\\\M') END), ";
    const char *quoted = lexer_quote(a, query, e);
    struct buf b;
    buf_init(&b, SQL_MAX_BYTES);
    buf_append_cstr(&b, unsafe);
    if (quoted == NULL || !buf_append_cstr(&b, quoted) || !buf_append_cstr(&b, is_named)) {
        buf_fini(&b);
        return NULL;
    }
    buf_append_cstr(
        &b, "(SELECT pg_catalog.sum(pg_catalog.pg_relation_size(r)) FROM pg_catalog.unnest(");
    put_relations(&b, p, false);
    buf_append_cstr(
        &b, ") r), (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', CASE WHEN "
            "c.relkind = 'r' AND c.relam = 2 AND c.relpersistence <> 't' THEN "
            "pg_catalog.pg_relation_size(c.oid) / 8192 ELSE -1 END, coalesce(p.oid, 0), "
            "coalesce(p.relname, c.relname)), E'\\n' ORDER BY u.n) FROM pg_catalog.unnest(");
    put_relations(&b, p, true);
    buf_append_cstr(
        &b,
        ") WITH ORDINALITY u (r, n) JOIN pg_catalog.pg_class c ON c.oid = u.r LEFT JOIN "
        "pg_catalog.pg_class p ON p.oid = pg_catalog.pg_partition_root(u.r)), "
        "pg_catalog.current_setting('block_size'), EXISTS (SELECT FROM pg_catalog.pg_language l "
        "WHERE l.lanname = 'plpgsql' AND pg_catalog.has_language_privilege(l.oid, "
        "'USAGE')), EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhrelid = ANY (");
    put_relations(&b, p, false);
    buf_append_cstr(&b, ")), pg_catalog.set_config('max_parallel_workers_per_gather', '0', true)");
    const char *sql = buf_cstr(&b);
    const char *text = sql == NULL ? NULL : arena_copy_cstr(a, sql);
    buf_fini(&b);
    return text;
}

/* A name of one or two parts that to_regclass takes without an error: no comments, no U&. */
static bool is_plain_name(struct slice name)
{
    size_t dots = 0;
    for (size_t i = 0; i < name.len; i++) {
        dots += name.data[i] == '.';
        if (strchr("/-&", name.data[i]) != NULL || (unsigned char)name.data[i] < ' ')
            return false;
    }
    return dots < 2;
}

const char *cursor_parallel_write_views(struct arena *a, const struct cursor_places *p,
                                        enum encoding e)
{
    static const char may_read[] =
        ") WITH ORDINALITY u (name, n) JOIN pg_catalog.pg_class c "
        "ON c.oid = pg_catalog.to_regclass(u.name) "
        "WHERE c.relkind = 'v' AND (pg_catalog.pg_get_userbyid(c.relowner) = current_user OR "
        "pg_catalog.strpos(coalesce(c.reloptions::pg_catalog.text, ''), 'security_barrier') = 0 "
        "AND NOT EXISTS (SELECT FROM pg_catalog.pg_rewrite w JOIN pg_catalog.pg_depend d "
        "ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = w.oid "
        "AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> c.oid "
        "JOIN pg_catalog.pg_class t ON t.oid = d.refobjid WHERE w.ev_class = c.oid "
        "AND (t.relkind = 'v' OR t.relrowsecurity "
        "OR NOT pg_catalog.has_table_privilege(t.oid, 'SELECT'))))";
    const char *separator = "";
    struct buf b;
    buf_init(&b, SQL_MAX_BYTES);
    buf_append_cstr(&b,
                    "SELECT pg_catalog.json_object_agg(u.n - 1, pg_catalog.pg_get_viewdef(c.oid)) "
                    "FROM pg_catalog.unnest(ARRAY[");
    for (size_t i = 0; i < p->count; i++) {
        struct slice name = slice_part(p->query, p->places[i].item, p->places[i].item_end);
        bool plain = is_plain_name(name);
        const char *quoted = lexer_quote(a, plain ? name : slice_of("", 0), e);
        buf_append_cstr(&b, separator);
        buf_append_cstr(&b, !plain || quoted == NULL ? "NULL" : quoted);
        separator = ", ";
    }
    buf_append_cstr(&b, "]::pg_catalog.text[]");
    buf_append_cstr(&b, may_read);
    const char *sql = buf_cstr(&b);
    const char *text = sql == NULL ? NULL : arena_copy_cstr(a, sql);
    buf_fini(&b);
    return text;
}

const char *cursor_parallel_write_try(struct arena *a, const char *slice, enum encoding e)
{
    const char *sql = slice == NULL ? NULL : arena_printf(a, CURSOR_PARALLEL_EXPLAIN "%s", slice);
    const char *quoted = sql == NULL ? NULL : lexer_quote(a, slice_cstr(sql), e);
    const char *body = quoted == NULL
                           ? NULL
                           : arena_printf(a,
                                          "DECLARE p pg_catalog.json; BEGIN EXECUTE %s INTO p; "
                                          "PERFORM pg_catalog.set_config('pgveneer.plan', "
                                          "p::pg_catalog.text, true); EXCEPTION WHEN OTHERS THEN "
                                          "PERFORM pg_catalog.set_config('pgveneer.plan', '', "
                                          "true); END",
                                          quoted);
    const char *literal = body == NULL ? NULL : lexer_quote(a, slice_cstr(body), e);
    return literal == NULL ? NULL : arena_printf(a, "DO LANGUAGE plpgsql %s", literal);
}
