/* Loops, mail and connections over real sockets: nothing is lost whatever the sizes, ends are told
 * once, and a connection may be freed in any of its callbacks. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
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

struct side {
    struct loop *loop;
    struct conn *conn;
    size_t received;
    size_t drained;
    int connected;
    int ends;
    bool had_error;
    bool frees_itself;
    bool stops_loop_at_end;
    size_t stops_loop_at;
    uint64_t sum;
};

static void on_connected(void *owner, struct conn *c)
{
    struct side *s = owner;
    (void)c;
    s->connected++;
}

static void on_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    struct side *s = owner;
    for (size_t i = 0; i < bytes; i++)
        s->sum = s->sum * 31 + (uint8_t)data[i];
    s->received += bytes;
    memset(data - LOOP_READ_HEADROOM, 0, bytes + LOOP_READ_HEADROOM);
    if (s->stops_loop_at > 0 && s->received >= s->stops_loop_at)
        loop_stop(s->loop);
    if (s->frees_itself) {
        conn_free(c);
        loop_stop(s->loop);
    }
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
    if (s->stops_loop_at_end)
        loop_stop(s->loop);
}

static const struct conn_events events = {on_connected, on_read, on_drained, on_end};

static struct loop *new_loop(void)
{
    struct loop *l;
    struct err err;
    assert_true(loop_new("test", &l, &err));
    return l;
}

static void make_pair(struct loop *l, struct side *a, struct side *b)
{
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    *a = *b = (struct side){.loop = l};
    a->conn = conn_accept(l, fds[0], &events, a);
    b->conn = conn_accept(l, fds[1], &events, b);
    assert_non_null(a->conn);
    assert_non_null(b->conn);
}

static void free_pair(struct loop *l, struct side *a, struct side *b)
{
    conn_free(a->conn);
    conn_free(b->conn);
    loop_free(l);
}

static void test_backlog_keeps_order_and_drains_once(void **state)
{
    struct side a, b;
    struct loop *l = new_loop();
    char block[1000];
    uint64_t sum = 0;
    (void)state;
    make_pair(l, &a, &b);
    for (int i = 0; i < 5000; i++) {
        for (size_t n = 0; n < sizeof block; n++) {
            block[n] = (char)(i * 7 + (int)n);
            sum = sum * 31 + (uint8_t)block[n];
        }
        assert_true(conn_send(a.conn, block, sizeof block));
    }
    assert_true(conn_backlog(a.conn) > 0);
    b.stops_loop_at = 5000 * sizeof block;
    loop_run(l);
    assert_int_equal(b.received, 5000 * sizeof block);
    assert_true(b.sum == sum);
    assert_int_equal(conn_backlog(a.conn), 0);
    assert_int_equal(a.drained, 1);
    free_pair(l, &a, &b);
}

static void test_end_of_writing_comes_behind_the_backlog(void **state)
{
    struct side a, b;
    struct loop *l = new_loop();
    char block[100000] = {0};
    (void)state;
    make_pair(l, &a, &b);
    for (int i = 0; i < 50; i++)
        conn_send(a.conn, block, sizeof block);
    conn_end_writing(a.conn);
    b.stops_loop_at_end = true;
    loop_run(l);
    assert_int_equal(b.received, 50 * sizeof block);
    assert_int_equal(b.ends, 1);
    assert_false(b.had_error);
    assert_int_equal(a.ends, 0); /* the other direction is open */
    free_pair(l, &a, &b);
}

static void test_freed_in_its_own_callback(void **state)
{
    struct side a, b;
    struct loop *l = new_loop();
    (void)state;
    make_pair(l, &a, &b);
    b.frees_itself = true;
    conn_send(a.conn, "x", 1);
    loop_run(l);
    assert_int_equal(b.received, 1);
    assert_int_equal(b.ends, 0);
    b.conn = NULL;
    free_pair(l, &a, &b);
}

static void test_sending_to_who_is_gone_is_silent(void **state)
{
    struct side a, b;
    struct loop *l = new_loop();
    (void)state;
    make_pair(l, &a, &b);
    conn_free(b.conn);
    b.conn = NULL;
    assert_false(conn_send(a.conn, "x", 1));
    assert_true(conn_is_broken(a.conn));
    a.stops_loop_at_end = true;
    loop_run(l);
    assert_int_equal(a.ends, 1);
    free_pair(l, &a, &b);
}

static void test_finish_delivers_and_closes(void **state)
{
    struct side a, b;
    struct loop *l = new_loop();
    char block[100000] = {0};
    (void)state;
    make_pair(l, &a, &b);
    for (int i = 0; i < 20; i++)
        conn_send(a.conn, block, sizeof block);
    conn_finish(a.conn);
    a.conn = NULL;
    b.stops_loop_at_end = true;
    loop_run(l);
    assert_int_equal(b.received, 20 * sizeof block);
    free_pair(l, &a, &b); /* what waits for b's end is freed with the loop */
}

static void test_connect_that_fails_is_told_later(void **state)
{
    struct conn_target target;
    struct err err;
    struct loop *l = new_loop();
    struct side a = {.loop = l, .stops_loop_at_end = true};
    (void)state;
    assert_true(conn_resolve("/nonexistent", 5432, &target, &err));
    a.conn = conn_connect(l, &target, &events, &a);
    conn_send(a.conn, "lost", 4);
    assert_int_equal(a.ends, 0);
    loop_run(l);
    assert_int_equal(a.ends, 1);
    assert_true(a.had_error);
    assert_int_equal(a.connected, 0);
    conn_free(a.conn);
    loop_free(l);
    assert_false(conn_resolve("host.invalid", 1, &target, &err));
    assert_string_equal(err.sqlstate, "08001");
}

static void on_accept(void *arg, int fd)
{
    struct side *s = arg;
    s->conn = conn_accept(s->loop, fd, &events, s);
}

static void test_connect_and_accept(void **state)
{
    struct conn_target target;
    struct listener *listener;
    struct err err;
    uint16_t port = 0;
    struct loop *l = new_loop();
    struct side client = {.loop = l};
    struct side server = {.loop = l, .stops_loop_at = 5};
    (void)state;
    assert_true(listener_resolve("127.0.0.1", 0, &target, &err));
    assert_true(listener_open(l, &target, 0, on_accept, &server, &listener, &port, &err));
    assert_true(port > 0);
    assert_true(conn_resolve("127.0.0.1", port, &target, &err));
    client.conn = conn_connect(l, &target, &events, &client);
    assert_true(conn_send(client.conn, "hello", 5)); /* waits for the connection */
    loop_run(l);
    assert_int_equal(server.received, 5);
    assert_int_equal(client.connected, 1);
    char name[64];
    conn_peer_name(client.conn, name, sizeof name);
    assert_memory_equal(name, "127.0.0.1:", 10);
    conn_free(client.conn);
    conn_free(server.conn);
    listener_close(listener);
    loop_free(l);
}

/* A conn that goes to another loop in the middle of what it reads, with a backlog of its own. */
struct move {
    struct mail mail;
    struct loop *to;
    struct side *side;
    pthread_t thread;
};

static struct move move;

static void on_moved(struct mail *m)
{
    (void)m;
    move.thread = pthread_self();
    conn_join(move.side->conn, move.to);
    conn_set_owner(move.side->conn, &events, move.side);
}

static void on_read_before_move(void *owner, struct conn *c, char *data, size_t bytes)
{
    static char block[4 * 1024 * 1024];
    on_read(owner, c, data, bytes);
    conn_send(c, block, sizeof block);
    conn_leave(c);
    loop_post(move.to, &move.mail);
}

static const struct conn_events before_move = {on_connected, on_read_before_move, on_drained,
                                               on_end};

static void test_move_to_another_loop(void **state)
{
    struct side a, b;
    struct err err;
    struct loop *l = new_loop();
    char block[80000] = {0}; /* one read and a little; the socket takes it all */
    (void)state;
    make_pair(l, &a, &b);
    move = (struct move){.mail.on_receive = on_moved, .to = new_loop(), .side = &b};
    b.loop = move.to;
    b.stops_loop_at_end = true;
    a.stops_loop_at = 4 * 1024 * 1024;
    conn_set_owner(b.conn, &before_move, &b);
    assert_true(loop_start(move.to, &err));
    conn_send(a.conn, block, sizeof block);
    loop_run(l); /* until a has what b sent, before and after the move */
    conn_end_writing(a.conn);
    loop_join(move.to);
    assert_false(pthread_equal(move.thread, pthread_self()));
    assert_int_equal(a.received, 4 * 1024 * 1024);
    assert_int_equal(b.received, sizeof block);
    assert_int_equal(b.ends, 1);
    assert_int_equal(b.drained, 1);
    conn_free(b.conn);
    loop_free(move.to);
    conn_free(a.conn);
    loop_free(l);
}

#define SENDERS 4
#define LETTERS 20000

struct letter {
    struct mail mail;
    int sender;
    int number;
};

static struct loop *post_office;
static int last_number[SENDERS];
static int letter_count;

static void on_letter(struct mail *m)
{
    struct letter *letter = MAIL_ENTRY(m, struct letter, mail);
    assert_int_equal(letter->number, last_number[letter->sender] + 1);
    last_number[letter->sender] = letter->number;
    free(letter);
    if (++letter_count == SENDERS * LETTERS)
        loop_stop(post_office);
}

static void *send_letters(void *arg)
{
    int sender = *(int *)arg;
    for (int i = 1; i <= LETTERS; i++) {
        struct letter *letter = calloc(1, sizeof *letter);
        *letter = (struct letter){.mail.on_receive = on_letter, .sender = sender, .number = i};
        loop_post(post_office, &letter->mail);
    }
    return NULL;
}

static void test_mail_of_many_threads_arrives_in_order(void **state)
{
    pthread_t threads[SENDERS];
    int numbers[SENDERS];
    struct err err;
    (void)state;
    post_office = new_loop();
    assert_true(loop_start(post_office, &err));
    for (int i = 0; i < SENDERS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, send_letters, &numbers[i]);
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    loop_join(post_office);
    assert_int_equal(letter_count, SENDERS * LETTERS);
    loop_free(post_office);
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

static void test_timers(void **state)
{
    struct loop *l = new_loop();
    struct timer *never = timer_new(l, stop_loop, l);
    struct timer *soon = timer_new(l, stop_loop, l);
    (void)state;
    timer_start(never, 1);
    timer_stop(never);
    timer_start(soon, 30);
    uint64_t before = loop_now_ms();
    loop_run(l);
    assert_true(loop_now_ms() - before >= 25);
    timer_free(never);
    timer_free(soon);
    loop_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_backlog_keeps_order_and_drains_once),
        cmocka_unit_test(test_end_of_writing_comes_behind_the_backlog),
        cmocka_unit_test(test_freed_in_its_own_callback),
        cmocka_unit_test(test_sending_to_who_is_gone_is_silent),
        cmocka_unit_test(test_finish_delivers_and_closes),
        cmocka_unit_test(test_connect_that_fails_is_told_later),
        cmocka_unit_test(test_connect_and_accept),
        cmocka_unit_test(test_move_to_another_loop),
        cmocka_unit_test(test_mail_of_many_threads_arrives_in_order),
        cmocka_unit_test(test_timers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
