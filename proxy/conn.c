/* A socket and two libevent events.
 *
 *   CONNECTING --> OPEN --> ENDED (nothing more to read)        any --> freed
 *
 * The read event is persistent and stays registered as long as the owner wants to read, so that a
 * message costs one recv and one send and no epoll_ctl. The write event exists only while there is
 * a backlog or a connect under way.
 *
 * How a connection comes to be open is conn_connect.c's, TLS is conn_tls.c's: it stands between the
 * owner and conn_send_raw, so the backlog holds what goes onto the wire, and back-pressure, ends and
 * broken peers are dealt with here once for both.
 *
 * An owner may free the conn in any callback: conn_free closes the socket at once, but the memory
 * goes with a deferred task, and nothing here touches the conn after a callback except behind the
 * question `dead`. */
#include "conn_private.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"

#define CONN_FINISH_TIMEOUT_MS 5000u

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void on_loop_end(struct loop_task *t);

struct conn *conn_new(struct loop *l, const struct conn_events *events, void *owner)
{
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->loop = l;
    c->events = events;
    c->owner = owner;
    c->fd = -1;
    c->wants_read = true;
    buf_init(&c->early, CONN_MAX_BACKLOG);
    buf_init(&c->backlog, CONN_MAX_BACKLOG);
    loop_task_init(&c->at_end, on_loop_end);
    return c;
}

static void release(struct loop_task *t)
{
    free(LIST_ENTRY(t, struct conn, task));
}

void conn_close_socket(struct conn *c)
{
    if (c->fd < 0)
        return;
    event_del(&c->read_event);
    event_del(&c->write_event);
    close(c->fd);
    c->fd = -1;
}

void conn_free(struct conn *c)
{
    if (c == NULL || c->dead)
        return;
    if (c->tls != NULL && c->is_open && !c->broken && buf_length(&c->backlog) == 0)
        conn_tls_end_writing(c); /* a word of farewell, if the socket takes it */
    c->dead = true;
    conn_close_socket(c);
    conn_free_attempt(c);
    conn_tls_free(c);
    timer_free(c->finishing);
    buf_fini(&c->early);
    buf_fini(&c->backlog);
    free(c->peer);
    c->peer = NULL;
    list_remove(&c->at_end.link);
    list_remove(&c->task.link);
    loop_task_init(&c->task, release);
    loop_defer(c->loop, &c->task);
}

void conn_set_options(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on unix sockets */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
}

void conn_watch(struct conn *c, int fd)
{
    c->fd = fd;
    event_assign(&c->read_event, loop_base(c->loop), fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->write_event, loop_base(c->loop), fd, EV_WRITE | EV_PERSIST, on_writable, c);
}

/* While TLS is negotiated the owner has no say. What TLS has in hand no socket will announce. */
void conn_update_reading(struct conn *c)
{
    bool negotiates = !c->is_open && (c->tls != NULL || conn_is_asking(c));
    bool wanted = c->is_open ? c->wants_read : negotiates;
    bool on = wanted && !c->ended && !c->dead && c->fd >= 0;
    if (on && event_add(&c->read_event, conn_stream_timeout(c)) != 0)
        log_error("conn", "a socket could not be watched: out of memory");
    if (on && conn_tls_has_input(c))
        event_active(&c->read_event, EV_READ, 0);
    if (!on && c->fd >= 0)
        event_del(&c->read_event);
}

struct conn *conn_accept(struct loop *l, int fd, const struct conn_events *events, void *owner)
{
    struct conn *c = conn_new(l, events, owner);
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    loop_task_init(&c->task, release);
    conn_set_options(fd);
    conn_watch(c, fd);
    c->is_open = true;
    conn_update_reading(c);
    return c;
}

/* ---- the end ---- */

void conn_end(struct conn *c, const struct err *err)
{
    c->ended = true;
    if (c->fd >= 0)
        event_del(&c->read_event);
    c->events->on_end(c->owner, c, err);
}

void conn_end_errno(struct conn *c, int errnum, const char *what)
{
    struct err err;
    err_set_errno(&err, errnum, "%s", what);
    conn_end(c, &err);
}

static void tell_drained(struct conn *c)
{
    bool owed = c->owes_drained;
    c->owes_drained = false;
    if (owed && c->events->on_drained != NULL)
        c->events->on_drained(c->owner, c);
}

/* The peer takes nothing any more. Whoever waits for the backlog to go is told that it went. */
static void become_broken(struct conn *c)
{
    c->broken = true;
    buf_release(&c->backlog);
    event_del(&c->write_event);
    tell_drained(c);
}

/* ---- reading and writing ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    struct conn *c = arg;
    bool timed_out = (what & EV_TIMEOUT) != 0;
    if (c->attempt != NULL && c->tls == NULL) {
        conn_on_connect_readable(c);
        return;
    }
    if (c->tls != NULL) {
        conn_tls_on_readable(c, timed_out);
        return;
    }
    char *data = loop_read_buffer(c->loop);
    ssize_t n = recv(fd, data, LOOP_READ_BYTES, 0);
    int errnum = errno;
    conn_stream_on_read(c, timed_out, n > 0 ? (size_t)n : 0);
    if (n > 0)
        c->events->on_read(c->owner, c, data, (size_t)n);
    else if (n == 0)
        conn_end(c, NULL);
    else if (errnum != EAGAIN && errnum != EINTR) {
        c->broken = true;
        conn_end_errno(c, errnum, "could not receive data");
    }
}

/* Sends what the socket takes; returns how much, or -1 when the peer is gone. */
static ssize_t send_some(struct conn *c, const char *data, size_t bytes)
{
    size_t sent = 0;
    while (sent < bytes) {
        ssize_t n = send(c->fd, data + sent, bytes - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n >= 0)
            sent += (size_t)n;
        else if (errno == EAGAIN)
            break;
        else if (errno != EINTR)
            return -1;
    }
    return (ssize_t)sent;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct conn *c = arg;
    if (c->attempt != NULL && c->tls == NULL && !conn_is_asking(c)) {
        conn_on_connect_writable(c);
        return;
    }
    ssize_t n = send_some(c, buf_data(&c->backlog), buf_length(&c->backlog));
    if (n < 0) {
        become_broken(c);
        return;
    }
    buf_consume(&c->backlog, (size_t)n);
    if (buf_length(&c->backlog) > 0)
        return;
    buf_release(&c->backlog);
    event_del(&c->write_event);
    if (c->end_writing && c->is_open)
        shutdown(c->fd, SHUT_WR);
    if (buf_length(&c->early) == 0)
        tell_drained(c);
}

static bool drop(struct conn *c)
{
    log_warning("conn", "a peer that reads too slowly is dropped: the backlog is full");
    c->broken = true;
    buf_release(&c->early);
    buf_release(&c->backlog);
    if (c->fd >= 0)
        shutdown(c->fd, SHUT_RDWR); /* on_end follows */
    return false;
}

static bool add_to_backlog(struct conn *c, const char *data, size_t bytes)
{
    bool was_empty = buf_length(&c->backlog) == 0;
    if (!buf_append(&c->backlog, data, bytes))
        return drop(c);
    if (was_empty && event_add(&c->write_event, NULL) != 0)
        log_error("conn", "a socket could not be watched: out of memory");
    return true;
}

bool conn_send_raw(struct conn *c, const void *data, size_t bytes)
{
    if (c->broken)
        return false;
    if (buf_length(&c->backlog) > 0)
        return add_to_backlog(c, data, bytes);
    ssize_t n = c->fd < 0 ? -1 : send_some(c, data, bytes);
    if (n < 0) {
        c->broken = true;
        return false;
    }
    if ((size_t)n < bytes)
        return add_to_backlog(c, (const char *)data + n, bytes - (size_t)n);
    return true;
}

bool conn_send(struct conn *c, const void *data, size_t bytes)
{
    if (c->broken || c->dead)
        return false;
    if (bytes == 0)
        return true;
    bool ok;
    conn_stream_on_send(c);
    if (!c->is_open)
        ok = buf_append(&c->early, data, bytes) || drop(c);
    else
        ok = c->tls != NULL ? conn_tls_send(c, data, bytes) : conn_send_raw(c, data, bytes);
    if (ok && conn_backlog(c) > 0)
        c->owes_drained = true;
    return ok;
}

/* What was sent early goes out; the owner hears of it by on_drained, as he saw a backlog. */
static void send_early(struct conn *c)
{
    struct buf early = c->early;
    buf_init(&c->early, CONN_MAX_BACKLOG);
    if (buf_length(&early) > 0) {
        conn_send(c, buf_data(&early), buf_length(&early));
        c->owes_drained = true;
    }
    buf_fini(&early);
    if (c->end_writing) {
        c->end_writing = false;
        conn_end_writing(c);
    }
    if (c->owes_drained && event_add(&c->write_event, NULL) != 0)
        log_error("conn", "a socket could not be watched: out of memory");
}

void conn_become_open(struct conn *c)
{
    conn_free_attempt(c);
    c->is_open = true;
    event_del(&c->write_event);
    send_early(c);
    if (buf_length(&c->backlog) > 0)
        event_add(&c->write_event, NULL);
    conn_update_reading(c);
    if (c->events->on_connected != NULL)
        c->events->on_connected(c->owner, c);
}

size_t conn_backlog(const struct conn *c)
{
    return buf_length(&c->early) + buf_length(&c->backlog);
}

void conn_end_writing(struct conn *c)
{
    if (c->end_writing || c->dead)
        return;
    c->end_writing = true;
    if (!c->is_open || c->fd < 0)
        return;
    if (c->tls != NULL)
        conn_tls_end_writing(c);
    if (buf_length(&c->backlog) == 0)
        shutdown(c->fd, SHUT_WR);
}

bool conn_is_broken(const struct conn *c)
{
    return c->broken;
}

void conn_pause_reading(struct conn *c)
{
    if (!c->wants_read)
        return;
    c->wants_read = false;
    conn_update_reading(c);
}

void conn_resume_reading(struct conn *c)
{
    if (c->wants_read)
        return;
    c->wants_read = true;
    conn_update_reading(c);
}

bool conn_is_reading(const struct conn *c)
{
    return c->wants_read && !c->ended;
}

bool conn_is_local(const struct conn *c)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    return c->fd >= 0 && getsockname(c->fd, (struct sockaddr *)&address, &length) == 0 &&
           address.ss_family == AF_UNIX;
}

void conn_set_owner(struct conn *c, const struct conn_events *events, void *owner)
{
    c->events = events;
    c->owner = owner;
}

struct loop *conn_loop(const struct conn *c)
{
    return c->loop;
}

/* ---- to another loop ---- */

void conn_leave(struct conn *c)
{
    if (c->fd < 0)
        return;
    event_del(&c->read_event);
    event_del(&c->write_event);
}

void conn_join(struct conn *c, struct loop *l)
{
    c->loop = l;
    if (c->fd < 0)
        return;
    conn_watch(c, c->fd);
    bool writes = c->owes_drained || buf_length(&c->backlog) > 0;
    if (writes && event_add(&c->write_event, NULL) != 0)
        log_error("conn", "a socket could not be watched: out of memory");
    conn_update_reading(c);
}

/* ---- finishing without an owner ---- */

static void on_finish_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    (void)owner;
    (void)c;
    (void)data;
    (void)bytes;
}

static void on_finish_drained(void *owner, struct conn *c)
{
    (void)owner;
    if (c->ended || c->broken)
        conn_free(c);
}

static void on_finish_end(void *owner, struct conn *c, const struct err *err)
{
    (void)owner;
    if (err != NULL || conn_backlog(c) == 0)
        conn_free(c);
}

/* A slow reader gets more time as long as it takes something. */
static void on_finish_timeout(void *arg)
{
    struct conn *c = arg;
    size_t left = conn_backlog(c);
    if (left == 0 || left == c->finish_left) {
        conn_free(c);
        return;
    }
    c->finish_left = left;
    timer_start(c->finishing, CONN_FINISH_TIMEOUT_MS);
}

static void on_loop_end(struct loop_task *t)
{
    conn_free(LIST_ENTRY(t, struct conn, at_end));
}

static const struct conn_events finish_events = {
    .on_read = on_finish_read, .on_drained = on_finish_drained, .on_end = on_finish_end};

void conn_finish(struct conn *c)
{
    bool is_done = c->broken || (c->ended && conn_backlog(c) == 0);
    if (c->dead || is_done) {
        conn_free(c);
        return;
    }
    c->finishing = timer_new(c->loop, on_finish_timeout, c);
    if (c->finishing == NULL) {
        conn_free(c);
        return;
    }
    conn_set_owner(c, &finish_events, c);
    loop_at_end(c->loop, &c->at_end);
    timer_start(c->finishing, CONN_FINISH_TIMEOUT_MS);
    conn_end_writing(c);
    conn_resume_reading(c);
}

/* ---- names ---- */

bool conn_set_peer(struct conn *c, const struct sockaddr_storage *peer)
{
    if (c->peer == NULL)
        c->peer = malloc(sizeof *c->peer);
    if (c->peer != NULL)
        *c->peer = *peer;
    return c->peer != NULL;
}

bool conn_peer_address(const struct conn *c, struct sockaddr_storage *out)
{
    socklen_t length = sizeof *out;
    if (c->peer != NULL) {
        *out = *c->peer;
        return true;
    }
    return c->fd >= 0 && getpeername(c->fd, (struct sockaddr *)out, &length) == 0 &&
           (out->ss_family == AF_INET || out->ss_family == AF_INET6);
}

void conn_peer_name(const struct conn *c, char *out, size_t size)
{
    struct sockaddr_storage address;
    char host[64];
    char service[8];
    snprintf(out, size, "unix");
    if (!conn_peer_address(c, &address))
        return;
    socklen_t length =
        address.ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
    if (getnameinfo((struct sockaddr *)&address, length, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    snprintf(out, size, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
}

uint16_t conn_local_name(const struct conn *c, char *out, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char service[8];
    if (c->fd >= 0 && getsockname(c->fd, (struct sockaddr *)&address, &length) == 0 &&
        address.ss_family != AF_UNIX &&
        getnameinfo((struct sockaddr *)&address, length, out, (socklen_t)size, service,
                    sizeof service, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        return (uint16_t)strtoul(service, NULL, 10);
    if (gethostname(out, size) != 0)
        snprintf(out, size, "localhost");
    out[size - 1] = '\0';
    return 0;
}
