/* One non-blocking stream connection, TCP or unix socket, accepted or made by us.
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
 * The end: `on_end` is called once, when nothing will be read any more: err NULL means that the peer
 * closed its side in order (it may still read: a half-closed client is owed its answers), else why.
 * A connection whose connect failed gets on_end only. Sending to a peer that is gone is silent: the
 * bytes are dropped and conn_is_broken says so; reading goes on, since the peer's last words (a
 * FATAL error) may still be there.
 *
 * Any call, conn_free included, is allowed in any callback. After conn_free no callback comes. */
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

/* One message of the largest size that the protocol allows, and a read behind it. */
#define CONN_MAX_BACKLOG ((size_t)1024 * 1024 * 1024 + LOOP_READ_BYTES)
#define CONN_MAX_ADDRESSES 8

struct conn_events {
    void (*on_connected)(void *owner, struct conn *c); /* conn_connect only */
    void (*on_read)(void *owner, struct conn *c, char *data, size_t bytes);
    void (*on_drained)(void *owner, struct conn *c); /* may be NULL */
    void (*on_end)(void *owner, struct conn *c, const struct err *err);
};

/* Where to connect: the addresses of a name, tried in order. */
struct conn_target {
    struct sockaddr_storage addresses[CONN_MAX_ADDRESSES];
    socklen_t lengths[CONN_MAX_ADDRESSES];
    size_t count;
};

/* host  a name, a numeric address, or (first character '/' or '@') the directory or abstract prefix
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
/* "10.0.0.7:5123", "[::1]:5123" or "unix"; always NUL-terminated. */
void conn_peer_name(const struct conn *c, char *out, size_t size);

#endif
