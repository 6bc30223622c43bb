/* Which names are ours? Both tables are read as they stand: in a case of `ours` each « marks where the
 * schema is put in; a case of `foreign` must come out as it is. */
#include "gate_fixture.h"

#include <stdio.h>
#include <stdlib.h>

struct ours {
    const char
        *text; /* « stands before each name that is ours; [ ] around a pg_catalog that goes */
};

static const char *const ours[] = {
    /* calls in expressions */
    "SELECT «pg_task_pause('x')",
    "select task_id from «pg_task_show('SQLonHudi') where task_id <> ''",
    "SELECT «PG_TASK_PAUSE ('x'), «Pg_Task_Pause/* c */('y')",
    "SELECT «\"pg_task_pause\"('x')",
    "SELECT «U&\"pg_task_p\\0061use\"('x')",
    "SELECT «U&\"pg!005ftask_pause\" UESCAPE '!' ('x')",
    "SELECT [pg_catalog].pg_task_pause('x')",
    "SELECT [PG_CATALOG] . \"pg_task_pause\" ('x')",
    "SELECT [\"pg_catalog\"].pg_task_pause('x')",
    "SELECT 1 + «pg_task_pause('x') * 2",
    "SELECT -«pg_task_pause('x')::int::text",
    "SELECT ('a' || «pg_task_pause('x'))",
    "SELECT CASE WHEN «pg_task_pause('x') = 1 THEN «pg_task_pause('y') ELSE «pg_task_pause('z') "
    "END",
    "SELECT ARRAY[«pg_task_pause('x'), «pg_task_pause('y')]",
    "SELECT a[«pg_task_pause('x'):«pg_task_pause('y')] FROM t",
    "SELECT f(a => «pg_task_pause('x'), b := «pg_task_pause('y'))",
    "SELECT DISTINCT ON (a) «pg_task_pause(a) FROM t ORDER BY «pg_task_pause('x')",
    "SELECT count(DISTINCT «pg_task_pause(a)) FILTER (WHERE «pg_task_pause(a) > 0) FROM t",
    "SELECT a OPERATOR(pg_catalog.+) «pg_task_pause('x') FROM t",
    "SELECT * FROM t WHERE a BETWEEN «pg_task_pause('x') AND «pg_task_pause('y') OR NOT "
    "«pg_task_pause('z') > 1",
    "SELECT a FROM t GROUP BY «pg_task_pause(a) HAVING «pg_task_pause(a) > 1 LIMIT "
    "«pg_task_pause('x') OFFSET «pg_task_pause('y')",
    "SELECT * FROM t WHERE EXISTS (SELECT FROM «pg_task_show('x') s WHERE s.a = t.a)",
    "SELECT extract(year FROM «pg_task_pause('x'))",
    "SELECT percentile_cont(a) WITHIN GROUP (ORDER BY «pg_task_pause('x')) FROM «history_view",
    "SELECT f(VARIADIC «pg_task_pause('x')), a LIKE b ESCAPE «pg_task_pause('y'), a AT TIME ZONE "
    "«pg_task_pause('z')",
    "SELECT a SIMILAR TO «pg_task_pause('x') FROM t FETCH FIRST «pg_task_pause('y') ROWS ONLY",
    "VALUES («pg_task_pause('x')), ((«pg_task_pause('y')))",
    "CALL «pg_task_pause('x')",
    /* calls in FROM */
    "SELECT * FROM t, LATERAL «pg_task_show(t.a) AS s(b, c), «pg_task_show('y')",
    "SELECT * FROM t LEFT JOIN «pg_task_show('x') USING (a)",
    "SELECT * FROM t CROSS JOIN [pg_catalog].pg_task_show('x') WITH ORDINALITY",
    "SELECT * FROM ROWS FROM («pg_task_show('x') AS (a int), «pg_task_show('y') AS (b int)) AS r",
    "SELECT * FROM (t JOIN «pg_task_show('x') s ON s.a = «pg_task_pause(t.b))",
    "SELECT * FROM (SELECT * FROM «pg_task_show('x')) s",
    /* around */
    "WITH a AS (SELECT * FROM «pg_task_show('x')), b AS MATERIALIZED (TABLE a) SELECT * FROM b",
    "WITH RECURSIVE a(b) AS (SELECT 1 UNION ALL SELECT «pg_task_pause(b) FROM a) SELECT * FROM a",
    "INSERT INTO t (a, b) SELECT «pg_task_pause('x'), * FROM «pg_task_show('y') ON CONFLICT (a) DO "
    "UPDATE SET a = 1, b = «pg_task_pause('z') RETURNING «pg_task_pause(a)",
    "INSERT INTO t VALUES (1, «pg_task_pause('x'))",
    "INSERT INTO t WITH a AS (SELECT «pg_task_pause('x')) TABLE a",
    "UPDATE t SET a = «pg_task_pause('x'), b = 2 FROM «pg_task_show('y') s WHERE t.a = s.a",
    "DELETE FROM t USING «pg_task_show('x') s, «history_view h WHERE t.a = s.a",
    "MERGE INTO t USING «pg_task_show('x') s ON t.a = s.a WHEN MATCHED AND «pg_task_pause('y') > 0 "
    "THEN DELETE",
    "EXPLAIN SELECT «pg_task_pause('x')",
    "EXPLAIN (ANALYZE, COSTS off) SELECT * FROM «history_view",
    "EXPLAIN ANALYZE VERBOSE SELECT * FROM «history_view",
    "PREPARE p (text, int) AS SELECT * FROM «pg_task_show($1)",
    "EXECUTE p («pg_task_pause('x'))",
    "DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT * FROM «pg_task_show('x')",
    "CREATE VIEW v (a) AS SELECT task_id FROM «pg_task_show('x') WITH CHECK OPTION",
    "CREATE OR REPLACE TEMP VIEW v AS WITH a AS (SELECT 1) SELECT * FROM a, «history_view",
    "CREATE TABLE t2 AS TABLE «history_view WITH NO DATA",
    "CREATE TABLE t2 (a int DEFAULT «pg_task_pause('x') CHECK («pg_task_pause('x') > 0))",
    "ALTER TABLE t ALTER a SET DEFAULT «pg_task_pause('x'), ALTER b TYPE int USING "
    "«pg_task_pause(b)",
    "CREATE INDEX i ON t («pg_task_pause(a)) WHERE «pg_task_pause(b) > 1",
    "COPY (SELECT * FROM «history_view) TO STDOUT",
    "COPY (INSERT INTO t SELECT * FROM «history_view RETURNING *) TO STDOUT",
    "CREATE FUNCTION f(a int DEFAULT «pg_task_pause('x')) RETURNS int LANGUAGE sql RETURN "
    "«pg_task_pause('y')",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT * FROM "
    "«history_view; END; SELECT * FROM «history_view",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (UPDATE t SET a = «pg_task_pause('x'); DELETE FROM t "
    "USING «history_view h); SELECT «pg_task_pause('y')",
    "CREATE SCHEMA s CREATE VIEW v AS SELECT * FROM «history_view CREATE VIEW w AS TABLE "
    "«history_view",
    ";; SELECT 1; SELECT «pg_task_pause('x');",
    "-- pg_task_pause('x')\nSELECT «pg_task_pause('x') -- pg_task_pause('x')\n",
    /* relations */
    "SELECT * FROM «history_view",
    "SELECT * FROM [pg_catalog].history_view h WHERE h.a = 1",
    "SELECT [pg_catalog].history_view.task_id FROM [pg_catalog].history_view",
    "SELECT history_view.task_id, history_view FROM «history_view",
    "TABLE «history_view",
    "SELECT * FROM ONLY («history_view), ONLY «history_view h",
    "SELECT * FROM t JOIN «history_view USING (a) JOIN «\"history_view\" b ON b.a IS DISTINCT FROM "
    "t.a, «history_view c",
    "SELECT * FROM ((t NATURAL JOIN «history_view) JOIN u ON true), v",
    "SELECT * FROM ((SELECT 1) UNION TABLE «history_view) x",
    "SELECT 1 UNION ALL TABLE «history_view",
    "(SELECT 1) UNION (TABLE «history_view) ORDER BY «pg_task_pause('x')",
    "SELECT * FROM «history_view FOR UPDATE OF history_view",
    "SELECT 1 AS from, a FROM «history_view",
    "SELECT a IS NOT DISTINCT FROM history_view FROM «history_view",
    "UPDATE t SET a = 1 FROM «history_view",
    "SELECT a INTO TEMP x FROM «history_view",
    "WITH history_view AS (SELECT 1) SELECT * FROM history_view; SELECT * FROM «history_view",
    "WITH history_view AS (SELECT 1) SELECT * FROM [pg_catalog].history_view",
};

static const char *const foreign[] = {
    /* somebody else's function */
    "SELECT public.pg_task_pause('x')",
    "SELECT pgveneer.pg_task_pause('x')",
    "SELECT \"PG_CATALOG\".pg_task_pause('x')",
    "SELECT db.pg_catalog.pg_task_pause('x')",
    "SELECT (t).pg_task_pause('x')",
    "SELECT a[1].pg_task_pause FROM t",
    "SELECT \"PG_TASK_PAUSE\"('x')",
    "SELECT pg_task_pauses('x'), xpg_task_pause('x'), pg_task_pause$('x')",
    "SELECT pg_task_pause_('x')",
    "SELECT ü_pg_task_pause('x'), pg_task_pauseü('x')",
    /* no call */
    "SELECT pg_task_pause FROM t",
    "SELECT pg_task_pause, t.pg_task_pause FROM t",
    "SELECT t.pg_task_pause (1) FROM t",
    "SELECT a AS pg_task_pause FROM t",
    "SELECT a pg_task_pause FROM t",
    "SELECT f(pg_task_pause => 1), f(pg_task_pause := 1)",
    "SELECT pg_task_pause IN (1, 2) FROM t",
    "SELECT x::pg_task_pause(3), CAST(x AS pg_task_pause(3)) FROM t",
    "SELECT * FROM pg_task_show",
    "SELECT * FROM t pg_task_show (a, b)",
    "SELECT * FROM t AS pg_task_show (a, b)",
    "SELECT * FROM f(1) pg_task_show (a, b)",
    "SELECT * FROM (SELECT 1) pg_task_show (a)",
    "SELECT * FROM t * pg_task_show (a)",
    "SELECT * FROM t TABLESAMPLE pg_task_show (10)",
    "SELECT sum(a) OVER pg_task_show FROM t WINDOW pg_task_show AS (PARTITION BY b)",
    "SELECT sum(a) OVER (pg_task_show ORDER BY b) FROM t",
    "SELECT a FROM t ORDER BY pg_task_show",
    "SELECT a FROM t FOR UPDATE OF pg_task_show",
    /* strings, comments, quotes */
    "SELECT 'pg_task_pause(1)'",
    "SELECT E'\\'pg_task_pause(1)'",
    "SELECT 'a' -- c\n 'pg_task_pause(1)'",
    "SELECT $$pg_task_pause(1)$$, $a$ $$ pg_task_pause(1) $a$",
    "SELECT 1 /* pg_task_pause(1) /* x */ pg_task_pause(1) */",
    "SELECT 1 -- pg_task_pause(1)",
    "SELECT \"a pg_task_pause(1)\", \"pg_task_pause(\"",
    "SELECT U&'pg_task_pause(1)', N'pg_task_pause(1)', B'0'",
    "SELECT U&\"pg_task_p\\0041use\"('x')",
    "DO $$ BEGIN PERFORM pg_task_pause('x'); END $$",
    "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT pg_task_pause(1)'",
    "SELECT 'pg_task_pause(1)",
    "SELECT pg_task_pause(1) /* no end",
    "SELECT pg_task_pause(1), \"no end",
    "SELECT pg_task_pause(1), $x$ no end",
    /* common table expressions */
    "WITH pg_task_show (a) AS (SELECT 1) TABLE pg_task_show",
    "WITH x AS (SELECT 1), pg_task_show (a) AS (SELECT 2) SELECT * FROM pg_task_show",
    "WITH history_view AS (SELECT 1) SELECT * FROM history_view",
    "WITH RECURSIVE history_view (a) AS (SELECT 1 UNION SELECT a FROM history_view) TABLE "
    "history_view",
    "WITH a AS (SELECT 1), history_view AS NOT MATERIALIZED (SELECT 2) SELECT (SELECT count(*) "
    "FROM history_view)",
    /* targets */
    "INSERT INTO pg_task_show (a, b) VALUES (1, 2)",
    "INSERT INTO t (pg_task_show, a) VALUES (1, 2)",
    "INSERT INTO history_view VALUES (1)",
    "INSERT INTO t SELECT 1 ON CONFLICT (a) DO UPDATE SET a = 1, history_view = 2",
    "UPDATE history_view SET a = 1",
    "UPDATE t SET history_view = 1, a = t.history_view",
    "UPDATE t SET (a, pg_task_show) = (1, 2)",
    "DELETE FROM history_view WHERE a = 1",
    "DELETE FROM ONLY history_view",
    "MERGE INTO history_view USING t ON true WHEN MATCHED THEN DELETE",
    "WITH x AS (DELETE FROM history_view RETURNING a) SELECT * FROM x",
    "COPY history_view FROM STDIN",
    "COPY pg_task_show (a, b) TO STDOUT",
    "TRUNCATE history_view, t",
    "TRUNCATE TABLE history_view",
    "LOCK TABLE history_view IN SHARE MODE",
    "SELECT a INTO history_view FROM t",
    "SELECT a INTO TABLE history_view FROM t",
    "VACUUM pg_task_show (a), t",
    "ANALYZE t (a), pg_task_show (b)",
    /* columns called like a relation */
    "SELECT history_view FROM t",
    "SELECT extract(epoch FROM history_view), substring(a FROM history_view) FROM t",
    "SELECT trim(both FROM history_view), a IS DISTINCT FROM history_view",
    "SELECT a IS NOT DISTINCT FROM history_view FROM t",
    "SELECT * FROM t JOIN u ON history_view = b WHERE history_view = 1 ORDER BY history_view",
    "SELECT * FROM t JOIN u USING (a, history_view)",
    "SELECT * FROM t AS history_view, u history_view",
    "SELECT * FROM t AS x(history_view, b)",
    "SELECT * FROM public.history_view",
    "SELECT * FROM db.pg_catalog.history_view",
    "SELECT * FROM history_view('x')",
    "SELECT * FROM history_view.t",
    "SELECT a, history_view FROM f(1, 2)",
    "SELECT 1 UNION SELECT history_view",
    "SELECT f(a, history_view)",
    /* objects of DDL */
    "CREATE FUNCTION pg_task_show(text) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE OR REPLACE PROCEDURE pg_task_show(text) LANGUAGE sql AS ''",
    "CREATE FUNCTION f(pg_task_show(3), a pg_task_show(3)) RETURNS TABLE (b pg_task_show(3)) "
    "LANGUAGE sql AS ''",
    "CREATE FUNCTION f() RETURNS pg_task_show(3) LANGUAGE sql AS ''",
    "ALTER FUNCTION pg_task_show(text) OWNER TO x",
    "DROP FUNCTION IF EXISTS pg_task_show(text), pg_task_pause(text)",
    "DROP ROUTINE a(int), pg_task_show(text)",
    "DROP VIEW history_view",
    "COMMENT ON FUNCTION pg_task_show(text) IS 'x'",
    "COMMENT ON COLUMN pg_catalog.history_view.a IS 'x'",
    "GRANT EXECUTE ON FUNCTION a(int), pg_task_show(text) TO x",
    "GRANT SELECT ON history_view TO x",
    "REVOKE ALL ON history_view FROM history_view",
    "SECURITY LABEL ON FUNCTION pg_task_show(text) IS 'x'",
    "CREATE TABLE pg_task_show (a int)",
    "CREATE TABLE IF NOT EXISTS history_view (a int)",
    "CREATE TABLE t2 (pg_task_show int, b pg_task_show(3))",
    "CREATE TABLE t2 (a int REFERENCES pg_task_show (b))",
    "CREATE TABLE pg_task_show AS SELECT 1",
    "CREATE VIEW history_view AS SELECT 1",
    "CREATE VIEW pg_task_show (a) AS SELECT 1",
    "CREATE INDEX i ON pg_task_show (a)",
    "CREATE INDEX i ON t USING pg_task_show (a)",
    "CREATE INDEX pg_task_show ON t (a)",
    "CREATE TRIGGER x BEFORE INSERT ON t EXECUTE FUNCTION pg_task_show('a')",
    "CREATE AGGREGATE pg_task_show (int) (sfunc = pg_task_pause, stype = int)",
    "CREATE CAST (a AS b) WITH FUNCTION pg_task_show(a)",
    "CREATE CAST (pg_task_show(3) AS b) WITHOUT FUNCTION",
    "CREATE OR REPLACE AGGREGATE f(int) (sfunc = pg_task_show(3), stype = int)",
    "CREATE TEXT SEARCH CONFIGURATION c (PARSER = pg_task_show(1))",
    "CREATE PUBLICATION p FOR TABLE t, pg_task_show (a)",
    "CREATE STATISTICS s ON a, b FROM history_view",
    "ALTER TABLE history_view RENAME TO pg_task_show",
    "ALTER TABLE t ADD COLUMN a pg_task_show(3)",
    "ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES pg_task_show (b)",
    "ALTER TABLE t RENAME history_view TO x",
    "ALTER VIEW history_view RENAME TO y",
    "ALTER EXTENSION e ADD FUNCTION pg_task_show(text)",
    "REFRESH MATERIALIZED VIEW history_view",
    "REINDEX TABLE history_view",
    "IMPORT FOREIGN SCHEMA history_view FROM SERVER history_view INTO x",
    /* other names */
    "PREPARE pg_task_show (text) AS SELECT 1",
    "EXECUTE pg_task_show ('x')",
    "DECLARE pg_task_show CURSOR FOR SELECT 1",
    "FETCH 5 FROM history_view",
    "MOVE FORWARD 5 FROM history_view",
    "CLOSE history_view",
    "SAVEPOINT pg_task_show",
    "LISTEN pg_task_show",
    "SET pg_task_show = 1",
    "SHOW pg_task_show",
    "pg_task_show('x')",
    "",
    ";",
    ")",
};

static int set_up(void **state)
{
    *state = fixture_gate();
    return 0;
}

static int tear_down(void **state)
{
    gate_free(*state);
    return 0;
}

static const struct gate_session plain = {.standard_conforming_strings = true};

/* A copy of the exact size, so that a sanitizer sees a read behind the end. */
static struct slice exact_copy(struct arena *a, const char *text)
{
    char *copy = malloc(strlen(text) + 1);
    assert_non_null(copy);
    memcpy(copy, text, strlen(text));
    char *kept = arena_copy(a, slice_cstr(text));
    free(copy);
    return slice_of(kept, strlen(text));
}

/* Text without marks, and what should become of it. */
static void read_marks(const char *marked, char *client, char *server)
{
    for (const char *p = marked; *p != '\0';) {
        if (strncmp(p, "«", 2) == 0) {
            memcpy(server, "pgveneer.", 9);
            server += 9;
            p += 2;
        } else if (strncmp(p, "[pg_catalog]", 12) == 0 || strncmp(p, "[PG_CATALOG]", 12) == 0 ||
                   strncmp(p, "[\"pg_catalog\"]", 14) == 0) {
            for (p++; *p != ']'; p++)
                *client++ = *p;
            p++;
            memcpy(server, "pgveneer", 8);
            server += 8;
        } else {
            *client++ = *server++ = *p++;
        }
    }
    *client = *server = '\0';
}

static void finds_what_is_ours(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(ours); i++) {
        char client[1024], server[1024];
        struct arena a;
        struct gate_result r;
        struct err err = {.sqlstate = ""};
        arena_init(&a, 0);
        read_marks(ours[i], client, server);
        struct slice text = exact_copy(&a, client);
        assert_true(gate_may_hold(*state, text));
        assert_true(gate_inspect(*state, &plain, text, &a, &r, &err));
        char *got = r.verdict == GATE_REWRITE ? arena_copy(&a, r.text) : client;
        assert_non_null(got);
        if (strcmp(got, server) != 0)
            fail_msg("\nclient   %s\nexpected %s\ngot      %s", client, server, got);
        assert_true(r.needs_support_schema);
        arena_fini(&a);
    }
}

static void leaves_what_is_not(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        struct arena a;
        struct gate_result r;
        struct err err = {.sqlstate = ""};
        arena_init(&a, 0);
        struct slice text = exact_copy(&a, foreign[i]);
        assert_true(gate_inspect(*state, &plain, text, &a, &r, &err));
        if (r.verdict != GATE_PASS)
            fail_msg("\nclient %s\ngot    %s", foreign[i], arena_copy(&a, r.text));
        arena_fini(&a);
    }
}

/* Texts of many sizes and shapes that must neither crash nor take long. */
static void is_linear(void **state)
{
    static const char *const parts[] = {
        "(",  ")",  "+-",     "case ", "pg_task_show(", "with x as (", "select ", "/*",
        "''", "$a", "U&\"\"", ";",     "begin atomic "};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        struct arena a;
        struct gate_result r;
        struct err err;
        size_t n = strlen(parts[i]), count = 200000;
        char *text = malloc(n * count);
        assert_non_null(text);
        for (size_t k = 0; k < count; k++)
            memcpy(text + k * n, parts[i], n);
        arena_init(&a, 0);
        assert_true(gate_inspect(*state, &plain, slice_of(text, n * count), &a, &r, &err));
        arena_fini(&a);
        free(text);
    }
}

/* The search_path decides only about bare names. */
/* A function that CALL takes for a procedure of another name; only where CALL calls that one. */
static void calls_procedures(void **state)
{
    static const char *const cases[][2] = {
        {"CALL pg_task_run('x')", "CALL pgveneer.call_task_run('x')"},
        {"call \"pg_catalog\" . pg_task_run ('x');CALL pg_task_run()",
         "call pgveneer.call_task_run ('x');CALL pgveneer.call_task_run()"},
        {"/* a */ CALL /* b */ PG_TASK_RUN(pg_task_run('x'), pg_catalog.pg_task_run())",
         "/* a */ CALL /* b */ pgveneer.call_task_run(pgveneer.pg_task_run('x'), "
         "pgveneer.pg_task_run())"},
        {"CALL p(pg_task_run('x'))", "CALL p(pgveneer.pg_task_run('x'))"},
        {"SELECT pg_task_run('x')", "SELECT pgveneer.pg_task_run('x')"},
    };
    struct gate *g = fixture_gate();
    struct gate_session s = {.standard_conforming_strings = true, .client_encoding = "UTF8"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct arena a;
        struct gate_result r;
        struct err err;
        arena_init(&a, 0);
        assert_true(gate_inspect(g, &s, slice_cstr(cases[i][0]), &a, &r, &err));
        assert_int_equal(r.verdict, GATE_REWRITE);
        if (!slice_equals_cstr(r.text, cases[i][1]))
            fail_msg("%s: %.*s", cases[i][0], (int)r.text.len, r.text.data);
        arena_fini(&a);
    }
    gate_free(g);
}

static void leaves_shadowed_names(void **state)
{
    struct arena a;
    struct gate_result r;
    struct err err;
    arena_init(&a, 0);
    const char *text = "SELECT pg_task_show('x'), pg_catalog.pg_task_show('y'), pg_task_pause('z')";
    assert_true(gate_inspect(*state, &plain, slice_cstr(text), &a, &r, &err));
    assert_int_equal(r.objects, 3);
    assert_true(r.wakes_workers);
    struct gate_session s = plain;
    s.shadowed = 1;
    assert_true(gate_inspect(*state, &s, slice_cstr(text), &a, &r, &err));
    assert_string_equal(arena_copy(&a, r.text),
                        "SELECT pg_task_show('x'), pgveneer.pg_task_show('y'), "
                        "pgveneer.pg_task_pause('z')");
    s.shadowed = 3;
    assert_true(gate_inspect(*state, &s, slice_cstr("SELECT pg_task_pause('z')"), &a, &r, &err));
    assert_int_equal(r.verdict, GATE_PASS);
    arena_fini(&a);
}

/* --- statements that become a CALL ------------------------------------------------------------------ */

static struct gate_result inspect(struct gate *g, struct arena *a, const struct gate_session *s,
                                  const char *text, struct err *err)
{
    struct gate_result r;
    *err = (struct err){.sqlstate = ""};
    assert_true(gate_inspect(g, s, slice_cstr(text), a, &r, err));
    return r;
}

static void replaces_statements(void **state)
{
    struct arena a;
    struct err err;
    arena_init(&a, 0);
    struct gate_result r = inspect(*state, &a, &plain,
                                   "/*c*/ MAKE thing a (pg_task_show(1)) ; CALL x(); "
                                   "CALL pg_task_pause('x');make thing other; make /**/ thing b",
                                   &err);
    assert_int_equal(r.verdict, GATE_REWRITE);
    assert_string_equal(
        arena_copy(&a, r.text),
        "/*c*/ CALL pgveneer.thing('a') ; CALL x(); CALL pgveneer.pg_task_pause('x');"
        "make thing other; CALL pgveneer.thing('b')");
    assert_int_equal(r.tag_count, 5);
    assert_string_equal(r.tags[0], "MAKE THING");
    assert_null(r.tags[1]);
    assert_null(r.tags[2]);
    assert_null(r.tags[3]);
    assert_string_equal(r.tags[4], "MAKE THING");
    assert_null(r.ask);
    assert_int_equal(r.ask_count, 0);
    r = inspect(*state, &a, &plain, "EXPLAIN MAKE THING a; (MAKE THING a); SELECT 1 MAKE THING a",
                &err);
    assert_int_equal(r.verdict, GATE_PASS);
    arena_fini(&a);
}

static void refuses_at_the_place(void **state)
{
    struct arena a;
    struct err err;
    arena_init(&a, 0);
    struct gate_result r = inspect(*state, &a, &plain, "SELECT 'ü'; MAKE THING bad", &err);
    assert_int_equal(r.verdict, GATE_REFUSE);
    assert_int_equal(err.position, 24);
    assert_string_equal(err.sqlstate, "42601");
    r = inspect(*state, &a, &plain, "MAKE THING a SECRET; MAKE THING b", &err);
    assert_int_equal(r.verdict, GATE_REWRITE);
    assert_string_equal(r.secrets, "{\"password\":\"x\"}");
    r = inspect(*state, &a, &plain, "MAKE THING a SECRET; MAKE THING b SECRET", &err);
    assert_int_equal(r.verdict, GATE_REFUSE);
    assert_string_equal(err.sqlstate, "0A000");
    arena_fini(&a);
}

/* Each statement has its own question, and what an answer turns down stays as it was. */
static void asks_for_each_statement(void **state)
{
    struct arena a;
    struct err err;
    arena_init(&a, 0);
    const char *text = "USE THING a (pg_task_show(1)); MAKE THING b; USE THING b; USE THING c";
    struct gate_result r = inspect(*state, &a, &plain, text, &err);
    assert_int_equal(r.ask_count, 2); /* b is made before it is used, without a doubt */
    assert_string_equal(r.ask, "SELECT (is_thing('a')), (is_thing('c'))");
    static const bool answers[] = {false, true};
    struct gate_session s = plain;
    s.answers = answers;
    s.answer_count = 2;
    r = inspect(*state, &a, &s, text, &err);
    assert_null(r.ask);
    assert_string_equal(arena_copy(&a, r.text),
                        "USE THING a (pg_task_show(1)); CALL pgveneer.thing('b'); "
                        "CALL pgveneer.thing('b'); CALL pgveneer.thing('c')");
    assert_int_equal(r.tag_count, 4);
    assert_null(r.tags[0]);
    r = inspect(*state, &a, &plain, "MAKE THING b DOUBT; USE THING b", &err);
    assert_string_equal(r.ask, "SELECT (may(3)), ((is_thing('b')) OR (may(3)))");
    arena_fini(&a);
}

/* Two statements with secrets in one text are too many, unless one of them is somebody else's. */
static void parts_secrets(void **state)
{
    struct arena a;
    struct err err;
    arena_init(&a, 0);
    const char *text = "MAKE THING a SECRET DOUBT; MAKE THING b SECRET DOUBT";
    struct gate_result r = inspect(*state, &a, &plain, text, &err);
    assert_int_equal(r.verdict, GATE_REWRITE);
    assert_int_equal(r.ask_count, 2);
    static const bool one[] = {true, false}, both[] = {true, true};
    struct gate_session s = plain;
    s.answers = one;
    s.answer_count = 2;
    r = inspect(*state, &a, &s, text, &err);
    assert_int_equal(r.verdict, GATE_REWRITE);
    assert_string_equal(arena_copy(&a, r.text),
                        "CALL pgveneer.thing('a'); MAKE THING b SECRET DOUBT");
    s.answers = both;
    r = inspect(*state, &a, &s, text, &err);
    assert_int_equal(r.verdict, GATE_REFUSE);
    assert_string_equal(err.sqlstate, "0A000");
    arena_fini(&a);
}

static void survives_lack_of_memory(void **state)
{
    const char *text = "USE THING a; SELECT pg_task_show(1); USE THING b SECRET; CALL x()";
    bool done = false;
    for (size_t limit = 16; !done; limit += 16) {
        struct arena a;
        struct gate_result r;
        struct err err;
        arena_init(&a, limit);
        done = gate_inspect(*state, &plain, slice_cstr(text), &a, &r, &err);
        assert_int_equal(r.verdict, done ? GATE_REWRITE : GATE_PASS);
        arena_fini(&a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(finds_what_is_ours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_what_is_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(leaves_shadowed_names, set_up, tear_down),
        cmocka_unit_test(calls_procedures),
        cmocka_unit_test_setup_teardown(replaces_statements, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refuses_at_the_place, set_up, tear_down),
        cmocka_unit_test_setup_teardown(asks_for_each_statement, set_up, tear_down),
        cmocka_unit_test_setup_teardown(parts_secrets, set_up, tear_down),
        cmocka_unit_test_setup_teardown(survives_lack_of_memory, set_up, tear_down),
        cmocka_unit_test_setup_teardown(is_linear, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
