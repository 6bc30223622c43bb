/* Two SCRAM exchanges that are woven into one, so that the client cannot tell it from a login at the
 * server.
 *
 *     client                     proxy                              server
 *                                                    <-- AuthenticationSASL (its list)
 *        <-- AuthenticationSASL (ours)                                            OFFERED
 *     SASLInitialResponse -->
 *                                     SASLInitialResponse (our nonce) -->         ASKED
 *                                                    <-- challenge (salt, iterations)
 *        <-- challenge (our nonce, the server's salt and iterations)              CHALLENGED
 *     proof -->                  checks it with the verifier: ClientKey
 *                                     proof made of ClientKey -->                 PROVED
 *                                                    <-- signature: checked with ServerKey
 *        <-- signature made of ServerKey                                          ACCEPTED
 *                                                    <-- AuthenticationOk: passes
 *
 * The server's word counts in everything. Salt and iterations are those that it presents, so an unknown
 * user sees the server's own invented salt. Where the client cannot succeed (a wrong proof, an unknown
 * user, a password that is out of date, none at all) the server gets a proof that it must refuse:
 * DOOMED. Its error is the client's, with its text in its language, after the time that it takes, and
 * stands in its log. The same with a message that we do not understand: it goes to the server as it
 * is. If the server should accept one, the login ends here all the same.
 *
 * Each exchange binds to the TLS connection that it runs on, where it is one: the client to our certificate
 * if it wants, we to the server's always, so nobody can stand between us and the server either.
 *
 * Our own errors are the two about channel binding, which the server cannot know of, and those about
 * a server that does not prove that it has the verifier.
 *
 * The verifier is asked for while the client computes; only the check of the proof waits for it. */
#include "auth_exchange.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/client_msg.h"
#include "protocol/scram.h"

#define STATES(X)                                                                                  \
    X(OFFERED, "the client chooses a mechanism and says its first message")                        \
    X(ASKED, "the server makes a challenge")                                                       \
    X(CHALLENGED, "the client makes a proof")                                                      \
    X(PROVED, "the server checks ours, and makes its own")                                         \
    X(ACCEPTED, "both sides have proved themselves")                                               \
    X(DOOMED, "the server has a message that it will refuse")

#define AS_ENUM(name, text) X_##name,
enum exchange_state { STATES(AS_ENUM) };

struct auth_exchange {
    enum exchange_state state;
    char *user; /* owns; for errors */
    uint8_t end_point[SCRAM_MAX_BINDING_BYTES];
    size_t end_point_bytes;
    uint8_t server_end_point[SCRAM_MAX_BINDING_BYTES];
    size_t server_end_point_bytes; /* 0: our login does not bind */
    bool has_verifier;             /* it was looked up */
    bool is_usable;                /* and it is one of SCRAM */
    struct scram_verifier verifier;
    struct scram_verifier shown; /* salt and iterations that the server presents */
    struct scram_server *accepts;
    struct scram_client *logs_in;
    struct buf challenge; /* the server's */
    struct buf signature; /* for the client, when the server has accepted our proof */
    uint8_t client_key[CRYPTO_SHA256_BYTES];
};

struct auth_exchange *auth_exchange_new(struct slice user, struct slice end_point)
{
    struct auth_exchange *x = calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    buf_init(&x->challenge, SCRAM_MAX_MESSAGE_BYTES);
    buf_init(&x->signature, SCRAM_MAX_MESSAGE_BYTES);
    x->user = strndup(user.data == NULL ? "" : user.data, user.len);
    if (end_point.len > 0 && end_point.len <= sizeof x->end_point) {
        memcpy(x->end_point, end_point.data, end_point.len);
        x->end_point_bytes = end_point.len;
    }
    if (x->user != NULL)
        return x;
    auth_exchange_free(x);
    return NULL;
}

void auth_exchange_free(struct auth_exchange *x)
{
    if (x == NULL)
        return;
    scram_server_free(x->accepts);
    scram_client_free(x->logs_in);
    buf_fini(&x->challenge);
    buf_fini(&x->signature);
    free(x->user);
    crypto_wipe(x, sizeof *x);
    free(x);
}

bool auth_exchange_offer(const struct auth_exchange *x, struct buf *to_client)
{
    static const char list[] = SCRAM_PLUS_MECHANISM "\0" SCRAM_MECHANISM "\0";
    size_t skipped = x->end_point_bytes > 0 ? 0 : sizeof SCRAM_PLUS_MECHANISM;
    struct wire_auth m = {WIRE_AUTH_SASL, slice_of(list + skipped, sizeof list - skipped)};
    return wire_write_auth(to_client, &m);
}

void auth_exchange_bind_server(struct auth_exchange *x, struct slice end_point)
{
    if (end_point.len == 0 || end_point.len > sizeof x->server_end_point)
        return;
    memcpy(x->server_end_point, end_point.data, end_point.len);
    x->server_end_point_bytes = end_point.len;
}

void auth_exchange_set_verifier(struct auth_exchange *x, struct slice text)
{
    x->has_verifier = true;
    x->is_usable = scram_verifier_read(text, &x->verifier);
}

static enum auth_outcome refuse(struct auth_exchange *x)
{
    x->state = X_DOOMED;
    return AUTH_REFUSED;
}

/* The server judges a message of the client's that we cannot take. */
static enum auth_outcome doom(struct auth_exchange *x)
{
    x->state = X_DOOMED;
    return AUTH_FORWARD;
}

static enum auth_outcome without_memory(struct auth_exchange *x, struct err *err)
{
    err_no_memory(err);
    return refuse(x);
}

enum auth_outcome auth_exchange_on_header(struct auth_exchange *x, char type, uint32_t body_bytes)
{
    switch (x->state) {
    case X_OFFERED:
    case X_CHALLENGED:
        return type == 'p' && body_bytes <= SCRAM_MAX_MESSAGE_BYTES ? AUTH_TAKEN : doom(x);
    case X_ASKED:
    case X_PROVED: return AUTH_WAIT;
    case X_ACCEPTED:
    case X_DOOMED: break;
    }
    return AUTH_FORWARD;
}

/* ---- the client's messages ---- */

/* Errors that only we can tell; the others are the server's to find. */
static bool is_ours(const struct err *err)
{
    return strcmp(err->sqlstate, SQLSTATE_INVALID_AUTHORIZATION) == 0 ||
           strcmp(err->sqlstate, SQLSTATE_OUT_OF_MEMORY) == 0 ||
           strcmp(err->sqlstate, SQLSTATE_INTERNAL_ERROR) == 0;
}

static bool ask_server(struct auth_exchange *x, struct buf *to_server, struct err *err)
{
    struct buf first;
    struct wire_sasl_initial m = {.mechanism = slice_cstr(SCRAM_MECHANISM), .has_data = true};
    struct slice end_point = slice_of((const char *)x->server_end_point, x->server_end_point_bytes);
    if (!scram_client_new(slice_of("", 0), NULL, &x->logs_in, err))
        return false;
    if (scram_client_set_binding(x->logs_in, end_point))
        m.mechanism = slice_cstr(SCRAM_PLUS_MECHANISM);
    buf_init(&first, SCRAM_MAX_MESSAGE_BYTES);
    bool ok = scram_client_write_first(x->logs_in, &first, err);
    m.data = buf_slice(&first);
    ok = ok && (wire_write_sasl_initial(to_server, &m) || err_no_memory(err));
    buf_fini(&first);
    return ok;
}

static bool read_initial(struct auth_exchange *x, const struct wire_sasl_initial *m,
                         struct err *err)
{
    if (!scram_server_new(&x->shown, NULL, &x->accepts, err))
        return false;
    scram_server_set_binding(x->accepts, slice_of((const char *)x->end_point, x->end_point_bytes));
    return scram_server_select(x->accepts, m->mechanism, err) &&
           scram_server_read_first(x->accepts, m->data, err);
}

static enum auth_outcome on_initial(struct auth_exchange *x, struct slice body,
                                    struct buf *to_server, struct err *err)
{
    struct wire_reader r;
    struct wire_sasl_initial m;
    wire_reader_init(&r, body);
    if (!wire_read_sasl_initial(&r, &m) || !m.has_data)
        return doom(x);
    if (!read_initial(x, &m, err))
        return is_ours(err) ? refuse(x) : doom(x);
    if (!ask_server(x, to_server, err))
        return refuse(x);
    x->state = X_ASKED;
    return AUTH_TAKEN;
}

/* The verifier is the one that the server's challenge was made of. */
static bool is_verifier_right(const struct auth_exchange *x)
{
    return x->is_usable && x->verifier.iterations == x->shown.iterations &&
           x->verifier.salt_bytes == x->shown.salt_bytes &&
           memcmp(x->verifier.salt, x->shown.salt, x->shown.salt_bytes) == 0;
}

/* A proof to the server: the right one, or with a key of nobody's. */
static bool prove(struct auth_exchange *x, bool is_right, struct buf *to_server, struct err *err)
{
    struct buf final;
    if (!is_right && !crypto_random(x->client_key, sizeof x->client_key))
        return err_set(err, SQLSTATE_INTERNAL_ERROR, "no random bytes");
    scram_client_set_keys(x->logs_in, x->client_key, x->verifier.server_key);
    buf_init(&final, 4 * SCRAM_MAX_MESSAGE_BYTES);
    bool ok = scram_client_step(x->logs_in, buf_slice(&x->challenge), &final, err) &&
              (wire_write_sasl_response(to_server, buf_slice(&final)) || err_no_memory(err));
    buf_fini(&final);
    x->state = is_right ? X_PROVED : X_DOOMED;
    return ok;
}

static enum auth_outcome on_proof(struct auth_exchange *x, struct slice body, struct buf *to_server,
                                  struct err *err)
{
    if (!x->has_verifier)
        return AUTH_WAIT;
    bool is_usable = is_verifier_right(x);
    if (is_usable)
        scram_server_set_verifier(x->accepts, &x->verifier);
    bool is_right = scram_server_finish(x->accepts, body, &x->signature, x->client_key, err);
    bool is_wrong = !is_right && strcmp(err->sqlstate, SQLSTATE_INVALID_PASSWORD) == 0;
    if (!is_right && !is_wrong)
        return is_ours(err) ? refuse(x) : doom(x);
    if (!prove(x, is_right && is_usable, to_server, err))
        return refuse(x);
    return AUTH_TAKEN;
}

enum auth_outcome auth_exchange_on_client(struct auth_exchange *x, struct slice body,
                                          struct buf *to_server, struct err *err)
{
    if (x->state == X_OFFERED)
        return on_initial(x, body, to_server, err);
    if (x->state == X_CHALLENGED)
        return on_proof(x, body, to_server, err);
    return AUTH_FORWARD;
}

/* ---- the server's messages ---- */

/* What it sends does not fit: a login that could not succeed was accepted, or the order is wrong. */
static enum auth_outcome refuse_server(struct auth_exchange *x, struct err *err)
{
    if (x->state == X_DOOMED)
        err_set(err, SQLSTATE_INVALID_PASSWORD, "password authentication failed for user \"%s\"",
                x->user);
    else
        err_set(err, SQLSTATE_PROTOCOL_VIOLATION,
                "server sent an authentication message out of turn");
    return refuse(x);
}

static enum auth_outcome on_challenge(struct auth_exchange *x, struct slice challenge,
                                      struct buf *to_client, struct err *err)
{
    struct buf ours;
    if (!scram_challenge_read(challenge, &x->shown)) {
        err_set(err, SQLSTATE_PROTOCOL_VIOLATION, "server sent a malformed SCRAM challenge");
        return refuse(x);
    }
    scram_server_set_verifier(x->accepts, &x->shown);
    buf_init(&ours, 4 * SCRAM_MAX_MESSAGE_BYTES);
    bool ok = scram_server_write_challenge(x->accepts, &ours, err);
    struct wire_auth answer = {WIRE_AUTH_SASL_CONTINUE, buf_slice(&ours)};
    ok = ok &&
         ((buf_append_slice(&x->challenge, challenge) && wire_write_auth(to_client, &answer)) ||
          err_no_memory(err));
    buf_fini(&ours);
    if (!ok)
        return refuse(x);
    x->state = X_CHALLENGED;
    return AUTH_TAKEN;
}

static enum auth_outcome on_signature(struct auth_exchange *x, struct slice final,
                                      struct buf *to_client, struct err *err)
{
    struct wire_auth answer = {WIRE_AUTH_SASL_FINAL, buf_slice(&x->signature)};
    if (!scram_client_finish(x->logs_in, final, err))
        return refuse(x);
    if (!wire_write_auth(to_client, &answer))
        return without_memory(x, err);
    x->state = X_ACCEPTED;
    return AUTH_TAKEN;
}

enum auth_outcome auth_exchange_on_server(struct auth_exchange *x, const struct wire_auth *m,
                                          struct buf *to_client, struct err *err)
{
    if (x->state == X_ASKED && m->kind == WIRE_AUTH_SASL_CONTINUE)
        return on_challenge(x, m->data, to_client, err);
    if (x->state == X_PROVED && m->kind == WIRE_AUTH_SASL_FINAL)
        return on_signature(x, m->data, to_client, err);
    if (x->state == X_ACCEPTED && m->kind == WIRE_AUTH_OK)
        return AUTH_FORWARD;
    return refuse_server(x, err);
}

bool auth_exchange_get_credential(const struct auth_exchange *x, struct credential *c)
{
    if (x->state != X_ACCEPTED)
        return false;
    credential_set_keys(c, x->client_key, x->verifier.server_key);
    return true;
}
