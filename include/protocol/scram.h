/* SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL does it: the user name of the messages is empty (the
 * one of the startup packet counts). With channel binding it is SCRAM-SHA-256-PLUS.
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
#define SCRAM_PLUS_MECHANISM "SCRAM-SHA-256-PLUS"
#define SCRAM_BINDING_TYPE "tls-server-end-point"
/* The longest hash of a certificate. */
#define SCRAM_MAX_BINDING_BYTES 64
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
/* Binds to a TLS connection by the hash of the server's certificate: the mechanism is PLUS then. Before
 * scram_client_write_first. False: the hash is empty or too long, and nothing is bound. */
MUST_USE bool scram_client_set_binding(struct scram_client *c, struct slice end_point);
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

/* What a server's challenge tells of the verifier: salt and iterations; the keys are zero. False: it is
 * malformed, or its salt is longer than ours may be. */
MUST_USE bool scram_challenge_read(struct slice challenge, struct scram_verifier *v);

/* The messages of an exchange as they went over the wire. */
struct scram_messages {
    struct slice client_first;
    struct slice challenge;
    struct slice client_final;
};
/* ClientKey, from an exchange that was seen and the verifier that it used. False: the proof does not
 * belong to the verifier, or a message is malformed. */
MUST_USE bool scram_recover_client_key(const struct scram_verifier *v,
                                       const struct scram_messages *m,
                                       uint8_t client_key[CRYPTO_SHA256_BYTES]);

struct scram_server;

/* nonce  NULL: random; given only by tests */
MUST_USE bool scram_server_new(const struct scram_verifier *v, const char *nonce,
                               struct scram_server **out, struct err *err);
void scram_server_free(struct scram_server *s);
/* The hash of our certificate (tls-server-end-point) on a TLS connection: PLUS may be chosen then, and a
 * client that could bind and was not offered it is refused. Before scram_server_select. */
void scram_server_set_binding(struct scram_server *s, struct slice end_point);
/* Another verifier: one of these salt and iterations before the challenge is written, one of these keys
 * before the end. For a server role that learns them in between. */
void scram_server_set_verifier(struct scram_server *s, const struct scram_verifier *v);
/* The mechanism that the client chose; without a call: SCRAM_MECHANISM. Errors: 08P01 not offered */
MUST_USE bool scram_server_select(struct scram_server *s, struct slice mechanism, struct err *err);
/* Reads the client's first message, appends the challenge. Errors: 08P01; 0A000 an identity or an
 * extension is asked for; 28000 the client's channel binding was taken away from it */
MUST_USE bool scram_server_challenge(struct scram_server *s, struct slice first, struct buf *out,
                                     struct err *err);
/* The two halves of it. */
MUST_USE bool scram_server_read_first(struct scram_server *s, struct slice first, struct err *err);
MUST_USE bool scram_server_write_challenge(struct scram_server *s, struct buf *out,
                                           struct err *err);
/* Reads the client's final message, appends the server's. client_key is the key that the proof
 * reveals, good for a login to another server with the same verifier.
 * Errors: 08P01; 28000 bound to another certificate; 28P01 the proof is wrong */
MUST_USE bool scram_server_finish(struct scram_server *s, struct slice final, struct buf *out,
                                  uint8_t client_key[CRYPTO_SHA256_BYTES], struct err *err);

#endif
