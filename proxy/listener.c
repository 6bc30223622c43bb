/* Accepts until the queue is empty or LISTENER_BURST is reached, so that a storm of clients does not
 * starve those that are there. Without descriptors (EMFILE) accept would fail and stay ready: the
 * listener rests for a moment then. */
/* libevent comes first: its header has a macro LIST_ENTRY of its own, which it takes back. */
#include <event2/event.h>
#include <event2/event_struct.h>

#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/log.h"

#include "loop.h"

#define LISTENER_BACKLOG 1024
#define LISTENER_BURST 64
#define LISTENER_REST_MS 100

struct listener {
    struct event event;
    struct timer *rest;
    listener_accept *on_accept;
    void *arg;
    int fd;
    char path[sizeof(((struct sockaddr_un *)0)->sun_path) + 1]; /* of a unix socket's file, or "" */
};

static void rest(struct listener *l, int errnum)
{
    struct err err;
    err_set_errno(&err, errnum, "could not accept a client");
    log_err(LOG_LEVEL_WARNING, "listener", "resting", &err);
    event_del(&l->event);
    timer_start(l->rest, LISTENER_REST_MS);
}

static void on_rested(void *arg)
{
    struct listener *l = arg;
    event_add(&l->event, NULL);
}

static void on_acceptable(evutil_socket_t listen_fd, short what, void *arg)
{
    (void)what;
    struct listener *l = arg;
    for (int i = 0; i < LISTENER_BURST; i++) {
        int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0)
            l->on_accept(l->arg, fd);
        else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            rest(l, errno);
            return;
        } else if (errno != ECONNABORTED && errno != EINTR)
            return;
    }
}

/* A file of a server that died is in the way; one of a living server must stay. */
static bool clear_path(const char *path, const struct sockaddr *address, socklen_t length,
                       struct err *err)
{
    struct stat st;
    if (lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return true;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool served = fd >= 0 && connect(fd, address, length) == 0;
    if (fd >= 0)
        close(fd);
    if (served)
        return err_set(err, "55006", "socket \"%s\" is in use", path);
    unlink(path);
    return true;
}

static bool open_socket(struct listener *l, const struct sockaddr *address, socklen_t length,
                        struct err *err)
{
    int one = 1;
    l->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (l->fd < 0)
        return err_set_errno(err, errno, "could not create a socket");
    if (address->sa_family != AF_UNIX)
        setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (address->sa_family == AF_INET6)
        setsockopt(l->fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(l->fd, address, length) != 0 || listen(l->fd, LISTENER_BACKLOG) != 0)
        return err_set_errno(err, errno, "could not listen on the address");
    return true;
}

static bool open_unix(struct listener *l, const struct sockaddr *address, socklen_t length,
                      struct err *err)
{
    const struct sockaddr_un *un = (const struct sockaddr_un *)address;
    if (un->sun_path[0] == '\0')
        return open_socket(l, address, length, err);
    char path[sizeof l->path];
    snprintf(path, sizeof path, "%.*s", (int)sizeof un->sun_path, un->sun_path);
    if (!clear_path(path, address, length, err))
        return false;
    if (!open_socket(l, address, length, err))
        return err_context(err, "socket \"%s\"", path);
    memcpy(l->path, path, sizeof path);
    chmod(path, 0777);
    return true;
}

static uint16_t bound_port(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) != 0)
        return 0;
    if (address.ss_family == AF_INET)
        return ntohs(((struct sockaddr_in *)&address)->sin_port);
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return 0;
}

bool listener_open(struct loop *loop, const struct conn_target *target, size_t index,
                   listener_accept *on_accept, void *arg, struct listener **out, uint16_t *port,
                   struct err *err)
{
    const struct sockaddr *address = (const struct sockaddr *)&target->addresses[index];
    struct listener *l = calloc(1, sizeof *l);
    if (l == NULL)
        return err_no_memory(err);
    l->fd = -1;
    l->on_accept = on_accept;
    l->arg = arg;
    l->rest = timer_new(loop, on_rested, l);
    bool ok = l->rest != NULL || err_no_memory(err);
    if (ok && address->sa_family == AF_UNIX)
        ok = open_unix(l, address, target->lengths[index], err);
    else if (ok)
        ok = open_socket(l, address, target->lengths[index], err);
    event_assign(&l->event, loop_base(loop), l->fd, EV_READ | EV_PERSIST, on_acceptable, l);
    if (ok && event_add(&l->event, NULL) != 0)
        ok = err_no_memory(err);
    if (!ok) {
        listener_close(l);
        return false;
    }
    if (port != NULL)
        *port = bound_port(l->fd);
    *out = l;
    return true;
}

void listener_close(struct listener *l)
{
    if (l == NULL)
        return;
    if (l->fd >= 0) {
        event_del(&l->event);
        close(l->fd);
    }
    if (l->path[0] != '\0')
        unlink(l->path);
    timer_free(l->rest);
    free(l);
}

bool listener_resolve(const char *host, uint16_t port, struct conn_target *out, struct err *err)
{
    if (strcmp(host, "*") != 0)
        return conn_resolve(host, port, out, err);
    if (!conn_resolve("0.0.0.0", port, out, err))
        return false;
    struct conn_target v6;
    if (!conn_resolve("::", port, &v6, err))
        return true; /* a machine without IPv6 */
    out->addresses[1] = v6.addresses[0];
    out->lengths[1] = v6.lengths[0];
    out->count = 2;
    return true;
}
