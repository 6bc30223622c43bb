/* TLS on a connection: carries bytes between the socket, the filter of tls.c and the owner.
 *
 *   recv ─> loop_wire_buffer ─> tls_feed, tls_read ─> loop_read_buffer ─> on_read
 *   conn_send ─> tls_write ─> loop_gather_buffer ─> conn_send_raw: socket or backlog
 *
 * One read takes so much from the wire that all of it fits into the owner's buffer in the clear, so as
 * a rule nothing is left inside TLS between two reads, and pausing works as without TLS: bytes wait
 * in the kernel, and the peer is slowed down. What is left nevertheless (data right behind the
 * handshake, an end behind data) makes conn_update_reading call the read event by hand.
 *
 * The records of one conn_send are gathered and leave in one send. Nothing stays in the gathering
 * buffer between calls: all conns of the loop share it. */
#include "conn_private.h"

#include <errno.h>
#include <string.h>

#include "tls.h"

/* ---- out ---- */

static bool flush(struct conn *c)
{
    size_t bytes = c->gathered_bytes;
    c->gathered_bytes = 0;
    return bytes == 0 || conn_send_raw(c, loop_gather_buffer(c->loop), bytes);
}

/* What TLS puts onto the wire. That a peer is gone is remembered by conn_send_raw. */
static void gather(void *arg, const char *data, size_t bytes)
{
    struct conn *c = arg;
    while (bytes > 0) {
        size_t n = LOOP_GATHER_BYTES - c->gathered_bytes;
        if (n > bytes)
            n = bytes;
        memcpy(loop_gather_buffer(c->loop) + c->gathered_bytes, data, n);
        c->gathered_bytes += n;
        data += n;
        bytes -= n;
        if (c->gathered_bytes == LOOP_GATHER_BYTES)
            flush(c);
    }
}

bool conn_tls_send(struct conn *c, const void *data, size_t bytes)
{
    bool ok = tls_write(c->tls, data, bytes);
    if (!flush(c) || !ok)
        c->broken = true;
    return !c->broken;
}

void conn_tls_end_writing(struct conn *c)
{
    tls_end_writing(c->tls);
    flush(c);
}

/* ---- life ---- */

bool conn_make_tls(struct conn *c, struct tls_policy *policy)
{
    c->tls = tls_new(policy, gather, c);
    c->is_open = c->is_open && c->tls == NULL;
    return c->tls != NULL;
}

void conn_tls_free(struct conn *c)
{
    tls_free(c->tls);
    c->tls = NULL;
}

bool conn_start_tls(struct conn *c, struct tls_policy *policy, const char *data, size_t bytes)
{
    if (!conn_make_tls(c, policy))
        return false;
    tls_feed(c->tls, data, bytes);
    if (!tls_keep(c->tls)) {
        conn_tls_free(c);
        return false;
    }
    conn_update_reading(c);
    return true;
}

/* ---- in ---- */

bool conn_tls_has_input(const struct conn *c)
{
    return c->tls != NULL && tls_has_input(c->tls);
}

void conn_tls_step_handshake(struct conn *c)
{
    struct err err;
    enum tls_verdict verdict = tls_handshake(c->tls, &err);
    flush(c);
    if (verdict == TLS_DONE && !tls_keep(c->tls)) {
        err_no_memory(&err);
        verdict = TLS_FAILED;
    }
    if (verdict == TLS_FAILED)
        conn_on_handshake_failed(c, &err);
    else if (verdict == TLS_DONE)
        conn_become_open(c);
    else
        conn_update_reading(c);
}

/* The owner comes last: it may free the conn, or move it to another loop. */
static void on_data(struct conn *c, size_t bytes)
{
    if (tls_has_input(c->tls))
        conn_update_reading(c);
    c->events->on_read(c->owner, c, loop_read_buffer(c->loop), bytes);
}

static void read_data(struct conn *c)
{
    struct err err;
    size_t bytes;
    char *data = loop_read_buffer(c->loop);
    enum tls_verdict verdict = tls_read(c->tls, data, LOOP_READ_BYTES, &bytes, &err);
    flush(c);
    if (!tls_keep(c->tls)) {
        err_no_memory(&err);
        verdict = TLS_FAILED;
    }
    if (verdict == TLS_FAILED) {
        c->broken = true;
        conn_end(c, &err);
    } else if (verdict == TLS_ENDED) {
        conn_end(c, NULL);
    } else if (bytes > 0) {
        on_data(c, bytes);
    }
}

static void on_receive_error(struct conn *c, int errnum)
{
    struct err err;
    if (errnum == EAGAIN || errnum == EINTR)
        return;
    err_set_errno(&err, errnum, "could not receive data");
    if (!c->is_open) {
        conn_on_handshake_failed(c, &err);
        return;
    }
    c->broken = true;
    conn_end(c, &err);
}

void conn_tls_on_readable(struct conn *c, bool timed_out)
{
    if (!tls_has_input(c->tls)) {
        char *wire = loop_wire_buffer(c->loop);
        ssize_t n = recv(c->fd, wire, LOOP_WIRE_BYTES, 0);
        int errnum = errno;
        conn_stream_on_read(c, timed_out, n > 0 ? (size_t)n : 0);
        if (n < 0) {
            on_receive_error(c, errnum);
            return;
        }
        if (n > 0)
            tls_feed(c->tls, wire, (size_t)n);
        else
            tls_feed_end(c->tls);
    }
    if (c->is_open)
        read_data(c);
    else
        conn_tls_step_handshake(c);
}

/* ---- questions ---- */

/* TLS counts when it is up. */
bool conn_is_tls(const struct conn *c)
{
    return c->tls != NULL && c->is_open;
}

bool conn_tls_end_point(const struct conn *c, uint8_t out[64], size_t *bytes)
{
    return conn_is_tls(c) && tls_end_point(c->tls, out, bytes);
}

const char *conn_tls_peer_cn(const struct conn *c)
{
    return conn_is_tls(c) ? tls_peer_cn(c->tls) : NULL;
}

bool conn_tls_has_verified_peer(const struct conn *c)
{
    return conn_is_tls(c) && tls_has_verified_peer(c->tls);
}

bool conn_tls_has_alpn(const struct conn *c)
{
    return conn_is_tls(c) && tls_has_alpn(c->tls);
}

void conn_tls_describe(const struct conn *c, char *out, size_t size)
{
    if (size > 0)
        out[0] = '\0';
    if (conn_is_tls(c))
        tls_describe(c->tls, out, size);
}
