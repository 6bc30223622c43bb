/* A PostgreSQL server for tests of the control connection: a thread for each client, which plays the
 * protocol's other side with blocking calls. It logs in as `server.login` says, and does what the
 * query's text says: fail, die, fatal, hang, hold, bad row, huge; else two rows. */
#ifndef CONTROL_SERVER_H
#define CONTROL_SERVER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/log.h"
#include "protocol/client_msg.h"
#include "protocol/crypto.h"
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

static inline bool get(int fd, void *to, size_t bytes)
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

static inline bool put(int fd, struct buf *b)
{
    bool ok =
        !b->failed && send(fd, buf_data(b), buf_length(b), MSG_NOSIGNAL) == (ssize_t)buf_length(b);
    buf_clear(b);
    return ok;
}

/* The body of the next message with a NUL behind it; NULL: the client is gone. Caller frees. */
static inline char *get_message(int fd, char *type, size_t *bytes)
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

static inline bool put_auth(int fd, struct buf *b, uint32_t kind, struct slice data)
{
    return wire_write_auth(b, &(struct wire_auth){kind, data}) && put(fd, b);
}

static inline bool put_error(int fd, struct buf *b, const char *severity, const char *sqlstate,
                             const char *message)
{
    struct err err;
    err_set(&err, sqlstate, "%s", message);
    err_hint(&err, "A hint.");
    return wire_write_error(b, 'E', severity, &err) && put(fd, b);
}

static inline bool serve_scram(int fd, struct buf *b, enum login login)
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

static inline bool expect_password(int fd, struct buf *b, uint32_t kind, struct slice data,
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

static inline bool serve_login(int fd, struct buf *b)
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

static inline bool serve_query(int fd, struct buf *b, const char *sql)
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

static inline void serve_requests(int fd, struct buf *b)
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

static inline void *serve_one(void *arg)
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

static inline void *serve(void *arg)
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

/* Setup and teardown of a group of tests. */
static inline int start_server(void **state)
{
    (void)state;
    log_setup(LOG_LEVEL_ERROR, LOG_FORMAT_TEXT);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    server.listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(server.listen_fd, (struct sockaddr *)&a, length) != 0 ||
        listen(server.listen_fd, 64) != 0 ||
        getsockname(server.listen_fd, (struct sockaddr *)&a, &length) != 0 ||
        pthread_create(&server.thread, NULL, serve, NULL) != 0)
        abort();
    server.port = ntohs(a.sin_port);
    return 0;
}

static inline int stop_server(void **state)
{
    (void)state;
    shutdown(server.listen_fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listen_fd);
    return 0;
}

#endif
