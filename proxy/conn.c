/* A socket and two libevent events.
 *
 *   CONNECTING --> OPEN --> ENDED (nothing more to read)        any --> freed
 *
 * The read event is persistent and stays registered as long as the owner wants to read, so that a
 * message costs one recv and one send and no epoll_ctl. The write event exists only while there is
 * a backlog or a connect under way.
 *
 * An owner may free the conn in any callback: conn_free closes the socket at once, but the memory
 * goes with a deferred task, and nothing here touches the conn after a callback except behind the
 * question `dead`. */
/* libevent comes first: its header has a macro LIST_ENTRY of its own, which it takes back. */
#include <event2/event.h>
#include <event2/event_struct.h>

#include "conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/log.h"

#include "loop.h"

#define CONN_FINISH_TIMEOUT_MS 5000u
#define CONN_RETRY_MS 20
#define CONN_MAX_RETRIES 250 /* 5 s */

/* A connect under way. */
struct attempt {
    struct conn *conn;
    struct conn_target target;
    size_t next;         /* address to try */
    struct timer *retry; /* the queue of a unix socket was full */
    int retries;
    int errnum; /* why the last address failed */
};

struct conn {
    struct loop *loop;
    const struct conn_events *events; /* borrows; constant */
    void *owner;
    struct attempt *attempt; /* owns; NULL once open */
    struct timer *finishing; /* owns; conn_finish was called */
    size_t finish_left;      /* backlog when it last fired */
    struct buf backlog;
    struct event read_event;
    struct event write_event;
    struct loop_task task;   /* connect outcome, then release of the memory */
    struct loop_task at_end; /* conn_finish was called: the loop ends before we are done */
    int fd;
    bool wants_read;
    bool ended;  /* on_end was called */
    bool broken; /* the peer takes no more bytes */
    bool end_writing;
    bool dead;
};

static void on_readable(evutil_socket_t fd, short what, void *arg);
static void on_writable(evutil_socket_t fd, short what, void *arg);
static void try_connect(struct conn *c);
static void on_loop_end(struct loop_task *t);

static struct conn *new_conn(struct loop *l, const struct conn_events *events, void *owner)
{
    struct conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->loop = l;
    c->events = events;
    c->owner = owner;
    c->fd = -1;
    c->wants_read = true;
    buf_init(&c->backlog, CONN_MAX_BACKLOG);
    loop_task_init(&c->at_end, on_loop_end);
    return c;
}

static void free_attempt(struct conn *c)
{
    if (c->attempt == NULL)
        return;
    timer_free(c->attempt->retry);
    free(c->attempt);
    c->attempt = NULL;
}

static void release(struct loop_task *t)
{
    free(LIST_ENTRY(t, struct conn, task));
}

static void close_socket(struct conn *c)
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
    c->dead = true;
    close_socket(c);
    free_attempt(c);
    timer_free(c->finishing);
    buf_fini(&c->backlog);
    list_remove(&c->at_end.link);
    list_remove(&c->task.link);
    loop_task_init(&c->task, release);
    loop_defer(c->loop, &c->task);
}

static void set_options(int fd)
{
    int one = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on unix sockets */
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
}

static void watch(struct conn *c, int fd)
{
    c->fd = fd;
    event_assign(&c->read_event, loop_base(c->loop), fd, EV_READ | EV_PERSIST, on_readable, c);
    event_assign(&c->write_event, loop_base(c->loop), fd, EV_WRITE | EV_PERSIST, on_writable, c);
}

static void update_reading(struct conn *c)
{
    bool on = c->wants_read && !c->ended && !c->dead && c->fd >= 0 && c->attempt == NULL;
    if (on && event_add(&c->read_event, NULL) != 0)
        log_error("conn", "a socket could not be watched: out of memory");
    if (!on && c->fd >= 0)
        event_del(&c->read_event);
}

struct conn *conn_accept(struct loop *l, int fd, const struct conn_events *events, void *owner)
{
    struct conn *c = new_conn(l, events, owner);
    if (c == NULL) {
        close(fd);
        return NULL;
    }
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    loop_task_init(&c->task, release);
    set_options(fd);
    watch(c, fd);
    update_reading(c);
    return c;
}

/* ---- the end ---- */

static void end(struct conn *c, const struct err *err)
{
    c->ended = true;
    if (c->fd >= 0)
        event_del(&c->read_event);
    c->events->on_end(c->owner, c, err);
}

static void end_errno(struct conn *c, int errnum, const char *what)
{
    struct err err;
    err_set_errno(&err, errnum, "%s", what);
    end(c, &err);
}

/* The peer takes nothing any more. Whoever waits for the backlog to go is told that it went. */
static void become_broken(struct conn *c)
{
    bool had_backlog = buf_length(&c->backlog) > 0;
    c->broken = true;
    buf_release(&c->backlog);
    event_del(&c->write_event);
    if (had_backlog && c->events->on_drained != NULL)
        c->events->on_drained(c->owner, c);
}

/* ---- connecting ---- */

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
    struct conn *c = new_conn(l, events, owner);
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

static void become_open(struct conn *c)
{
    free_attempt(c);
    event_del(&c->write_event);
    set_options(c->fd);
    update_reading(c);
    if (buf_length(&c->backlog) > 0 || c->end_writing)
        event_add(&c->write_event, NULL);
    if (c->events->on_connected != NULL)
        c->events->on_connected(c->owner, c);
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
    while (a->next < a->target.count) {
        const struct sockaddr *address = (const struct sockaddr *)&a->target.addresses[a->next];
        socklen_t length = a->target.lengths[a->next];
        close_socket(c);
        int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0) {
            a->errnum = errno;
            break;
        }
        watch(c, fd);
        if (connect(fd, address, length) == 0) {
            become_open(c);
            return;
        }
        a->errnum = errno;
        if (errno == EINPROGRESS && event_add(&c->write_event, NULL) == 0)
            return;
        if (errno == EAGAIN && wait_for_queue(c))
            return;
        a->next++;
    }
    int errnum = a->errnum;
    close_socket(c);
    free_attempt(c);
    c->broken = true;
    buf_release(&c->backlog);
    end_errno(c, errnum, "could not connect");
}

static void on_connect_writable(struct conn *c)
{
    int errnum = 0;
    socklen_t length = sizeof errnum;
    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &errnum, &length) != 0)
        errnum = errno;
    if (errnum == 0) {
        become_open(c);
        return;
    }
    c->attempt->errnum = errnum;
    c->attempt->next++;
    try_connect(c);
}

/* ---- reading and writing ---- */

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct conn *c = arg;
    char *data = loop_read_buffer(c->loop);
    ssize_t n = recv(fd, data, LOOP_READ_BYTES, 0);
    if (n > 0)
        c->events->on_read(c->owner, c, data, (size_t)n);
    else if (n == 0)
        end(c, NULL);
    else if (errno != EAGAIN && errno != EINTR) {
        c->broken = true;
        end_errno(c, errno, "could not receive data");
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
    if (c->attempt != NULL) {
        on_connect_writable(c);
        return;
    }
    bool had_backlog = buf_length(&c->backlog) > 0;
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
    if (c->end_writing)
        shutdown(c->fd, SHUT_WR);
    if (had_backlog && c->events->on_drained != NULL)
        c->events->on_drained(c->owner, c);
}

static bool add_to_backlog(struct conn *c, const char *data, size_t bytes)
{
    bool was_empty = buf_length(&c->backlog) == 0;
    if (!buf_append(&c->backlog, data, bytes)) {
        log_warning("conn", "a peer that reads too slowly is dropped: the backlog is full");
        c->broken = true;
        buf_release(&c->backlog);
        if (c->fd >= 0)
            shutdown(c->fd, SHUT_RDWR); /* on_end follows */
        return false;
    }
    if (was_empty && c->attempt == NULL && event_add(&c->write_event, NULL) != 0)
        log_error("conn", "a socket could not be watched: out of memory");
    return true;
}

bool conn_send(struct conn *c, const void *data, size_t bytes)
{
    if (c->broken || c->dead)
        return false;
    if (bytes == 0)
        return true;
    if (c->attempt != NULL || buf_length(&c->backlog) > 0)
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

size_t conn_backlog(const struct conn *c)
{
    return buf_length(&c->backlog);
}

void conn_end_writing(struct conn *c)
{
    if (c->end_writing || c->dead)
        return;
    c->end_writing = true;
    if (c->attempt == NULL && c->fd >= 0 && buf_length(&c->backlog) == 0)
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
    update_reading(c);
}

void conn_resume_reading(struct conn *c)
{
    if (c->wants_read)
        return;
    c->wants_read = true;
    update_reading(c);
}

bool conn_is_reading(const struct conn *c)
{
    return c->wants_read && !c->ended;
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
    if (err != NULL || buf_length(&c->backlog) == 0)
        conn_free(c);
}

/* A slow reader gets more time as long as it takes something. */
static void on_finish_timeout(void *arg)
{
    struct conn *c = arg;
    size_t left = buf_length(&c->backlog);
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
    bool is_done = c->broken || (c->ended && buf_length(&c->backlog) == 0);
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

void conn_peer_name(const struct conn *c, char *out, size_t size)
{
    struct sockaddr_storage address;
    socklen_t length = sizeof address;
    char host[64];
    char service[8];
    snprintf(out, size, "unix");
    if (c->fd < 0 || getpeername(c->fd, (struct sockaddr *)&address, &length) != 0 ||
        address.ss_family == AF_UNIX)
        return;
    if (getnameinfo((struct sockaddr *)&address, length, host, sizeof host, service, sizeof service,
                    NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return;
    snprintf(out, size, address.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, service);
}
