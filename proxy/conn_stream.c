/* Fewer wakings for a long stream. A server sends a large result in pieces of 8 KiB, and so does libpq a
 * COPY: each wakes us, we read 8 KiB, send 8 KiB and wake the receiver. Most of what a byte costs then
 * is going to sleep and waking up.
 *
 *   read after read, STREAM_AFTER_BYTES of it ──> streams ──> a quiet STREAM_WAIT, or we send ──> not
 *
 * While a connection streams the kernel wakes us for one full read at once (SO_RCVLOWAT), or after
 * STREAM_WAIT, whichever comes first. So the tail of a result waits for STREAM_WAIT at most, once: a
 * wait that brings little ends the streaming. The end of the stream and errors wake us in any case.
 *
 * Whoever sends to the peer asks it something, and what comes then is the beginning of an answer, not
 * the middle of a stream: requests and answers that alternate never stream, however large they are
 * together. A read of less than STREAM_MIN_READ_BYTES is no stream either.
 *
 * Nothing can hang: as long as a connection streams and is read its read event has the timeout. What
 * TLS has in hand is read before the socket is waited for (conn_update_reading). The kernel keeps the
 * mark below half of the socket's receive buffer, and does not heed it when it is short of memory.
 * Unix sockets know no mark. */
#include "conn_private.h"

#include <sys/time.h>

#define STREAM_AFTER_BYTES ((size_t)2 * 1024 * 1024)
#define STREAM_MIN_READ_BYTES ((size_t)4096)

static const struct timeval stream_wait = {.tv_usec = 1000};

/* As much as one read takes. */
static size_t mark(const struct conn *c)
{
    return c->tls != NULL ? LOOP_WIRE_BYTES : LOOP_READ_BYTES;
}

static bool set_mark(struct conn *c, size_t bytes)
{
    int value = (int)bytes;
    return setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value) == 0;
}

static void begin(struct conn *c)
{
    c->streak_bytes = 0;
    if (conn_is_local(c) || event_add(&c->read_event, &stream_wait) != 0)
        return;
    c->streams = set_mark(c, mark(c));
    if (!c->streams)
        event_remove_timer(&c->read_event);
}

void conn_stream_end(struct conn *c)
{
    c->streams = false;
    if (c->fd < 0)
        return;
    event_remove_timer(&c->read_event);
    set_mark(c, 1);
}

void conn_stream_on_read(struct conn *c, bool timed_out, size_t bytes)
{
    if (c->streams) {
        if (timed_out && bytes < mark(c) / 4)
            conn_stream_end(c);
    } else if (bytes < STREAM_MIN_READ_BYTES) {
        c->streak_bytes = 0;
    } else {
        c->streak_bytes += bytes;
        if (c->streak_bytes > STREAM_AFTER_BYTES)
            begin(c);
    }
}

const struct timeval *conn_stream_timeout(const struct conn *c)
{
    return c->streams ? &stream_wait : NULL;
}
