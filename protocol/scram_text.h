/* The texts of SCRAM messages: attributes "x=value" with commas between. Shared by both roles. */
#ifndef SCRAM_TEXT_H
#define SCRAM_TEXT_H

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "protocol/crypto.h"

/* Takes the attribute `name` off the front of *text, with the comma behind it. False: the next one
 * has another name, or there is none. Values hold neither comma nor NUL. */
MUST_USE bool scram_text_take(struct slice *text, char name, struct slice *value);
/* 1 to 18 digits without leading zero, at most `max`, else false. */
MUST_USE bool scram_text_read_number(struct slice text, uint32_t max, uint32_t *out);
/* Base64 of exactly one key. */
MUST_USE bool scram_text_read_key(struct slice text, uint8_t out[CRYPTO_SHA256_BYTES]);
/* Takes the last attribute, which must be the proof, and its comma off the end of *text. */
MUST_USE bool scram_text_take_proof(struct slice *text, uint8_t proof[CRYPTO_SHA256_BYTES]);
/* Printable ASCII without comma, and not empty. */
MUST_USE bool scram_text_is_nonce(struct slice text);
/* 24 characters of 18 random bytes, as the server's. */
#define SCRAM_NONCE_CHARS 24
#define SCRAM_NONCE_SIZE 64 /* room for a longer one that a test gives */
MUST_USE bool scram_text_make_nonce(char out[SCRAM_NONCE_SIZE], const char *fixed);

/* "malformed SCRAM message", 08P01, with the detail; returns false. */
bool scram_text_malformed(struct err *err, const char *detail);
/* "could not compute a SCRAM key", XX000; returns false. */
bool scram_text_no_crypto(struct err *err);

/* HMAC of one text under one key. */
MUST_USE bool scram_key_sign(const uint8_t key[CRYPTO_SHA256_BYTES], struct slice text,
                             uint8_t out[CRYPTO_SHA256_BYTES]);
void scram_key_xor(uint8_t into[CRYPTO_SHA256_BYTES], const uint8_t with[CRYPTO_SHA256_BYTES]);

#endif
