/* The login of a retrieve session: the token is the password of SCRAM-SHA-256, and pg_hba.conf is not
 * asked. A user may have declared cursors in several sessions, each with a token of its own; all tokens
 * have one salt, so one challenge serves, and the proof tells which of them the client knows.
 *
 * Somebody without any token gets a challenge too, and is refused after his proof like one with a wrong
 * token. The comparison takes the same time wherever the proofs differ (scram_server_finish).
 *
 * A client that knows no SCRAM may ask for a clear-text password in its startup packet, and is asked for
 * one where the connection has TLS, or the setting retrieve_clear_text says that it need not. */
#include "retrieve.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "protocol/client_msg.h"
#include "protocol/crypto.h"
#include "protocol/server_msg.h"

#include "loop.h"
#include "session.h"

#define MAX_CANDIDATES 1024

static void refuse_token(struct retrieve *r)
{
    struct err err;
    err_set(&err, SQLSTATE_INVALID_PASSWORD, "retrieve auth token is invalid");
    retrieve_refuse(r, &err);
}

static void send_auth(struct retrieve *r, enum wire_auth_kind kind, struct slice data)
{
    struct wire_auth m = {kind, data};
    if (!wire_write_auth(&r->out, &m))
        r->out.failed = true;
    retrieve_flush(r);
}

static void ask_for_password(struct retrieve *r)
{
    struct err err;
    if (conn_is_tls(r->client) || r->group->shared->config->retrieve_clear_text) {
        r->state = RETRIEVE_PASSWORD;
        send_auth(r, WIRE_AUTH_CLEARTEXT, slice_of("", 0));
        return;
    }
    err_set(&err, SQLSTATE_INVALID_AUTHORIZATION,
            "a token is taken in clear text only through a connection with TLS");
    err_hint(&err, "Use TLS, or leave out " STARTUP_RETRIEVE_AUTH " and log in by SCRAM-SHA-256.");
    retrieve_refuse(r, &err);
}

bool retrieve_login_start(struct retrieve *r)
{
    static const char mechanisms[] = SCRAM_MECHANISM "\0";
    r->candidates = calloc(MAX_CANDIDATES, sizeof(struct endpoint_declarer *));
    r->exchanges = calloc(MAX_CANDIDATES, sizeof(struct scram_server *));
    if (r->candidates == NULL || r->exchanges == NULL)
        return false;
    if (r->asks_for_password) {
        ask_for_password(r);
        return true;
    }
    r->state = RETRIEVE_FIRST;
    send_auth(r, WIRE_AUTH_SASL, slice_of(mechanisms, sizeof mechanisms));
    return true;
}

void retrieve_login_free(struct retrieve *r)
{
    for (size_t i = 0; i < r->candidate_count; i++)
        endpoint_party_unref(&r->candidates[i]->party);
    for (size_t i = 0; i < r->exchange_count; i++)
        scram_server_free(r->exchanges[i]);
    free((void *)r->candidates);
    free((void *)r->exchanges);
    r->candidates = NULL;
    r->exchanges = NULL;
    r->candidate_count = r->exchange_count = 0;
    if (r->timeout != NULL)
        timer_stop(r->timeout);
}

static void find_candidates(struct retrieve *r)
{
    r->candidate_count =
        endpoint_find_declarers(r->group->shared->endpoints, slice_cstr(r->user),
                                slice_cstr(r->dbname), r->candidates, MAX_CANDIDATES);
}

/* The same nonce for all, so that they make the same challenge. */
static bool open_exchanges(struct retrieve *r, struct err *err)
{
    uint8_t random[18];
    struct buf nonce;
    struct scram_verifier nobody;
    find_candidates(r);
    endpoint_copy_nobody(r->group->shared->endpoints, &nobody);
    buf_init(&nonce, 64);
    bool good = crypto_random(random, sizeof random) &&
                crypto_base64_write(&nonce, slice_of((char *)random, sizeof random));
    const char *text = good ? buf_cstr(&nonce) : NULL;
    size_t count = r->candidate_count == 0 ? 1 : r->candidate_count;
    good = text != NULL || err_no_memory(err);
    for (size_t i = 0; good && i < count; i++) {
        good = scram_server_new(r->candidate_count == 0 ? &nobody : &r->candidates[i]->verifier,
                                text, &r->exchanges[i], err);
        r->exchange_count += good;
    }
    buf_fini(&nonce);
    return good;
}

static bool challenge(struct retrieve *r, struct slice first, struct err *err)
{
    struct buf out;
    bool good = open_exchanges(r, err);
    for (size_t i = 0; good && i < r->exchange_count; i++) {
        buf_init(&out, SCRAM_MAX_MESSAGE_BYTES);
        good = scram_server_challenge(r->exchanges[i], first, &out, err);
        if (good && i == 0)
            send_auth(r, WIRE_AUTH_SASL_CONTINUE, buf_slice(&out));
        buf_fini(&out);
    }
    r->state = good && r->state != RETRIEVE_CLOSING ? RETRIEVE_PROOF : r->state;
    return good;
}

/* ---- after the proof ---- */

static void put_parameter(struct retrieve *r, const char *name, const char *value)
{
    struct wire_parameter_status m = {slice_cstr(name), slice_cstr(value)};
    if (!wire_write_parameter_status(&r->out, &m))
        r->out.failed = true;
}

/* What the server would say at the end of a login: of the declaring session, but for what is ours. */
static void welcome(struct retrieve *r)
{
    struct wire_backend_key key = {r->party.pid, slice_of(r->party.key, r->party.key_bytes)};
    struct buf value;
    log_info(r->who, "retrieve session of s%u", r->declarer->number);
    send_auth(r, WIRE_AUTH_OK, slice_of("", 0));
    r->state = RETRIEVE_READY;
    if (!endpoint_copy_parameters(r->group->shared->endpoints, r->declarer, &r->out))
        r->out.failed = true;
    buf_init(&value, 256);
    if (r->encoding[0] == '\0' && retrieve_show(r, "client_encoding", &value))
        (void)retrieve_name_encoding(buf_cstr(&value), r->encoding, sizeof r->encoding);
    buf_fini(&value);
    put_parameter(r, "client_encoding", r->encoding);
    put_parameter(r, "session_authorization", r->user);
    put_parameter(r, "is_superuser", "off");
    if (!wire_write_backend_key(&r->out, &key) || !wire_write_ready(&r->out, r->status))
        r->out.failed = true;
    retrieve_flush(r);
}

/* candidates[i] knows the client. */
static void admit(struct retrieve *r, size_t i)
{
    r->declarer = r->candidates[i];
    endpoint_party_ref(&r->declarer->party);
    retrieve_login_free(r);
    welcome(r);
}

static void check_password(struct retrieve *r, struct slice body)
{
    struct wire_reader reader;
    struct wire_password m;
    char token[ENDPOINT_TOKEN_BYTES] = "";
    wire_reader_init(&reader, body);
    if (wire_read_password(&reader, &m) && m.password.len < sizeof token)
        memcpy(token, m.password.data, m.password.len);
    explicit_bzero((char *)body.data, body.len);
    find_candidates(r);
    size_t right = r->candidate_count;
    for (size_t i = 0; i < r->candidate_count; i++)
        if (crypto_equals(r->candidates[i]->token, token, sizeof token))
            right = i;
    crypto_wipe(token, sizeof token);
    if (right < r->candidate_count)
        admit(r, right);
    else
        refuse_token(r);
}

static void check_proof(struct retrieve *r, struct slice final)
{
    uint8_t client_key[CRYPTO_SHA256_BYTES];
    struct err err;
    struct buf out;
    size_t right = r->candidate_count;
    buf_init(&out, SCRAM_MAX_MESSAGE_BYTES);
    for (size_t i = 0; i < r->exchange_count && right == r->candidate_count; i++)
        if (scram_server_finish(r->exchanges[i], final, &out, client_key, &err))
            right = i;
    crypto_wipe(client_key, sizeof client_key);
    if (right < r->candidate_count) {
        send_auth(r, WIRE_AUTH_SASL_FINAL, buf_slice(&out));
        admit(r, right);
    } else {
        refuse_token(r);
    }
    buf_fini(&out);
}

void retrieve_login_step(struct retrieve *r, char type, struct slice body)
{
    struct wire_reader reader;
    struct wire_sasl_initial m;
    struct err err;
    wire_reader_init(&reader, body);
    if (type == 'p' && r->state == RETRIEVE_PROOF) {
        check_proof(r, body);
        return;
    }
    if (type == 'p' && r->state == RETRIEVE_PASSWORD) {
        check_password(r, body);
        return;
    }
    if (type != 'p' || !wire_read_sasl_initial(&reader, &m) || !m.has_data ||
        !slice_equals_cstr(m.mechanism, SCRAM_MECHANISM)) {
        err_set(&err, SQLSTATE_PROTOCOL_VIOLATION, "expected SASL response, got message type %d",
                type);
        retrieve_refuse(r, &err);
        return;
    }
    if (!challenge(r, m.data, &err))
        retrieve_refuse(r, &err);
}
