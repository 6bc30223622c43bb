/* Connections under TLS on a loop, over real sockets: one that connects as to a PostgreSQL server, one
 * that is accepted and answers SSLRequest. What holds in the clear holds here: order, one on_drained, half
 * close, ends told once, freedom to free in any callback. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "conn.h"
#include "listener.h"
#include "loop.h"
#include "tls.h"

#include "tls_fixture.h"

static struct made_certificate ca, server, stranger;
static struct tls_slot accepts, connects;

struct side {
    struct loop *loop;
    struct conn *conn;
    size_t received, drained, stops_at;
    uint64_t sum;
    int connected, ends;
    bool had_error, frees_when_connected, frees_when_read, stops_at_end, is_server, pauses;
    const char *answer; /* to SSLRequest; NULL: S and TLS */
    struct err err;
};

static struct tls_policy *policy(enum tls_role role, enum tls_mode mode,
                                 const struct made_certificate *c)
{
    struct tls_settings s = {.mode = mode, .ca_file = ca.cert_file, .host = "127.0.0.1"};
    struct tls_policy *p;
    struct err err;
    if (c != NULL) {
        s.cert_file = c->cert_file;
        s.key_file = c->key_file;
    }
    if (!tls_policy_new(role, &s, &p, &err))
        fail_msg("%s (%s)", err.message, err.detail);
    return p;
}

static int set_up(void **state)
{
    (void)state;
    fixture_open();
    fixture_make(&ca, "test ca", NULL, NULL, "EC", EVP_sha256(), 10);
    fixture_make(&server, "server", "IP:127.0.0.1", &ca, "EC", EVP_sha256(), 10);
    fixture_make(&stranger, "stranger", "IP:10.0.0.1", &ca, "EC", EVP_sha256(), 10);
    tls_slot_init(&accepts);
    tls_slot_init(&connects);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    tls_slot_fini(&accepts);
    tls_slot_fini(&connects);
    fixture_drop(&ca);
    fixture_drop(&server);
    fixture_drop(&stranger);
    fixture_close();
    return 0;
}

/* ---- both sides ---- */

static void on_connected(void *owner, struct conn *c)
{
    struct side *s = owner;
    s->connected++;
    if (s->frees_when_connected) {
        conn_free(c);
        s->conn = NULL;
        loop_stop(s->loop);
    }
}

/* The server's side in the clear: SSLRequest. */
static void answer_request(struct side *s, struct conn *c, size_t bytes)
{
    assert_int_equal(bytes, 8);
    conn_send(c, s->answer == NULL ? "S" : s->answer, s->answer == NULL ? 1 : strlen(s->answer));
    if (s->answer != NULL)
        return;
    struct tls_policy *p = tls_slot_get(&accepts);
    assert_true(conn_start_tls(c, p, NULL, 0));
    tls_policy_free(p);
}

static void on_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    struct side *s = owner;
    if (s->is_server && !conn_is_tls(c) && s->received == 0 && s->connected == 0 && bytes == 8 &&
        memcmp(data, "\0\0\0\x08\x04\xd2\x16\x2f", 8) == 0) {
        answer_request(s, c, bytes);
        return;
    }
    for (size_t i = 0; i < bytes; i++)
        s->sum = s->sum * 31 + (uint8_t)data[i];
    s->received += bytes;
    memset(data - LOOP_READ_HEADROOM, 0, bytes + LOOP_READ_HEADROOM);
    if (s->frees_when_read) {
        conn_free(c);
        s->conn = NULL;
    }
    if (s->pauses)
        conn_pause_reading(c);
    if (s->frees_when_read || s->pauses || (s->stops_at > 0 && s->received >= s->stops_at))
        loop_stop(s->loop);
}

static void on_drained(void *owner, struct conn *c)
{
    struct side *s = owner;
    (void)c;
    s->drained++;
}

static void on_end(void *owner, struct conn *c, const struct err *err)
{
    struct side *s = owner;
    (void)c;
    s->ends++;
    s->had_error = err != NULL;
    if (err != NULL)
        s->err = *err;
    if (s->stops_at_end)
        loop_stop(s->loop);
}

static const struct conn_events events = {on_connected, on_read, on_drained, on_end};

/* The listener's connections go to the first side that has none. */
struct world {
    struct loop *loop;
    struct listener *listener;
    struct side client, servers[2];
    size_t accepted;
};

static void on_accept(void *arg, int fd)
{
    struct world *w = arg;
    assert_true(w->accepted < 2);
    struct side *s = &w->servers[w->accepted++];
    s->conn = conn_accept(w->loop, fd, &events, s);
}

static void open_world(struct world *w, enum tls_mode mode, const struct made_certificate *shown)
{
    struct conn_target target;
    struct err err;
    uint16_t port;
    memset(w, 0, sizeof *w);
    assert_true(loop_new("test", &w->loop, &err));
    w->client.loop = w->servers[0].loop = w->servers[1].loop = w->loop;
    w->servers[0].is_server = w->servers[1].is_server = true;
    tls_slot_put(&accepts, policy(TLS_ACCEPTS, TLS_PREFER, shown));
    tls_slot_put(&connects, policy(TLS_CONNECTS, mode, NULL));
    assert_true(listener_resolve("127.0.0.1", 0, &target, &err));
    assert_true(listener_open(w->loop, &target, 0, on_accept, w, &w->listener, &port, &err));
    assert_true(conn_resolve("127.0.0.1", port, &target, &err));
    target.tls = &connects;
    w->client.conn = conn_connect(w->loop, &target, &events, &w->client);
    assert_non_null(w->client.conn);
}

/* A loop that was stopped cannot run again, so each test runs it once. */
static void close_world(struct world *w)
{
    conn_free(w->client.conn);
    conn_free(w->servers[0].conn);
    conn_free(w->servers[1].conn);
    listener_close(w->listener);
    loop_free(w->loop);
}

static uint64_t fill(char *block, size_t bytes, int number, uint64_t sum)
{
    for (size_t n = 0; n < bytes; n++) {
        block[n] = (char)(number * 7 + (int)n);
        sum = sum * 31 + (uint8_t)block[n];
    }
    return sum;
}

#define BLOCK 70001
#define BLOCKS 200

static void test_early_bytes_arrive_in_order_and_drain_once(void **state)
{
    struct world w;
    static char block[BLOCK];
    uint64_t sum = 0;
    (void)state;
    open_world(&w, TLS_VERIFY_FULL, &server);
    for (int i = 0; i < BLOCKS; i++) { /* before there is a connection */
        sum = fill(block, BLOCK, i, sum);
        assert_true(conn_send(w.client.conn, block, BLOCK));
    }
    assert_int_equal(conn_backlog(w.client.conn), (size_t)BLOCKS * BLOCK);
    w.servers[0].stops_at = (size_t)BLOCKS * BLOCK;
    loop_run(w.loop);
    assert_int_equal(w.servers[0].received, (size_t)BLOCKS * BLOCK);
    assert_true(w.servers[0].sum == sum);
    assert_int_equal(w.client.connected, 1);
    assert_int_equal(w.servers[0].connected, 1);
    assert_int_equal(w.client.drained, 1);
    assert_int_equal(conn_backlog(w.client.conn), 0);
    assert_true(conn_is_tls(w.client.conn));
    assert_true(conn_is_tls(w.servers[0].conn));
    close_world(&w);
}

static void test_both_see_the_same_certificate(void **state)
{
    struct world w;
    uint8_t a[64], b[64];
    size_t n, m;
    (void)state;
    open_world(&w, TLS_VERIFY_FULL, &server);
    assert_false(conn_tls_end_point(w.client.conn, a, &n)); /* not yet */
    conn_send(w.client.conn, "x", 1);
    w.servers[0].stops_at = 1;
    loop_run(w.loop);
    assert_true(conn_tls_end_point(w.client.conn, a, &n));
    assert_true(conn_tls_end_point(w.servers[0].conn, b, &m));
    assert_int_equal(n, 32);
    assert_int_equal(m, 32);
    assert_memory_equal(a, b, 32);
    assert_true(conn_tls_has_alpn(w.client.conn));
    assert_string_equal(conn_tls_peer_cn(w.client.conn), "server");
    close_world(&w);
}

static void test_half_close(void **state)
{
    struct world w;
    static char block[BLOCK];
    (void)state;
    open_world(&w, TLS_REQUIRE, &server);
    for (int i = 0; i < 50; i++)
        conn_send(w.client.conn, block, BLOCK);
    conn_end_writing(w.client.conn); /* goes behind all that */
    w.servers[0].stops_at_end = true;
    loop_run(w.loop);
    assert_int_equal(w.servers[0].received, 50 * BLOCK);
    assert_int_equal(w.servers[0].ends, 1);
    assert_false(w.servers[0].had_error);
    assert_int_equal(w.client.ends, 0);
    assert_true(conn_send(w.servers[0].conn, "answer", 6)); /* the other direction is open */
    close_world(&w);
}

static void test_finish_delivers(void **state)
{
    struct world w;
    static char block[BLOCK];
    (void)state;
    open_world(&w, TLS_REQUIRE, &server);
    for (int i = 0; i < 50; i++)
        conn_send(w.client.conn, block, BLOCK);
    conn_finish(w.client.conn); /* before it is connected */
    w.client.conn = NULL;
    w.servers[0].stops_at_end = true;
    loop_run(w.loop);
    assert_int_equal(w.servers[0].received, 50 * BLOCK);
    assert_false(w.servers[0].had_error);
    assert_int_equal(w.client.ends, 0);
    close_world(&w);
}

static void test_freed_in_callbacks(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, TLS_REQUIRE, &server);
    conn_send(w.client.conn, "x", 1);
    w.client.frees_when_connected = true;
    loop_run(w.loop);
    assert_int_equal(w.client.ends, 0);
    close_world(&w);
    open_world(&w, TLS_REQUIRE, &server);
    conn_send(w.client.conn, "x", 1);
    w.servers[0].frees_when_connected = true; /* with data behind the handshake */
    loop_run(w.loop);
    assert_int_equal(w.servers[0].received, 0);
    close_world(&w);
    open_world(&w, TLS_REQUIRE, &server);
    conn_send(w.client.conn, "x", 1);
    w.servers[0].frees_when_read = true;
    loop_run(w.loop);
    assert_int_equal(w.servers[0].received, 1);
    assert_int_equal(w.servers[0].ends, 0);
    close_world(&w);
}

/* Who does not want to read now is not read to, not even that the end came. */
static void test_pause_holds_data_and_end_back(void **state)
{
    struct world w;
    static char block[BLOCK];
    (void)state;
    open_world(&w, TLS_REQUIRE, &server);
    for (int i = 0; i < 20; i++)
        conn_send(w.client.conn, block, BLOCK);
    conn_end_writing(w.client.conn);
    w.servers[0].pauses = true;
    loop_run(w.loop);
    assert_true(w.servers[0].received > 0 && w.servers[0].received <= LOOP_READ_BYTES);
    assert_int_equal(w.servers[0].ends, 0);
    close_world(&w);
}

static void test_a_wrong_name_ends_both(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, TLS_VERIFY_FULL, &stranger);
    w.client.stops_at_end = true;
    loop_run(w.loop);
    assert_int_equal(w.client.connected, 0);
    assert_int_equal(w.client.ends, 1);
    assert_string_equal(w.client.err.detail, "IP address mismatch");
    assert_true(conn_is_broken(w.client.conn));
    assert_false(conn_send(w.client.conn, "x", 1));
    close_world(&w);
}

static void check_answer(enum tls_mode mode, const char *answer, const char *sqlstate)
{
    struct world w;
    open_world(&w, mode, &server);
    w.servers[0].answer = answer;
    w.client.stops_at_end = true;
    loop_run(w.loop);
    assert_int_equal(w.client.connected, 0);
    assert_int_equal(w.client.ends, 1);
    assert_string_equal(w.client.err.sqlstate, sqlstate);
    close_world(&w);
}

static void test_answers_that_end_it(void **state)
{
    (void)state;
    check_answer(TLS_REQUIRE, "N", SQLSTATE_CANNOT_CONNECT);
    check_answer(TLS_REQUIRE, "Eanything", SQLSTATE_CANNOT_CONNECT);
    check_answer(TLS_REQUIRE, "Sx", SQLSTATE_PROTOCOL_VIOLATION);
    check_answer(TLS_PREFER, "Sx", SQLSTATE_PROTOCOL_VIOLATION);
    check_answer(TLS_PREFER, "NE", SQLSTATE_PROTOCOL_VIOLATION);
}

static void test_prefer_goes_on_in_the_clear(void **state)
{
    struct world w;
    (void)state;
    open_world(&w, TLS_PREFER, &server);
    w.servers[0].answer = "N";
    conn_send(w.client.conn, "in the clear", 12);
    w.servers[0].stops_at = 12;
    loop_run(w.loop);
    assert_false(conn_is_tls(w.client.conn));
    assert_int_equal(w.servers[0].received, 12);
    close_world(&w);
    open_world(&w, TLS_PREFER, &server);
    w.servers[0].answer = "E"; /* it does not know the request: once more */
    conn_send(w.client.conn, "in the clear", 12);
    w.servers[1].stops_at = 12;
    loop_run(w.loop);
    assert_int_equal(w.accepted, 2);
    assert_int_equal(w.client.connected, 1);
    assert_int_equal(w.servers[1].received, 12);
    close_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_early_bytes_arrive_in_order_and_drain_once),
        cmocka_unit_test(test_both_see_the_same_certificate),
        cmocka_unit_test(test_half_close),
        cmocka_unit_test(test_finish_delivers),
        cmocka_unit_test(test_freed_in_callbacks),
        cmocka_unit_test(test_pause_holds_data_and_end_back),
        cmocka_unit_test(test_a_wrong_name_ends_both),
        cmocka_unit_test(test_answers_that_end_it),
        cmocka_unit_test(test_prefer_goes_on_in_the_clear),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
