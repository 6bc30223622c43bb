/* The control connection against a server of our own: asks that are melted together, errors, a server
 * that dies, hangs or lies. Logins are test_control_login.c's. */
#include "control_fixture.h"

static void test_errors_leave_the_connection(void **state)
{
    (void)state;
    struct outcome a, b;
    start_loops();
    ask(&a, "fail");
    ask(&b, "select");
    await(&a);
    await(&b);
    assert_false(a.ok);
    assert_string_equal(a.err.sqlstate, "42P01");
    assert_string_equal(a.err.message, "no such table");
    assert_string_equal(a.err.hint, "A hint.");
    assert_true(b.ok);
    assert_int_equal(server.connections, 1);
}

static void lost_ask(const char *sql, const char *sqlstate)
{
    struct outcome a, b;
    start_loops();
    ask(&a, sql);
    ask(&b, "select");
    await(&a);
    await(&b);
    assert_false(a.ok);
    assert_string_equal(a.err.sqlstate, sqlstate);
    assert_true(b.ok); /* on a new connection */
    assert_int_equal(server.connections, 2);
}

static void test_server_dies(void **state)
{
    (void)state;
    lost_ask("die", SQLSTATE_CONNECTION_FAILURE);
}

static void test_server_says_why(void **state)
{
    (void)state;
    lost_ask("fatal", "57P01");
}

static void test_bad_row(void **state)
{
    (void)state;
    lost_ask("bad row", SQLSTATE_PROTOCOL_VIOLATION);
}

static void test_large_results_are_refused(void **state)
{
    (void)state;
    struct outcome a, b;
    start_loops();
    ask(&a, "huge");
    ask(&b, "select");
    await(&a);
    await(&b);
    assert_string_equal(a.err.sqlstate, SQLSTATE_PROGRAM_LIMIT_EXCEEDED);
    assert_true(b.ok);
    assert_int_equal(server.connections, 1);
}

static bool is_cancelled(void *arg)
{
    (void)arg;
    return server.cancels == 1;
}

static void test_timeout_cancels(void **state)
{
    (void)state;
    struct outcome a;
    start_loops();
    ask(&a, "select"); /* logs in */
    await(&a);
    control_set_timeouts(control, 1000, 60000);
    ask(&a, "hang");
    await(&a);
    assert_string_equal(a.err.sqlstate, SQLSTATE_QUERY_CANCELED);
    assert_true(comes_true(is_cancelled, NULL));
    control_set_timeouts(control, PATIENT_MS, 60000);
    ask(&a, "select");
    await(&a);
    assert_true(a.ok);
}

static void test_installs_are_one(void **state)
{
    (void)state;
    struct outcome o[20];
    start_loops();
    for (size_t i = 0; i < ARRAY_LEN(o); i++)
        ask_install(&o[i]);
    for (size_t i = 0; i < ARRAY_LEN(o); i++) {
        await(&o[i]);
        assert_true(o[i].ok);
    }
    ask_install(&o[0]);
    await(&o[0]);
    assert_int_equal(server.installs, 1);
    ask(&o[0], "die"); /* another server may come back: it is looked at again */
    await(&o[0]);
    ask_install(&o[0]);
    await(&o[0]);
    assert_int_equal(server.installs, 2);
}

static bool is_holding(void *arg)
{
    (void)arg;
    return server.queries == 1;
}

static void test_notifies_are_melted(void **state)
{
    (void)state;
    struct outcome o, last;
    server.holds = true;
    start_loops();
    ask(&o, "hold");
    assert_true(comes_true(is_holding, NULL));
    for (int i = 0; i < 100; i++)
        control_notify(control, asker, slice_cstr("db"));
    ask(&last, "select");
    server.holds = false;
    await(&last);
    assert_int_equal(server.notifies, 1);
}

static void test_idle_connections_close(void **state)
{
    (void)state;
    struct outcome o;
    control_set_timeouts(control, PATIENT_MS, 50);
    start_loops();
    for (int i = 0; i < 100 && server.connections < 2; i++) {
        ask(&o, "select");
        await(&o);
        assert_true(o.ok);
        usleep(100000);
    }
    assert_true(server.connections >= 2);
}

static void test_no_service(void **state)
{
    (void)state;
    struct outcome o;
    control_free(control);
    struct err err;
    assert_true(control_new(home, "", lists, 1, &control, &err));
    start_loops();
    control_notify(control, asker, slice_cstr("db"));
    ask_install(&o);
    await(&o);
    assert_string_equal(o.err.sqlstate, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert_true(o.err.hint[0] != '\0');
}

static void test_server_is_down(void **state)
{
    (void)state;
    struct outcome o;
    struct err err;
    control_free(control);
    assert_true(control_new(home, "host=127.0.0.1 port=1 user=u", lists, 1, &control, &err));
    start_loops();
    ask_install(&o);
    await(&o);
    assert_false(o.ok);
    assert_true(strncmp(o.err.sqlstate, "08", 2) == 0);
}

/* On the asking loop, before the answer can be there. */
struct forget {
    struct mail mail;
    struct control_ask *ask;
    struct outcome *outcome;
    atomic_bool forgotten;
};

static void on_forget(struct mail *m)
{
    struct forget *f = MAIL_ENTRY(m, struct forget, mail);
    control_forget(f->ask);
    f->forgotten = true;
}

static void test_forgotten_asks_are_silent(void **state)
{
    (void)state;
    struct outcome o, last;
    struct forget f = {.outcome = &o, .mail = {.on_receive = on_forget}};
    memset(&o, 0, sizeof o);
    server.holds = true;
    start_loops();
    f.ask = control_query(control, asker, slice_cstr("db"), "hold", NULL, 0, on_done, &o);
    assert_non_null(f.ask);
    loop_post(asker, &f.mail);
    while (!f.forgotten)
        usleep(1000);
    server.holds = false;
    ask(&last, "select");
    await(&last);
    assert_false(o.done);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_errors_leave_the_connection),
        TEST(test_server_dies),
        TEST(test_server_says_why),
        TEST(test_bad_row),
        TEST(test_large_results_are_refused),
        TEST(test_timeout_cancels),
        TEST(test_installs_are_one),
        TEST(test_notifies_are_melted),
        TEST(test_idle_connections_close),
        TEST(test_no_service),
        TEST(test_server_is_down),
        TEST(test_forgotten_asks_are_silent),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
