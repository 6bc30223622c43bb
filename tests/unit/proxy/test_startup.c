/* First packets, at their limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "protocol/client_msg.h"

#include "startup.h"

static void put_word(struct buf *b, uint32_t word)
{
    const char bytes[] = {(char)(word >> 24), (char)(word >> 16), (char)(word >> 8), (char)word};
    buf_append(b, bytes, sizeof bytes);
}

static enum startup_kind kind_of(uint32_t length, uint32_t version, size_t body_bytes, bool done)
{
    struct buf b;
    buf_init(&b, 20000);
    put_word(&b, length);
    put_word(&b, version);
    for (size_t i = 0; i < body_bytes; i++)
        buf_append_byte(&b, '\0');
    enum startup_kind kind = startup_read(buf_slice(&b), done, done).kind;
    buf_fini(&b);
    return kind;
}

static void test_limits(void **state)
{
    (void)state;
    assert_int_equal(kind_of(10004, WIRE_PROTOCOL_3_0, 9996, false), STARTUP_SESSION);
    assert_int_equal(kind_of(10004, WIRE_PROTOCOL_3_0, 9995, false), STARTUP_INCOMPLETE);
    assert_int_equal(kind_of(10005, WIRE_PROTOCOL_3_0, 9997, false), STARTUP_NONSENSE);
    assert_int_equal(kind_of(10005, WIRE_PROTOCOL_3_0, 0, false), STARTUP_NONSENSE);
    assert_int_equal(kind_of(8, WIRE_PROTOCOL_3_0, 0, false), STARTUP_SESSION);
    assert_int_equal(kind_of(7, WIRE_PROTOCOL_3_0, 0, false), STARTUP_NONSENSE);
    assert_int_equal(kind_of(UINT32_MAX, WIRE_PROTOCOL_3_0, 0, false), STARTUP_NONSENSE);
    assert_int_equal(startup_read(slice_of("\0\0\0", 3), false, false).kind, STARTUP_INCOMPLETE);
    assert_int_equal(startup_read(slice_of("", 0), false, false).kind, STARTUP_INCOMPLETE);
    assert_int_equal(startup_read(slice_of("GET ", 4), false, false).kind, STARTUP_NONSENSE);
}

static void test_requests(void **state)
{
    (void)state;
    assert_int_equal(kind_of(8, WIRE_SSL_REQUEST, 0, false), STARTUP_SSL);
    assert_int_equal(kind_of(12, WIRE_SSL_REQUEST, 4, false), STARTUP_NONSENSE);
    assert_int_equal(kind_of(8, WIRE_SSL_REQUEST, 0, true), STARTUP_REPEATED);
    assert_int_equal(kind_of(8, WIRE_GSSENC_REQUEST, 0, false), STARTUP_GSSENC);
    assert_int_equal(kind_of(8, WIRE_GSSENC_REQUEST, 0, true), STARTUP_REPEATED);
    assert_int_equal(kind_of(16, WIRE_CANCEL_REQUEST, 8, false), STARTUP_CANCEL);
    assert_int_equal(kind_of(44, WIRE_CANCEL_REQUEST, 36, true), STARTUP_CANCEL);
    assert_int_equal(kind_of(8, 0x00020000, 0, false), STARTUP_SESSION);
    assert_int_equal(kind_of(8, 0, 0, false), STARTUP_SESSION);
    assert_int_equal(kind_of(8, 0x00040000, 0, false), STARTUP_SESSION);
    assert_int_equal(kind_of(8, 0x0003270f, 0, false), STARTUP_SESSION);
}

static struct startup_packet read_pairs(struct buf *b, const char *const *pairs)
{
    buf_clear(b);
    assert_true(wire_write_startup(b, WIRE_PROTOCOL_3_0, pairs));
    return startup_read(buf_slice(b), true, true);
}

static void test_names(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 20000);
    struct startup_packet p = read_pairs(&b, (const char *const[]){"user", "u", NULL});
    assert_int_equal(p.bytes, buf_length(&b));
    assert_true(slice_equals_cstr(p.user, "u"));
    assert_true(slice_equals_cstr(p.dbname, "u"));
    assert_false(p.is_replication);
    p = read_pairs(&b, (const char *const[]){"database", "d", "user", "u", NULL});
    assert_true(slice_equals_cstr(p.dbname, "d"));
    p = read_pairs(&b, (const char *const[]){"user", "u", "database", "", NULL});
    assert_true(slice_equals_cstr(p.dbname, "u"));
    p = read_pairs(&b, (const char *const[]){NULL});
    assert_true(slice_is_empty(p.user));
    buf_fini(&b);
}

static void test_replication(void **state)
{
    static const char *const yes[] = {"true", "on", "yes", "1", "database", "T"};
    static const char *const no[] = {"false", "off", "no", "0", "f", "OFF"};
    struct buf b;
    (void)state;
    buf_init(&b, 20000);
    for (size_t i = 0; i < 6; i++) {
        assert_true(
            read_pairs(&b, (const char *const[]){"replication", yes[i], NULL}).is_replication);
        assert_false(
            read_pairs(&b, (const char *const[]){"replication", no[i], NULL}).is_replication);
    }
    buf_fini(&b);
}

static struct startup_packet read_with(const char *name, const char *value)
{
    const char *const params[] = {"user", "u", name, value, NULL};
    struct buf b;
    buf_init(&b, 20000);
    assert_true(wire_write_startup(&b, WIRE_PROTOCOL_3_0, params));
    struct startup_packet p = startup_read(buf_slice(&b), false, false);
    buf_fini(&b);
    return p;
}

static bool wants_retrieve(const char *name, const char *value)
{
    return read_with(name, value).is_retrieve;
}

static bool asks_for_password(const char *name, const char *value)
{
    return read_with(name, value).asks_for_password;
}

static void test_retrieve(void **state)
{
    static const char *const yes[] = {"-c gp_session_role=retrieve", "-cgp_session_rol=retrieve",
                                      "-c geqo=off  --gp-session-role=RETRIEVE",
                                      "-c gp_retrieve_conn=true", "--gp_retrieve_conn=on"};
    static const char *const no[] = {"",
                                     "-c",
                                     "-c gp_session_role=utility",
                                     "gp_session_role=retrieve",
                                     "-c gp_retrieve_conn=off",
                                     "-c gp_retrieve_conn",
                                     "-x gp_retrieve_conn=on"};
    (void)state;
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++)
        assert_true(wants_retrieve("options", yes[i]));
    for (size_t i = 0; i < sizeof no / sizeof no[0]; i++)
        assert_false(wants_retrieve("options", no[i]));
    assert_true(wants_retrieve("gp_session_role", "retrieve"));
    assert_false(wants_retrieve("options", "-c pgveneer.retrieve_auth=password"));
    assert_true(asks_for_password("options", "-c pgveneer.retrieve_auth=password"));
    assert_true(asks_for_password("options", "--pgveneer.retrieve-auth=PASSWORD -c a=b"));
    assert_true(asks_for_password("pgveneer.retrieve_auth", "password"));
    assert_false(asks_for_password("pgveneer.retrieve_auth", "scram-sha-256"));
    assert_false(asks_for_password("options", "-c gp_retrieve_conn=on"));
    assert_true(wants_retrieve("gp_retrieve_conn", "1"));
    assert_false(wants_retrieve("gp_retrieve_conn", "false"));
    assert_false(wants_retrieve("application_name", "gp_session_role=retrieve"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),      cmocka_unit_test(test_retrieve),
        cmocka_unit_test(test_requests),    cmocka_unit_test(test_names),
        cmocka_unit_test(test_replication),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
