/* The client's role of SCRAM-SHA-256.
 *
 *     client first    n,,n=,r=<client nonce>
 *     challenge       r=<client nonce><server nonce>,s=<salt>,i=<iterations>
 *     client final    c=biws,r=<both nonces>,p=<ClientKey xor HMAC(StoredKey, auth message)>
 *     server final    v=<HMAC(ServerKey, auth message)>   or e=<reason>
 *
 *     SaltedPassword = PBKDF2(password, salt, iterations)
 *     ClientKey = HMAC(SaltedPassword, "Client Key")   StoredKey = SHA-256(ClientKey)
 *     ServerKey = HMAC(SaltedPassword, "Server Key")
 *     auth message = client first without "n,," , challenge , client final without the proof
 *
 * With channel binding "n,," is "p=tls-server-end-point,,", and c= is the base64 of that and of the hash of
 * the server's certificate.
 *
 * The server's role (scram_server.c) is the same from the other side. Keys are wiped as soon as the
 * proof is made; the expected signature of the server stays until the end.
 *
 * SASLprep (RFC 4013): an ASCII password is its own preparation, or holds control characters that it
 * prohibits; then, and for text that is not ASCII, the bytes are used as they are. libpq does the
 * same except that it normalises other characters (NFKC), so a password whose normal form differs
 * from its bytes (ligatures, decomposed accents) does not work here. */
#include "protocol/scram.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "scram_text.h"

#define GS2_HEADER "n,," /* no channel binding, no other identity */
#define GS2_PLUS_HEADER "p=" SCRAM_BINDING_TYPE ",,"

enum scram_state { SCRAM_FRESH, SCRAM_WAITS_CHALLENGE, SCRAM_WAITS_FINAL, SCRAM_DONE };

struct scram_keys {
    uint8_t client[CRYPTO_SHA256_BYTES];
    uint8_t server[CRYPTO_SHA256_BYTES];
    bool has_server;
};

struct scram_client {
    enum scram_state state;
    struct buf password;    /* wiped with the client */
    bool has_keys;          /* `keys` were given, there is no password */
    struct scram_keys keys; /* wiped with the client */
    char nonce[SCRAM_NONCE_SIZE];
    const char *gs2_header;
    uint8_t end_point[SCRAM_MAX_BINDING_BYTES];
    size_t end_point_bytes;                        /* 0: no channel binding */
    bool trusts_server;                            /* no server key: its signature says nothing */
    uint8_t server_signature[CRYPTO_SHA256_BYTES]; /* expected */
};

bool scram_client_new(struct slice password, const char *nonce, struct scram_client **out,
                      struct err *err)
{
    *out = NULL;
    struct scram_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_no_memory(err);
    c->gs2_header = GS2_HEADER;
    buf_init(&c->password, SCRAM_MAX_MESSAGE_BYTES);
    if (!buf_append_slice(&c->password, password)) {
        scram_client_free(c);
        return err_set(err, SQLSTATE_INVALID_PASSWORD, "the password is too long");
    }
    if (!scram_text_make_nonce(c->nonce, nonce)) {
        scram_client_free(c);
        return scram_text_no_crypto(err);
    }
    *out = c;
    return true;
}

void scram_client_set_keys(struct scram_client *c, const uint8_t client_key[CRYPTO_SHA256_BYTES],
                           const uint8_t *server_key)
{
    c->has_keys = true;
    memcpy(c->keys.client, client_key, sizeof c->keys.client);
    c->keys.has_server = server_key != NULL;
    if (server_key != NULL)
        memcpy(c->keys.server, server_key, sizeof c->keys.server);
}

bool scram_client_set_binding(struct scram_client *c, struct slice end_point)
{
    if (end_point.len == 0 || end_point.len > sizeof c->end_point)
        return false;
    c->gs2_header = GS2_PLUS_HEADER;
    memcpy(c->end_point, end_point.data, end_point.len);
    c->end_point_bytes = end_point.len;
    return true;
}

void scram_client_free(struct scram_client *c)
{
    if (c == NULL)
        return;
    crypto_wipe_buf(&c->password);
    buf_fini(&c->password);
    crypto_wipe(c, sizeof *c);
    free(c);
}

bool scram_client_write_first(struct scram_client *c, struct buf *out, struct err *err)
{
    if (!buf_printf(out, "%sn=,r=%s", c->gs2_header, c->nonce))
        return err_no_memory(err);
    c->state = SCRAM_WAITS_CHALLENGE;
    return true;
}

struct challenge {
    struct slice nonce; /* the client's and the server's part */
    struct buf salt;
    uint32_t iterations;
};

static bool read_challenge(const struct scram_client *c, struct slice text, struct challenge *ch,
                           struct err *err)
{
    struct slice salt;
    struct slice iterations;
    size_t own = strlen(c->nonce);
    uint32_t most = c->has_keys ? INT32_MAX : SCRAM_MAX_ITERATIONS; /* keys cost no iterations */
    if (text.len > SCRAM_MAX_MESSAGE_BYTES)
        return scram_text_malformed(err, "The challenge is too long.");
    if (!scram_text_take(&text, 'r', &ch->nonce) || !scram_text_is_nonce(ch->nonce))
        return scram_text_malformed(err, "The challenge does not begin with a nonce.");
    if (ch->nonce.len <= own || memcmp(ch->nonce.data, c->nonce, own) != 0)
        return scram_text_malformed(err, "The server's nonce does not extend the client's.");
    if (!scram_text_take(&text, 's', &salt) || salt.len == 0 ||
        !crypto_base64_read(&ch->salt, salt))
        return scram_text_malformed(err, "The challenge has no valid salt.");
    if (!scram_text_take(&text, 'i', &iterations) ||
        !scram_text_read_number(iterations, most, &ch->iterations))
        return scram_text_malformed(err, "The iteration count is missing or out of range.");
    return true;
}

/* From here on all is arithmetic. */
static bool derive_keys(const struct scram_client *c, const struct challenge *ch,
                        struct scram_keys *keys)
{
    uint8_t salted[CRYPTO_SHA256_BYTES];
    keys->has_server = true;
    bool ok = crypto_pbkdf2_sha256(buf_slice(&c->password), buf_slice(&ch->salt), ch->iterations,
                                   salted) &&
              scram_key_sign(salted, slice_cstr("Client Key"), keys->client) &&
              scram_key_sign(salted, slice_cstr("Server Key"), keys->server);
    crypto_wipe(salted, sizeof salted);
    return ok;
}

/* The proof, and the signature that the server will have to show. */
static bool compute_proof(struct scram_client *c, const struct challenge *ch, struct slice auth,
                          uint8_t proof[CRYPTO_SHA256_BYTES])
{
    uint8_t stored[CRYPTO_SHA256_BYTES];
    struct scram_keys keys = c->keys;
    bool ok = (c->has_keys || derive_keys(c, ch, &keys)) &&
              crypto_sha256(slice_of((const char *)keys.client, sizeof keys.client), stored) &&
              scram_key_sign(stored, auth, proof) &&
              (!keys.has_server || scram_key_sign(keys.server, auth, c->server_signature));
    scram_key_xor(proof, keys.client);
    c->trusts_server = !keys.has_server;
    crypto_wipe(stored, sizeof stored);
    crypto_wipe(&keys, sizeof keys);
    return ok;
}

/* The final message without its proof. */
static void write_without_proof(const struct scram_client *c, const struct challenge *ch,
                                struct buf *out)
{
    char binding[sizeof GS2_PLUS_HEADER + SCRAM_MAX_BINDING_BYTES];
    size_t header = strlen(c->gs2_header);
    memcpy(binding, c->gs2_header, header);
    memcpy(binding + header, c->end_point, c->end_point_bytes);
    buf_append_cstr(out, "c=");
    crypto_base64_write(out, slice_of(binding, header + c->end_point_bytes));
    buf_append_cstr(out, ",r=");
    buf_append_slice(out, ch->nonce);
}

static bool write_final(struct scram_client *c, const struct challenge *ch, struct slice challenge,
                        struct buf *out, struct err *err)
{
    uint8_t proof[CRYPTO_SHA256_BYTES];
    struct buf auth;
    buf_init(&auth, 4 * SCRAM_MAX_MESSAGE_BYTES);
    buf_printf(&auth, "n=,r=%s,", c->nonce);
    buf_append_slice(&auth, challenge);
    buf_append_byte(&auth, ',');
    write_without_proof(c, ch, &auth);
    bool ok = !auth.failed && compute_proof(c, ch, buf_slice(&auth), proof);
    if (ok) {
        write_without_proof(c, ch, out);
        buf_append_cstr(out, ",p=");
        crypto_base64_write(out, slice_of((const char *)proof, sizeof proof));
    }
    buf_fini(&auth);
    crypto_wipe(proof, sizeof proof);
    return (ok && !out->failed) || scram_text_no_crypto(err);
}

bool scram_client_step(struct scram_client *c, struct slice challenge, struct buf *out,
                       struct err *err)
{
    struct challenge ch = {.iterations = 0};
    if (c->state != SCRAM_WAITS_CHALLENGE)
        return scram_text_malformed(err, "The server sent a challenge out of turn.");
    buf_init(&ch.salt, SCRAM_MAX_MESSAGE_BYTES);
    bool ok = read_challenge(c, challenge, &ch, err) && write_final(c, &ch, challenge, out, err);
    buf_fini(&ch.salt);
    if (ok)
        c->state = SCRAM_WAITS_FINAL;
    return ok;
}

bool scram_client_finish(struct scram_client *c, struct slice final, struct err *err)
{
    uint8_t signature[CRYPTO_SHA256_BYTES];
    struct slice value;
    struct slice rest = final;
    if (c->state != SCRAM_WAITS_FINAL)
        return scram_text_malformed(err, "The server sent its final message out of turn.");
    if (final.len > SCRAM_MAX_MESSAGE_BYTES)
        return scram_text_malformed(err, "The server's final message is too long.");
    if (scram_text_take(&rest, 'e', &value))
        return err_set(err, SQLSTATE_INVALID_AUTHORIZATION, "the server refused the login: %.*s",
                       (int)value.len, value.data);
    if (!scram_text_take(&rest, 'v', &value) || !scram_text_read_key(value, signature))
        return scram_text_malformed(err, "The server's final message has no valid signature.");
    if (!c->trusts_server && !crypto_equals(signature, c->server_signature, sizeof signature))
        return err_set(err, SQLSTATE_INVALID_AUTHORIZATION,
                       "the server does not know the password: its SCRAM signature is wrong");
    c->state = SCRAM_DONE;
    return true;
}
