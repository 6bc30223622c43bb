/* The life of a session.
 *
 *   STARTUP --> LOGIN --> READY --> DRAINING
 *      |          |         |          |
 *      +----------+---------+----------+--> CLOSING --> freed
 *
 * STARTUP   The client's first packets (startup.c). A CancelRequest leaves here with its connection.
 * LOGIN     The startup packet is on its way to the server byte for byte; answers come back. Nothing
 *           else of the client passes until the server has asked for a proof of identity, or its
 *           trust was allowed (auth.c says why).
 * READY     Everything passes (session_relay.c).
 * DRAINING  The proxy stops. The client may finish its transaction.
 *
 * Who closes first:
 *   the client ends its side   It may still want its answers: our side towards the server is ended
 *                              behind what it sent, and the server closes when it has answered.
 *   the client is gone         What it sent is delivered, then the server connection is closed; the
 *                              server notices as it would notice the client itself.
 *   the server closes          Its last bytes are delivered, then the client is closed. No word of
 *                              ours: the server has said what there was to say.
 *   the server cannot be       FATAL 57P03, so that pg_isready and drivers know it is temporary.
 *   reached
 *
 * Back-pressure: a side is read only while the other has no backlog. Each direction stands on its
 * own, so a client that sends without reading blocks nobody but itself, and both move while the other
 * is blocked. A session that waits (for a vendor statement's preparations) stops reading its client
 * only. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include "cancel.h"
#include "startup.h"
#include "vendor.h"

/* A startup packet, and what one more read can bring behind it. */
#define LOGIN_MAX_BYTES (WIRE_MAX_STARTUP_BYTES + 4 + LOOP_READ_BYTES)

static void on_client_read(void *owner, struct conn *c, char *data, size_t bytes);
static void on_client_drained(void *owner, struct conn *c);
static void on_client_end(void *owner, struct conn *c, const struct err *err);
static void on_server_connected(void *owner, struct conn *c);
static void on_server_read(void *owner, struct conn *c, char *data, size_t bytes);
static void on_server_drained(void *owner, struct conn *c);
static void on_server_end(void *owner, struct conn *c, const struct err *err);

static const struct conn_events client_events = {
    .on_read = on_client_read, .on_drained = on_client_drained, .on_end = on_client_end};
static const struct conn_events server_events = {.on_connected = on_server_connected,
                                                 .on_read = on_server_read,
                                                 .on_drained = on_server_drained,
                                                 .on_end = on_server_end};

/* ---- states ---- */

static const char *const state_names[] = {
#define X(name, text) #name,
    SESSION_STATES(X)
#undef X
};

#define BIT(state) (1u << SESSION_##state)
static const unsigned legal_moves[] = {
    [SESSION_STARTUP] = BIT(LOGIN) | BIT(CLOSING),
    [SESSION_LOGIN] = BIT(READY) | BIT(CLOSING),
    [SESSION_READY] = BIT(DRAINING) | BIT(CLOSING),
    [SESSION_DRAINING] = BIT(CLOSING),
    [SESSION_CLOSING] = 0,
};

/* The only writer of s->state. */
static void enter(struct session *s, enum session_state next)
{
    if ((legal_moves[s->state] & 1u << next) == 0) {
        log_error(s->who, "state %s cannot follow %s", state_names[next], state_names[s->state]);
        abort();
    }
    log_debug(s->who, "%s -> %s", state_names[s->state], state_names[next]);
    s->state = next;
}

/* ---- birth and death ---- */

static void free_login(struct session *s)
{
    if (s->login == NULL)
        return;
    buf_fini(&s->login->packet);
    timer_free(s->login->timeout);
    free(s->login);
    s->login = NULL;
}

static void on_release(struct loop_task *t)
{
    struct session *s = LIST_ENTRY(t, struct session, release);
    struct session_group *g = s->group;
    conn_free(s->client);
    conn_free(s->server);
    relay_fini(&s->up);
    relay_fini(&s->down);
    response_queue_fini(&s->owed);
    free_login(s);
    vendor_free(s->vendor);
    free(s->who);
    free(s->dbname);
    free(s);
    atomic_fetch_sub(&g->count, 1);
}

/* Ends the session; the memory goes when the present callback has returned. Connections that are
 * still ours are closed then. */
static void close_session(struct session *s)
{
    if (s->state == SESSION_CLOSING)
        return;
    enter(s, SESSION_CLOSING);
    relay_stop(&s->up);
    relay_stop(&s->down);
    vendor_forget(s->vendor);
    if (s->counted)
        atomic_fetch_sub(&s->group->shared->client_count, 1);
    if (s->counted)
        log_info(s->who, "closed");
    list_remove(&s->link);
    loop_defer(s->group->loop, &s->release);
}

/* The connection sends what it has, then closes, without us. */
static void give_away(struct conn **c)
{
    if (*c != NULL)
        conn_finish(*c);
    *c = NULL;
}

static void send_error(struct conn *c, const char *severity, const struct err *err)
{
    struct buf out;
    buf_init(&out, 8192);
    if (wire_write_error(&out, 'E', severity, err))
        conn_send(c, buf_data(&out), buf_length(&out));
    buf_fini(&out);
}

void session_refuse(struct session *s, const struct err *err)
{
    if (s->state == SESSION_CLOSING)
        return;
    log_err(LOG_LEVEL_DEBUG, s->who, "refused", err);
    if (relay_is_between(&s->down))
        send_error(s->client, "FATAL", err);
    give_away(&s->client);
    give_away(&s->server);
    close_session(s);
}

void session_client_gone(struct session *s)
{
    if (s->state == SESSION_CLOSING)
        return;
    give_away(&s->server);
    close_session(s);
}

static void on_login_timeout(void *arg)
{
    struct session *s = arg;
    struct err err;
    if (s->state == SESSION_STARTUP) {
        close_session(s); /* without a word, as the server does */
        return;
    }
    err_set(&err, SQLSTATE_QUERY_CANCELED, "canceling authentication due to timeout");
    session_refuse(s, &err);
}

static bool start_login(struct session *s)
{
    unsigned timeout_ms = s->group->shared->config->client_login_timeout_ms;
    s->login = calloc(1, sizeof *s->login);
    if (s->login == NULL)
        return false;
    buf_init(&s->login->packet, LOGIN_MAX_BYTES);
    s->login->auth.allow_trust = s->group->shared->config->allow_trust_backend;
    if (timeout_ms == 0)
        return true;
    s->login->timeout = timer_new(s->group->loop, on_login_timeout, s);
    if (s->login->timeout == NULL)
        return false;
    timer_start(s->login->timeout, timeout_ms);
    return true;
}

void session_open(struct session_group *g, int fd)
{
    struct session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        close(fd);
        return;
    }
    atomic_fetch_add(&g->count, 1);
    s->group = g;
    s->standard_conforming_strings = true;
    loop_task_init(&s->release, on_release);
    list_append(&g->sessions, &s->link);
    relay_init(&s->up, &session_up_events, s, session_plain_up);
    s->up.attentive = true; /* until READY, when not everything may pass */
    relay_init(&s->down, &session_down_events, s, session_plain_down);
    response_queue_init(&s->owed, vendor_free_note);
    char who[32];
    snprintf(who, sizeof who, "s%llu", atomic_fetch_add(&g->shared->last_id, 1) + 1);
    s->who = strdup(who);
    s->client = conn_accept(g->loop, fd, &client_events, s);
    if (s->who == NULL || s->client == NULL || !start_login(s) || g->draining)
        close_session(s);
}

/* ---- STARTUP ---- */

static void refuse_unencrypted(struct session *s, const char *request)
{
    struct err err;
    err_set(&err, SQLSTATE_PROTOCOL_VIOLATION, "received unencrypted data after %s", request);
    err_detail(&err, "This could be either a client-software bug or evidence of an attempted "
                     "man-in-the-middle attack.");
    session_refuse(s, &err);
}

/* No encryption in this release: the client goes on in the clear or gives up. */
static void decline_encryption(struct session *s, bool *done, size_t packet_bytes,
                               const char *request)
{
    *done = true;
    conn_send(s->client, "N", 1);
    buf_consume(&s->login->packet, packet_bytes);
    if (buf_length(&s->login->packet) > 0)
        refuse_unencrypted(s, request);
}

/* The error format that protocol 2 had: type, text, NUL. */
static void refuse_old_protocol(struct session *s, uint32_t version)
{
    char text[128];
    int n = snprintf(text, sizeof text,
                     "EFATAL:  unsupported frontend protocol %u.%u: server supports 3.0 to 3.0\n",
                     version >> 16, version & 0xffff);
    conn_send(s->client, text, (size_t)n + 1);
    give_away(&s->client);
    close_session(s);
}

/* As the server would: the code of the request is read as a version. */
static void refuse_repeated(struct session *s, uint32_t version)
{
    struct err err;
    err_set(&err, SQLSTATE_FEATURE_NOT_SUPPORTED,
            "unsupported frontend protocol %u.%u: server supports 3.0 to 3.0", version >> 16,
            version & 0xffff);
    session_refuse(s, &err);
}

static void on_cancel_done(void *arg)
{
    struct session_group *g = arg;
    atomic_fetch_sub(&g->count, 1);
}

static void start_cancel(struct session *s, size_t bytes)
{
    struct conn *client = s->client;
    s->client = NULL;
    atomic_fetch_add(&s->group->count, 1);
    cancel_open(client, &s->group->shared->backend, buf_data(&s->login->packet), bytes,
                on_cancel_done, s->group);
    close_session(s);
}

static bool take_place(struct session *s)
{
    struct session_shared *shared = s->group->shared;
    unsigned limit = shared->config->max_client_conn;
    unsigned before = atomic_fetch_add(&shared->client_count, 1);
    s->counted = true;
    if (limit == 0 || before < limit)
        return true;
    struct err err;
    err_set(&err, SQLSTATE_TOO_MANY_CONNECTIONS, "sorry, too many clients already");
    session_refuse(s, &err);
    return false;
}

/* Names come from the client: what could confuse a reader of the log is replaced. */
static void name_session(struct session *s, const struct startup_packet *p)
{
    char peer[96];
    char *who;
    conn_peer_name(s->client, peer, sizeof peer);
    if (asprintf(&who, "%s %.*s@%.*s %s", s->who, (int)p->user.len, p->user.data,
                 (int)p->dbname.len, p->dbname.data, peer) < 0)
        return;
    for (char *at = who; *at != '\0'; at++)
        if ((unsigned char)*at < ' ')
            *at = '?';
    free(s->who);
    s->who = who;
}

static void start_session(struct session *s, const struct startup_packet *p)
{
    struct login *login = s->login;
    name_session(s, p);
    if (!take_place(s))
        return;
    log_info(s->who, "connected");
    s->gate_off = p->is_replication;
    s->dbname = strndup(p->dbname.data == NULL ? "" : p->dbname.data, p->dbname.len);
    s->server = conn_connect(s->group->loop, &s->group->shared->backend, &server_events, s);
    enter(s, SESSION_LOGIN);
    if (s->dbname == NULL || s->server == NULL ||
        !response_queue_request(&s->owed, RQ_LOGIN, RQ_FORWARD, NULL)) {
        close_session(s);
        return;
    }
    conn_send(s->server, buf_data(&login->packet), p->bytes);
    buf_consume(&login->packet, p->bytes);
    if (buf_length(&login->packet) > 0) /* the consumed packet is the headroom */
        relay_feed(&s->up, login->packet.data + login->packet.start, buf_length(&login->packet));
    if (s->state != SESSION_CLOSING)
        session_update_reading(s);
}

/* Takes one packet from the front; false: nothing more to be done now. */
static bool step_startup(struct session *s)
{
    struct login *login = s->login;
    struct startup_packet p =
        startup_read(buf_slice(&login->packet), login->ssl_done, login->gss_done);
    switch (p.kind) {
    case STARTUP_INCOMPLETE: return false;
    case STARTUP_NONSENSE: close_session(s); return false;
    case STARTUP_OLD: refuse_old_protocol(s, p.version); return false;
    case STARTUP_REPEATED: refuse_repeated(s, p.version); return false;
    case STARTUP_CANCEL: start_cancel(s, p.bytes); return false;
    case STARTUP_SESSION: start_session(s, &p); return false;
    case STARTUP_SSL: decline_encryption(s, &login->ssl_done, p.bytes, "SSL request"); break;
    case STARTUP_GSSENC:
        decline_encryption(s, &login->gss_done, p.bytes, "GSSAPI encryption request");
        break;
    }
    return s->state == SESSION_STARTUP && buf_length(&login->packet) > 0;
}

static void read_startup(struct session *s, const char *data, size_t bytes)
{
    if (!buf_append(&s->login->packet, data, bytes)) {
        close_session(s);
        return;
    }
    while (step_startup(s))
        ;
}

/* ---- LOGIN ---- */

static void on_server_connected(void *owner, struct conn *c)
{
    (void)c;
    struct session *s = owner;
    s->login->connected = true;
}

/* The server could not be reached, or closed without a word. */
static void refuse_unreachable(struct session *s, const struct err *why)
{
    struct err err;
    if (why != NULL)
        log_err(LOG_LEVEL_WARNING, s->who, "backend", why);
    err_set(&err, SQLSTATE_CANNOT_CONNECT_NOW, "the database system is not available");
    err_detail(&err, "The proxy could not reach the backend.");
    session_refuse(s, &err);
}

void session_login_done(struct session *s)
{
    enter(s, SESSION_READY);
    s->up.attentive = false;
    free_login(s);
    if (s->group->draining)
        enter(s, SESSION_DRAINING);
}

/* ---- DRAINING ---- */

static bool is_idle(const struct session *s)
{
    return response_queue_is_empty(&s->owed) && !s->owed.in_cycle && s->owed.status == 'I' &&
           relay_is_between(&s->up) && relay_is_between(&s->down) && !relay_is_waiting(&s->up);
}

static void end_by_administrator(struct session *s)
{
    struct err err;
    err_set(&err, SQLSTATE_ADMIN_SHUTDOWN,
            "terminating connection due to administrator command");
    if (s->server != NULL && is_idle(s))
        conn_send(s->server, "X\0\0\0\4", 5);
    session_refuse(s, &err);
}

/* Call when something was read from the server. */
static void end_if_idle(struct session *s)
{
    if (s->state == SESSION_DRAINING && is_idle(s))
        end_by_administrator(s);
}

/* ---- READY: the events of both connections ---- */

void session_update_reading(struct session *s)
{
    if (s->state == SESSION_CLOSING || s->server == NULL)
        return;
    if (relay_is_waiting(&s->up) || conn_backlog(s->server) > 0)
        conn_pause_reading(s->client);
    else
        conn_resume_reading(s->client);
    if (conn_backlog(s->client) > 0)
        conn_pause_reading(s->server);
    else
        conn_resume_reading(s->server);
}

static void on_client_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    (void)c;
    struct session *s = owner;
    if (s->state == SESSION_STARTUP) {
        read_startup(s, data, bytes);
        return;
    }
    if (s->state == SESSION_CLOSING)
        return;
    relay_feed(&s->up, data, bytes);
    session_update_reading(s);
}

static void on_server_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    (void)c;
    struct session *s = owner;
    if (s->state == SESSION_CLOSING)
        return;
    if (s->login != NULL)
        s->login->heard = true;
    relay_feed(&s->down, data, bytes);
    if (s->state != SESSION_CLOSING && conn_is_broken(s->client)) {
        session_client_gone(s);
        return;
    }
    end_if_idle(s);
    session_update_reading(s);
}

static void on_client_drained(void *owner, struct conn *c)
{
    (void)c;
    session_update_reading(owner);
}

static void on_server_drained(void *owner, struct conn *c)
{
    (void)c;
    session_update_reading(owner);
}

static void on_client_end(void *owner, struct conn *c, const struct err *err)
{
    (void)c;
    struct session *s = owner;
    if (s->state == SESSION_CLOSING)
        return;
    if (s->state == SESSION_STARTUP || s->state == SESSION_LOGIN || err != NULL) {
        session_client_gone(s);
        return;
    }
    s->client_ended = true;
    relay_end(&s->up);
    conn_end_writing(s->server);
}

static void on_server_end(void *owner, struct conn *c, const struct err *err)
{
    (void)c;
    struct session *s = owner;
    if (s->state == SESSION_CLOSING)
        return;
    if (s->login != NULL && !s->login->heard) {
        refuse_unreachable(s, err);
        return;
    }
    relay_end(&s->down);
    give_away(&s->client);
    close_session(s);
}

/* ---- the proxy stops: all sessions of a loop ---- */

/* end_by_administrator takes the session out of the list, so the walk notes the next one first. */
#define EACH_SESSION(g, link, next)                                            \
    struct list *link = (g)->sessions.next, *next = link->next;                \
    link != &(g)->sessions;                                                    \
    link = next, next = link->next

void session_drain_all(struct session_group *g)
{
    g->draining = true;
    for (EACH_SESSION(g, link, next)) {
        struct session *s = LIST_ENTRY(link, struct session, link);
        if (s->state == SESSION_STARTUP)
            close_session(s);
        if (s->state != SESSION_READY)
            continue;
        enter(s, SESSION_DRAINING);
        end_if_idle(s);
    }
}

void session_end_all(struct session_group *g)
{
    g->draining = true;
    for (EACH_SESSION(g, link, next)) {
        struct session *s = LIST_ENTRY(link, struct session, link);
        if (s->state == SESSION_STARTUP)
            close_session(s);
        else
            end_by_administrator(s);
    }
}
