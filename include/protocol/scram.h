/* SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL does it: without channel binding, the user name of
 * the messages empty (the one of the startup packet counts).
 *
 * Client role: scram_client_new, then
 *     scram_client_write_first   -> SASLInitialResponse
 *     scram_client_step          AuthenticationSASLContinue -> SASLResponse
 *     scram_client_finish        AuthenticationSASLFinal: the server has proved that it knows us
 * Only after scram_client_finish may AuthenticationOk be believed.
 *
 * Server role, with the stored verifier: scram_server_new, scram_server_challenge,
 * scram_server_finish. */
#ifndef PROTOCOL_SCRAM_H
#define PROTOCOL_SCRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "protocol/crypto.h"

#define SCRAM_MECHANISM "SCRAM-SHA-256"
/* Messages longer than this are refused; the server's limit is of the same order. */
#define SCRAM_MAX_MESSAGE_BYTES 4096
/* More would hold a loop thread for seconds: PBKDF2 of 4096 takes about 2 ms. */
#define SCRAM_MAX_ITERATIONS 1000000

struct scram_client;

/* password  copied and wiped at free; prepared by SASLprep when it is ASCII, else its bytes are used
 *           as they are, as libpq does when preparation fails
 * nonce     NULL: random; given only by tests */
MUST_USE bool scram_client_new(struct slice password, const char *nonce, struct scram_client **out,
                               struct err *err);
/* Uses these in place of the password; any time before scram_client_step. They are copied, and good for
 * the verifier that they belong to: its salt and iterations are not asked for.
 * server_key  NULL: unknown; the server's signature is not verified then */
void scram_client_set_keys(struct scram_client *c, const uint8_t client_key[CRYPTO_SHA256_BYTES],
                           const uint8_t *server_key);
void scram_client_free(struct scram_client *c);
/* Appends the client's first message. */
MUST_USE bool scram_client_write_first(struct scram_client *c, struct buf *out, struct err *err);
/* Reads the server's first message, appends the client's final one. Errors: 08P01 */
MUST_USE bool scram_client_step(struct scram_client *c, struct slice challenge, struct buf *out,
                                struct err *err);
/* Reads the server's final message. Errors: 08P01 malformed; 28000 the server refused, or does not
 * know the password itself */
MUST_USE bool scram_client_finish(struct scram_client *c, struct slice final, struct err *err);

/* What the server stores: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey> */
struct scram_verifier {
    uint32_t iterations;
    uint8_t salt[64];
    size_t salt_bytes;
    uint8_t stored_key[CRYPTO_SHA256_BYTES];
    uint8_t server_key[CRYPTO_SHA256_BYTES];
};
/* False: not a SCRAM verifier. */
MUST_USE bool scram_verifier_read(struct slice text, struct scram_verifier *v);
MUST_USE bool scram_verifier_write(const struct scram_verifier *v, struct buf *out);
MUST_USE bool scram_verifier_make(struct slice password, struct slice salt, uint32_t iterations,
                                  struct scram_verifier *v, struct err *err);

struct scram_server;

/* nonce  NULL: random; given only by tests */
MUST_USE bool scram_server_new(const struct scram_verifier *v, const char *nonce,
                               struct scram_server **out, struct err *err);
void scram_server_free(struct scram_server *s);
/* Reads the client's first message, appends the challenge. Errors: 08P01; 0A000 channel binding or an
 * extension is asked for */
MUST_USE bool scram_server_challenge(struct scram_server *s, struct slice first, struct buf *out,
                                     struct err *err);
/* Reads the client's final message, appends the server's. client_key is the key that the proof
 * reveals, good for a login to another server with the same verifier.
 * Errors: 08P01; 28P01 the proof is wrong */
MUST_USE bool scram_server_finish(struct scram_server *s, struct slice final, struct buf *out,
                                  uint8_t client_key[CRYPTO_SHA256_BYTES], struct err *err);

#endif
