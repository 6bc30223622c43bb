/* Authentication messages of a session, and what a login leaves behind.
 *
 *   auth = relay       they pass (auth.c says which do not pass as they are)
 *   auth = terminate   a SCRAM login ends here (auth_exchange.c); every other method is relayed, since
 *                      only channel binding makes SCRAM a matter between two ends of one connection
 *
 * With keep_client_keys a relayed login is written down (auth_record.c). The user's verifier comes by
 * auth_query through the control connection; it is asked for as soon as the server has named the
 * method, so that it is there when the client has computed its proof. AuthenticationOk waits for it: a
 * session whose secret is to be kept has it from its first statement on. A login ends by that query
 * failing only where it is what authenticates: in terminate mode. */
#include "session.h"

#include <stdlib.h>

#include "base/log.h"
#include "protocol/client_msg.h"
#include "protocol/scram.h"
#include "protocol/server_msg.h"

#include "auth_exchange.h"
#include "control.h"
#include "credential.h"
#include "topology.h"

#define MAX_NAME_BYTES 63 /* the server cuts longer names */

static const struct proxy_config *config_of(const struct session *s)
{
    return s->group->shared->config;
}

static enum relay_verdict refuse(struct session *s, const struct err *err)
{
    log_err(LOG_LEVEL_ERROR, s->who, "login", err);
    session_refuse(s, err);
    return RELAY_DROP;
}

/* ---- the verifier ---- */

/* The user may have no password, or not exist: the empty text. */
static struct slice find_verifier(const struct session *s, const struct control_result *r)
{
    struct slice name = slice_part(slice_cstr(s->user), 0, strnlen(s->user, MAX_NAME_BYTES));
    if (r->nrows != 1 || r->ncolumns < 2 || !slice_equals(r->values[0].bytes, name) ||
        r->values[1].is_null)
        return slice_of("", 0);
    return r->values[1].bytes;
}

static void on_lookup_failed(struct session *s, const struct err *why)
{
    struct err err;
    struct auth *a = &s->login->auth;
    if (a->exchange == NULL) {
        log_err(LOG_LEVEL_WARNING, s->who, "the session's key is not kept", why);
        a->has_verifier = true;
        return;
    }
    log_err(LOG_LEVEL_ERROR, s->who, "cannot look up the password", why);
    bool is_passing = err_is_transient(why) || strcmp(why->sqlstate, SQLSTATE_QUERY_CANCELED) == 0;
    err_set(&err, is_passing ? SQLSTATE_CANNOT_CONNECT_NOW : SQLSTATE_CONFIG_FILE_ERROR,
            "the proxy cannot look up passwords");
    err_hint(&err, "The service login of pgveneer %s; see its log.",
             is_passing ? "has no connection now" : "cannot run \"auth_query\"");
    session_refuse(s, &err);
}

static void on_verifier(void *arg, const struct control_result *result, const struct err *err)
{
    struct session *s = arg;
    struct auth *a = &s->login->auth;
    a->ask = NULL;
    bool is_name_strange =
        err != NULL && strcmp(err->sqlstate, SQLSTATE_CHARACTER_NOT_IN_REPERTOIRE) == 0;
    if (err != NULL && !is_name_strange) {
        on_lookup_failed(s, err);
    } else {
        struct slice text = err == NULL ? find_verifier(s, result) : slice_of("", 0);
        a->has_verifier = true;
        if (a->exchange != NULL)
            auth_exchange_set_verifier(a->exchange, text);
        else
            buf_append_slice(&a->verifier, text);
    }
    session_resume_client(s);
    session_resume_server(s);
}

static void ask_for_verifier(struct session *s)
{
    struct auth *a = &s->login->auth;
    char *name = strndup(s->user, MAX_NAME_BYTES);
    const char *params[] = {name};
    struct err err;
    a->has_asked = true;
    if (name != NULL)
        a->ask = control_query(s->group->shared->control, s->group->loop,
                               slice_cstr(config_of(s)->auth_dbname), config_of(s)->auth_query,
                               params, 1, on_verifier, s);
    free(name);
    if (a->ask != NULL)
        return;
    err_no_memory(&err);
    on_lookup_failed(s, &err);
}

/* ---- messages of the server ---- */

static enum relay_verdict send_both(struct session *s, const struct buf *to_client,
                                    const struct buf *to_server)
{
    if (buf_length(to_client) > 0)
        session_reply(s, buf_data(to_client), buf_length(to_client));
    if (buf_length(to_server) > 0)
        relay_flush(&s->up);
    if (buf_length(to_server) > 0)
        conn_send(s->server, buf_data(to_server), buf_length(to_server));
    return RELAY_DROP;
}

static enum relay_verdict follow(struct session *s, enum auth_outcome outcome,
                                 const struct buf *to_client, const struct buf *to_server,
                                 const struct err *err)
{
    switch (outcome) {
    case AUTH_FORWARD: return RELAY_PASS;
    case AUTH_WAIT: return RELAY_WAIT;
    case AUTH_REFUSED: return refuse(s, err);
    case AUTH_TAKEN: break;
    }
    return send_both(s, to_client, to_server);
}

static enum relay_verdict begin_exchange(struct session *s, const struct wire_auth *m)
{
    struct auth *a = &s->login->auth;
    struct buf offer;
    struct err err;
    uint8_t hash[SCRAM_MAX_BINDING_BYTES];
    size_t hash_bytes;
    bool binds = conn_tls_end_point(s->client, hash, &hash_bytes);
    struct slice end_point = slice_of((const char *)hash, binds ? hash_bytes : 0);
    a->exchange = auth_exchange_new(slice_cstr(s->user), end_point);
    bool server_binds = wire_auth_has_mechanism(m, SCRAM_PLUS_MECHANISM) &&
                        conn_tls_end_point(s->server, hash, &hash_bytes);
    if (a->exchange != NULL && server_binds)
        auth_exchange_bind_server(a->exchange, slice_of((const char *)hash, hash_bytes));
    buf_init(&offer, 256);
    bool ok = a->exchange != NULL && auth_exchange_offer(a->exchange, &offer);
    if (ok)
        session_reply(s, buf_data(&offer), buf_length(&offer));
    buf_fini(&offer);
    if (!ok) {
        err_no_memory(&err);
        return refuse(s, &err);
    }
    ask_for_verifier(s);
    return RELAY_DROP;
}

static enum relay_verdict relay_mechanisms(struct session *s, const struct wire_auth *m)
{
    struct buf stripped;
    buf_init(&stripped, 2048);
    bool is_changed = !conn_is_tls(s->client) && auth_write_without_plus(m, &stripped);
    if (is_changed)
        session_reply(s, buf_data(&stripped), buf_length(&stripped));
    buf_fini(&stripped);
    s->login->auth.is_stripped = is_changed;
    s->login->auth.cannot_bind = wire_auth_has_mechanism(m, SCRAM_PLUS_MECHANISM) &&
                                 topology_is_different(s->client, s->server);
    return is_changed ? RELAY_DROP : RELAY_PASS;
}

/* The login has succeeded: what it showed is kept, if that is wanted. */
static void keep_credential(struct session *s)
{
    struct auth *a = &s->login->auth;
    struct credential c;
    bool ok = a->exchange != NULL
                  ? auth_exchange_get_credential(a->exchange, &c)
                  : auth_record_make(&a->record, slice_cstr(s->user), buf_slice(&a->verifier),
                                     conn_is_tls(s->client), &c);
    if (ok && config_of(s)->keep_client_keys)
        s->credential = malloc(sizeof *s->credential);
    if (ok && s->credential != NULL) {
        *s->credential = c;
        log_debug(s->who, "keeps %s", credential_kind_name(c.kind));
    }
    if (ok)
        credential_wipe(&c);
}

static enum relay_verdict on_ok(struct session *s)
{
    struct auth *a = &s->login->auth;
    struct err err;
    if (!auth_check_trust(a, config_of(s)->allow_trust_backend, &err))
        return refuse(s, &err);
    if (auth_record_needs_verifier(&a->record) && !a->has_verifier)
        return RELAY_WAIT;
    keep_credential(s);
    return RELAY_PASS;
}

static enum relay_verdict on_challenge(struct session *s, const struct wire_auth *m)
{
    struct auth *a = &s->login->auth;
    if (m->kind == WIRE_AUTH_SASL && config_of(s)->auth_terminates && !a->is_open &&
        wire_auth_has_mechanism(m, SCRAM_MECHANISM))
        return begin_exchange(s, m);
    auth_record_on_server(&a->record, m);
    if (auth_record_needs_verifier(&a->record) && !a->has_asked)
        ask_for_verifier(s);
    return m->kind == WIRE_AUTH_SASL ? relay_mechanisms(s, m) : RELAY_PASS;
}

static enum relay_verdict on_exchange(struct session *s, const struct wire_auth *m)
{
    struct auth *a = &s->login->auth;
    struct buf to_client;
    struct buf nothing;
    struct err err;
    buf_init(&nothing, 1);
    buf_init(&to_client, 8 * SCRAM_MAX_MESSAGE_BYTES);
    enum auth_outcome outcome = auth_exchange_on_server(a->exchange, m, &to_client, &err);
    enum relay_verdict v = follow(s, outcome, &to_client, &nothing, &err);
    buf_fini(&to_client);
    return v == RELAY_PASS ? on_ok(s) : v;
}

enum relay_verdict session_auth_on_answer(struct session *s, struct slice body)
{
    struct wire_reader r;
    struct wire_auth m;
    struct err err;
    if (s->login == NULL)
        return RELAY_PASS;
    wire_reader_init(&r, body);
    if (!wire_read_auth(&r, &m)) {
        err_set(&err, SQLSTATE_PROTOCOL_VIOLATION, "server sent a damaged authentication message");
        return refuse(s, &err);
    }
    struct auth *a = &s->login->auth;
    enum relay_verdict v = a->exchange != NULL      ? on_exchange(s, &m)
                           : m.kind == WIRE_AUTH_OK ? on_ok(s)
                                                    : on_challenge(s, &m);
    if (s->state == SESSION_CLOSING || v == RELAY_WAIT)
        return v;
    a->is_open = true;
    session_resume_client(s);
    return v;
}

/* ---- messages of the client ---- */

enum relay_verdict session_auth_on_header(struct session *s, struct wire_header h)
{
    struct auth *a = &s->login->auth;
    if (!a->is_open)
        return RELAY_WAIT;
    if (a->exchange == NULL)
        return h.type == 'p' && (a->record.is_on || a->cannot_bind || a->is_stripped) &&
                       h.body_bytes <= SCRAM_MAX_MESSAGE_BYTES
                   ? RELAY_WHOLE
                   : RELAY_PASS;
    switch (auth_exchange_on_header(a->exchange, h.type, h.body_bytes)) {
    case AUTH_TAKEN: return RELAY_WHOLE;
    case AUTH_WAIT: return RELAY_WAIT;
    default: return RELAY_PASS;
    }
}

/* The server will refuse a client that binds, or says that it could have bound; what the server says
 * then is true and explains nothing. */
static void warn_of_binding(struct session *s, struct slice body)
{
    struct auth *a = &s->login->auth;
    struct wire_reader r;
    struct wire_sasl_initial m;
    struct err err;
    wire_reader_init(&r, body);
    err_clear(&err);
    bool ok = wire_read_sasl_initial(&r, &m);
    if (ok && a->cannot_bind && slice_equals_cstr(m.mechanism, SCRAM_PLUS_MECHANISM))
        topology_explain(&err);
    if (ok && a->is_stripped && slice_starts_with(m.data, "y"))
        topology_explain_stripped(&err);
    if (err_is_set(&err))
        log_err(LOG_LEVEL_WARNING, s->who, "login will fail", &err);
    a->cannot_bind = a->is_stripped = false;
}

enum relay_verdict session_auth_on_request(struct session *s, struct slice body)
{
    struct auth *a = &s->login->auth;
    struct buf to_server;
    struct buf nothing;
    struct err err;
    if (a->exchange == NULL) {
        if (a->cannot_bind || a->is_stripped)
            warn_of_binding(s, body);
        auth_record_on_client(&a->record, body);
        return RELAY_PASS;
    }
    buf_init(&nothing, 1);
    buf_init(&to_server, 8 * SCRAM_MAX_MESSAGE_BYTES);
    enum auth_outcome outcome = auth_exchange_on_client(a->exchange, body, &to_server, &err);
    enum relay_verdict v = follow(s, outcome, &nothing, &to_server, &err);
    crypto_wipe_buf(&to_server);
    buf_fini(&to_server);
    return v;
}
