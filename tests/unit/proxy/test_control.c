/* The control connection against a server of our own: every way to log in, asks that are melted
 * together, errors, a server that dies, hangs or lies. The server is a thread that plays the
 * protocol's other side with blocking calls. */
#include "control.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "loop.h"
#include "protocol/client_msg.h"
#include "protocol/scram.h"
#include "protocol/server_msg.h"

enum login {
    TRUST,
    CLEARTEXT,
    MD5,
    SCRAM,
    SCRAM_UNPROVED,
    SCRAM_WRONG,
    TWICE,
    REFUSES,
    GARBAGE,
    SILENT
};

static struct {
    int listen_fd;
    uint16_t port;
    atomic_int login; /* enum login */
    atomic_int connections, notifies, installs, queries, cancels;
    atomic_bool holds; /* a query "hold" waits for this to fall */
    pthread_t thread;
} server;

/* ---- the server --------------------------------------------------------- */

static bool get(int fd, void *to, size_t bytes)
{
    for (char *p = to; bytes > 0;) {
        ssize_t n = recv(fd, p, bytes, 0);
        if (n <= 0)
            return false;
        p += n;
        bytes -= (size_t)n;
    }
    return true;
}

static bool put(int fd, struct buf *b)
{
    bool ok =
        !b->failed && send(fd, buf_data(b), buf_length(b), MSG_NOSIGNAL) == (ssize_t)buf_length(b);
    buf_clear(b);
    return ok;
}

/* The body of the next message with a NUL behind it; NULL: the client is gone. Caller frees. */
static char *get_message(int fd, char *type, size_t *bytes)
{
    uint32_t length;
    if ((type != NULL && !get(fd, type, 1)) || !get(fd, &length, 4))
        return NULL;
    *bytes = ntohl(length) - 4;
    char *body = calloc(1, *bytes + 1);
    if (body == NULL || !get(fd, body, *bytes)) {
        free(body);
        return NULL;
    }
    return body;
}

static bool put_auth(int fd, struct buf *b, uint32_t kind, struct slice data)
{
    return wire_write_auth(b, &(struct wire_auth){kind, data}) && put(fd, b);
}

static bool put_error(int fd, struct buf *b, const char *severity, const char *sqlstate,
                      const char *message)
{
    struct err err;
    err_set(&err, sqlstate, "%s", message);
    err_hint(&err, "A hint.");
    return wire_write_error(b, 'E', severity, &err) && put(fd, b);
}

static bool serve_scram(int fd, struct buf *b, enum login login)
{
    struct scram_verifier v;
    struct scram_server *s = NULL;
    struct err err;
    struct buf answer;
    uint8_t key[CRYPTO_SHA256_BYTES];
    struct wire_sasl_initial first;
    struct wire_reader r;
    size_t bytes;
    char type;
    buf_init(&answer, 4096);
    bool ok = scram_verifier_make(slice_cstr("geheim"), slice_cstr("salt"), 4096, &v, &err) &&
              scram_server_new(&v, NULL, &s, &err) &&
              put_auth(fd, b, WIRE_AUTH_SASL, slice_of("SCRAM-SHA-256\0", 15));
    char *body = ok ? get_message(fd, &type, &bytes) : NULL;
    wire_reader_init(&r, slice_of(body, body == NULL ? 0 : bytes));
    ok = body != NULL && wire_read_sasl_initial(&r, &first) &&
         scram_server_challenge(s, first.data, &answer, &err) &&
         put_auth(fd, b, WIRE_AUTH_SASL_CONTINUE, buf_slice(&answer));
    free(body);
    buf_clear(&answer);
    body = ok ? get_message(fd, &type, &bytes) : NULL;
    ok = body != NULL && scram_server_finish(s, slice_of(body, bytes), &answer, key, &err);
    if (ok && login == SCRAM_WRONG) {
        buf_clear(&answer);
        buf_append_cstr(&answer, "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    }
    if (ok && login != SCRAM_UNPROVED)
        ok = put_auth(fd, b, WIRE_AUTH_SASL_FINAL, buf_slice(&answer));
    free(body);
    scram_server_free(s);
    buf_fini(&answer);
    return ok;
}

static bool expect_password(int fd, struct buf *b, uint32_t kind, struct slice data,
                            const char *wanted)
{
    size_t bytes;
    char type;
    if (!put_auth(fd, b, kind, data))
        return false;
    char *body = get_message(fd, &type, &bytes);
    bool ok = body != NULL && type == 'p' && strcmp(body, wanted) == 0;
    free(body);
    return ok;
}

static bool serve_login(int fd, struct buf *b)
{
    struct slice none = slice_of("", 0);
    char md5[CRYPTO_MD5_ANSWER_BYTES];
    bool ok = true;
    switch ((enum login)server.login) {
    case CLEARTEXT: ok = expect_password(fd, b, WIRE_AUTH_CLEARTEXT, none, "geheim"); break;
    case TWICE:
        ok = expect_password(fd, b, WIRE_AUTH_MD5, slice_cstr("salt"), "?") ||
             put_auth(fd, b, WIRE_AUTH_CLEARTEXT, none);
        break;
    case MD5:
        ok = crypto_md5_answer(slice_cstr("service"), slice_cstr("geheim"), slice_cstr("salt"),
                               md5) &&
             expect_password(fd, b, WIRE_AUTH_MD5, slice_cstr("salt"), md5);
        break;
    case SCRAM:
    case SCRAM_UNPROVED:
    case SCRAM_WRONG: ok = serve_scram(fd, b, (enum login)server.login); break;
    case REFUSES: ok = put_error(fd, b, "FATAL", "28P01", "no entry") && false; break;
    case GARBAGE: ok = send(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, MSG_NOSIGNAL) < 0; break;
    case SILENT: return recv(fd, md5, 1, 0) > 0 && false;
    case TRUST: break;
    }
    return ok && put_auth(fd, b, WIRE_AUTH_OK, none) &&
           wire_write_backend_key(b, &(struct wire_backend_key){7, slice_cstr("key!")}) &&
           wire_write_ready(b, 'I') && put(fd, b);
}

static bool serve_query(int fd, struct buf *b, const char *sql)
{
    struct wire_value row[2] = {{.bytes = slice_cstr("one")}, {.is_null = true}};
    server.queries++;
    if (strstr(sql, "NOTIFY pgveneer_task") != NULL)
        server.notifies++;
    if (strstr(sql, "DO $pgveneer_migration$") != NULL)
        server.installs++;
    while (strcmp(sql, "hold") == 0 && server.holds)
        usleep(1000);
    if (strcmp(sql, "die") == 0)
        return false;
    if (strcmp(sql, "fatal") == 0)
        return put_error(fd, b, "FATAL", "57P01", "going down") && false;
    if (strcmp(sql, "hang") == 0)
        return recv(fd, row, 1, 0) > 0 && false;
    if (strcmp(sql, "fail") == 0)
        return put_error(fd, b, "ERROR", "42P01", "no such table") && wire_write_ready(b, 'I') &&
               put(fd, b);
    if (strcmp(sql, "bad row") == 0)
        return buf_append(b, "D\0\0\0\6\0\5", 7) && put(fd, b) && recv(fd, row, 1, 0) > 0;
    char *big = calloc(1, 1 << 20);
    for (int i = 0; big != NULL && strcmp(sql, "huge") == 0 && i < 5; i++) {
        row[1] = (struct wire_value){.bytes = slice_of(big, 1 << 20)};
        if (!wire_write_data_row(b, row, 2) || !put(fd, b))
            break;
    }
    free(big);
    row[1] = (struct wire_value){.is_null = true};
    return wire_write_data_row(b, row, 2) && wire_write_data_row(b, row, 2) &&
           wire_write_command_complete(b, slice_cstr("SELECT 2")) && wire_write_ready(b, 'I') &&
           put(fd, b);
}

static void serve_requests(int fd, struct buf *b)
{
    char sql[64] = "";
    size_t bytes;
    char type;
    bool ok = true;
    for (char *body; ok && (body = get_message(fd, &type, &bytes)) != NULL; free(body)) {
        if (type == 'Q') {
            ok = serve_query(fd, b, body);
        } else if (type == 'P') {
            snprintf(sql, sizeof sql, "%s", body + 1);
            ok = wire_write_empty(b, '1') && put(fd, b);
        } else if (type == 'S') {
            ok = serve_query(fd, b, sql);
        } else if (type == 'X') {
            ok = false;
        }
    }
}

static void *serve_one(void *arg)
{
    int fd = (int)(intptr_t)arg;
    size_t bytes;
    struct buf b;
    buf_init(&b, 8 << 20);
    char *startup = get_message(fd, NULL, &bytes);
    if (startup != NULL && memcmp(startup, "\x04\xd2\x16\x2f", 4) == 0) { /* no TLS here */
        free(startup);
        startup = send(fd, "N", 1, MSG_NOSIGNAL) == 1 ? get_message(fd, NULL, &bytes) : NULL;
    }
    if (startup != NULL && memcmp(startup, "\x04\xd2\x16\x2e", 4) == 0)
        server.cancels += memcmp(startup + 4, "\0\0\0\7key!", 8) == 0;
    else if (startup != NULL && serve_login(fd, &b))
        serve_requests(fd, &b);
    free(startup);
    buf_fini(&b);
    shutdown(fd, SHUT_WR);
    close(fd);
    return NULL;
}

static void *serve(void *arg)
{
    (void)arg;
    int fd;
    while ((fd = accept(server.listen_fd, NULL, NULL)) >= 0) {
        pthread_t t;
        server.connections++;
        if (pthread_create(&t, NULL, serve_one, (void *)(intptr_t)fd) == 0)
            pthread_detach(t);
    }
    return NULL;
}

/* ---- the asking side ---------------------------------------------------- */

struct outcome {
    atomic_bool done;
    bool ok;
    struct err err;
    size_t nrows, ncolumns;
    char first[16], tag[32];
    bool second_is_null;
    pthread_t thread;
};

static struct loop *home, *asker;
static struct control *control;

static void on_done(void *arg, const struct control_result *result, const struct err *err)
{
    struct outcome *o = arg;
    o->ok = err == NULL;
    o->thread = pthread_self();
    if (err != NULL) {
        o->err = *err;
    } else {
        o->nrows = result->nrows;
        o->ncolumns = result->ncolumns;
        snprintf(o->tag, sizeof o->tag, "%s", result->tag);
    }
    if (err == NULL && result->nrows > 0) {
        snprintf(o->first, sizeof o->first, "%.*s", (int)result->values[0].bytes.len,
                 result->values[0].bytes.data);
        o->second_is_null = result->values[1].is_null;
    }
    o->done = true;
}

static bool comes_true(bool (*condition)(void *), void *arg)
{
    for (int i = 0; i < 10000; i++) {
        if (condition(arg))
            return true;
        usleep(1000);
    }
    return false;
}

static bool is_done(void *arg)
{
    return ((struct outcome *)arg)->done;
}

static void await(struct outcome *o)
{
    if (!comes_true(is_done, o))
        fail_msg("no answer within 10 s");
    assert_false(pthread_equal(o->thread, pthread_self()));
}

static void ask(struct outcome *o, const char *sql)
{
    memset(o, 0, sizeof *o);
    assert_non_null(control_query(control, asker, slice_cstr("db"), sql, NULL, 0, on_done, o));
}

static void ask_install(struct outcome *o)
{
    memset(o, 0, sizeof *o);
    assert_non_null(control_install(control, asker, slice_cstr("db"), on_done, o));
}

static const struct migration migrations[] = {{"test", "001_test", "SELECT 1"}};
static const struct migration_list lists[] = {{migrations, 1}};

static void start_control(const char *service)
{
    struct err err;
    assert_true(loop_new("home", &home, &err));
    assert_true(loop_new("asker", &asker, &err));
    if (!control_new(home, service, lists, 1, &control, &err))
        fail_msg("%s", err.message);
    control_set_timeouts(control, 5000, 60000);
}

static void start_loops(void)
{
    struct err err;
    assert_true(loop_start(home, &err));
    assert_true(loop_start(asker, &err));
}

static int setup(void **state)
{
    (void)state;
    char service[256];
    server.connections = server.notifies = server.installs = server.queries = server.cancels = 0;
    server.login = SCRAM;
    server.holds = false;
    snprintf(service, sizeof service, "host=127.0.0.1 port=%u user=service password='geheim'",
             (unsigned)server.port);
    start_control(service);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    server.holds = false;
    loop_stop(home);
    loop_stop(asker);
    loop_join(home);
    loop_join(asker);
    control_free(control);
    loop_free(home);
    loop_free(asker);
    return 0;
}

/* ---- tests -------------------------------------------------------------- */

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
    control_set_timeouts(control, 300, 60000);
    start_loops();
    ask(&a, "hang");
    await(&a);
    assert_string_equal(a.err.sqlstate, SQLSTATE_QUERY_CANCELED);
    assert_true(comes_true(is_cancelled, NULL));
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
    control_set_timeouts(control, 5000, 50);
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

static void start_server(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    server.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.listen_fd, (struct sockaddr *)&a, length) != 0 ||
        listen(server.listen_fd, 64) != 0 ||
        getsockname(server.listen_fd, (struct sockaddr *)&a, &length) != 0 ||
        pthread_create(&server.thread, NULL, serve, NULL) != 0)
        abort();
    server.port = ntohs(a.sin_port);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

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
        TEST(test_errors_leave_the_connection),
        TEST(test_server_dies),
        TEST(test_server_says_why),
        TEST(test_bad_row),
        TEST(test_large_results_are_refused),
        TEST(test_timeout_cancels),
        TEST(test_installs_are_one),
        TEST(test_failed_login_is_told_to_all),
        TEST(test_notifies_are_melted),
        TEST(test_idle_connections_close),
        TEST(test_no_service),
        TEST(test_server_is_down),
        TEST(test_password_is_missing),
        TEST(test_forgotten_asks_are_silent),
    };
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    start_server();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    shutdown(server.listen_fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listen_fd);
    return failed;
}
