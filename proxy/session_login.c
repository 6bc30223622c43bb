/* From accept to the startup packet's way to the server: the first packets of a client, and the errors
 * that are ours to tell because there is no server yet.
 *
 *   SSLRequest                  'S' and a handshake, or 'N' (session_tls.c); once
 *   GSSENCRequest               'N', once
 *                               behind an 'N' the next packet must not be there yet
 *   CancelRequest               leaves with its connection (cancel.c)
 *   StartupMessage              takes one of max_client_conn places and goes to the server, whatever its
 *                               version: who supports which is the server's to say
 *   anything else               the connection closes without a word
 *
 * What stands behind the startup packet in the same read belongs to the session's stream. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "protocol/client_msg.h"

#include "cancel.h"
#include "endpoint.h"
#include "retrieve.h"
#include "startup.h"

/* ---- STARTUP ---- */

void session_refuse_unencrypted(struct session *s, const char *request)
{
    struct err err;
    err_set(&err, SQLSTATE_PROTOCOL_VIOLATION, "received unencrypted data after %s", request);
    err_detail(&err, "This could be either a client-software bug or evidence of an attempted "
                     "man-in-the-middle attack.");
    session_refuse(s, &err);
}

/* The client goes on in the clear or gives up. */
static void decline_encryption(struct session *s, bool *done, size_t packet_bytes,
                               const char *request)
{
    *done = true;
    conn_send(s->client, "N", 1);
    buf_consume(&s->login->packet, packet_bytes);
    if (buf_length(&s->login->packet) > 0)
        session_refuse_unencrypted(s, request);
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

/* Retrieve sessions have keys that the server knows nothing of; and a declaring session may be waiting
 * here while its server process is idle, so it is told too. */
static bool is_for_retriever(struct session *s, struct slice packet)
{
    struct wire_reader r;
    struct wire_cancel m;
    wire_reader_init(&r, slice_part(packet, 4, packet.len)); /* behind the length */
    return wire_read_cancel(&r, &m) && endpoint_cancel(s->group->shared->endpoints, m.pid, m.key);
}

static void start_cancel(struct session *s, size_t bytes)
{
    struct conn *client = s->client;
    s->client = NULL;
    metrics_add(&s->group->metrics, METRIC_CANCELS, 1);
    if (is_for_retriever(s, slice_of(buf_data(&s->login->packet), bytes))) {
        conn_finish(client);
        session_close(s);
        return;
    }
    atomic_fetch_add(&s->group->count, 1);
    cancel_open(client, &s->group->shared->backend, buf_data(&s->login->packet), bytes,
                on_cancel_done, s->group);
    session_close(s);
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

/* The connection and its place among the clients go to a session of another kind. */
static void become_retriever(struct session *s, const struct startup_packet *p)
{
    struct conn *client = s->client;
    s->client = NULL;
    s->counted = false;
    retrieve_place(s->group, client, s->who, s->number, p, &s->login->packet);
    session_close(s);
}

static void log_connected(const struct session *s)
{
    char tls[96];
    conn_tls_describe(s->client, tls, sizeof tls);
    log_info(s->who, "connected%s%s", tls[0] == '\0' ? "" : " under ", tls);
}

static void start_session(struct session *s, const struct startup_packet *p)
{
    struct login *login = s->login;
    name_session(s, p);
    if (!session_check_tls(s, p) || !take_place(s))
        return;
    if (p->is_retrieve) {
        become_retriever(s, p);
        return;
    }
    log_connected(s);
    s->gate_off = p->is_replication;
    s->user = strndup(p->user.data == NULL ? "" : p->user.data, p->user.len);
    s->dbname = strndup(p->dbname.data == NULL ? "" : p->dbname.data, p->dbname.len);
    s->server = conn_connect(s->group->loop, &s->group->shared->backend, &session_server_events, s);
    session_enter(s, SESSION_LOGIN);
    if (s->user == NULL || s->dbname == NULL || s->server == NULL ||
        !response_queue_request(&s->owed, RQ_LOGIN, RQ_FORWARD, NULL)) {
        session_close(s);
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
    case STARTUP_NONSENSE:
        metrics_add(&s->group->metrics, METRIC_PROTOCOL_ERRORS, 1);
        session_close(s);
        return false;
    case STARTUP_REPEATED: refuse_repeated(s, p.version); return false;
    case STARTUP_CANCEL: start_cancel(s, p.bytes); return false;
    case STARTUP_SESSION: start_session(s, &p); return false;
    case STARTUP_SSL:
        if (!session_begin_tls(s, p.bytes))
            decline_encryption(s, &login->ssl_done, p.bytes, "SSL request");
        break;
    case STARTUP_GSSENC:
        decline_encryption(s, &login->gss_done, p.bytes, "GSSAPI encryption request");
        break;
    }
    return s->state == SESSION_STARTUP && buf_length(&login->packet) > 0;
}

void session_read_startup(struct session *s, const char *data, size_t bytes)
{
    struct login *login = s->login;
    if (!buf_append(&login->packet, data, bytes)) {
        session_close(s);
        return;
    }
    if ((login->awaits_header && !session_take_header(s)) || buf_length(&login->packet) == 0)
        return;
    bool is_first = !login->heard_client;
    login->heard_client = true;
    if (is_first && session_begin_direct_tls(s))
        return;
    while (step_startup(s))
        ;
}

/* The server could not be reached, or closed without a word. */
void session_refuse_unreachable(struct session *s, const struct err *why)
{
    struct err err;
    if (why != NULL)
        log_err(LOG_LEVEL_WARNING, s->who, "backend", why);
    err_set(&err, SQLSTATE_CANNOT_CONNECT_NOW, "the database system is not available");
    err_detail(&err, "The proxy could not reach the backend.");
    session_refuse(s, &err);
}
