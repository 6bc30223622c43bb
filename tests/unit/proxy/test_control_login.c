/* The control connection's login, in every way that a server may ask for it, and refused ones: who waits
 * is told, and the next ask tries again. */
#include "control_fixture.h"

static void login_succeeds(enum login login)
{
    struct outcome o;
    server.login = login;
    start_loops();
    ask(&o, "select");
    await(&o);
    if (!o.ok)
        fail_msg("%s", o.err.message);
    assert_int_equal(o.nrows, 2);
    assert_int_equal(o.ncolumns, 2);
    assert_string_equal(o.first, "one");
    assert_true(o.second_is_null);
    assert_string_equal(o.tag, "SELECT 2");
}

static void test_trust(void **state)
{
    (void)state;
    login_succeeds(TRUST);
}

static void test_cleartext(void **state)
{
    (void)state;
    login_succeeds(CLEARTEXT);
}

static void test_md5(void **state)
{
    (void)state;
    login_succeeds(MD5);
}

static void test_scram(void **state)
{
    (void)state;
    login_succeeds(SCRAM);
}

static void login_fails(enum login login, const char *sqlstate)
{
    struct outcome o;
    server.login = login;
    start_loops();
    ask(&o, "select");
    await(&o);
    assert_false(o.ok);
    assert_string_equal(o.err.sqlstate, sqlstate);
    server.login = SCRAM;
    control_set_timeouts(control, PATIENT_MS, 60000);
    ask(&o, "select"); /* the next ask tries again */
    await(&o);
    assert_true(o.ok);
}

static void test_scram_without_proof(void **state)
{
    (void)state;
    login_fails(SCRAM_UNPROVED, SQLSTATE_PROTOCOL_VIOLATION);
}

static void test_scram_with_wrong_proof(void **state)
{
    (void)state;
    login_fails(SCRAM_WRONG, SQLSTATE_INVALID_AUTHORIZATION);
}

static void test_server_changes_the_method(void **state)
{
    (void)state;
    login_fails(TWICE, SQLSTATE_PROTOCOL_VIOLATION);
}

static void test_login_refused(void **state)
{
    (void)state;
    login_fails(REFUSES, SQLSTATE_INVALID_PASSWORD);
}

static void test_garbage(void **state)
{
    (void)state;
    login_fails(GARBAGE, SQLSTATE_PROTOCOL_VIOLATION);
}

static void test_silent_server(void **state)
{
    (void)state;
    control_set_timeouts(control, 200, 60000);
    login_fails(SILENT, SQLSTATE_QUERY_CANCELED);
}

static void test_failed_login_is_told_to_all(void **state)
{
    (void)state;
    struct outcome o[20];
    server.login = REFUSES;
    for (size_t i = 0; i < ARRAY_LEN(o); i++)
        ask_install(&o[i]);
    start_loops();
    for (size_t i = 0; i < ARRAY_LEN(o); i++) {
        await(&o[i]);
        assert_string_equal(o[i].err.sqlstate, "28P01");
        assert_string_equal(o[i].err.message, "no entry");
    }
    assert_int_equal(server.connections, 1);
}

static void test_password_is_missing(void **state)
{
    (void)state;
    struct outcome o;
    struct err err;
    char service[128];
    control_free(control);
    snprintf(service, sizeof service, "host=127.0.0.1 port=%u user=service", (unsigned)server.port);
    assert_true(control_new(home, service, lists, 1, &control, &err));
    start_loops();
    ask_install(&o);
    await(&o);
    assert_string_equal(o.err.sqlstate, SQLSTATE_INVALID_PASSWORD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_trust),
        TEST(test_cleartext),
        TEST(test_md5),
        TEST(test_scram),
        TEST(test_scram_without_proof),
        TEST(test_scram_with_wrong_proof),
        TEST(test_server_changes_the_method),
        TEST(test_login_refused),
        TEST(test_garbage),
        TEST(test_silent_server),
        TEST(test_failed_login_is_told_to_all),
        TEST(test_password_is_missing),
    };
    return cmocka_run_group_tests(tests, start_server, stop_server);
}
