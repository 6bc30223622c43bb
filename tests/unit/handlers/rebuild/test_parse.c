/* What the statements of online rebuilds become. The texts come from Hologres' manual, or are what
 * clients write. The gate is in between: a client's text goes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "proxy/gate.h"
#include "rebuild/handler.h"

#define LIST(items) "pg_catalog.jsonb_build_array(VARIADIC ARRAY[" items "]::pg_catalog.jsonb[])"
#define ACTION(action, column, rest)                                                               \
    "pg_catalog.jsonb_build_object('do', '" action "', 'column', " column rest ")"
#define PARAMETER(name, value)                                                                     \
    "pg_catalog.jsonb_build_object('name', '" name "', 'value', " value ")"
#define COLUMNS(names) "pg_catalog.to_jsonb(ARRAY[" names "]::pg_catalog.text[])"
#define NAME(parts) "ARRAY[" parts "]::pg_catalog.text[]"

struct answer {
    const char *text;
    const char *call; /* without the text itself, which ASYNC REBUILD repeats */
    const char *tag;
};

static const struct answer submits[] = {
    {"ASYNC REBUILD TABLE rebuild_test ADD COLUMN c text NOT NULL DEFAULT 'a'",
     "SELECT query_id FROM hologres.rebuild_submit(" NAME("'rebuild_test'") ", false, "
                                                            "'[]'::pg_catalog.jsonb, " LIST(ACTION(
                                                                "add", "'c'",
                                                                ", 'definition', 'text NOT NULL "
                                                                "DEFAULT ''a'''")),
     NULL},
    {"async rebuild table if exists S.\"T 1\" alter primary key (A, \"B\")",
     "SELECT query_id FROM hologres.rebuild_submit(" NAME("'s', 'T 1'") ", true, '[]'::pg_catalog.jsonb, " LIST(
         ACTION("primary_key", "NULL", ", 'columns', " COLUMNS("'a', 'B'"))),
     NULL},
    {"ASYNC REBUILD TABLE t WITH (keep_source, binlog_mode, rebuild_guc_hg_computing_resource = "
     "'serverless') SET (distribution_key = 'a', orientation = 'row,column', binlog.ttl = 12, p)",
     "SELECT query_id FROM hologres.rebuild_submit(" NAME("'t'") ", false, " LIST(
         PARAMETER("keep_source", "NULL") ", " PARAMETER("binlog_mode", "NULL") ", " PARAMETER(
             "rebuild_guc_hg_computing_resource",
             "'serverless'")) ", " LIST(ACTION("set", "NULL",
                                               ", 'properties', " LIST(PARAMETER("distribution_key", "'a'") ", " PARAMETER(
                                                   "orientation",
                                                   "'row,column'") ", " PARAMETER("binlog.ttl",
                                                                                  "'12'") ","
                                                                                          " " PARAMETER("p",
                                                                                                        "NULL")))),
     NULL},
    {"ASYNC REBUILD TABLE t ALTER COLUMN ds SET NOT NULL, TO LOGICAL PARTITION BY LIST(ds)",
     "SELECT query_id FROM hologres.rebuild_submit(" NAME("'t'") ", false, '[]'::pg_catalog.jsonb, " LIST(
         ACTION("set_not_null", "'ds'", "") ", " ACTION(
             "partition", "NULL", ", 'logical', true, 'columns', " COLUMNS("'ds'"))),
     NULL},
    {"ASYNC REBUILD TABLE t TO PARTITION, ALTER a SET DATA TYPE numeric(10, 2) USING f(a, ',)') + "
     "1,"
     " ALTER b TYPE int[], ALTER c SET DEFAULT (1), ALTER d DROP DEFAULT, ALTER e DROP NOT NULL",
     "SELECT query_id FROM hologres.rebuild_submit(" NAME("'t'") ", false, '[]'::pg_catalog.jsonb, " LIST(
         ACTION("partition", "NULL", ", 'logical', false") ", " ACTION("type", "'a'", ", 'type', 'numeric(10, 2)', 'using', 'f(a, '',)'') + 1'") ", " ACTION(
             "type", "'b'",
             ", 'type', 'int[]'") ", " ACTION("set_default", "'c'",
                                              ", 'expression', '(1)'") ", " ACTION("drop_default",
                                                                                   "'d'",
                                                                                   "") ", " ACTION("drop_not_null",
                                                                                                   "'e'",
                                                                                                   "")),
     NULL},
};

#define REFERENCES(name, table, clause)                                                            \
    ", 'references', pg_catalog.jsonb_build_object('name', " name ", 'table', "                    \
    "pg_catalog.to_jsonb(" NAME(table) "), 'clause', '" clause "')"

/* The foreign key of a new column is read apart. */
static const struct answer references[] = {
    {"ASYNC REBUILD TABLE t ADD a int DEFAULT 1 CONSTRAINT \"K\" REFERENCES s.o (b) MATCH FULL ON "
     "DELETE SET NULL ON UPDATE NO ACTION NOT DEFERRABLE INITIALLY IMMEDIATE NOT NULL, ADD b int "
     "REFERENCES o",
     "SELECT query_id FROM hologres.rebuild_submit(" NAME("'t'") ", false, '[]'::pg_catalog.jsonb, " LIST(
         ACTION("add", "'a'",
                REFERENCES("'K'", "'s', 'o'",
                           "(b) MATCH FULL ON DELETE SET NULL ON UPDATE NO ACTION NOT DEFERRABLE "
                           "INITIALLY IMMEDIATE") ", 'definition', 'int DEFAULT 1 NOT NULL'") ", " ACTION(
             "add", "'b'", REFERENCES("NULL", "'o'", "") ", 'definition', 'int'")),
     NULL},
};

static const struct answer others[] = {
    {"SUSPEND '12'", "CALL hologres.rebuild_suspend('12')", "SUSPEND"},
    {"resume 'a''b';", "CALL hologres.rebuild_resume('a''b');", "RESUME"},
    {"CALL hg_clean_rebuild_tmp_tables('1')", "CALL hologres.hg_clean_rebuild_tmp_tables('1')",
     NULL},
    {"CALL set_table_property('t', 'orientation', 'row')",
     "CALL hologres.set_table_property('t', 'orientation', 'row')", NULL},
    {"ALTER TABLE IF EXISTS s.t SET (readonly = false)",
     "CALL hologres.alter_table(" NAME("'s', 't'") ", true, " LIST(
         PARAMETER("readonly", "'false'")) ")",
     "ALTER TABLE"},
    {"ALTER TABLE t SET RESET (ddl_options,write_options)",
     "CALL hologres.alter_table(" NAME(
         "'t'") ", false, '[{\"name\": \"readonly\", \"value\": \"false\"}]'::pg_catalog.jsonb)",
     "ALTER TABLE"},
    {"ALTER TABLE t SET (fillfactor = 70, bitmap_columns = 'a:on')",
     "CALL hologres.alter_table(" NAME("'t'") ", false, " LIST(
         PARAMETER("fillfactor", "'70'") ", " PARAMETER("bitmap_columns", "'a:on'")) ")",
     "ALTER TABLE"},
    {"CREATE TABLE t (a int) WITH (orientation = 'row', fillfactor = 70) TABLESPACE x",
     "CALL hologres.create_table(" NAME("'t'") ", false, " LIST(PARAMETER(
         "orientation", "'row'")) ", 'CREATE TABLE t (a int) WITH (fillfactor = 70) TABLESPACE x')",
     "CREATE TABLE"},
    {"create unlogged table if not exists t (a text) with (clustering_key='a')",
     "CALL hologres.create_table(" NAME("'t'") ", true, " LIST(
         PARAMETER("clustering_key", "'a'")) ", 'create unlogged table if not exists t (a text) ')",
     "CREATE TABLE"},
    /* PostgreSQL's own, or nobody's */
    {"SUSPEND x", NULL, NULL},
    {"SELECT resume, suspend FROM rebuild", NULL, NULL},
    {"ALTER TABLE t SET (fillfactor = 70)", NULL, NULL},
    {"ALTER TABLE t RESET (orientation_x)", NULL, NULL},
    {"ALTER TABLE t ADD orientation text", NULL, NULL},
    {"CREATE TABLE t (orientation text) WITH (fillfactor = 70)", NULL, NULL},
    {"CREATE TABLE t AS WITH (orientation) SELECT 1", NULL, NULL},
    {"REBUILD TABLE t ADD a int", NULL, NULL},
};

static const struct answer refused[] = {
    {"ASYNC REBUILD TABLE t", NULL, "syntax error at end of input"},
    {"ASYNC REBUILD TABLE t ADD a", NULL, "syntax error at end of input"},
    {"ASYNC REBUILD TABLE t ADD PRIMARY KEY (a)", NULL, "syntax error at or near \"PRIMARY\""},
    {"ASYNC REBUILD TABLE t ADD a int,", NULL, "syntax error at end of input"},
    {"ASYNC REBUILD TABLE t ADD a int) x", NULL, "syntax error at or near \")\""},
    {"ASYNC REBUILD TABLE t ADD a REFERENCES o", NULL, "syntax error at or near \"REFERENCES\""},
    {"ASYNC REBUILD TABLE t ADD a int REFERENCES o ON DELETE x", NULL,
     "syntax error at or near \"x\""},
    {"ASYNC REBUILD TABLE t ADD a int REFERENCES o REFERENCES p", NULL,
     "syntax error at or near \"REFERENCES\""},
    {"ASYNC REBUILD TABLE t ALTER a TYPE int USING", NULL, "syntax error at end of input"},
    {"ASYNC REBUILD TABLE t ALTER a TYPE (int", NULL, "syntax error at end of input"},
    {"ASYNC REBUILD TABLE t ALTER a TYPE int USING $1", NULL, "syntax error at or near \"$1\""},
    {"ASYNC REBUILD TABLE t TO LOGICAL PARTITION BY RANGE (a)", NULL,
     "syntax error at or near \"BY\""},
    {"ASYNC REBUILD TABLE t SET (a = )", NULL, "syntax error at or near \")\""},
    {"ALTER TABLE t SET RESET (ddl_options, x)", NULL, "syntax error at or near \"x\""},
    {"ALTER TABLE t SET (readonly = true) x", NULL, "syntax error at or near \"x\""},
};

static enum gate_verdict inspect(struct arena *a, const char *text, struct gate_result *result,
                                 struct err *err)
{
    static const struct handler *const handlers[] = {&rebuild_handler};
    const struct gate_session session = {.standard_conforming_strings = true};
    struct gate *g;
    assert_true(gate_new(handlers, 1, &g, err));
    result->verdict = GATE_PASS;
    if (gate_may_hold(g, slice_cstr(text)))
        assert_true(gate_inspect(g, &session, slice_cstr(text), a, result, err));
    gate_free(g);
    return result->verdict;
}

static void check_submits(const struct answer *all, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct arena a;
        struct gate_result result;
        struct err err;
        arena_init(&a, 0);
        assert_int_equal(inspect(&a, all[i].text, &result, &err), GATE_REWRITE);
        const char *got = arena_copy(&a, result.text);
        assert_non_null(got);
        assert_memory_equal(got, all[i].call, strlen(all[i].call));
        assert_string_equal(result.tags[0], "ASYNC REBUILD TABLE");
        assert_true(result.wakes_workers);
        arena_fini(&a);
    }
}

static void test_submits(void **state)
{
    (void)state;
    check_submits(submits, ARRAY_LEN(submits));
}

static void test_references(void **state)
{
    (void)state;
    check_submits(references, ARRAY_LEN(references));
}

static void test_others(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        struct arena a;
        struct gate_result result;
        struct err err;
        arena_init(&a, 0);
        enum gate_verdict v = inspect(&a, others[i].text, &result, &err);
        if (others[i].call == NULL) {
            assert_int_equal(v, GATE_PASS);
        } else {
            assert_int_equal(v, GATE_REWRITE);
            assert_string_equal(arena_copy(&a, result.text), others[i].call);
            if (others[i].tag != NULL)
                assert_string_equal(result.tags[0], others[i].tag);
        }
        arena_fini(&a);
    }
}

static void test_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        struct arena a;
        struct gate_result result;
        struct err err;
        arena_init(&a, 0);
        assert_int_equal(inspect(&a, refused[i].text, &result, &err), GATE_REFUSE);
        assert_string_equal(err.message, refused[i].tag);
        assert_string_equal(err.sqlstate, SQLSTATE_SYNTAX_ERROR);
        assert_true(err.position > 0);
        arena_fini(&a);
    }
}

/* Every beginning of every text is an answer, a refusal or passes; nothing is read behind it. */
static void test_beginnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(submits); i++)
        for (size_t n = 0; n < strlen(submits[i].text); n++) {
            struct arena a;
            struct gate_result result;
            struct err err;
            arena_init(&a, 0);
            char *text = test_malloc(n + 1);
            memcpy(text, submits[i].text, n);
            text[n] = '\0';
            enum gate_verdict v = inspect(&a, text, &result, &err);
            if (v == GATE_REFUSE)
                assert_true(err_is_set(&err));
            test_free(text);
            arena_fini(&a);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_submits),
        cmocka_unit_test(test_references),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_beginnings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
