/* The process: one loop a thread, the listeners on the first, the sessions on all.
 *
 *   main thread   opens everything, starts the threads, then waits for signals
 *   loop 0        accepts, and hands each socket to the loop with the fewest sessions; control lives here
 *   loop 0…n-1    sessions, from accept to close
 *   http          /metrics and /healthz, where http_port is set
 *
 * A socket changes its thread once, before anybody has read from it; so sessions spread evenly, where
 * SO_REUSEPORT would spread by chance.
 *
 * SIGHUP loads TLS anew; sessions keep what they began with.
 *
 * The first SIGTERM or SIGINT drains: listeners close, idle sessions end, the others end with their
 * transaction. At the deadline, or with the second signal, all end. Then the loops stop. */
#include "proxy/server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

#include "control.h"
#include "endpoint.h"
#include "listener.h"
#include "retrieve.h"
#include "session.h"
#include "status.h"
#include "tls.h"
#include "topology.h"

#define SERVER_MAX_LISTENERS 64
#define SERVER_MAX_THREADS 256
#define SERVER_POLL_MS 20

struct server;

/* An order from the main thread to one loop. */
struct order {
    struct mail mail;
    struct server *server;
    struct session_group *group;
};

struct server {
    const struct proxy_config *config;
    struct session_shared shared;
    struct gate *gate;
    struct control *control;
    struct status *status;          /* NULL: no HTTP interface */
    const struct metrics **metrics; /* one a group */
    atomic_bool stopping;
    struct session_group *groups;
    struct order *drain_orders; /* one a group */
    struct order *end_orders;
    size_t group_count;
    struct listener *listeners[SERVER_MAX_LISTENERS];
    size_t listener_count;
    uint16_t port;
};

void proxy_config_init(struct proxy_config *c)
{
    *c = (struct proxy_config){.listen_port = 6432,
                               .backend_host = "localhost",
                               .backend_port = 5432,
                               .databases = "",
                               .inspect_max_bytes = PROXY_INSPECT_MAX_BYTES,
                               .drain_timeout_ms = PROXY_DRAIN_TIMEOUT_MS};
}

/* ---- accepting ---- */

struct newcomer {
    struct mail mail;
    struct session_group *group;
    int fd;
};

static void on_newcomer(struct mail *m)
{
    struct newcomer *n = MAIL_ENTRY(m, struct newcomer, mail);
    atomic_fetch_sub(&n->group->count, 1); /* the place that was kept for it */
    session_open(n->group, n->fd);
    free(n);
}

static struct session_group *least_busy(struct server *s)
{
    struct session_group *best = &s->groups[0];
    for (size_t i = 1; i < s->group_count; i++)
        if (atomic_load(&s->groups[i].count) < atomic_load(&best->count))
            best = &s->groups[i];
    return best;
}

static void on_accept(void *arg, int fd)
{
    struct server *s = arg;
    struct session_group *g = least_busy(s);
    if (g == &s->groups[0]) {
        session_open(g, fd);
        return;
    }
    struct newcomer *n = calloc(1, sizeof *n);
    if (n == NULL) {
        close(fd);
        return;
    }
    *n = (struct newcomer){.mail.on_receive = on_newcomer, .group = g, .fd = fd};
    atomic_fetch_add(&g->count, 1);
    loop_post(g->loop, &n->mail);
}

static bool open_target(struct server *s, const struct conn_target *t, struct err *err)
{
    for (size_t i = 0; i < t->count; i++) {
        if (s->listener_count == SERVER_MAX_LISTENERS)
            return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "too many listen addresses");
        uint16_t port = 0;
        struct listener **l = &s->listeners[s->listener_count];
        if (!listener_open(s->groups[0].loop, t, i, on_accept, s, l, &port, err))
            return false;
        s->listener_count++;
        s->port = port != 0 ? port : s->port;
    }
    return true;
}

static bool open_listeners(struct server *s, struct err *err)
{
    const struct proxy_config *c = s->config;
    struct conn_target t;
    s->port = c->listen_port;
    for (size_t i = 0; i < c->listen_addr_count; i++)
        if (!listener_resolve(c->listen_addrs[i], s->port, &t, err) || !open_target(s, &t, err))
            return err_context(err, "listen_addr \"%s\" port %u", c->listen_addrs[i],
                               c->listen_port);
    if (c->unix_socket_dir == NULL)
        return true;
    if (!conn_resolve(c->unix_socket_dir, s->port, &t, err) || !open_target(s, &t, err))
        return err_context(err, "unix_socket_dir \"%s\"", c->unix_socket_dir);
    return true;
}

static void close_listeners(struct server *s)
{
    for (size_t i = 0; i < s->listener_count; i++)
        listener_close(s->listeners[i]);
    s->listener_count = 0;
}

/* ---- making and taking apart ---- */

static size_t thread_count(const struct proxy_config *c)
{
    long cores = c->threads == 0 ? sysconf(_SC_NPROCESSORS_ONLN) : (long)c->threads;
    return cores < 1 ? 1 : cores > SERVER_MAX_THREADS ? SERVER_MAX_THREADS : (size_t)cores;
}

/* A session has two descriptors: all that the system grants. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
        log_warning("proxy", "the limit of open files stays as it is");
}

static bool make_groups(struct server *s, struct err *err)
{
    size_t count = thread_count(s->config);
    s->groups = aligned_alloc(_Alignof(struct session_group), count * sizeof *s->groups);
    if (s->groups != NULL)
        memset(s->groups, 0, count * sizeof *s->groups);
    s->metrics = calloc(count, sizeof *s->metrics);
    s->drain_orders = calloc(count, sizeof *s->drain_orders);
    s->end_orders = calloc(count, sizeof *s->end_orders);
    if (s->groups == NULL || s->metrics == NULL || s->drain_orders == NULL || s->end_orders == NULL)
        return err_no_memory(err);
    s->shared.groups = s->groups;
    for (size_t i = 0; i < count; i++) {
        char name[16];
        snprintf(name, sizeof name, "loop %zu", i);
        s->groups[i].shared = &s->shared;
        s->metrics[i] = &s->groups[i].metrics;
        list_init(&s->groups[i].sessions);
        list_init(&s->groups[i].retrievers);
        if (!loop_new(name, &s->groups[i].loop, err))
            return false;
        s->group_count = s->shared.group_count = i + 1;
    }
    return true;
}

/* ---- TLS ---- */

/* Both policies anew, from settings and files; with an error those in force stay. */
static bool load_tls(struct server *s, const struct tls_settings *client,
                     const struct tls_settings *server, struct err *err)
{
    struct tls_settings named = *server;
    struct tls_policy *accepts = NULL, *connects = NULL;
    named.host = s->config->backend_host;
    if (!tls_policy_new(TLS_ACCEPTS, client, &accepts, err))
        return err_context(err, "TLS towards clients");
    if (!tls_policy_new(TLS_CONNECTS, &named, &connects, err)) {
        tls_policy_free(accepts);
        return err_context(err, "TLS towards the server");
    }
    tls_slot_put(&s->shared.client_tls, accepts);
    tls_slot_put(&s->shared.server_tls, connects);
    return true;
}

static void on_topology(void *arg, enum topology result, const struct err *why)
{
    (void)arg;
    struct err err;
    if (result == TOPOLOGY_UNKNOWN)
        log_err(LOG_LEVEL_DEBUG, "proxy", "the server's certificate is not known yet", why);
    if (result != TOPOLOGY_DIFFERENT)
        return;
    topology_explain(&err);
    log_err(LOG_LEVEL_WARNING, "proxy", "configuration", &err);
}

/* Before the loops start. */
static bool probe_topology(struct server *s, struct err *err)
{
    if (s->config->auth_terminates || tls_slot_mode(&s->shared.client_tls) == TLS_DISABLE ||
        tls_slot_mode(&s->shared.server_tls) == TLS_DISABLE)
        return true;
    return topology_probe(s->groups[0].loop, &s->shared.backend, &s->shared.client_tls, on_topology,
                          NULL) ||
           err_no_memory(err);
}

static void reload(struct server *s)
{
    struct tls_settings client = s->config->client_tls, server = s->config->server_tls;
    struct err err;
    if (s->config->on_reload != NULL)
        s->config->on_reload(s->config->on_reload_arg, &client, &server);
    bool ok = load_tls(s, &client, &server, &err);
    if (!ok)
        log_err(LOG_LEVEL_ERROR, "proxy", "certificates in force stay", &err);
    if (!control_load_tls(s->control, &err)) {
        log_err(LOG_LEVEL_ERROR, "proxy", "certificates of \"service\" in force stay", &err);
        ok = false;
    }
    if (ok)
        log_info("proxy", "reloaded");
}

static bool make_shared(struct server *s, struct err *err)
{
    const struct proxy_config *c = s->config;
    s->shared.config = c;
    if (!conn_resolve(c->backend_host, c->backend_port, &s->shared.backend, err))
        return err_context(err, "backend");
    s->shared.backend.tls = &s->shared.server_tls;
    if (c->proxy_protocol_from != NULL &&
        !network_read_list(slice_cstr(c->proxy_protocol_from), &s->shared.balancers, err))
        return err_context(err, "setting \"proxy_protocol_from\"");
    if (!load_tls(s, &c->client_tls, &c->server_tls, err))
        return false;
    if (c->handler_count > 0 && !gate_new(c->handlers, c->handler_count, &s->gate, err))
        return false;
    s->shared.gate = s->gate;
    return endpoint_registry_new(&s->shared.endpoints, err);
}

static bool make_control(struct server *s, struct err *err)
{
    const struct proxy_config *c = s->config;
    const char *service = c->service == NULL ? "" : c->service;
    if (!control_new(s->groups[0].loop, service, c->migrations, c->migration_count, &s->control,
                     err))
        return err_context(err, "setting \"service\"");
    s->shared.control = s->control;
    return true;
}

static bool open_status(struct server *s, struct err *err)
{
    const struct proxy_config *c = s->config;
    const struct status_settings settings = {.http_addr = c->http_addr,
                                             .http_port = c->http_port,
                                             .databases = c->databases,
                                             .control = s->control,
                                             .sets = s->metrics,
                                             .set_count = s->group_count,
                                             .client_count = &s->shared.client_count,
                                             .stopping = &s->stopping};
    return c->http_port == 0 || status_new(&settings, &s->status, err);
}

static void free_server(struct server *s)
{
    close_listeners(s);
    if (s->control != NULL)
        control_free(s->control);
    status_free(s->status);
    for (size_t i = 0; i < s->group_count; i++)
        loop_free(s->groups[i].loop);
    endpoint_registry_free(s->shared.endpoints);
    free(s->groups);
    free(s->metrics);
    free(s->drain_orders);
    free(s->end_orders);
    if (s->gate != NULL)
        gate_free(s->gate);
    tls_slot_fini(&s->shared.client_tls);
    tls_slot_fini(&s->shared.server_tls);
}

static bool start_loops(struct server *s, struct err *err)
{
    for (size_t i = 0; i < s->group_count; i++)
        if (!loop_start(s->groups[i].loop, err))
            return false;
    return s->status == NULL || status_start(s->status, err);
}

static void stop_loops(struct server *s)
{
    status_stop(s->status);
    for (size_t i = 0; i < s->group_count; i++)
        loop_stop(s->groups[i].loop);
    for (size_t i = 0; i < s->group_count; i++)
        loop_join(s->groups[i].loop);
}

/* ---- stopping ---- */

static void on_drain_order(struct mail *m)
{
    struct order *o = MAIL_ENTRY(m, struct order, mail);
    if (o->group == &o->server->groups[0])
        close_listeners(o->server);
    session_drain_all(o->group);
}

static void on_end_order(struct mail *m)
{
    session_end_all(MAIL_ENTRY(m, struct order, mail)->group);
}

static void give_orders(struct server *s, struct order *orders, void (*on_receive)(struct mail *))
{
    for (size_t i = 0; i < s->group_count; i++) {
        orders[i] = (struct order){{NULL, on_receive}, s, &s->groups[i]};
        loop_post(s->groups[i].loop, &orders[i].mail);
    }
}

static bool is_deserted(struct server *s)
{
    for (size_t i = 0; i < s->group_count; i++)
        if (atomic_load(&s->groups[i].count) > 0)
            return false;
    return true;
}

/* Waits until nobody is left; returns false when a signal or the deadline came first. */
static bool wait_for_clients(struct server *s, const sigset_t *signals, uint64_t timeout_ms)
{
    struct timespec poll = {0, SERVER_POLL_MS * 1000000L};
    uint64_t deadline = loop_now_ms() + timeout_ms;
    while (!is_deserted(s)) {
        if (loop_now_ms() >= deadline || sigtimedwait(signals, NULL, &poll) > 0)
            return false;
    }
    return true;
}

static void serve(struct server *s, const sigset_t *signals)
{
    int signal_number;
    sigset_t all = *signals;
    sigaddset(&all, SIGHUP);
    if (s->config->on_ready != NULL)
        s->config->on_ready(s->config->on_ready_arg, s->port);
    log_info("proxy", "ready on port %u, %zu threads", s->port, s->group_count);
    while (sigwait(&all, &signal_number) == 0 && signal_number == SIGHUP)
        reload(s);
    log_info("proxy", "stopping: waiting up to %u s for clients",
             s->config->drain_timeout_ms / 1000);
    atomic_store(&s->stopping, true);
    give_orders(s, s->drain_orders, on_drain_order);
    if (wait_for_clients(s, signals, s->config->drain_timeout_ms))
        return;
    log_info("proxy", "ending the sessions that are left");
    give_orders(s, s->end_orders, on_end_order);
    wait_for_clients(s, signals, 2000);
}

bool proxy_run(const struct proxy_config *c, struct err *err)
{
    struct server s = {.config = c};
    sigset_t signals, hangup;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    sigemptyset(&hangup);
    sigaddset(&hangup, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &hangup, NULL);
    signal(SIGHUP, SIG_DFL); /* blocked; an ignored one might not reach sigwait */
    raise_descriptor_limit();
    tls_slot_init(&s.shared.client_tls);
    tls_slot_init(&s.shared.server_tls);
    retrieve_rows_init();
    bool ok = make_shared(&s, err) && make_groups(&s, err) && make_control(&s, err) &&
              open_listeners(&s, err);
    s.shared.listen_port = s.port;
    ok = ok && open_status(&s, err) && probe_topology(&s, err) && start_loops(&s, err);
    if (ok)
        serve(&s, &signals);
    stop_loops(&s);
    free_server(&s);
    return ok;
}
