/* TLS with the client: who gets it, who must have it.
 *
 *   SSLRequest ──> 'S', handshake, startup packet            first byte 0x16 ──> handshake, startup packet
 *             └──> 'N' (no TLS here, a unix socket, TLS already)       (PostgreSQL 17: a direct connection)
 *
 * Nothing that was read in the clear is taken for something that came under TLS: bytes behind SSLRequest
 * are either the beginning of the handshake, which then vouches for them, or forgotten, and the client is
 * told so inside TLS (08P01, as PostgreSQL does). A direct connection must agree on the protocol by
 * ALPN, so that nobody turns a browser's request into a session.
 *
 * Whether the mode is content is asked when the startup packet is there: an error can be told then. A
 * CancelRequest may come in the clear whatever the mode is, since libpq before 17 sends it so. */
#include "session.h"

#include <stdio.h>

#include "base/log.h"

#include "startup.h"
#include "tls.h"

#define TLS_HANDSHAKE_RECORD 0x16

/* The policy for this client; NULL: it gets no TLS. A reference. */
static struct tls_policy *get_policy(struct session *s)
{
    if (conn_is_tls(s->client) || conn_is_local(s->client))
        return NULL;
    return tls_slot_get(&s->group->shared->client_tls);
}

/* What lies behind in the packet buffer belongs to the handshake or to nobody. Takes the policy. */
static void start(struct session *s, struct tls_policy *policy)
{
    struct login *login = s->login;
    struct slice rest = buf_slice(&login->packet);
    bool is_handshake = rest.len > 0 && rest.data[0] == TLS_HANDSHAKE_RECORD;
    login->tls_begun = true;
    login->plain_rest = rest.len > 0 && !is_handshake;
    login->ssl_done = login->gss_done = true;
    bool ok = conn_start_tls(s->client, policy, rest.data, is_handshake ? rest.len : 0);
    tls_policy_free(policy);
    buf_clear(&login->packet);
    if (!ok)
        session_close(s);
}

bool session_begin_tls(struct session *s, size_t request_bytes)
{
    struct tls_policy *policy = get_policy(s);
    if (policy == NULL)
        return false;
    conn_send(s->client, "S", 1);
    buf_consume(&s->login->packet, request_bytes);
    start(s, policy);
    return true;
}

bool session_begin_direct_tls(struct session *s)
{
    struct slice first = buf_slice(&s->login->packet);
    if (first.len == 0 || first.data[0] != TLS_HANDSHAKE_RECORD)
        return false;
    struct tls_policy *policy = get_policy(s);
    if (policy == NULL)
        return false; /* to be taken for a startup packet of impossible length */
    s->login->is_direct = true;
    start(s, policy);
    s->login->ssl_done = s->login->gss_done = false; /* asked for inside they get an N */
    return true;
}

void session_on_client_secure(void *owner, struct conn *c)
{
    struct session *s = owner;
    metrics_add(&s->group->metrics, METRIC_TLS_DONE, 1);
    if (s->state != SESSION_STARTUP)
        return;
    if (s->login->plain_rest)
        session_refuse_unencrypted(s, "SSL request");
    else if (s->login->is_direct && !conn_tls_has_alpn(c)) {
        log_info(s->who, "direct TLS connection without ALPN \"postgresql\" closed");
        session_close(s);
    }
}

void session_tell_tls_failure(struct session *s, const struct err *err)
{
    char peer[96];
    if (err == NULL || s->login == NULL || !s->login->tls_begun || conn_is_tls(s->client))
        return;
    metrics_add(&s->group->metrics, METRIC_TLS_FAILED, 1);
    conn_peer_name(s->client, peer, sizeof peer);
    log_err(LOG_LEVEL_INFO, s->who, peer, err);
}

/* ---- is it enough? ---- */

static void refuse_plain(struct session *s, const struct startup_packet *p)
{
    struct err err;
    char peer[96];
    conn_peer_name(s->client, peer, sizeof peer);
    err_set(&err, SQLSTATE_INVALID_AUTHORIZATION,
            "connection from \"%s\", user \"%.*s\", database \"%.*s\" requires TLS, no encryption",
            peer, (int)p->user.len, p->user.data, (int)p->dbname.len, p->dbname.data);
    err_hint(&err, "Use sslmode=require or a stricter mode.");
    session_refuse(s, &err);
}

static void refuse_certificate(struct session *s, const struct startup_packet *p)
{
    struct err err;
    const char *cn = conn_tls_peer_cn(s->client);
    if (conn_tls_has_verified_peer(s->client)) {
        log_info(s->who, "the client certificate's common name \"%s\" is not the user's name",
                 cn == NULL ? "" : cn);
        err_set(&err, SQLSTATE_INVALID_AUTHORIZATION,
                "certificate authentication failed for user \"%.*s\"", (int)p->user.len,
                p->user.data);
    } else {
        err_set(&err, SQLSTATE_INVALID_AUTHORIZATION,
                "connection requires a valid client certificate");
    }
    session_refuse(s, &err);
}

bool session_check_tls(struct session *s, const struct startup_packet *p)
{
    enum tls_mode mode = tls_slot_mode(&s->group->shared->client_tls);
    if (mode < TLS_REQUIRE || conn_is_local(s->client))
        return true;
    if (!conn_is_tls(s->client)) {
        refuse_plain(s, p);
        return false;
    }
    const char *cn = conn_tls_peer_cn(s->client);
    bool is_verified = mode < TLS_VERIFY_CA || conn_tls_has_verified_peer(s->client);
    bool is_named = mode < TLS_VERIFY_FULL || (cn != NULL && slice_equals_cstr(p->user, cn));
    if (is_verified && is_named)
        return true;
    refuse_certificate(s, p);
    return false;
}
