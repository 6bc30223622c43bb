/* Statements on parallel retrieve cursors: what is ours, what the server gets, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "parallel_cursor/handler.h"
#include "proxy/gate.h"

struct seen {
    enum gate_verdict verdict;
    const struct handler_cursor *cursor; /* the first; NULL: none */
    char text[512];                      /* what the server gets */
    struct err err;
};

static struct arena arena;
static struct gate *gate;

static struct seen look(const char *text, bool has_cursors)
{
    struct gate_session s = {
        .standard_conforming_strings = true, .client_encoding = "UTF8", .has_cursors = has_cursors};
    struct gate_result r;
    struct seen out = {.err = {.sqlstate = ""}};
    assert_true(gate_inspect(gate, &s, slice_cstr(text), &arena, &r, &out.err));
    out.verdict = r.verdict;
    out.cursor = r.cursor_count == 0 ? NULL : r.cursors[0].what;
    assert_true(r.text.len < sizeof out.text);
    if (r.verdict == GATE_REWRITE)
        memcpy(out.text, r.text.data, r.text.len);
    return out;
}

static void expect_text(const char *text, const char *sent)
{
    struct seen s = look(text, false);
    assert_int_equal(s.verdict, GATE_REWRITE);
    assert_string_equal(s.text, sent);
}

static void test_declare(void **state)
{
    (void)state;
    expect_text("DECLARE c PARALLEL RETRIEVE CURSOR FOR SELECT 1",
                "DECLARE c NO SCROLL CURSOR FOR SELECT 1");
    expect_text("declare \"C\" binary no scroll parallel /*x*/ retrieve insensitive cursor without "
                "hold for table t",
                "declare \"C\"  no scroll  insensitive cursor without hold for table t");
    expect_text("EXPLAIN (COSTS off) DECLARE c PARALLEL RETRIEVE CURSOR FOR SELECT 1",
                "EXPLAIN (COSTS off) DECLARE c NO SCROLL CURSOR FOR SELECT 1");
    struct seen s =
        look("SELECT 1; DECLARE Cé PARALLEL RETRIEVE CURSOR FOR SELECT ';' ; SELECT 2", false);
    assert_non_null(s.cursor);
    assert_int_equal(s.cursor->kind, HANDLER_CURSOR_DECLARE);
    assert_string_equal(s.cursor->name, "cé");
    assert_true(slice_equals_cstr(s.cursor->query, "SELECT ';'"));
}

static void test_not_ours(void **state)
{
    static const char *const texts[] = {
        "DECLARE c CURSOR FOR SELECT 'PARALLEL RETRIEVE CURSOR'",
        "DECLARE c SCROLL CURSOR FOR SELECT 1 -- PARALLEL RETRIEVE",
        "DECLARE parallel CURSOR FOR SELECT retrieve FROM t",
        "SELECT parallel, retrieve FROM endpoint",
        "FETCH ALL FROM c",
        "EXPLAIN SELECT retrieve FROM declare",
        "CHECK retrieve",
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        struct seen s = look(texts[i], false);
        assert_int_equal(s.verdict, GATE_PASS);
        assert_null(s.cursor);
    }
}

static void test_refused(void **state)
{
    static const struct {
        const char *text, *sqlstate;
        uint32_t position;
    } rows[] = {
        {"DECLARE c SCROLL PARALLEL RETRIEVE CURSOR FOR SELECT 1", "42P11", 11},
        {"DECLARE é PARALLEL RETRIEVE CURSOR WITH HOLD FOR SELECT 1", "42P11", 36},
        {"DECLARE c PARALLEL RETRIEVE CURSOR SELECT 1", "42601", 36},
        {"DECLARE c PARALLEL RETRIEVE CURSOR", "42601", 35},
        {"CHECK PARALLEL RETRIEVE CURSOR", "42601", 31},
        {"CHECK PARALLEL RETRIEVE CURSOR c NOWAIT x", "42601", 41},
        {"CHECK PARALLEL CURSOR c", "42601", 16},
        {"RETRIEVE FROM ENDPOINT c", "42601", 10},
        {"RETRIEVE ALL FROM ENDPOINT 1c", "42601", 28},
        {"RETRIEVE 99999999999 FROM ENDPOINT c", "42601", 10},
        {"RETRIEVE 1.5 FROM ENDPOINT c", "42601", 10},
        {"RETRIEVE 0 FROM ENDPOINT c", "22023", 0},
        {"RETRIEVE -1 FROM ENDPOINT c", "22023", 0},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct seen s = look(rows[i].text, false);
        assert_int_equal(s.verdict, GATE_REFUSE);
        assert_string_equal(s.err.sqlstate, rows[i].sqlstate);
        assert_int_equal(s.err.position, rows[i].position);
    }
}

static void test_other_statements(void **state)
{
    (void)state;
    struct seen s = look("RETRIEVE +7 FROM ENDPOINT \"C_1\"", false);
    assert_int_equal(s.cursor->kind, HANDLER_CURSOR_RETRIEVE);
    assert_int_equal(s.cursor->count, 7);
    assert_string_equal(s.cursor->name, "C_1");
    s = look("retrieve all from endpoint C_1", false);
    assert_true(s.cursor->all);
    assert_string_equal(s.cursor->name, "c_1");
    s = look("CHECK PARALLEL RETRIEVE CURSOR c NOWAIT", false);
    assert_true(s.cursor->nowait);
    s = look("FETCH FORWARD 5 FROM C", true);
    assert_int_equal(s.cursor->kind, HANDLER_CURSOR_FETCH);
    assert_string_equal(s.cursor->name, "c");
    s = look("MOVE c", true);
    assert_int_equal(s.cursor->kind, HANDLER_CURSOR_MOVE);
}

static void test_generations(void **state)
{
    (void)state;
    expect_text("SELECT status FROM gp_endpoints", "SELECT status FROM pgveneer.gp_endpoints");
    expect_text("SELECT \"state\" FROM gp_endpoints",
                "SELECT \"state\" FROM pgveneer_greenplum.gp_endpoints");
    expect_text("SELECT 'state' FROM gp_endpoints", "SELECT 'state' FROM pgveneer.gp_endpoints");
    expect_text("SELECT * FROM gp_endpoints_info(true)",
                "SELECT * FROM pgveneer.gp_endpoints_info(true)");
}

static int set_up(void **state)
{
    static const struct handler *const handlers[] = {&parallel_cursor_handler};
    struct err err;
    (void)state;
    arena_init(&arena, 0);
    return gate_new(handlers, 1, &gate, &err) ? 0 : -1;
}

static int tear_down(void **state)
{
    (void)state;
    gate_free(gate);
    arena_fini(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_declare),     cmocka_unit_test(test_not_ours),
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_other_statements),
        cmocka_unit_test(test_generations),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
