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
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include "asking.h"
#include "credential.h"
#include "cursor.h"
#include "retrieve.h"
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

static const struct conn_events client_events = {.on_connected = session_on_client_secure,
                                                 .on_read = on_client_read,
                                                 .on_drained = on_client_drained,
                                                 .on_end = on_client_end};
const struct conn_events session_server_events = {.on_connected = on_server_connected,
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
void session_enter(struct session *s, enum session_state next)
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
    auth_fini(&s->login->auth);
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
    if (s->credential != NULL)
        credential_wipe(s->credential);
    free(s->credential);
    free(s->who);
    free(s->user);
    free(s->dbname);
    free(s);
    atomic_fetch_sub(&g->count, 1);
}

/* Ends the session; the memory goes when the present callback has returned. Connections that are
 * still ours are closed then. */
void session_close(struct session *s)
{
    if (s->state == SESSION_CLOSING)
        return;
    session_enter(s, SESSION_CLOSING);
    relay_stop(&s->up);
    relay_stop(&s->down);
    vendor_forget(s);
    asking_end(s);
    if (s->login != NULL)
        auth_forget(&s->login->auth);
    if (s->counted)
        atomic_fetch_sub(&s->group->shared->client_count, 1);
    if (s->counted)
        log_info(s->who, "closed");
    list_remove(&s->link);
    loop_defer(s->group->loop, &s->release);
}

/* The connection sends what it has, then closes, without us. */
void session_give_away(struct conn **c)
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
    metrics_add(&s->group->metrics, METRIC_REFUSED, 1);
    if (strcmp(err->sqlstate, SQLSTATE_PROTOCOL_VIOLATION) == 0)
        metrics_add(&s->group->metrics, METRIC_PROTOCOL_ERRORS, 1);
    if (relay_is_between(&s->down))
        send_error(s->client, "FATAL", err);
    session_give_away(&s->client);
    session_give_away(&s->server);
    session_close(s);
}

void session_client_gone(struct session *s)
{
    if (s->state == SESSION_CLOSING)
        return;
    session_give_away(&s->server);
    session_close(s);
}

static void on_login_timeout(void *arg)
{
    struct session *s = arg;
    struct err err;
    if (s->state == SESSION_STARTUP) {
        session_close(s); /* without a word, as the server does */
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
    auth_init(&s->login->auth, s->group->shared->config->keep_client_keys);
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
    metrics_add(&g->metrics, METRIC_CLIENTS, 1);
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
    s->down.attentive = true; /* until READY: BackendKeyData is read */
    response_queue_init(&s->owed, vendor_free_note);
    char who[32];
    s->number = (uint32_t)atomic_fetch_add(&g->shared->last_id, 1) + 1;
    snprintf(who, sizeof who, "s%u", s->number);
    s->who = strdup(who);
    s->client = conn_accept(g->loop, fd, &client_events, s);
    if (s->who == NULL || s->client == NULL || !start_login(s) || g->draining) {
        session_close(s);
        return;
    }
    session_expect_header(s);
}

/* ---- LOGIN ---- */

static void on_server_connected(void *owner, struct conn *c)
{
    (void)c;
    struct session *s = owner;
    s->login->connected = true;
}

void session_login_done(struct session *s)
{
    session_enter(s, SESSION_READY);
    metrics_add(&s->group->metrics, METRIC_LOGINS, 1);
    s->up.attentive = s->down.attentive = false;
    free_login(s);
    if (s->group->draining)
        session_enter(s, SESSION_DRAINING);
}

const struct credential *session_credential(const struct session *s)
{
    static const struct credential none = {.kind = CREDENTIAL_NONE};
    return s->credential == NULL || s->login != NULL ? &none : s->credential;
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
    err_set(&err, SQLSTATE_ADMIN_SHUTDOWN, "terminating connection due to administrator command");
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

/* A client whose statement may wait long is read on, within bounds: so we see that it is gone. */
#define MAX_HELD_BYTES LOOP_READ_BYTES

static bool must_wait(const struct session *s)
{
    if (!relay_is_waiting(&s->up))
        return false;
    return !cursor_may_take_long(s) || buf_length(&s->up.held) > MAX_HELD_BYTES;
}

void session_update_reading(struct session *s)
{
    if (s->state == SESSION_CLOSING || s->server == NULL)
        return;
    if (must_wait(s) || conn_backlog(s->server) > 0)
        conn_pause_reading(s->client);
    else
        conn_resume_reading(s->client);
    if (relay_is_waiting(&s->down) || conn_backlog(s->client) > 0 || cursor_fetch_is_full(s))
        conn_pause_reading(s->server);
    else
        conn_resume_reading(s->server);
}

static void on_client_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    (void)c;
    struct session *s = owner;
    metrics_add(&s->group->metrics, METRIC_FROM_CLIENTS, bytes);
    if (s->state == SESSION_STARTUP) {
        session_read_startup(s, data, bytes);
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
    metrics_add(&s->group->metrics, METRIC_FROM_SERVER, bytes);
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
    session_tell_tls_failure(s, err);
    if (s->state == SESSION_STARTUP || err != NULL) {
        session_client_gone(s);
        return;
    }
    s->client_ended = true;
    asking_end(s);
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
        session_refuse_unreachable(s, err);
        return;
    }
    relay_end(&s->down);
    session_give_away(&s->client);
    session_close(s);
}

/* ---- the proxy stops: all sessions of a loop ---- */

/* end_by_administrator takes the session out of the list, so the walk notes the next one first. */
#define EACH_SESSION(g, link, next)                                                                \
    struct list *link = (g)->sessions.next, *next = link->next;                                    \
    link != &(g)->sessions;                                                                        \
    link = next, next = link->next

void session_drain_all(struct session_group *g)
{
    g->draining = true;
    retrieve_end_all(g, false);
    for (EACH_SESSION(g, link, next)) {
        struct session *s = LIST_ENTRY(link, struct session, link);
        if (s->state == SESSION_STARTUP)
            session_close(s);
        if (s->state != SESSION_READY)
            continue;
        session_enter(s, SESSION_DRAINING);
        end_if_idle(s);
    }
}

void session_end_all(struct session_group *g)
{
    g->draining = true;
    retrieve_end_all(g, true);
    for (EACH_SESSION(g, link, next)) {
        struct session *s = LIST_ENTRY(link, struct session, link);
        if (s->state == SESSION_STARTUP)
            session_close(s);
        else
            end_by_administrator(s);
    }
}
