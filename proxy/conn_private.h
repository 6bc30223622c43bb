/* Shared by the files of a connection: conn.c (socket, reading, writing, the end), conn_connect.c (how
 * one comes to be open), conn_tls.c (TLS on one) and conn_stream.c (long streams on one). */
#ifndef CONN_PRIVATE_H
#define CONN_PRIVATE_H

/* libevent comes first: its header has a macro LIST_ENTRY of its own, which it takes back. */
#include <event2/event.h>
#include <event2/event_struct.h>

#include "base/buf.h"

#include "conn.h"
#include "loop.h"

struct tls;
struct attempt;

struct conn {
    struct loop *loop;
    const struct conn_events *events; /* borrows; constant */
    void *owner;
    struct attempt *attempt; /* owns; NULL once open */
    struct tls *tls;         /* owns; NULL: in the clear */
    struct timer *finishing; /* owns; conn_finish was called */
    size_t finish_left;      /* backlog when it last fired */
    struct buf early;        /* sent by the owner before the connection was open */
    struct buf backlog;      /* what waits for the socket, as it goes onto the wire */
    struct event read_event;
    struct event write_event;
    struct loop_task task;         /* connect outcome, then release of the memory */
    struct loop_task at_end;       /* conn_finish was called: the loop ends before we are done */
    struct sockaddr_storage *peer; /* owns; NULL: the socket's */
    size_t gathered_bytes;         /* of TLS, in the loop's gathering buffer; 0 outside of a call */
    size_t streak_bytes;           /* read without a pause; 0 while it streams */
    int fd;
    bool is_open; /* connected, and TLS is up if there is any: the owner's bytes may pass */
    bool wants_read;
    bool owes_drained; /* the owner saw a backlog */
    bool ended;        /* on_end was called */
    bool broken;       /* the peer takes no more bytes */
    bool end_writing;
    bool streams; /* the kernel wakes us for a full read or a timeout */
    bool dead;
};

/* ---- conn.c ---- */

/* Without a socket. NULL: no memory. */
MUST_USE struct conn *conn_new(struct loop *l, const struct conn_events *events, void *owner);
/* The socket that c has from now on. */
void conn_watch(struct conn *c, int fd);
void conn_close_socket(struct conn *c);
void conn_set_options(int fd);
/* Reads if somebody wants to. After every change of what that depends on. */
void conn_update_reading(struct conn *c);
/* Onto the wire as it is, or into the backlog. */
bool conn_send_raw(struct conn *c, const void *data, size_t bytes);
void conn_end(struct conn *c, const struct err *err);
void conn_end_errno(struct conn *c, int errnum, const char *what);
/* The connection is as the owner wants it: what he sent early goes out, then he is told. */
void conn_become_open(struct conn *c);

/* ---- conn_stream.c ---- */

/* After each read, of 0 bytes too. timed_out: the read event's timeout fired. May end the streaming or
 * begin it. */
void conn_stream_on_read(struct conn *c, bool timed_out, size_t bytes);
/* Of the read event; NULL: none. */
const struct timeval *conn_stream_timeout(const struct conn *c);
void conn_stream_end(struct conn *c);
/* We send something: what comes next is no part of a stream. */
static inline void conn_stream_on_send(struct conn *c)
{
    c->streak_bytes = 0;
    if (c->streams)
        conn_stream_end(c);
}

/* ---- conn_connect.c ---- */

void conn_free_attempt(struct conn *c);
/* Events of a socket whose attempt is not over. */
void conn_on_connect_writable(struct conn *c);
void conn_on_connect_readable(struct conn *c);
/* Is the server's answer to SSLRequest awaited? */
bool conn_is_asking(const struct conn *c);
/* The TLS handshake of an attempt failed; err says why. */
void conn_on_handshake_failed(struct conn *c, const struct err *err);

/* ---- conn_tls.c ---- */

MUST_USE bool conn_make_tls(struct conn *c, struct tls_policy *policy);
/* The socket can be read, or something was kept, or the read event timed out. */
void conn_tls_on_readable(struct conn *c, bool timed_out);
/* One step of the handshake with what was fed. */
void conn_tls_step_handshake(struct conn *c);
bool conn_tls_has_input(const struct conn *c);
bool conn_tls_send(struct conn *c, const void *data, size_t bytes);
void conn_tls_end_writing(struct conn *c);
void conn_tls_free(struct conn *c);

#endif
