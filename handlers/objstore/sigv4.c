/* The signature is an HMAC over a digest of the request in a canonical form, with a key derived from the
 * secret, the day, the region and the service ("Signature Version 4 signing process", AWS General
 * Reference; for S3 the path is encoded once, not twice).
 *
 * We do it ourselves because libcurl's signer, as Debian has it, signs too few headers for S3 and
 * refuses paths that Hudi uses ("dt=2024-01-01/"). What is signed here is exactly what is sent: path
 * and query arrive in their encoded form and are not touched again. */
#include "sigv4.h"

#include <stdint.h>
#include <string.h>

#include "protocol/crypto.h"

#define SIGV4_CANONICAL_BYTES ((size_t)64 << 10)
#define SIGV4_SECRET_BYTES 512
#define SIGV4_DAY 8 /* of the 16 characters of a time */

static const char algorithm[] = "AWS4-HMAC-SHA256";

static bool is_unreserved(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

void sigv4_put_encoded(struct buf *out, struct slice text, bool keep_slash)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.data[i];
        if (is_unreserved(c) || (keep_slash && c == '/'))
            buf_append_byte(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
}

static void put_hex(struct buf *out, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_printf(out, "%02x", bytes[i]);
}

static void put_signed_names(struct buf *out, const struct sigv4_request *r)
{
    for (size_t i = 0; i < r->header_count; i++)
        buf_printf(out, "%s%s", i == 0 ? "" : ";", r->headers[i].name);
}

static void put_scope(struct buf *out, const struct sigv4_key *key, const char *time)
{
    buf_printf(out, "%.*s/%s/%s/aws4_request", SIGV4_DAY, time, key->region, key->service);
}

/* Digest of the canonical request. */
static bool hash_request(const struct sigv4_request *r, uint8_t out[CRYPTO_SHA256_BYTES])
{
    struct buf b;
    buf_init(&b, SIGV4_CANONICAL_BYTES);
    buf_printf(&b, "%s\n%s\n%s\n", r->method, r->path, r->query);
    for (size_t i = 0; i < r->header_count; i++)
        buf_printf(&b, "%s:%s\n", r->headers[i].name, r->headers[i].value);
    buf_append_byte(&b, '\n');
    put_signed_names(&b, r);
    buf_printf(&b, "\n%s", r->payload_hash);
    bool ok = !b.failed && crypto_sha256(buf_slice(&b), out);
    crypto_wipe_buf(&b); /* the session token is a header */
    buf_fini(&b);
    return ok;
}

static bool derive(struct slice key, const char *text, size_t len, uint8_t out[CRYPTO_SHA256_BYTES])
{
    struct slice part = slice_of(text, len);
    return crypto_hmac_sha256(key, &part, 1, out);
}

/* HMACs of day, region, service and a constant, each with the one before as its key. */
static bool derive_key(const struct sigv4_key *key, const char *time,
                       uint8_t out[CRYPTO_SHA256_BYTES])
{
    char secret[SIGV4_SECRET_BYTES];
    size_t n = strlen(key->secret_access_key);
    if (n + 4 > sizeof secret)
        return false;
    memcpy(secret, "AWS4", 4);
    memcpy(secret + 4, key->secret_access_key, n);
    struct slice last = slice_of((const char *)out, CRYPTO_SHA256_BYTES);
    bool ok = derive(slice_of(secret, n + 4), time, SIGV4_DAY, out) &&
              derive(last, key->region, strlen(key->region), out) &&
              derive(last, key->service, strlen(key->service), out) &&
              derive(last, "aws4_request", 12, out);
    crypto_wipe(secret, sizeof secret);
    return ok;
}

static bool sign(const struct sigv4_request *r, const struct sigv4_key *key, const char *time,
                 uint8_t out[CRYPTO_SHA256_BYTES])
{
    uint8_t hash[CRYPTO_SHA256_BYTES], derived[CRYPTO_SHA256_BYTES];
    struct buf b;
    buf_init(&b, SIGV4_CANONICAL_BYTES);
    bool ok = hash_request(r, hash) && derive_key(key, time, derived);
    buf_printf(&b, "%s\n%s\n", algorithm, time);
    put_scope(&b, key, time);
    buf_append_byte(&b, '\n');
    put_hex(&b, hash, sizeof hash);
    struct slice text = buf_slice(&b);
    ok = ok && !b.failed &&
         crypto_hmac_sha256(slice_of((const char *)derived, sizeof derived), &text, 1, out);
    crypto_wipe(derived, sizeof derived);
    buf_fini(&b);
    return ok;
}

bool sigv4_write(const struct sigv4_request *r, const struct sigv4_key *key, const char *time,
                 struct buf *out)
{
    uint8_t signature[CRYPTO_SHA256_BYTES];
    if (strlen(time) != SIGV4_TIME_BYTES - 1 || !sign(r, key, time, signature))
        return false;
    buf_printf(out, "%s Credential=%s/", algorithm, key->access_key);
    put_scope(out, key, time);
    buf_append_cstr(out, ", SignedHeaders=");
    put_signed_names(out, r);
    buf_append_cstr(out, ", Signature=");
    put_hex(out, signature, sizeof signature);
    return !out->failed;
}
