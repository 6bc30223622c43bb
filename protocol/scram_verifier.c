/* What a server stores of a password, SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>, and what
 * it reveals to who has seen a login: ClientKey is the client's proof xor HMAC(StoredKey, auth
 * message), and the auth message is made of the three messages that went over the wire. */
#include "protocol/scram.h"

#include <string.h>

#include "scram_text.h"

static struct slice key_slice(const uint8_t *key)
{
    return slice_of((const char *)key, CRYPTO_SHA256_BYTES);
}

static bool read_salt(struct scram_verifier *v, struct slice text)
{
    struct buf salt;
    buf_init(&salt, sizeof v->salt);
    bool ok = crypto_base64_read(&salt, text) && buf_length(&salt) > 0;
    v->salt_bytes = ok ? buf_length(&salt) : 0;
    if (ok)
        memcpy(v->salt, buf_data(&salt), v->salt_bytes);
    buf_fini(&salt);
    return ok;
}

bool scram_verifier_read(struct slice text, struct scram_verifier *v)
{
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
    return read_salt(v, salt_text);
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

bool scram_challenge_read(struct slice challenge, struct scram_verifier *v)
{
    struct slice nonce, salt, iterations;
    *v = (struct scram_verifier){0};
    return challenge.len <= SCRAM_MAX_MESSAGE_BYTES && scram_text_take(&challenge, 'r', &nonce) &&
           scram_text_take(&challenge, 's', &salt) && read_salt(v, salt) &&
           scram_text_take(&challenge, 'i', &iterations) &&
           scram_text_read_number(iterations, INT32_MAX, &v->iterations);
}

/* The client's first message without its GS2 header: what stands behind the second comma. */
static struct slice bare_of(struct slice first)
{
    for (int commas = 0; commas < 2; commas++) {
        size_t at = slice_find_byte(first, ',');
        first = slice_part(first, at < first.len ? at + 1 : at, first.len);
    }
    return first;
}

bool scram_recover_client_key(const struct scram_verifier *v, const struct scram_messages *m,
                              uint8_t client_key[CRYPTO_SHA256_BYTES])
{
    uint8_t proof[CRYPTO_SHA256_BYTES];
    uint8_t stored[CRYPTO_SHA256_BYTES];
    struct slice without_proof = m->client_final;
    if (!scram_text_take_proof(&without_proof, proof))
        return false;
    struct slice parts[] = {bare_of(m->client_first), slice_cstr(","), m->challenge,
                            slice_cstr(","), without_proof};
    bool ok = crypto_hmac_sha256(key_slice(v->stored_key), parts, ARRAY_LEN(parts), client_key);
    scram_key_xor(client_key, proof);
    ok = ok && crypto_sha256(key_slice(client_key), stored) &&
         crypto_equals(stored, v->stored_key, sizeof stored);
    if (!ok)
        crypto_wipe(client_key, CRYPTO_SHA256_BYTES);
    return ok;
}
