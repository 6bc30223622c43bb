/* Which columns a statement reaches. The table is public.ft (id, v, ts, "Mixed"). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "inner_sql.h"
#include "reach.h"

static const char *const columns[] = {"id", "v", "ts", "Mixed"};
static const struct reach_table table = {"public", "ft", columns, 4};

/* "id v": those; "all": in doubt; "": none */
static const struct reached {
    const char *text, *columns;
} cases[] = {
    {"SELECT id FROM ft", "id"},
    {"SELECT id FROM public.ft WHERE ts > 5 ORDER BY v", "id v ts"},
    {"SELECT count(*) FROM ft", ""},
    {"SELECT f.id, f.\"Mixed\" FROM ft AS f", "id Mixed"},
    {"SELECT Mixed FROM ft", ""}, /* folded: another column */
    {"SELECT sum(id * ts) FROM ft GROUP BY id % 10 HAVING max(v) > 'x'", "id v ts"},
    {"SELECT p.*, f.v FROM plain p JOIN ft f ON p.id = f.id", "id v"},
    {"SELECT p.x FROM plain p JOIN ft USING (id)", "id"},
    {"SELECT x.* FROM (SELECT id FROM ft) x", "id"},
    {"SELECT * FROM (SELECT id FROM ft) x JOIN plain USING (id)", "id"},
    {"WITH x AS (SELECT id, v FROM ft) SELECT * FROM x UNION ALL SELECT * FROM y", "id v"},
    {"WITH x(a) AS (SELECT id FROM ft) SELECT a FROM x", "id"},
    {"SELECT 1 FROM plain p WHERE EXISTS (SELECT 1 FROM ft WHERE ft.id = p.id)", "id"},
    {"SELECT lag(v) OVER (PARTITION BY ts ORDER BY id) FROM ft", "id v ts"},
    {"SELECT v FROM ft, LATERAL (SELECT ft.id + 1 AS n) y WHERE n > 3", "id v"},
    {"INSERT INTO plain (a) SELECT id FROM ft RETURNING a", "id"},
    {"UPDATE plain SET a = v FROM ft WHERE plain.id = ft.id", "id v"},
    {"DELETE FROM plain USING ft WHERE plain.id = ft.id", "id"},
    {"MERGE INTO plain p USING ft ON p.id = ft.id WHEN MATCHED THEN UPDATE SET a = ft.v", "id v"},
    {"CREATE TABLE x AS SELECT id FROM ft", "id"},
    {"COPY (SELECT id FROM ft) TO STDOUT", "id"},
    {"EXPLAIN ANALYZE SELECT id FROM ft", "id"},
    {"SET a = 'b'; SELECT id FROM ft; SELECT v FROM public.ft", "id v"},
    {"BEGIN; SELECT id FROM ft; COMMIT", "id"},
    {"SELECT id FROM ft WHERE v = $1 AND ts = ANY ($2)", "id v ts"},
    {"SELECT id -- v\n FROM ft /* ts */", "id"},
    {"SELECT 'v' AS a FROM ft", ""},
    {"SELECT s.v FROM other.ft s, public.ft", "v"},
    {"SELECT DISTINCT ON (id) v FROM ft ORDER BY id, ts DESC", "id v ts"},

    /* a star over the table */
    {"SELECT * FROM ft", "all"},
    {"TABLE ft", "all"},
    {"SELECT f.* FROM ft f", "all"},
    {"SELECT * FROM plain, ft", "all"},
    {"SELECT * FROM plain LEFT JOIN ft USING (id)", "all"},
    {"SELECT j.* FROM (plain JOIN ft USING (id)) j", "all"},
    {"SELECT id FROM ft UNION SELECT * FROM ft", "all"},
    {"SELECT x.* FROM (SELECT * FROM ft) x", "all"},
    {"SELECT 1 FROM plain WHERE EXISTS (SELECT * FROM ft)", "all"},
    {"UPDATE plain SET a = 1 FROM ft RETURNING *", "all"},
    {"SELECT row(f.*) FROM ft f", "all"},
    {"SELECT ROW(ft.*) IS NULL FROM ft", "all"},

    /* a row as a whole */
    {"SELECT ft FROM ft", "all"},
    {"SELECT f FROM ft f", "all"},
    {"SELECT (f).v FROM ft f", "all"},
    {"SELECT v(f) FROM ft f", "all"},
    {"SELECT f.other FROM ft f", "all"},
    {"SELECT public.ft FROM public.ft", "all"},
    {"SELECT to_jsonb(f) FROM ft f", "all"},
    {"SELECT count(DISTINCT f) FROM ft f", "all"},
    {"SELECT j FROM (plain JOIN ft USING (id)) AS j", "all"},
    {"SELECT u FROM plain JOIN ft USING (id) AS u", "all"},
    {"SELECT x FROM (SELECT id FROM ft) x", "all"},
    {"SELECT \xc3\xa9 FROM ft \xc3\xa9", "all"},

    /* columns under other names, or none */
    {"SELECT a FROM ft AS f(a, b)", "all"},
    {"SELECT a FROM (plain JOIN ft USING (id)) AS j(a, b)", "all"},
    {"SELECT 1 FROM plain NATURAL JOIN ft", "all"},

    /* through something else */
    {"SELECT id FROM over", "all"},
    {"SELECT 1", "all"},
    {"SELECT id FROM other.ft", "all"},
    {"EXECUTE p(1)", "all"},
    {"FETCH 10 FROM c", "all"},
    {"CALL p()", "all"},
    {"DO 'BEGIN END'", "all"},
    {"SELECT id FROM ft; EXECUTE p", "all"},
    {"CREATE VIEW w AS SELECT id FROM ft; SELECT v FROM w", "all"},
    {"REFRESH MATERIALIZED VIEW m", "all"},
};

static const char *reached(const char *text, char *out, size_t size)
{
    struct json *tree;
    struct err err;
    struct arena a;
    bool names[4], known;
    size_t at = 0;
    assert_true(inner_sql_read(slice_cstr(text), &tree, &err));
    arena_init(&a, 0);
    known = reach_columns(&a, json_root(tree), &table, names);
    out[0] = '\0';
    for (size_t i = 0; known && i < 4; i++)
        if (names[i])
            at += (size_t)snprintf(out + at, size - at, "%s%s", at == 0 ? "" : " ", columns[i]);
    arena_fini(&a);
    json_free(tree);
    return known ? out : "all";
}

static void test_statements(void **state)
{
    char out[64];
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        print_message("%s\n", cases[i].text);
        assert_string_equal(reached(cases[i].text, out, sizeof out), cases[i].columns);
    }
}

static void refuse(const char *text, size_t len, const char *sqlstate)
{
    struct json *tree;
    struct err err;
    assert_false(inner_sql_read(slice_of(text, len), &tree, &err));
    assert_string_equal(err.sqlstate, sqlstate);
}

static void test_refused(void **state)
{
    static char text[INNER_SQL_MAX_BYTES + 1];
    (void)state;
    refuse("SELECT FROM WHERE", 17, "42601");
    memset(text, ' ', sizeof text);
    refuse(text, sizeof text, "54000");
    memcpy(text, "SELECT ", 7);
    for (size_t i = 7; i + 2 < INNER_SQL_MAX_BYTES; i += 2)
        memcpy(text + i, "1+", 2);
    text[INNER_SQL_MAX_BYTES - 1] = '1';
    refuse(text, INNER_SQL_MAX_BYTES, "54000");
    for (size_t i = 7; i + 4 < INNER_SQL_MAX_BYTES; i += 4)
        memcpy(text + i, "NOT ", 4);
    refuse(text, INNER_SQL_MAX_BYTES, "54000");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_statements),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
