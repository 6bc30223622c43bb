/* The server's role of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS, with the verifier that PostgreSQL stores
 * (SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey). The messages stand in scram.c.
 *
 * Channel binding (RFC 5929, tls-server-end-point): on a TLS connection both mechanisms are offered. A
 * client says with the first byte of its message what it thinks: 'p' it binds, 'n' it cannot, 'y' it
 * could and was not offered it; the last is a lie that somebody between us told it, so it is refused.
 * What it binds to comes in the final message and must be our own certificate's hash.
 *
 * The errors have PostgreSQL's codes and messages; the details of malformed messages are ours.
 *
 * The proof is ClientKey xor HMAC(StoredKey, auth message); so it reveals ClientKey to who holds
 * StoredKey, and ClientKey is right when its SHA-256 is StoredKey. The caller may keep it in memory to
 * log in elsewhere as the user (spec/dependencies.md section 5.3). */
#include "protocol/scram.h"

#include <stdlib.h>
#include <string.h>

#include "scram_text.h"

#define MAX_GS2_BYTES 64

enum server_state { SERVER_FRESH, SERVER_READ_FIRST, SERVER_WAITS_FINAL, SERVER_DONE };

struct scram_server {
    enum server_state state;
    struct scram_verifier verifier;
    char nonce[SCRAM_NONCE_SIZE];
    bool can_bind; /* the connection is TLS */
    bool is_plus;  /* the client chose the mechanism with channel binding */
    uint8_t end_point[SCRAM_MAX_BINDING_BYTES];
    size_t end_point_bytes;
    char gs2_header[MAX_GS2_BYTES]; /* what the client's c= must repeat */
    size_t gs2_bytes;
    struct buf auth; /* client first bare, challenge, and a comma behind each */
    struct buf both_nonces;
};

static struct slice key_slice(const uint8_t *key)
{
    return slice_of((const char *)key, CRYPTO_SHA256_BYTES);
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

void scram_server_set_binding(struct scram_server *s, struct slice end_point)
{
    s->can_bind = end_point.len > 0 && end_point.len <= sizeof s->end_point;
    if (!s->can_bind)
        return;
    s->end_point_bytes = end_point.len;
    memcpy(s->end_point, end_point.data, end_point.len);
}

void scram_server_set_verifier(struct scram_server *s, const struct scram_verifier *v)
{
    s->verifier = *v;
}

bool scram_server_select(struct scram_server *s, struct slice mechanism, struct err *err)
{
    s->is_plus = s->can_bind && slice_equals_cstr(mechanism, SCRAM_PLUS_MECHANISM);
    if (s->is_plus || slice_equals_cstr(mechanism, SCRAM_MECHANISM))
        return true;
    return err_set(err, SQLSTATE_PROTOCOL_VIOLATION,
                   "client selected an invalid SASL authentication mechanism");
}

static bool check_binding_flag(const struct scram_server *s, struct slice flag, struct err *err)
{
    if (s->is_plus && !slice_starts_with(flag, "p="))
        return scram_text_malformed(err, "The client selected SCRAM-SHA-256-PLUS, but the SCRAM "
                                         "message does not include channel binding data.");
    if (s->is_plus && !slice_equals_cstr(flag, "p=" SCRAM_BINDING_TYPE))
        return err_set(err, SQLSTATE_PROTOCOL_VIOLATION,
                       "unsupported SCRAM channel-binding type \"%.*s\"", (int)flag.len - 2,
                       flag.data + 2);
    if (s->is_plus || slice_equals_cstr(flag, "n"))
        return true;
    if (!slice_equals_cstr(flag, "y"))
        return scram_text_malformed(err, "Unexpected channel-binding flag.");
    if (!s->can_bind)
        return true;
    err_set(err, SQLSTATE_INVALID_AUTHORIZATION, "SCRAM channel binding negotiation error");
    return err_detail(err, "The client supports SCRAM channel binding but thinks the server does "
                           "not.  However, this server does support channel binding.");
}

/* "n,,", "y,," or "p=tls-server-end-point,,"; an authorisation identity is refused. */
static bool take_gs2_header(struct scram_server *s, struct slice *text, struct err *err)
{
    size_t comma = slice_find_byte(*text, ',');
    struct slice rest = slice_part(*text, comma < text->len ? comma + 1 : comma, text->len);
    if (!check_binding_flag(s, slice_part(*text, 0, comma), err))
        return false;
    if (!slice_starts_with(rest, ","))
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "client uses authorization identity, but it is not supported");
    s->gs2_bytes = comma + 2; /* short: the flag is one of the three */
    memcpy(s->gs2_header, text->data, s->gs2_bytes);
    *text = slice_part(rest, 1, rest.len);
    return true;
}

bool scram_server_read_first(struct scram_server *s, struct slice first, struct err *err)
{
    struct slice user;
    struct slice nonce;
    if (s->state != SERVER_FRESH || first.len > SCRAM_MAX_MESSAGE_BYTES)
        return scram_text_malformed(err, "The client's first message is too long or out of turn.");
    if (!take_gs2_header(s, &first, err))
        return false;
    struct slice bare = first;
    if (slice_starts_with(first, "m="))
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "client requires an unsupported SCRAM extension");
    if (!scram_text_take(&first, 'n', &user) || !scram_text_take(&first, 'r', &nonce) ||
        !scram_text_is_nonce(nonce))
        return scram_text_malformed(err, "The client's first message has no user or nonce.");
    buf_append_slice(&s->both_nonces, nonce);
    buf_append_cstr(&s->both_nonces, s->nonce);
    buf_append_slice(&s->auth, bare);
    buf_append_byte(&s->auth, ',');
    if (s->auth.failed || s->both_nonces.failed)
        return err_no_memory(err);
    s->state = SERVER_READ_FIRST;
    return true;
}

bool scram_server_write_challenge(struct scram_server *s, struct buf *out, struct err *err)
{
    size_t from = buf_length(out);
    if (s->state != SERVER_READ_FIRST)
        return scram_text_malformed(err, "The challenge is out of turn.");
    buf_append_cstr(out, "r=");
    buf_append_slice(out, buf_slice(&s->both_nonces));
    buf_append_cstr(out, ",s=");
    crypto_base64_write(out, slice_of((char *)s->verifier.salt, s->verifier.salt_bytes));
    buf_printf(out, ",i=%u", (unsigned)s->verifier.iterations);
    if (!out->failed)
        buf_append_slice(&s->auth, slice_part(buf_slice(out), from, buf_length(out)));
    buf_append_byte(&s->auth, ',');
    if (out->failed || s->auth.failed)
        return err_no_memory(err);
    s->state = SERVER_WAITS_FINAL;
    return true;
}

bool scram_server_challenge(struct scram_server *s, struct slice first, struct buf *out,
                            struct err *err)
{
    return scram_server_read_first(s, first, err) && scram_server_write_challenge(s, out, err);
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

/* c= holds the GS2 header, and behind it, with PLUS, the hash of our certificate. */
static bool is_binding_right(const struct scram_server *s, struct slice value)
{
    struct buf given;
    size_t hash_bytes = s->is_plus ? s->end_point_bytes : 0;
    buf_init(&given, SCRAM_MAX_MESSAGE_BYTES);
    bool ok = crypto_base64_read(&given, value) &&
              buf_length(&given) == s->gs2_bytes + hash_bytes &&
              memcmp(buf_data(&given), s->gs2_header, s->gs2_bytes) == 0 &&
              crypto_equals(buf_data(&given) + s->gs2_bytes, s->end_point, hash_bytes);
    buf_fini(&given);
    return ok;
}

static bool refuse_binding(const struct scram_server *s, struct err *err)
{
    if (s->is_plus)
        return err_set(err, SQLSTATE_INVALID_AUTHORIZATION, "SCRAM channel binding check failed");
    return err_set(err, SQLSTATE_PROTOCOL_VIOLATION,
                   "unexpected SCRAM channel-binding attribute in client-final-message");
}

static bool refuse_nonce(struct err *err)
{
    err_set(err, SQLSTATE_PROTOCOL_VIOLATION, "invalid SCRAM response");
    return err_detail(err, "Nonce does not match.");
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
    if (!scram_text_take_proof(&final, proof))
        return scram_text_malformed(err, "The client's final message has no valid proof.");
    struct slice rest = final;
    if (!scram_text_take(&rest, 'c', &binding) || !scram_text_take(&rest, 'r', &nonce))
        return scram_text_malformed(err, "The client's final message has no binding or nonce.");
    if (!is_binding_right(s, binding))
        return refuse_binding(s, err);
    if (!slice_equals(nonce, buf_slice(&s->both_nonces)))
        return refuse_nonce(err);
    if (!is_proof_right(s, final, proof, client_key, &right) ||
        !scram_key_sign(s->verifier.server_key, buf_slice(&s->auth), signature))
        return scram_text_no_crypto(err);
    if (!right)
        return err_set(err, SQLSTATE_INVALID_PASSWORD, "password authentication failed");
    buf_append_cstr(out, "v=");
    return crypto_base64_write(out, key_slice(signature)) || err_no_memory(err);
}
