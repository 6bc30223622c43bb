/* What the statements on servers and foreign tables become. The texts come from the DWS manual, or are
 * PostgreSQL's own forms of them. The gate is in between: a client's text goes in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "hudi/handler.h"
#include "proxy/gate.h"
#include "proxy/lexer.h"

struct answer {
    const char *text;
    const char *call;
    const char *tag;
    const char *ask; /* without "SELECT (" and ")" */
    const char *secrets;
};

#define OPTIONS(pairs) "pg_catalog.jsonb_object(ARRAY[" pairs "]::pg_catalog.text[])"
#define CHANGES(list)                                                                              \
    "pg_catalog.jsonb_build_object('options', pg_catalog.jsonb_build_array(VARIADIC ARRAY[" list   \
    "]::pg_catalog.jsonb[])"
#define CHANGE(action, name, value)                                                                \
    "pg_catalog.jsonb_build_object('action', '" action "', 'name', '" name "', 'value', " value ")"
#define COLUMN(name, type, collation, not_null)                                                    \
    "pg_catalog.jsonb_build_object('name', '" name "', 'type', '" type                             \
    "', 'collation', " collation ", 'not_null', " not_null ")"
#define COLUMNS(list) "pg_catalog.jsonb_build_array(VARIADIC ARRAY[" list "]::pg_catalog.jsonb[])"
#define TEXTS(list) "ARRAY[" list "]::pg_catalog.text[]"

static const struct answer answers[] = {
    /* servers */
    {"CREATE SERVER obs_server FOREIGN DATA WRAPPER DFS_FDW OPTIONS (\n  address "
     "'obs.example.com',\n"
     "  access_key 'AK', -- c\n  secret_access_key 'S''K\"\\', type 'obs')",
     "CALL pgveneer.create_server('obs_server', 'dfs_fdw', " OPTIONS(
         "'address', 'obs.example.com', 'access_key', '********', "
         "'secret_access_key', '********', 'type', 'obs'") ", false)",
     "CREATE SERVER", "pgveneer.is_hudi_wrapper('dfs_fdw')",
     "{\"access_key\":\"AK\",\"secret_access_key\":\"S'K\\\"\\\\\"}"},
    {"create server if not exists \"S 1\" type 'local' foreign data wrapper hdfs_fdw",
     "CALL pgveneer.create_server('S 1', 'hdfs_fdw', " OPTIONS("'type', 'local'") ", true)",
     "CREATE SERVER", "pgveneer.is_hudi_wrapper('hdfs_fdw')", NULL},
    {"CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw",
     "CALL pgveneer.create_server('s', 'dfs_fdw', '{}'::pg_catalog.jsonb, false)", "CREATE SERVER",
     "pgveneer.is_hudi_wrapper('dfs_fdw')", NULL},
    {"ALTER SERVER s OPTIONS (SET address E'x\\ty\\\\', \"Add\" 'y', drop type, drop 'z', set "
     "secret_access_key 'k')",
     "CALL pgveneer.alter_server('s', " CHANGES(
         CHANGE("set", "address", "E'x\ty\\\\'") ", " CHANGE("add", "Add", "'y'") ", " CHANGE(
             "drop", "type", "NULL") ", " CHANGE("add", "drop",
                                                 "'z'") ", " CHANGE("set", "secret_access_key",
                                                                    "NULL")) ", 'rename_to', NULL, "
                                                                             "'owner_to', NULL))",
     "ALTER SERVER", "pgveneer.is_hudi_server('s')", "{\"secret_access_key\":\"k\"}"},
    {"ALTER SERVER s RENAME TO t",
     "CALL pgveneer.alter_server('s', " CHANGES("") ", 'rename_to', 't', 'owner_to', NULL))",
     "ALTER SERVER", "pgveneer.is_hudi_server('s')", NULL},
    {"ALTER SERVER s OWNER TO current_user",
     "CALL pgveneer.alter_server('s', " CHANGES(
         "") ", 'rename_to', NULL, 'owner_to', 'CURRENT_USER'))",
     "ALTER SERVER", "pgveneer.is_hudi_server('s')", NULL},
    {"DROP SERVER IF EXISTS a, \"B\" CASCADE",
     "CALL pgveneer.drop_server(" TEXTS("'a', 'B'") ", true, true)", "DROP SERVER",
     "pgveneer.is_hudi_server('a') AND pgveneer.is_hudi_server('B')", NULL},
    /* rights */
    {"GRANT USAGE ON FOREIGN SERVER obs_server TO app, GROUP b, public WITH GRANT OPTION",
     "CALL pgveneer.grant_server_usage(" TEXTS("'obs_server'") ", " TEXTS(
         "'app', 'b', 'PUBLIC'") ", true)",
     "GRANT", "pgveneer.is_hudi_server('obs_server')", NULL},
    {"REVOKE ALL PRIVILEGES ON FOREIGN SERVER a, b FROM \"public\" CASCADE",
     "CALL pgveneer.revoke_server_usage(" TEXTS("'a', 'b'") ", " TEXTS("'public'") ", true)",
     "REVOKE", "pgveneer.is_hudi_server('a') AND pgveneer.is_hudi_server('b')", NULL},
    {"CREATE USER MAPPING IF NOT EXISTS FOR USER SERVER s OPTIONS (\"user\" 'u', password "
     "E'\\u00e4\\n')",
     "CALL pgveneer.create_user_mapping('CURRENT_USER', 's', " OPTIONS(
         "'user', 'u', 'password', '********'") ", true)",
     "CREATE USER MAPPING", "pgveneer.is_hudi_server('s')", "{\"password\":\"ä\\u000a\"}"},
    {"ALTER USER MAPPING FOR app SERVER s OPTIONS (SET security_token 't')",
     "CALL pgveneer.alter_user_mapping('app', 's', " CHANGES(
         CHANGE("set", "security_token", "NULL")) "))",
     "ALTER USER MAPPING", "pgveneer.is_hudi_server('s')", "{\"security_token\":\"t\"}"},
    {"DROP USER MAPPING IF EXISTS FOR public SERVER s",
     "CALL pgveneer.drop_user_mapping('PUBLIC', 's', true)", "DROP USER MAPPING",
     "pgveneer.is_hudi_server('s')", NULL},
    {"ALTER USER app USEFT", "CALL pgveneer.alter_user_useft('app', true)", "ALTER ROLE", NULL,
     NULL},
    {"alter role \"App\" with nouseft", "CALL pgveneer.alter_user_useft('App', false)",
     "ALTER ROLE", NULL, NULL},
    /* foreign tables */
    {"CREATE FOREIGN TABLE hudi_read1 (\n  _hoodie_commit_time text,\n  id int NOT NULL, v "
     "numeric ( 10 , 2 )\n)"
     " SERVER obs_server OPTIONS (foldername '/bucket/path/', format 'hudi', encoding 'utf-8')"
     " DISTRIBUTE BY ROUNDROBIN",
     "CALL pgveneer.create_foreign_table(" TEXTS("'hudi_read1'") ", " COLUMNS(
         COLUMN("_hoodie_commit_time", "text", "NULL", "false") ", " COLUMN(
             "id", "int", "NULL",
             "true") ", " COLUMN("v", "numeric(10,2)", "NULL",
                                 "false")) ", 'obs_server', " OPTIONS("'foldername', "
                                                                      "'/bucket/path/', "
                                                                      "'format', "
                                                                      "'hudi', "
                                                                      "'encoding', "
                                                                      "'utf-8'") ", "
                                                                                 "false,"
                                                                                 " '"
                                                                                 "DISTRI"
                                                                                 "BUTE "
                                                                                 "BY "
                                                                                 "ROUNDR"
                                                                                 "OBIN'"
                                                                                 ")",
     "CREATE FOREIGN TABLE", NULL, NULL},
    {"create foreign table if not exists s.\"T\" (a timestamp(3) /* c */ with time zone collate "
     "pg_catalog.\"C\""
     " constraint n null unique not enforced disable query optimization, b \"My\".\"t'\"[3][] "
     "primary key,"
     " c double precision options (x 'y') not null,"
     " constraint pk primary key (a, c) not enforced enable query optimization, unique (c) "
     "enforced)"
     " server x options (format 'hudi') read only distribute by hash(a, c) to group g"
     " partition by (a) automapped",
     "CALL pgveneer.create_foreign_table(" TEXTS("'s', 'T'") ", " COLUMNS(
         COLUMN("a", "timestamp(3) with time zone", "'\"pg_catalog\".\"C\"'", "false") ", " COLUMN(
             "b", "\"My\".\"t''\"[3][]", "NULL",
             "false") ", " COLUMN("c", "double precision", "NULL",
                                  "true")) ", 'x', " OPTIONS("'format', 'hudi'") ", true, 'read "
                                                                                 "only distribute "
                                                                                 "by hash(a, c) to "
                                                                                 "group g "
                                                                                 "partition by (a) "
                                                                                 "automapped')",
     "CREATE FOREIGN TABLE", NULL, NULL},
    {"CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (foldername '/x') READ ONLY",
     "CALL pgveneer.create_foreign_table(" TEXTS("'t'") ", " COLUMNS(
         COLUMN("a", "int", "NULL",
                "false")) ", 's', " OPTIONS("'foldername', '/x'") ", false, 'READ ONLY')",
     "CREATE FOREIGN TABLE", "pgveneer.is_hudi_server('s')", NULL},
    {"CREATE FOREIGN TABLE t (a int) SERVER s OPTIONS (secret_access_key 'k')"
     " WITH err LOG INTO e REMOTE LOG 'x' PER NODE REJECT LIMIT '3' DISTRIBUTE BY REPLICATION TO "
     "NODE (a, b)",
     "CALL pgveneer.create_foreign_table(" TEXTS("'t'") ", " COLUMNS(COLUMN(
         "a", "int", "NULL",
         "false")) ", 's', " OPTIONS("'secret_access_key', '********'") ", false, "
                                                                        "'WITH err LOG INTO e "
                                                                        "REMOTE LOG ''x'' PER NODE "
                                                                        "REJECT LIMIT ''3'' "
                                                                        "DISTRIBUTE BY REPLICATION "
                                                                        "TO NODE (a, b)')",
     "CREATE FOREIGN TABLE", NULL, NULL},
    {"ALTER FOREIGN TABLE IF EXISTS s.t OPTIONS (ADD a 'b')",
     "CALL pgveneer.alter_foreign_table(" TEXTS("'s', 't'") ", true, " CHANGES(
         CHANGE("add", "a", "'b'")) ", 'rename_to', NULL, 'owner_to', NULL, 'set_schema', NULL))",
     "ALTER FOREIGN TABLE", "pgveneer.is_hudi_foreign_table(" TEXTS("'s', 't'") ")", NULL},
    {"ALTER FOREIGN TABLE t SET SCHEMA \"X\"",
     "CALL pgveneer.alter_foreign_table(" TEXTS("'t'") ", false, " CHANGES(
         "") ", 'rename_to', NULL, 'owner_to', NULL, 'set_schema', 'X'))",
     "ALTER FOREIGN TABLE", "pgveneer.is_hudi_foreign_table(" TEXTS("'t'") ")", NULL},
    {"DROP FOREIGN TABLE IF EXISTS a.b, c RESTRICT",
     "CALL pgveneer.drop_foreign_table(" COLUMNS("pg_catalog.to_jsonb(" TEXTS(
         "'a', 'b'") "), "
                     "pg_catalog.to_jsonb(" TEXTS("'c'") ")") ", true, false)",
     "DROP FOREIGN TABLE",
     "pgveneer.is_hudi_foreign_table(" TEXTS(
         "'a', 'b'") ") AND pgveneer.is_hudi_foreign_table(" TEXTS("'c'") ")",
     NULL},
};

/* The server judges these. */
static const char *const passed[] = {
    "CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'x')",
    "CREATE SERVER s FOREIGN DATA WRAPPER \"DFS_FDW\"",
    "CREATE SERVER dfs_fdw FOREIGN DATA WRAPPER file_fdw",
    "CREATE SERVER s FOREIGN DATA",
    "CREATE FOREIGN DATA WRAPPER dfs_fdw",
    "ALTER SERVER s VERSION '2'",
    "ALTER SERVER s",
    "ALTER SERVER s RENAME TO",
    "DROP SERVER",
    "DROP SERVER a b",
    "DROP SERVER a.b",
    "GRANT SELECT ON t TO app",
    "GRANT server TO app",
    "GRANT USAGE ON FOREIGN DATA WRAPPER dfs_fdw TO app",
    "GRANT USAGE ON FOREIGN SERVER s TO app GRANTED BY x",
    "REVOKE GRANT OPTION FOR USAGE ON FOREIGN SERVER s FROM app",
    "CREATE USER mapping",
    "CREATE USER MAPPING FOR x SERVER s OPTIONS (password 1)",
    "ALTER USER app USEFT CREATEDB",
    "ALTER USER useft PASSWORD 'x'",
    "ALTER USER app RENAME TO useft",
    "ALTER USER app SET x = useft",
    "ALTER USER app IN DATABASE d SET useft = 1",
    "ALTER USER app \"useft\"",
    "CREATE USER app USEFT",
    "CREATE FOREIGN TABLE t (a int CHECK (a > 0)) SERVER s",
    "CREATE FOREIGN TABLE t (a int DEFAULT 1) SERVER s",
    "CREATE FOREIGN TABLE t PARTITION OF p FOR VALUES IN (1) SERVER s",
    "CREATE FOREIGN TABLE t (a int) INHERITS (p) SERVER s",
    "CREATE FOREIGN TABLE t (LIKE x) SERVER s",
    "CREATE FOREIGN TABLE t (distribute by) SERVER s WRONG",
    "ALTER FOREIGN TABLE t ADD COLUMN a int",
    "ALTER FOREIGN TABLE t ALTER a OPTIONS (ADD b 'c')",
    "DROP FOREIGN TABLE t, ",
    "DROP FOREIGN TABLE",
    "DROP TABLE hudi",
    "CREATE SERVER s FOREIGN DATA WRAPPER file_fdw OPTIONS (a 'b",
    "CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw; SELECT 'a",
    "ALTER SERVER s OPTIONS (SET password 'b",
    "SELECT 'CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw'",
    "EXPLAIN CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw",
};

struct refusal {
    const char *text;
    const char *sqlstate;
    const char *message;
    size_t position;
};

static const struct refusal refused[] = {
    {"CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw OPTIONS (secret_access_key = 'x')", "42601",
     "syntax error at or near \"=\"", 73},
    {"CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw OPTIONS (type 'obs' 'geheim')", "42601",
     "syntax error at or near a string literal", 66},
    {"CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw OPTIONS (type 'obs'", "42601",
     "syntax error at end of input", 65},
    {"CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw OPTIONS (secret_access_key 'geheim)", "42601",
     "unterminated string, quoted identifier or comment", 73},
    {"CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw OPTIONS (secret_access_key 'geheim'); SELECT /* "
     "c",
     "42601", "unterminated string, quoted identifier or comment", 91},
    {"CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw OPTIONS ()", "42601",
     "syntax error at or near \")\"", 55},
    {"CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw OPTIONS (a 'x', a 'y')", "42710",
     "option \"a\" provided more than once", 62},
    {"CREATE SERVER s VERSION '1' FOREIGN DATA WRAPPER dfs_fdw", "0A000",
     "servers of Hudi tables have no version", 17},
    {"SELECT 'ä'; CREATE FOREIGN TABLE t (a int) SERVER s DISTRIBUTE BY RANGE", "42601",
     "syntax error at or near \"RANGE\"", 67},
    {"CREATE FOREIGN TABLE t (a int DEFAULT 1) SERVER s DISTRIBUTE BY ROUNDROBIN", "42601",
     "syntax error at or near \"DEFAULT\"", 31},
    {"CREATE FOREIGN TABLE t (a int) SERVER s DISTRIBUTE BY HASH", "42601",
     "syntax error at end of input", 59},
    {"CREATE FOREIGN TABLE t (a numeric(1;2)) SERVER s DISTRIBUTE BY ROUNDROBIN", "42601",
     "syntax error at or near \";\"", 36},
    {"CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw OPTIONS (a E'\\xe9')", "0A000",
     "escapes of this string literal cannot be read", 57},
};

static struct gate *gate;
static const struct gate_session session = {.standard_conforming_strings = true};

static int set_up(void **state)
{
    (void)state;
    static const struct handler *const handlers[] = {&hudi_handler};
    struct err err;
    return gate_new(handlers, 1, &gate, &err) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gate_free(gate);
    return 0;
}

static void same(const char *text, const char *got, const char *expected)
{
    if ((got == NULL) != (expected == NULL) ||
        (got != NULL && expected != NULL && strcmp(got, expected) != 0))
        fail_msg("\ntext     %s\ngot      %s\nexpected %s", text, got, expected);
}

static void check_answer(const struct answer *c)
{
    struct arena a;
    struct gate_result r;
    struct err err = {.sqlstate = ""};
    arena_init(&a, 0);
    struct slice text = slice_cstr(c->text);
    assert_true(gate_inspect(gate, &session, text, &a, &r, &err));
    assert_true(gate_may_hold(gate, text));
    same(c->text, r.verdict == GATE_REWRITE ? arena_copy(&a, r.text) : err.message, c->call);
    assert_int_equal(r.tag_count, 1);
    same(c->text, r.tags[0], c->tag);
    same(c->text, r.secrets, c->secrets);
    same(c->text, r.ask, c->ask == NULL ? NULL : arena_printf(&a, "SELECT (%s)", c->ask));
    arena_fini(&a);
}

static void answers_vendor_statements(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++)
        check_answer(&answers[i]);
}

static void passes_what_is_not_ours(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(passed); i++) {
        struct arena a;
        struct gate_result r;
        struct err err = {.sqlstate = ""};
        arena_init(&a, 0);
        assert_true(gate_inspect(gate, &session, slice_cstr(passed[i]), &a, &r, &err));
        if (r.verdict != GATE_PASS)
            fail_msg("%s\n%s", passed[i], arena_copy(&a, r.text));
        assert_false(err_is_set(&err));
        arena_fini(&a);
    }
}

static void refuses_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        const struct refusal *c = &refused[i];
        struct arena a;
        struct gate_result r;
        struct err err = {.sqlstate = ""};
        arena_init(&a, 0);
        assert_true(gate_inspect(gate, &session, slice_cstr(c->text), &a, &r, &err));
        assert_int_equal(r.verdict, GATE_REFUSE);
        same(c->text, err.message, c->message);
        same(c->text, err.sqlstate, c->sqlstate);
        if (err.position != c->position)
            fail_msg("%s\nposition %u", c->text, err.position);
        arena_fini(&a);
    }
}

/* A value with a backslash, a quote, and a character whose second byte is a backslash. */
static void quotes_for_both_dialects(void **state)
{
    (void)state;
    struct arena a;
    struct gate_result r;
    struct err err;
    arena_init(&a, 0);
    struct gate_session s = {.standard_conforming_strings = false, .client_encoding = "SJIS"};
    const char *text =
        "CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw OPTIONS (a 'x\\\\\\'\x83\x5c', "
        "password '\x83\x5c\\\\')";
    assert_true(gate_inspect(gate, &s, slice_cstr(text), &a, &r, &err));
    same(text, arena_copy(&a, r.text),
         "CALL pgveneer.create_server('s', 'dfs_fdw', " OPTIONS(
             "'a', E'x\\\\''\x83\x5c', 'password', '********'") ", false)");
    same(text, r.secrets, "{\"password\":\"\x83\x5c\\\\\"}");
    arena_fini(&a);
}

/* In one text a server is made and used: the first question answers for the second. */
static void joins_questions(void **state)
{
    (void)state;
    struct arena a;
    struct gate_result r;
    struct err err;
    arena_init(&a, 0);
    const char *text = "CREATE SERVER s FOREIGN DATA WRAPPER dfs_fdw; "
                       "CREATE FOREIGN TABLE t (a int) SERVER s; DROP FOREIGN TABLE t";
    assert_true(gate_inspect(gate, &session, slice_cstr(text), &a, &r, &err));
    assert_int_equal(r.ask_count, 3);
    same(text, r.ask,
         "SELECT (pgveneer.is_hudi_wrapper('dfs_fdw')), "
         "((pgveneer.is_hudi_server('s')) OR (pgveneer.is_hudi_wrapper('dfs_fdw'))), "
         "((pgveneer.is_hudi_foreign_table(ARRAY['t']::pg_catalog.text[])) OR "
         "((pgveneer.is_hudi_server('s')) OR (pgveneer.is_hudi_wrapper('dfs_fdw'))))");
    arena_fini(&a);
}

static void survives_lack_of_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        bool done = false;
        for (size_t limit = 16; !done; limit += 16) {
            struct arena a;
            struct gate_result r;
            struct err err;
            arena_init(&a, limit);
            done = gate_inspect(gate, &session, slice_cstr(answers[i].text), &a, &r, &err);
            assert_int_equal(r.verdict, done ? GATE_REWRITE : GATE_PASS);
            arena_fini(&a);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_vendor_statements), cmocka_unit_test(passes_what_is_not_ours),
        cmocka_unit_test(refuses_mistakes),          cmocka_unit_test(quotes_for_both_dialects),
        cmocka_unit_test(joins_questions),           cmocka_unit_test(survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
