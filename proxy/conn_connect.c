/* How a connection of ours comes to be open: names, addresses one after the other, and whether there
 * is to be TLS.
 *
 *   socket connects ─┬─ no TLS wanted, or a unix socket ───────────────────────────> open
 *                    └─ SSLRequest ──> 'S' ──> handshake ──────────────────────────> open
 *                                  ├─> 'N': open in the clear, or the end when TLS is demanded
 *                                  └─> else: once more without, or the end when TLS is demanded
 *
 * Until the handshake is complete the other side may be anybody. So nothing it says is shown to a
 * client (an error message in front of TLS, CVE-2024-10977), and a byte behind the 'S' that is not TLS
 * is an attack (CVE-2021-23222): the answer must be alone in its read. In the modes allow and prefer,
 * which demand nothing, a failed handshake is followed by a connect in the clear, as libpq does. */
#include "conn_private.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/log.h"

#include "tls.h"

#define CONN_RETRY_MS 20
#define CONN_MAX_RETRIES 250 /* 5 s */

/* Length 8, then the code 80877103. */
static const unsigned char ssl_request[] = {0, 0, 0, 8, 4, 210, 22, 47};

/* A connect under way. */
struct attempt {
    struct conn *conn;
    struct conn_target target;
    size_t next;               /* address to try */
    struct tls_policy *policy; /* owns a reference; NULL: not asked yet, or no TLS */
    bool is_asking;            /* SSLRequest went out */
    bool is_plain;             /* TLS was tried in vain and is not demanded */
    struct timer *retry;       /* the queue of a unix socket was full */
    int retries;
    int errnum; /* why the last address failed */
};

static void try_connect(struct conn *c);

void conn_free_attempt(struct conn *c)
{
    if (c->attempt == NULL)
        return;
    timer_free(c->attempt->retry);
    tls_policy_free(c->attempt->policy);
    free(c->attempt);
    c->attempt = NULL;
}

static void on_attempt_task(struct loop_task *t)
{
    try_connect(LIST_ENTRY(t, struct conn, task));
}

static void on_retry(void *arg)
{
    try_connect(arg);
}

struct conn *conn_connect(struct loop *l, const struct conn_target *target,
                          const struct conn_events *events, void *owner)
{
    struct conn *c = conn_new(l, events, owner);
    struct attempt *a = calloc(1, sizeof *a);
    if (c == NULL || a == NULL) {
        free(c);
        free(a);
        return NULL;
    }
    *a = (struct attempt){.conn = c, .target = *target, .errnum = EADDRNOTAVAIL};
    c->attempt = a;
    loop_task_init(&c->task, on_attempt_task);
    loop_defer(l, &c->task); /* no callback from within this call */
    return c;
}

/* The connection cannot be made. */
static void give_up(struct conn *c, const struct err *err)
{
    conn_close_socket(c);
    conn_free_attempt(c);
    c->broken = true;
    buf_release(&c->early);
    buf_release(&c->backlog);
    conn_end(c, err);
}

/* ---- the socket ---- */

static const struct sockaddr *address_of(const struct attempt *a)
{
    return (const struct sockaddr *)&a->target.addresses[a->next];
}

static void on_socket_connected(struct conn *c)
{
    struct attempt *a = c->attempt;
    conn_set_options(c->fd);
    if (!a->is_plain && a->policy == NULL && address_of(a)->sa_family != AF_UNIX)
        a->policy = tls_slot_get(a->target.tls);
    if (a->is_plain || a->policy == NULL) {
        conn_become_open(c);
        return;
    }
    event_del(&c->write_event);
    a->is_asking = true;
    conn_send_raw(c, ssl_request, sizeof ssl_request); /* a dead peer is told by the read */
    conn_update_reading(c);
}

/* The accept queue of a unix socket is full: connect says EAGAIN and nothing is under way. */
static bool wait_for_queue(struct conn *c)
{
    struct attempt *a = c->attempt;
    if (a->retries++ >= CONN_MAX_RETRIES)
        return false;
    if (a->retry == NULL)
        a->retry = timer_new(c->loop, on_retry, c);
    if (a->retry == NULL)
        return false;
    timer_start(a->retry, CONN_RETRY_MS);
    return true;
}

/* Tries the addresses that are left, until one is open or under way. */
static void try_connect(struct conn *c)
{
    struct attempt *a = c->attempt;
    struct err err;
    while (a->next < a->target.count) {
        const struct sockaddr *address = address_of(a);
        conn_close_socket(c);
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            a->errnum = errno;
            break;
        }
        conn_watch(c, fd);
        if (connect(fd, address, a->target.lengths[a->next]) == 0) {
            on_socket_connected(c);
            return;
        }
        a->errnum = errno;
        if (errno == EINPROGRESS && event_add(&c->write_event, NULL) == 0)
            return;
        if (errno == EAGAIN && wait_for_queue(c))
            return;
        a->next++;
    }
    err_set_errno(&err, a->errnum, "could not connect");
    give_up(c, &err);
}

void conn_on_connect_writable(struct conn *c)
{
    int errnum = 0;
    socklen_t length = sizeof errnum;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errnum, &length) != 0)
        errnum = errno;
    if (errnum == 0) {
        on_socket_connected(c);
        return;
    }
    c->attempt->errnum = errnum;
    c->attempt->next++;
    try_connect(c);
}

/* ---- TLS or not ---- */

bool conn_is_asking(const struct conn *c)
{
    return c->attempt != NULL && c->attempt->is_asking;
}

static bool demands_tls(const struct attempt *a)
{
    return tls_policy_mode(a->policy) >= TLS_REQUIRE;
}

/* The same address once more, in the clear. */
static void fall_back(struct conn *c, const char *why)
{
    log_debug("conn", "no TLS with the server, going on without: %s", why);
    conn_tls_free(c);
    buf_release(&c->backlog);
    c->attempt->is_plain = true;
    c->attempt->is_asking = false;
    try_connect(c);
}

void conn_on_handshake_failed(struct conn *c, const struct err *err)
{
    if (c->attempt == NULL) {
        c->broken = true;
        conn_end(c, err);
    } else if (demands_tls(c->attempt)) {
        give_up(c, err);
    } else {
        fall_back(c, err->message);
    }
}

static void begin_handshake(struct conn *c)
{
    struct err err;
    c->attempt->is_asking = false;
    if (conn_make_tls(c, c->attempt->policy)) {
        conn_tls_step_handshake(c);
        return;
    }
    err_no_memory(&err);
    give_up(c, &err);
}

static void on_answer(struct conn *c, char answer, bool is_alone)
{
    struct err err;
    if ((answer == 'S' || answer == 'N') && !is_alone) {
        err_set(&err, SQLSTATE_PROTOCOL_VIOLATION, "received unencrypted data after SSL response");
        err_detail(&err, "This could be either a server-software bug or evidence of an attempted "
                         "man-in-the-middle attack.");
        give_up(c, &err);
    } else if (answer == 'S') {
        begin_handshake(c);
    } else if (answer == 'N' && !demands_tls(c->attempt)) {
        conn_become_open(c);
    } else if (!demands_tls(c->attempt)) {
        fall_back(c, "the server does not know SSLRequest");
    } else {
        err_set(&err, SQLSTATE_CANNOT_CONNECT,
                answer == 'N' ? "server does not support TLS, but TLS was required"
                              : "server sent an error instead of an answer to SSLRequest");
        give_up(c, &err);
    }
}

void conn_on_connect_readable(struct conn *c)
{
    struct err err;
    char *data = loop_read_buffer(c->loop);
    ssize_t n = recv(c->fd, data, LOOP_READ_BYTES, 0);
    if (n > 0) {
        on_answer(c, data[0], n == 1);
        return;
    }
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0)
        err_set_errno(&err, errno, "could not receive the answer to SSLRequest");
    else
        err_set(&err, SQLSTATE_CONNECTION_FAILURE,
                "server closed the connection instead of an answer to SSLRequest");
    give_up(c, &err);
}

/* ---- names ---- */

static bool unix_target(const char *dir, uint16_t port, struct conn_target *out, struct err *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(address.sun_path, sizeof address.sun_path, "%s/.s.PGSQL.%u", dir, port);
    if (n < 0 || (size_t)n >= sizeof address.sun_path)
        return err_set(err, SQLSTATE_CANNOT_CONNECT, "socket path \"%s/.s.PGSQL.%u\" is too long",
                       dir, port);
    if (address.sun_path[0] == '@')
        address.sun_path[0] = '\0';
    memcpy(&out->addresses[0], &address, sizeof address);
    out->lengths[0] = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n);
    out->count = 1;
    return true;
}

bool conn_resolve(const char *host, uint16_t port, struct conn_target *out, struct err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    char service[8];
    memset(out, 0, sizeof *out);
    if (host[0] == '/' || host[0] == '@')
        return unix_target(host, port, out, err);
    snprintf(service, sizeof service, "%u", port);
    int failed = getaddrinfo(host, service, &hints, &found);
    if (failed != 0)
        return err_set(err, SQLSTATE_CANNOT_CONNECT, "could not resolve host name \"%s\": %s", host,
                       gai_strerror(failed));
    for (struct addrinfo *a = found; a != NULL && out->count < CONN_MAX_ADDRESSES; a = a->ai_next) {
        memcpy(&out->addresses[out->count], a->ai_addr, a->ai_addrlen);
        out->lengths[out->count++] = a->ai_addrlen;
    }
    freeaddrinfo(found);
    return true;
}
