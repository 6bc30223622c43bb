/* Which columns and rows a statement reaches. The table is public.ft (id, v, ts, "Mixed"). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "inner_sql.h"
#include "reach_rows.h"

static const char *const columns[] = {"id", "v", "ts", "Mixed"};
static const struct reach_table table = {"public", "ft", columns, 4};

/* "id v": those; "": none; "all": rows as a whole; "unknown": the text does not tell */
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
    {"SELECT id FROM over", "unknown"},
    {"SELECT 1", "unknown"},
    {"SELECT id FROM other.ft", "unknown"},
    {"EXECUTE p(1)", "unknown"},
    {"FETCH 10 FROM c", "unknown"},
    {"CALL p()", "unknown"},
    {"DO 'BEGIN END'", "unknown"},
    {"SELECT id FROM ft; EXECUTE p", "unknown"},
    {"CREATE VIEW w AS SELECT id FROM ft; SELECT v FROM w", "unknown"},
    {"REFRESH MATERIALIZED VIEW m", "unknown"},
};

static const char *reached(const char *text, char *out, size_t size)
{
    struct json *tree;
    struct err err;
    struct arena a;
    bool names[4];
    size_t at = 0;
    assert_true(inner_sql_read(slice_cstr(text), &tree, &err));
    arena_init(&a, 0);
    enum reach how = reach_columns(&a, json_root(tree), &table, names);
    bool known = how == REACH_COLUMNS;
    out[0] = '\0';
    for (size_t i = 0; known && i < 4; i++)
        if (names[i])
            at += (size_t)snprintf(out + at, size - at, "%s%s", at == 0 ? "" : " ", columns[i]);
    arena_fini(&a);
    json_free(tree);
    return known ? out : how == REACH_ROWS ? "all" : "unknown";
}

/* "id = 5; v = a|b"; "": none */
static const struct reached conditions[] = {
    {"SELECT * FROM ft WHERE id = 5", "id = 5"},
    {"SELECT 1 FROM ft WHERE id = 5 AND v = 'a' AND ts > 7", "id = 5; v = a; ts > 7"},
    {"SELECT 1 FROM ft WHERE v IN ('a', 'b') AND id BETWEEN 2 AND 9", "v = a|b; id >= 2; id <= 9"},
    {"SELECT 1 FROM ft WHERE v = date '2024-01-01' AND id = '7'::date", "v = 2024-01-01; id = 7"},
    {"SELECT 1 FROM ft f JOIN plain p ON p.id = f.id WHERE f.id < 4 AND p.id > 1", "id < 4"},
    {"SELECT 1 FROM plain p LEFT JOIN ft ON true, x WHERE ft.ts >= 4", "ts >= 4"},
    {"SELECT 1 FROM plain WHERE EXISTS (SELECT FROM ft WHERE id = 3 AND v = plain.v)", "id = 3"},
    {"WITH x AS (SELECT * FROM ft WHERE ts = 2) SELECT * FROM x a, x b WHERE a.id = 1", "ts = 2"},
    {"INSERT INTO plain SELECT id FROM ft WHERE id = 8 ORDER BY v LIMIT 3", "id = 8"},
    {"SELECT count(*) FROM ft WHERE (id = 5 AND (ts = 1 AND v = 'x'))", "id = 5; ts = 1; v = x"},
    {"SELECT 1 FROM ft WHERE id = 5 UNION SELECT 2 FROM plain WHERE id = 6", "id = 5"},

    {"SELECT 1 FROM ft WHERE id = 5 OR v = 'a'", ""},
    {"SELECT 1 FROM ft WHERE NOT id = 5", ""},
    {"SELECT 1 FROM ft WHERE id = -5 AND ts = 0", ""},
    {"SELECT 1 FROM ft WHERE id = $1 AND v LIKE 'a' AND ts <> 4 AND id NOT IN (1, 2)", ""},
    {"SELECT 1 FROM ft WHERE id OPERATOR(public.=) 5 AND id + 1 = 5 AND 5 = id", ""},
    {"SELECT 1 FROM ft WHERE id IN (1, $1) AND id IN (SELECT 1) AND id NOT BETWEEN 1 AND 2", ""},
    {"SELECT 1 FROM ft a, ft b WHERE a.id = 5 AND b.id = 6", ""},
    {"SELECT 1 FROM ft WHERE id = 5 AND v = (SELECT max(v) FROM ft)", ""},
    {"SELECT 1 FROM ft, plain WHERE id = 5", ""},
    {"SELECT 1 FROM (ft JOIN plain USING (id)) j WHERE j.id = 5", ""},
    {"SELECT 1 FROM ft AS f(v, id) WHERE f.id = 5", ""},
    {"SELECT 1 FROM ft f WHERE other.id = 5 AND public.ft.id = 5 AND nothing = 5", ""},
    {"SELECT 1 FROM ft HAVING max(id) = 5", ""},
    {"SELECT 1 FROM ft JOIN plain p ON ft.id = 5", ""},
    {"UPDATE plain SET a = 1 FROM ft WHERE ft.id = 5", ""},
    {"SELECT 1 FROM ft WHERE id = 5; SELECT 2 FROM ft", ""},
    {"SELECT 1 FROM ft WHERE id = 5::text AND v = 'a'::varchar", ""},
};

static void put_condition(char *out, size_t size, const struct reach_condition *c)
{
    size_t at = strlen(out);
    at += (size_t)snprintf(out + at, size - at, "%s%s %s ", at == 0 ? "" : "; ", columns[c->column],
                           c->op);
    for (size_t i = 0; i < c->count; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s", i == 0 ? "" : "|", c->values[i]);
}

static void test_conditions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof conditions / sizeof *conditions; i++) {
        struct json *tree;
        struct err err;
        struct arena a;
        struct reach_condition *found;
        size_t count;
        char out[256] = "";
        arena_init(&a, 0);
        print_message("%s\n", conditions[i].text);
        assert_true(inner_sql_read(slice_cstr(conditions[i].text), &tree, &err));
        assert_true(reach_rows(&a, json_root(tree), &table, &found, &count, &err));
        json_free(tree);
        for (size_t k = 0; k < count; k++)
            put_condition(out, sizeof out, &found[k]);
        assert_string_equal(out, conditions[i].columns);
        arena_fini(&a);
    }
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
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
