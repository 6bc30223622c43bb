/* The server's role of SCRAM-SHA-256, with the verifier that PostgreSQL stores
 * (SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey). The messages stand in scram.c.
 *
 * The proof is ClientKey xor HMAC(StoredKey, auth message); so it reveals ClientKey to who holds
 * StoredKey, and ClientKey is right when its SHA-256 is StoredKey. The caller may keep it in memory to
 * log in elsewhere as the user (spec/dependencies.md section 5.3). */
#include "protocol/scram.h"

#include <stdlib.h>
#include <string.h>

#include "scram_text.h"

enum server_state { SERVER_FRESH, SERVER_WAITS_FINAL, SERVER_DONE };

struct scram_server {
    enum server_state state;
    struct scram_verifier verifier;
    char nonce[SCRAM_NONCE_SIZE];
    char gs2_flag;   /* 'n' or 'y': what the client's c= must repeat */
    struct buf auth; /* client first bare, challenge, and a comma behind each */
    struct buf both_nonces;
};

bool scram_verifier_read(struct slice text, struct scram_verifier *v)
{
    struct buf salt;
    size_t scheme = strlen(SCRAM_MECHANISM "$");
    if (!slice_starts_with(text, SCRAM_MECHANISM "$"))
        return false;
    struct slice rest = slice_part(text, scheme, text.len);
    size_t colon = slice_find_byte(rest, ':');
    struct slice iterations = slice_part(rest, 0, colon);
    rest = slice_part(rest, colon < rest.len ? colon + 1 : colon, rest.len);
    size_t dollar = slice_find_byte(rest, '$');
    struct slice salt_text = slice_part(rest, 0, dollar);
    rest = slice_part(rest, dollar < rest.len ? dollar + 1 : dollar, rest.len);
    colon = slice_find_byte(rest, ':');
    if (colon == rest.len || !scram_text_read_number(iterations, INT32_MAX, &v->iterations) ||
        !scram_text_read_key(slice_part(rest, 0, colon), v->stored_key) ||
        !scram_text_read_key(slice_part(rest, colon + 1, rest.len), v->server_key))
        return false;
    buf_init(&salt, sizeof v->salt);
    bool ok = crypto_base64_read(&salt, salt_text) && buf_length(&salt) > 0;
    v->salt_bytes = ok ? buf_length(&salt) : 0;
    if (ok)
        memcpy(v->salt, buf_data(&salt), v->salt_bytes);
    buf_fini(&salt);
    return ok;
}

static struct slice key_slice(const uint8_t *key)
{
    return slice_of((const char *)key, CRYPTO_SHA256_BYTES);
}

bool scram_verifier_write(const struct scram_verifier *v, struct buf *out)
{
    buf_printf(out, SCRAM_MECHANISM "$%u:", (unsigned)v->iterations);
    crypto_base64_write(out, slice_of((const char *)v->salt, v->salt_bytes));
    buf_append_byte(out, '$');
    crypto_base64_write(out, key_slice(v->stored_key));
    buf_append_byte(out, ':');
    return crypto_base64_write(out, key_slice(v->server_key));
}

bool scram_verifier_make(struct slice password, struct slice salt, uint32_t iterations,
                         struct scram_verifier *v, struct err *err)
{
    uint8_t salted[CRYPTO_SHA256_BYTES];
    uint8_t client_key[CRYPTO_SHA256_BYTES];
    *v = (struct scram_verifier){.iterations = iterations, .salt_bytes = salt.len};
    if (salt.len == 0 || salt.len > sizeof v->salt)
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE, "the salt must have 1 to 64 bytes");
    memcpy(v->salt, salt.data, salt.len);
    bool ok = crypto_pbkdf2_sha256(password, salt, iterations, salted) &&
              scram_key_sign(salted, slice_cstr("Client Key"), client_key) &&
              crypto_sha256(key_slice(client_key), v->stored_key) &&
              scram_key_sign(salted, slice_cstr("Server Key"), v->server_key);
    crypto_wipe(salted, sizeof salted);
    crypto_wipe(client_key, sizeof client_key);
    return ok || scram_text_no_crypto(err);
}

bool scram_server_new(const struct scram_verifier *v, const char *nonce, struct scram_server **out,
                      struct err *err)
{
    *out = NULL;
    struct scram_server *s = calloc(1, sizeof *s);
    if (s == NULL)
        return err_no_memory(err);
    s->verifier = *v;
    buf_init(&s->auth, 4 * SCRAM_MAX_MESSAGE_BYTES);
    buf_init(&s->both_nonces, 2 * SCRAM_MAX_MESSAGE_BYTES);
    if (!scram_text_make_nonce(s->nonce, nonce)) {
        scram_server_free(s);
        return scram_text_no_crypto(err);
    }
    *out = s;
    return true;
}

void scram_server_free(struct scram_server *s)
{
    if (s == NULL)
        return;
    buf_fini(&s->auth);
    buf_fini(&s->both_nonces);
    crypto_wipe(s, sizeof *s);
    free(s);
}

/* "n,," or "y,,"; an authorisation identity and channel binding are refused. */
static bool take_gs2_header(struct scram_server *s, struct slice *text, struct err *err)
{
    if (slice_starts_with(*text, "p="))
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "channel binding is not supported");
    if (!slice_starts_with(*text, "n,") && !slice_starts_with(*text, "y,"))
        return scram_text_malformed(err, "The message does not begin with a GS2 header.");
    s->gs2_flag = text->data[0];
    *text = slice_part(*text, 2, text->len);
    if (!slice_starts_with(*text, ","))
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "an authorization identity is not supported");
    *text = slice_part(*text, 1, text->len);
    return true;
}

bool scram_server_challenge(struct scram_server *s, struct slice first, struct buf *out,
                            struct err *err)
{
    struct slice user;
    struct slice nonce;
    size_t from = buf_length(out);
    if (s->state != SERVER_FRESH || first.len > SCRAM_MAX_MESSAGE_BYTES)
        return scram_text_malformed(err, "The client's first message is too long or out of turn.");
    if (!take_gs2_header(s, &first, err))
        return false;
    struct slice bare = first;
    if (slice_starts_with(first, "m="))
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "a mandatory SCRAM extension is not supported");
    if (!scram_text_take(&first, 'n', &user) || !scram_text_take(&first, 'r', &nonce) ||
        !scram_text_is_nonce(nonce))
        return scram_text_malformed(err, "The client's first message has no user or nonce.");
    buf_append_slice(&s->both_nonces, nonce);
    buf_append_cstr(&s->both_nonces, s->nonce);
    buf_append_cstr(out, "r=");
    buf_append_slice(out, buf_slice(&s->both_nonces));
    buf_append_cstr(out, ",s=");
    crypto_base64_write(out, slice_of((char *)s->verifier.salt, s->verifier.salt_bytes));
    buf_printf(out, ",i=%u", (unsigned)s->verifier.iterations);
    buf_append_slice(&s->auth, bare);
    buf_append_byte(&s->auth, ',');
    if (!out->failed)
        buf_append_slice(&s->auth, slice_part(buf_slice(out), from, buf_length(out)));
    buf_append_byte(&s->auth, ',');
    if (out->failed || s->auth.failed || s->both_nonces.failed)
        return err_no_memory(err);
    s->state = SERVER_WAITS_FINAL;
    return true;
}

/* The text without its last attribute, which must be the proof. */
static bool take_proof(struct slice *text, uint8_t proof[CRYPTO_SHA256_BYTES])
{
    size_t at = text->len;
    while (at > 0 && text->data[at - 1] != ',')
        at--;
    struct slice last = slice_part(*text, at, text->len);
    struct slice value;
    if (at == 0 || !scram_text_take(&last, 'p', &value) || !scram_text_read_key(value, proof))
        return false;
    *text = slice_part(*text, 0, at - 1);
    return true;
}

static bool is_proof_right(struct scram_server *s, struct slice without_proof, const uint8_t *proof,
                           uint8_t *client_key, bool *right)
{
    uint8_t stored[CRYPTO_SHA256_BYTES];
    buf_append_slice(&s->auth, without_proof);
    bool ok =
        !s->auth.failed && scram_key_sign(s->verifier.stored_key, buf_slice(&s->auth), client_key);
    if (!ok)
        return false;
    scram_key_xor(client_key, proof);
    ok = crypto_sha256(key_slice(client_key), stored);
    *right = ok && crypto_equals(stored, s->verifier.stored_key, sizeof stored);
    return ok;
}

bool scram_server_finish(struct scram_server *s, struct slice final, struct buf *out,
                         uint8_t client_key[CRYPTO_SHA256_BYTES], struct err *err)
{
    uint8_t proof[CRYPTO_SHA256_BYTES];
    uint8_t signature[CRYPTO_SHA256_BYTES];
    struct slice binding;
    struct slice nonce;
    bool right = false;
    if (s->state != SERVER_WAITS_FINAL || final.len > SCRAM_MAX_MESSAGE_BYTES)
        return scram_text_malformed(err, "The client's final message is too long or out of turn.");
    s->state = SERVER_DONE;
    if (!take_proof(&final, proof))
        return scram_text_malformed(err, "The client's final message has no valid proof.");
    struct slice rest = final;
    if (!scram_text_take(&rest, 'c', &binding) ||
        !slice_equals_cstr(binding, s->gs2_flag == 'n' ? "biws" : "eSws"))
        return scram_text_malformed(err, "The channel binding does not repeat the GS2 header.");
    if (!scram_text_take(&rest, 'r', &nonce) || !slice_equals(nonce, buf_slice(&s->both_nonces)))
        return scram_text_malformed(err, "The nonce is not the one of this exchange.");
    if (!is_proof_right(s, final, proof, client_key, &right) ||
        !scram_key_sign(s->verifier.server_key, buf_slice(&s->auth), signature))
        return scram_text_no_crypto(err);
    if (!right)
        return err_set(err, SQLSTATE_INVALID_PASSWORD, "password authentication failed");
    buf_append_cstr(out, "v=");
    return crypto_base64_write(out, key_slice(signature)) || err_no_memory(err);
}
