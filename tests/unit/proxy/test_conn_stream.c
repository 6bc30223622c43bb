/* Long streams from a peer that sends in pieces of 8 KiB as PostgreSQL does: the kernel is told to wake
 * us for full reads, and nothing waits for longer than a moment because of that, whether the stream
 * pauses, ends, or is not read for a while. Each loop runs once: callbacks say how it goes on. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "conn_private.h"

#define PIECE_BYTES ((size_t)8192)
#define LONG_BYTES ((size_t)12 * 1024 * 1024 + 100) /* a tail that no mark is reached by */
#define ANSWER_BYTES ((size_t)512 * 1024)
#define REST_MS 20

/* Sends a burst for each post of `go`, then ends its side. */
struct peer {
    int fd, bursts;
    size_t burst_bytes;
    sem_t go;
    pthread_t thread;
};

struct side {
    struct loop *loop;
    struct conn *conn;
    struct peer *peer;
    struct timer *timer;
    size_t received, received_at_rest, rests_at, largest_mark;
    uint64_t errors;
    int ends;
    bool asks, rested, was_over;
};

static char byte_at(const struct peer *p, size_t at)
{
    return (char)(at % p->burst_bytes % 251);
}

static void *run_peer(void *arg)
{
    struct peer *p = arg;
    char piece[PIECE_BYTES];
    for (int i = 0; i < p->bursts; i++) {
        sem_wait(&p->go);
        for (size_t at = 0; at < p->burst_bytes;) {
            size_t n = p->burst_bytes - at < PIECE_BYTES ? p->burst_bytes - at : PIECE_BYTES;
            for (size_t k = 0; k < n; k++)
                piece[k] = byte_at(p, at + k);
            ssize_t sent = send(p->fd, piece, n, MSG_NOSIGNAL);
            if (sent <= 0)
                break;
            at += (size_t)sent;
        }
    }
    sem_wait(&p->go);
    shutdown(p->fd, SHUT_WR);
    return NULL;
}

/* As the kernel has it. */
static size_t mark_of(const struct conn *c)
{
    int value = 0;
    socklen_t length = sizeof value;
    assert_int_equal(getsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &value, &length), 0);
    return (size_t)value;
}

static void on_timer(void *arg)
{
    struct side *s = arg;
    if (s->received_at_rest > 0 && !s->rested) {
        s->rested = true;
        assert_int_equal(s->received, s->received_at_rest);
        conn_resume_reading(s->conn);
        if (s->received < s->peer->burst_bytes)
            return;
    }
    s->was_over = !s->conn->streams && mark_of(s->conn) == 1;
    if (s->was_over)
        sem_post(&s->peer->go);
    else
        timer_start(s->timer, 1);
}

static void on_burst(struct side *s)
{
    bool is_last = s->received == s->peer->burst_bytes * (size_t)s->peer->bursts;
    if (is_last) {
        timer_start(s->timer, 1); /* until the streaming is over */
        return;
    }
    if (s->asks)
        conn_send(s->conn, "?", 1);
    sem_post(&s->peer->go);
}

static void on_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    struct side *s = owner;
    for (size_t i = 0; i < bytes; i++)
        s->errors += data[i] != byte_at(s->peer, s->received + i);
    s->received += bytes;
    if (mark_of(c) > s->largest_mark)
        s->largest_mark = mark_of(c);
    if (s->rests_at > 0 && s->received >= s->rests_at && s->received_at_rest == 0) {
        conn_pause_reading(c);
        s->received_at_rest = s->received;
        timer_start(s->timer, REST_MS);
    }
    if (s->received % s->peer->burst_bytes == 0)
        on_burst(s);
}

static void on_end(void *owner, struct conn *c, const struct err *err)
{
    struct side *s = owner;
    (void)c;
    assert_null(err);
    s->ends++;
    loop_stop(s->loop);
}

static const struct conn_events events = {.on_read = on_read, .on_end = on_end};

static void make_tcp_pair(int fds[2])
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&a, &length), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&a, sizeof a), 0);
    fds[1] = accept(listener, NULL, NULL);
    assert_true(fds[1] >= 0);
    close(listener);
}

/* Reads all that the peer sends, to the end. */
static void run(struct side *s, const int fds[2], int bursts, size_t burst_bytes)
{
    struct peer p = {.fd = fds[0], .bursts = bursts, .burst_bytes = burst_bytes};
    struct err err;
    assert_true(loop_new("test", &s->loop, &err));
    s->peer = &p;
    s->conn = conn_accept(s->loop, fds[1], &events, s);
    s->timer = timer_new(s->loop, on_timer, s);
    assert_true(s->conn != NULL && s->timer != NULL);
    sem_init(&p.go, 0, 1);
    assert_int_equal(pthread_create(&p.thread, NULL, run_peer, &p), 0);
    loop_run(s->loop);
    pthread_join(p.thread, NULL);
    sem_destroy(&p.go);
    conn_free(s->conn);
    timer_free(s->timer);
    close(p.fd);
    loop_free(s->loop);
    assert_int_equal(s->received, burst_bytes * (size_t)bursts);
    assert_int_equal(s->errors, 0);
    assert_int_equal(s->ends, 1);
    assert_true(s->was_over);
}

static void test_tail_shorter_than_the_mark_arrives(void **state)
{
    struct side s = {0};
    int fds[2];
    (void)state;
    make_tcp_pair(fds);
    run(&s, fds, 1, LONG_BYTES);
    assert_int_equal(s.largest_mark, LOOP_READ_BYTES);
}

/* The peer sends nothing until we have all that it sent before. */
static void test_stream_that_pauses_does_not_hang(void **state)
{
    struct side s = {0};
    int fds[2];
    (void)state;
    make_tcp_pair(fds);
    run(&s, fds, 4, LONG_BYTES);
    assert_int_equal(s.largest_mark, LOOP_READ_BYTES);
}

static void test_reading_that_rests_goes_on(void **state)
{
    size_t rests_at[] = {3 * 1024 * 1024, LONG_BYTES - 70000, LONG_BYTES - 1000};
    (void)state;
    for (size_t i = 0; i < sizeof rests_at / sizeof *rests_at; i++) {
        struct side s = {.rests_at = rests_at[i]};
        int fds[2];
        make_tcp_pair(fds);
        run(&s, fds, 1, LONG_BYTES);
        assert_true(s.rested);
    }
}

/* The kernel's mark is at most half of the buffer. */
static void test_small_receive_buffer(void **state)
{
    struct side s = {0};
    int fds[2], bytes = 20000;
    (void)state;
    make_tcp_pair(fds);
    assert_int_equal(setsockopt(fds[1], SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes), 0);
    run(&s, fds, 2, LONG_BYTES);
    assert_in_range(s.largest_mark, 2, 20000);
}

/* 5 MiB in all. */
static void test_answers_to_requests_are_no_stream(void **state)
{
    struct side s = {.asks = true};
    int fds[2];
    (void)state;
    make_tcp_pair(fds);
    run(&s, fds, 10, ANSWER_BYTES);
    assert_int_equal(s.largest_mark, 1);
}

static void test_unix_sockets_have_no_mark(void **state)
{
    struct side s = {0};
    int fds[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    run(&s, fds, 1, LONG_BYTES);
    assert_int_equal(s.largest_mark, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tail_shorter_than_the_mark_arrives),
        cmocka_unit_test(test_stream_that_pauses_does_not_hang),
        cmocka_unit_test(test_reading_that_rests_goes_on),
        cmocka_unit_test(test_small_receive_buffer),
        cmocka_unit_test(test_answers_to_requests_are_no_stream),
        cmocka_unit_test(test_unix_sockets_have_no_mark),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
