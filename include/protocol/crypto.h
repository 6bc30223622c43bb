/* Hashing, random bytes, base64. OpenSSL's only door besides TLS: nobody else includes its headers.
 *
 * A function that returns bool fails only when OpenSSL has no memory or no entropy. */
#ifndef PROTOCOL_CRYPTO_H
#define PROTOCOL_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/slice.h"

#define CRYPTO_SHA256_BYTES 32
#define CRYPTO_MD5_HEX_BYTES 33 /* 32 digits and a NUL */

MUST_USE bool crypto_sha256(struct slice data, uint8_t out[CRYPTO_SHA256_BYTES]);
/* Of all parts, one behind the other. */
MUST_USE bool crypto_hmac_sha256(struct slice key, const struct slice *parts, size_t count,
                                 uint8_t out[CRYPTO_SHA256_BYTES]);
MUST_USE bool crypto_pbkdf2_sha256(struct slice password, struct slice salt, uint32_t iterations,
                                   uint8_t out[CRYPTO_SHA256_BYTES]);
/* Lower-case digits. For PostgreSQL's md5 authentication and nothing else. */
MUST_USE bool crypto_md5_hex(const struct slice *parts, size_t count,
                             char out[CRYPTO_MD5_HEX_BYTES]);
/* The answer to AuthenticationMD5Password: "md5" and md5(md5(password user) salt) in digits. */
#define CRYPTO_MD5_ANSWER_BYTES (3 + CRYPTO_MD5_HEX_BYTES)
MUST_USE bool crypto_md5_answer(struct slice user, struct slice password, struct slice salt,
                                char out[CRYPTO_MD5_ANSWER_BYTES]);

/* AES-256 in Galois/counter mode. A nonce is used once with a key; `about` is not encrypted, but the
 * same bytes must be given to open. out has text.len bytes. */
#define CRYPTO_KEY_BYTES 32
#define CRYPTO_NONCE_BYTES 12
#define CRYPTO_TAG_BYTES 16
MUST_USE bool crypto_seal(const uint8_t key[CRYPTO_KEY_BYTES],
                          const uint8_t nonce[CRYPTO_NONCE_BYTES], struct slice about,
                          struct slice text, uint8_t *out, uint8_t tag[CRYPTO_TAG_BYTES]);
/* False also when anything was changed; out is wiped then. */
MUST_USE bool crypto_open(const uint8_t key[CRYPTO_KEY_BYTES],
                          const uint8_t nonce[CRYPTO_NONCE_BYTES], struct slice about,
                          struct slice sealed, const uint8_t tag[CRYPTO_TAG_BYTES], uint8_t *out);

/* Standard alphabet, padded, no line breaks. */
bool crypto_base64_write(struct buf *out, struct slice bytes);
/* Strict: no white space, padding exactly where it belongs, unused bits zero. False also when the
 * buffer has failed. */
MUST_USE bool crypto_base64_read(struct buf *out, struct slice text);

MUST_USE bool crypto_random(void *out, size_t bytes);
/* Takes the same time wherever they differ. */
bool crypto_equals(const void *a, const void *b, size_t bytes);
/* Zeroes that the compiler does not drop. */
void crypto_wipe(void *data, size_t bytes);
/* Wipes all the memory that the buffer holds and empties it. */
void crypto_wipe_buf(struct buf *b);

#endif
