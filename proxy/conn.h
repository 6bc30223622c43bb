/* One non-blocking stream connection, TCP or unix socket, accepted or made by us, in the clear or
 * under TLS.
 *
 * Reading: `on_read` gets the bytes of one read, at most LOOP_READ_BYTES, in the loop's own buffer:
 * they may be changed in place and are gone after the return. What is not used must be copied.
 * conn_pause_reading stops further calls (back-pressure), conn_resume_reading allows them again; it
 * never calls on_read itself.
 *
 * Writing: conn_send hands the bytes to the kernel at once; what does not fit is copied behind the
 * connection ("backlog") and sent when the socket takes it; then on_drained is called, once. Nothing
 * limits the backlog but CONN_MAX_BACKLOG: whoever feeds it from another conn pauses that one while
 * conn_backlog() > 0.
 *
 * TLS: an accepted conn begins in the clear; conn_start_tls begins the handshake, and on_connected
 * tells its end; until then on_read is silent. A conn that connects does what the TLS policy of its
 * target says before on_connected. Everything else is the same with and without TLS.
 *
 * The end: `on_end` is called once, when nothing will be read any more: err NULL means that the peer
 * closed its side in order (it may still read: a half-closed client is owed its answers), else why.
 * Under TLS in order means with close_notify; without it somebody may have cut the stream short.
 * A connection whose connect failed gets on_end only. Sending to a peer that is gone is silent: the
 * bytes are dropped and conn_is_broken says so; reading goes on, since the peer's last words (a
 * FATAL error) may still be there.
 *
 * Any call but conn_leave, conn_free included, is allowed in any callback. After conn_free no callback
 * comes. */
#ifndef PROXY_CONN_H
#define PROXY_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "base/err.h"

#include "loop.h"

struct conn;
struct tls_policy;
struct tls_slot;

/* One message of the largest size that the protocol allows, a read behind it, and what TLS adds. */
#define CONN_MAX_BACKLOG ((size_t)1024 * 1024 * 1024 + 4 * 1024 * 1024 + LOOP_READ_BYTES)
#define CONN_MAX_ADDRESSES 8

struct conn_events {
    void (*on_connected)(void *owner,
                         struct conn *c); /* conn_connect and conn_start_tls; may be NULL */
    void (*on_read)(void *owner, struct conn *c, char *data, size_t bytes);
    void (*on_drained)(void *owner, struct conn *c); /* may be NULL */
    void (*on_end)(void *owner, struct conn *c, const struct err *err);
};

/* Where to connect: the addresses of a name, tried in order, and how. */
struct conn_target {
    struct sockaddr_storage addresses[CONN_MAX_ADDRESSES];
    socklen_t lengths[CONN_MAX_ADDRESSES];
    size_t count;
    struct tls_slot *tls; /* borrows; policies for PostgreSQL servers (SSLRequest); NULL: no TLS */
};

/* Leaves out->tls NULL.
 * host  a name, a numeric address, or (first character '/' or '@') the directory or abstract prefix
 *       of a unix socket: then <host>/.s.PGSQL.<port>
 * Blocks on the resolver: call it before loops run. Errors: 08001. */
MUST_USE bool conn_resolve(const char *host, uint16_t port, struct conn_target *out,
                           struct err *err);

/* Takes fd (accepted, any mode). NULL: no memory; fd is closed. Reading starts at once. */
MUST_USE struct conn *conn_accept(struct loop *l, int fd, const struct conn_events *events,
                                  void *owner);
/* Starts to connect; the outcome comes by on_connected or on_end, never inside this call. What is
 * sent before on_connected waits as backlog. target is copied. No timeout of its own. NULL: no
 * memory. */
MUST_USE struct conn *conn_connect(struct loop *l, const struct conn_target *target,
                                   const struct conn_events *events, void *owner);
/* Closes at once, drops the backlog. NULL: nothing. */
void conn_free(struct conn *c);
/* Gives the conn away: it sends its backlog, closes its side, waits (up to 5 s) until the peer closed
 * too, so that the last bytes are not lost to a reset, and frees itself; one that is not connected yet
 * connects first. No more callbacks. */
void conn_finish(struct conn *c);

/* See above. Returns false when the bytes were dropped: the peer is gone or the backlog is full. */
bool conn_send(struct conn *c, const void *data, size_t bytes);
/* Bytes that wait for the socket. */
size_t conn_backlog(const struct conn *c);
/* Closes our writing side as soon as the backlog is sent. */
void conn_end_writing(struct conn *c);
/* The peer does not take bytes any more. */
bool conn_is_broken(const struct conn *c);

void conn_pause_reading(struct conn *c);
void conn_resume_reading(struct conn *c);
bool conn_is_reading(const struct conn *c);

/* Another owner, as when a client's conn moves from startup to its session. */
void conn_set_owner(struct conn *c, const struct conn_events *events, void *owner);
struct loop *conn_loop(const struct conn *c);
/* Moves an open conn to another loop, to be called at the end of on_read: the present loop has no more
 * to do with it, and nobody may call anything on it but conn_join, on the other loop's thread. What
 * comes meanwhile is read there. */
void conn_leave(struct conn *c);
void conn_join(struct conn *c, struct loop *l);

/* The accepted conn goes over to TLS: what comes from now on belongs to the handshake. `data` is what
 * was read already and belongs to it too (a direct connection), or nothing. What was sent before goes
 * in the clear. on_connected or on_end follows, never inside this call. policy: for clients, not
 * NULL; takes a reference of its own. False: no memory. */
MUST_USE bool conn_start_tls(struct conn *c, struct tls_policy *policy, const char *data,
                             size_t bytes);
bool conn_is_tls(const struct conn *c);
/* The binding tls-server-end-point (RFC 5929): hash of the certificate that we presented (accepted), or
 * that the peer presented (connected), by the hash of that certificate's signature, SHA-256 where
 * this is MD5 or SHA-1. False: no TLS, or the signature has no hash of its own (Ed25519). */
bool conn_tls_end_point(const struct conn *c, uint8_t out[64], size_t *bytes);
/* Common name of the peer's certificate, verified against our CA; NULL: none. Lives with c. */
const char *conn_tls_peer_cn(const struct conn *c);
/* The peer showed a certificate that was verified, whatever its name. */
bool conn_tls_has_verified_peer(const struct conn *c);
/* ALPN agreed on "postgresql". */
bool conn_tls_has_alpn(const struct conn *c);
/* "TLSv1.3, TLS_AES_256_GCM_SHA384", or "" without TLS. */
void conn_tls_describe(const struct conn *c, char *out, size_t size);
/* A unix socket: nobody on the way, so TLS is not demanded. */
bool conn_is_local(const struct conn *c);

/* "10.0.0.7:5123", "[::1]:5123" or "unix"; always NUL-terminated. */
void conn_peer_name(const struct conn *c, char *out, size_t size);
/* False: a unix socket, or not connected any more. */
bool conn_peer_address(const struct conn *c, struct sockaddr_storage *out);
/* A balancer in front told whose connection this is: name and address are these from now on. False: no
 * memory. */
MUST_USE bool conn_set_peer(struct conn *c, const struct sockaddr_storage *peer);

/* Our own address as the peer sees it, and the port. A unix socket: the name of this host, and 0. */
uint16_t conn_local_name(const struct conn *c, char *out, size_t size);

#endif
