/* Texts of slices: where conditions go, what is left alone, views and parameters put in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/attr.h"

#include "cursor_splice.h"

static struct arena arena;
static const struct lexer_dialect dialect = {true, ENCODING_UTF8};

/* The query with the first `skip` places of the table left out, and the next, or all, restricted. */
static const char *slice(const char *query, const char *relation, size_t skip, bool all)
{
    struct cursor_places p;
    bool chosen[CURSOR_SPLICE_MAX_PLACES] = {false}, found = false;
    if (!cursor_splice_find(&arena, slice_cstr(query), &dialect, &p))
        return NULL;
    for (size_t i = 0; i < p.count && (all || !found); i++) {
        bool is = strcmp(p.places[i].relation, relation) == 0;
        chosen[i] = is && skip == 0;
        found = found || chosen[i];
        skip -= is && skip > 0;
    }
    return found ? cursor_splice_slice(&arena, &p, chosen, 5, UINT32_MAX) : NULL;
}

#define COND(alias) "\"" alias "\".ctid OPERATOR(pg_catalog.>=) '(5,0)'::pg_catalog.tid"

static void test_places(void **state)
{
    static const struct {
        const char *query;
        size_t skip;
        bool all;
        const char *sliced; /* with table t; NULL: it has no place */
    } rows[] = {
        {"SELECT * FROM t", 0, false, "SELECT * FROM t WHERE " COND("t")},
        {"SELECT * FROM t -- end", 0, false, "SELECT * FROM t WHERE " COND("t")},
        {"SELECT * FROM s.t AS \"X\" WHERE a OR b", 0, false,
         "SELECT * FROM s.t AS \"X\" WHERE " COND("X") " AND ( a OR b)"},
        {"SELECT a AS \"where\", 'FROM' FROM u JOIN t x ON x.a = u.a", 0, false,
         "SELECT a AS \"where\", 'FROM' FROM u JOIN t x ON x.a = u.a WHERE " COND("x")},
        {"SELECT a IS DISTINCT FROM 1 FROM ONLY t", 0, false,
         "SELECT a IS DISTINCT FROM 1 FROM ONLY t WHERE " COND("t")},
        {"WITH w AS (SELECT 1 FROM v WHERE true) SELECT * FROM w, t", 0, false,
         "WITH w AS (SELECT 1 FROM v WHERE true) SELECT * FROM w, t WHERE " COND("t")},
        {"WITH t AS (SELECT * FROM t WHERE a) SELECT * FROM t", 0, false,
         "WITH t AS (SELECT * FROM t WHERE " COND("t") " AND ( a)) SELECT * FROM t"},
        {"WITH t AS (SELECT * FROM t WHERE a) SELECT * FROM t", 1, false,
         "WITH t AS (SELECT * FROM t WHERE a) SELECT * FROM t WHERE " COND("t")},
        {"TABLE t", 0, false, "SELECT * FROM t WHERE " COND("t")},
        {"(TABLE ONLY s . \"t\")", 0, false, "(SELECT * FROM ONLY s . \"t\" WHERE " COND("t") ")"},
        {"SELECT * FROM t x (a, b)", 0, false, "SELECT * FROM t x (a, b) WHERE " COND("x")},
        {"SELECT * FROM (SELECT a FROM t) q WHERE a", 0, false,
         "SELECT * FROM (SELECT a FROM t WHERE " COND("t") ") q WHERE a"},
        {"SELECT a FROM t UNION ALL (SELECT b FROM t x WHERE c) UNION ALL TABLE t", 0, true,
         "SELECT a FROM t WHERE " COND("t") " UNION ALL (SELECT b FROM t x WHERE " COND(
             "x") " AND ( c)) UNION ALL SELECT * FROM t WHERE " COND("t")},
        {"SELECT substring(a FROM 2), t.from FROM t", 0, false,
         "SELECT substring(a FROM 2), t.from FROM t WHERE " COND("t")},
        {"SELECT a FROM u, t WHERE EXISTS (SELECT FROM t s WHERE s.a = t.a)", 1, false,
         "SELECT a FROM u, t WHERE EXISTS (SELECT FROM t s WHERE " COND("s") " AND ( s.a = t.a))"},
        {"SELECT * FROM ((u JOIN t x ON true) JOIN v USING (a)) WHERE a", 0, false,
         "SELECT * FROM ((u JOIN t x ON true) JOIN v USING (a)) WHERE " COND("x") " AND ( a)"},
        {"SELECT * FROM ((SELECT a FROM t) UNION (SELECT 1)) q", 0, false,
         "SELECT * FROM ((SELECT a FROM t WHERE " COND("t") ") UNION (SELECT 1)) q"},
        {"SELECT * FROM u JOIN v ON u.a IS DISTINCT FROM t", 0, false, NULL},
        {"SELECT * FROM t ORDER BY a", 0, false, NULL},
        {"SELECT * FROM t WHERE a LIMIT 1", 0, false, NULL},
        {"SELECT * FROM t TABLESAMPLE system (1)", 0, false, NULL},
        {"SELECT * FROM (SELECT * FROM t GROUP BY a) q", 0, false, NULL},
        {"SELECT * FROM t(1)", 0, false, NULL},
        {"SELECT * FROM t WHERE a = $1", 0, false, NULL},
        {"SELECT 1", 0, false, NULL},
        {"VALUES (1)", 0, false, NULL},
        {"SELECT * FROM t WHERE 'open", 0, false, NULL},
        {"SELECT * FROM t)", 0, false, NULL},
        {"SELECT * FROM (t", 0, false, NULL},
        {"", 0, false, NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *got = slice(rows[i].query, "t", rows[i].skip, rows[i].all);
        if (rows[i].sliced == NULL || got == NULL)
            assert_ptr_equal(got, rows[i].sliced);
        else
            assert_string_equal(got, rows[i].sliced);
    }
}

/* No prefix of a text, and no depth, does harm. */
static void test_limits(void **state)
{
    static const char query[] =
        "WITH w AS (SELECT (a[1]) FROM t x WHERE true) TABLE w UNION SELECT "
        "b FROM (SELECT 1 FROM t) AS y (b) JOIN LATERAL f(x) z ON 'q' = ''";
    char deep[4 * CURSOR_SPLICE_MAX_DEPTH + 1];
    struct cursor_places p;
    (void)state;
    for (size_t n = 0; n <= strlen(query); n++)
        if (cursor_splice_find(&arena, slice_of(query, n), &dialect, &p))
            assert_true(p.query.len <= n);
    memset(deep, '(', sizeof deep);
    assert_false(cursor_splice_find(&arena, slice_of(deep, sizeof deep), &dialect, &p));
}

static const char *inlined(const char *query, const char *definition)
{
    struct cursor_places p;
    struct slice out;
    const char *definitions[CURSOR_SPLICE_MAX_PLACES] = {NULL};
    assert_true(cursor_splice_find(&arena, slice_cstr(query), &dialect, &p));
    for (size_t i = 0; i < p.count; i++)
        definitions[i] = strcmp(p.places[i].relation, "v") == 0 ? definition : NULL;
    if (!cursor_splice_inline(&arena, &p, &dialect, definitions, &out))
        return NULL;
    return arena_copy(&arena, out);
}

static void test_views(void **state)
{
    static const struct {
        const char *query, *inlined;
    } rows[] = {
        {"SELECT v.a FROM s.v", "SELECT v.a FROM ( SELECT 1) AS \"v\""},
        {"SELECT x.a FROM v AS x, t", "SELECT x.a FROM ( SELECT 1) AS x, t"},
        {"SELECT a FROM v x (a) WHERE x.a > 1", "SELECT a FROM ( SELECT 1) x (a) WHERE x.a > 1"},
        {"TABLE v", "SELECT * FROM ( SELECT 1) AS \"v\""},
        {"SELECT v.a FROM v x JOIN v ON v.a = x.a", NULL}, /* in doubt */
        {"SELECT v FROM v", NULL},
        {"SELECT s.v.a FROM s.v", NULL},
        {"SELECT x.*, row_to_json(x) FROM v x", NULL},
        {"WITH v AS (SELECT 2) SELECT * FROM v", NULL},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const char *got = inlined(rows[i].query, " SELECT 1;");
        if (rows[i].inlined == NULL || got == NULL)
            assert_ptr_equal(got, rows[i].inlined);
        else
            assert_string_equal(got, rows[i].inlined);
    }
}

static void test_values(void **state)
{
    static const char *const values[] = {"('a'::x.y)", "(NULL::z)"};
    struct slice out;
    (void)state;
    assert_true(cursor_splice_values(&arena,
                                     slice_cstr("SELECT $2, '$1', \"$1\" FROM t WHERE a<$1"),
                                     &dialect, values, 2, &out));
    assert_true(slice_equals_cstr(out, "SELECT (NULL::z), '$1', \"$1\" FROM t WHERE a<('a'::x.y)"));
    assert_false(cursor_splice_values(&arena, slice_cstr("SELECT $3"), &dialect, values, 2, &out));
    assert_false(cursor_splice_values(&arena, slice_cstr("SELECT $0"), &dialect, values, 2, &out));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_values),
    };
    arena_init(&arena, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return failed;
}
