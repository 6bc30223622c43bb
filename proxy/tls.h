/* TLS: what a leg wants (a policy, which holds keys and certificates), where the policy in force lies
 * (a slot), and one stream of it (struct tls), which is a filter of bytes and has no socket.
 *
 * OpenSSL's only door besides protocol/crypto.h. */
#ifndef PROXY_TLS_H
#define PROXY_TLS_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "proxy/tls_settings.h"

/* ---- policies ---- */

/* Constant, shared by all threads; lives as long as somebody holds a reference. NULL is the policy
 * of TLS_DISABLE. */
struct tls_policy;

enum tls_role { TLS_ACCEPTS, TLS_CONNECTS };

/* Reads the files. mode disable: *out is NULL, and nothing is read.
 * Errors  58P01, 42501 and others by errno: a file cannot be read; F0000: what is in it is of no use,
 *         or a setting is missing that the mode needs. */
MUST_USE bool tls_policy_new(enum tls_role role, const struct tls_settings *s,
                             struct tls_policy **out, struct err *err);
struct tls_policy *tls_policy_hold(struct tls_policy *p);
void tls_policy_free(struct tls_policy *p); /* lets one reference go; NULL: nothing */
enum tls_mode tls_policy_mode(const struct tls_policy *p);
/* Our own certificate's end, in seconds since 1970, and its subject. False: there is none. */
bool tls_policy_own_certificate(const struct tls_policy *p, int64_t *not_after, char *subject,
                                size_t size);

/* The policy in force; a reload puts another one there, and streams keep the one they began with.
 * Any thread. */
struct tls_slot {
    pthread_mutex_t lock;
    struct tls_policy *policy; /* owns a reference */
};
void tls_slot_init(struct tls_slot *slot);
void tls_slot_fini(struct tls_slot *slot);
/* Takes the reference. */
void tls_slot_put(struct tls_slot *slot, struct tls_policy *p);
/* A reference of the caller's own; NULL: no TLS. slot NULL: no TLS. */
MUST_USE struct tls_policy *tls_slot_get(struct tls_slot *slot);
enum tls_mode tls_slot_mode(struct tls_slot *slot);

/* ---- streams ---- */

struct tls;

/* Gets what is to go onto the wire, piece by piece, inside the calls below. It must take all. */
typedef void tls_wire_fn(void *arg, const char *data, size_t bytes);

enum tls_verdict {
    TLS_MORE,  /* all that was fed is used up; feed more */
    TLS_DONE,  /* tls_handshake: it is complete. tls_read: the output is full */
    TLS_ENDED, /* tls_read: the peer ended its side in order (close_notify) */
    TLS_FAILED /* *err says why; an alert may have gone out */
};

/* NULL: no memory. */
MUST_USE struct tls *tls_new(struct tls_policy *p, tls_wire_fn *wire, void *arg);
void tls_free(struct tls *t); /* NULL: nothing */

/* Bytes from the wire, for the next calls; borrowed until tls_keep. What was fed before must be used
 * up or kept. */
void tls_feed(struct tls *t, const char *data, size_t bytes);
/* The peer closed its socket. */
void tls_feed_end(struct tls *t);
/* Copies what is not used up, since the caller's memory goes. False: no memory. */
MUST_USE bool tls_keep(struct tls *t);
/* Would a call bring something without more bytes from the wire? */
bool tls_has_input(const struct tls *t);

enum tls_verdict tls_handshake(struct tls *t, struct err *err);
/* Reads until the input is used up or `out` is full; *bytes may be more than 0 with any verdict but
 * TLS_ENDED and TLS_FAILED, which come alone. */
enum tls_verdict tls_read(struct tls *t, char *out, size_t size, size_t *bytes, struct err *err);
/* All of it, after the handshake. False: the stream has failed. */
bool tls_write(struct tls *t, const char *data, size_t bytes);
/* Says that we shall write no more. */
void tls_end_writing(struct tls *t);

/* ---- questions, after the handshake ---- */

/* Did both sides agree on "postgresql" by ALPN? */
bool tls_has_alpn(const struct tls *t);
/* "TLSv1.3, TLS_AES_256_GCM_SHA384" */
void tls_describe(const struct tls *t, char *out, size_t size);
/* Common name of the peer's certificate, if it showed one that was verified against a CA; else NULL.
 * Lives as long as t. */
const char *tls_peer_cn(const struct tls *t);
bool tls_has_verified_peer(const struct tls *t);
/* The binding tls-server-end-point (RFC 5929): hash of the certificate that the accepting side showed,
 * by the hash of the certificate's signature, SHA-256 where that is MD5 or SHA-1. False: the
 * signature has no hash of its own (Ed25519), so the binding is not defined. */
#define TLS_MAX_END_POINT_BYTES 64
bool tls_end_point(const struct tls *t, uint8_t out[TLS_MAX_END_POINT_BYTES], size_t *bytes);
/* The same of our own certificate, before there is a stream. */
bool tls_policy_end_point(const struct tls_policy *p, uint8_t out[TLS_MAX_END_POINT_BYTES],
                          size_t *bytes);

#endif
