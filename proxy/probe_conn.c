/* The socket does not block, poll does: while something is sent, what comes is taken in, so that a
 * server whose answers nobody reads does not stop reading us.
 *
 * A length word that cannot be one ends the framing: up to the end of the connection these are bytes
 * (the error of protocol 2, or an answer that is damaged). */
#include "probe_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#define READ_BYTES ((size_t)65536)
#define MAX_IN_BYTES ((size_t)1 << 31)
/* Cut into pieces is the beginning of what is sent; and of that the beginning goes slowly enough for
 * the peer to read every piece alone. */
#define MAX_CUT_PIECES 600u
#define MAX_SLOW_PIECES 100u
#define SLOW_NS 100000

/* ---- opening ------------------------------------------------------------ */

bool probe_conn_open(struct probe_conn *c, const struct probe_target *target, struct err *err)
{
    *c = (struct probe_conn){.target = target, .fd = -1};
    buf_init(&c->in, MAX_IN_BYTES);
    int one = 1, failure = ENOENT;
    for (size_t i = 0; i < target->address.count && c->fd < 0; i++) {
        const struct sockaddr *address = (const struct sockaddr *)&target->address.addresses[i];
        c->fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (c->fd >= 0 && connect(c->fd, address, target->address.lengths[i]) == 0)
            break;
        failure = errno;
        if (c->fd >= 0)
            close(c->fd);
        c->fd = -1;
    }
    if (c->fd < 0)
        return err_set_errno(err, failure, "cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* a unix socket has none */
    if (fcntl(c->fd, F_SETFL, O_NONBLOCK) < 0)
        return err_set_errno(err, errno, "cannot connect");
    return true;
}

void probe_conn_close(struct probe_conn *c)
{
    if (c->target == NULL)
        return;
    if (c->fd >= 0)
        close(c->fd);
    buf_fini(&c->in);
    scram_client_free(c->scram);
    *c = (struct probe_conn){.fd = -1};
}

/* ---- bytes -------------------------------------------------------------- */

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Takes in what is there. */
static void take_in(struct probe_conn *c)
{
    char *room = buf_reserve(&c->in, READ_BYTES);
    ssize_t n = room == NULL ? 0 : recv(c->fd, room, READ_BYTES, 0);
    if (n > 0)
        buf_commit(&c->in, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        c->ended = true;
}

/* Waits for one of `events`, and takes in what comes. False: the time is up. */
static bool wait_for(struct probe_conn *c, short events, uint64_t deadline, short *got)
{
    struct pollfd p = {.fd = c->fd, .events = events};
    uint64_t now = now_ms();
    *got = 0;
    if (now >= deadline || poll(&p, 1, (int)(deadline - now)) == 0)
        return false;
    *got = p.revents;
    if ((p.revents & (POLLIN | POLLHUP | POLLERR)) != 0 && !c->ended)
        take_in(c);
    return true;
}

static void send_piece(struct probe_conn *c, const char *data, size_t bytes)
{
    uint64_t deadline = now_ms() + c->target->timeout_ms;
    short got;
    while (bytes > 0 && !c->failed) {
        ssize_t n = send(c->fd, data, bytes, MSG_NOSIGNAL);
        if (n >= 0) {
            data += n;
            bytes -= (size_t)n;
        } else if (errno != EAGAIN && errno != EINTR) {
            c->failed = true;
        } else if (!wait_for(c, c->ended ? POLLOUT : POLLIN | POLLOUT, deadline, &got)) {
            c->failed = true;
        }
    }
}

void probe_conn_send(struct probe_conn *c, const char *data, size_t bytes, size_t piece)
{
    const struct timespec slow = {.tv_nsec = SLOW_NS};
    for (unsigned i = 0; piece > 0 && bytes > piece && i < MAX_CUT_PIECES; i++) {
        send_piece(c, data, piece);
        data += piece;
        bytes -= piece;
        if (i < MAX_SLOW_PIECES)
            nanosleep(&slow, NULL);
    }
    send_piece(c, data, bytes);
}

void probe_conn_end(struct probe_conn *c)
{
    shutdown(c->fd, SHUT_WR);
}

/* Waits until `bytes` more are there. */
static enum probe_event fill(struct probe_conn *c, size_t bytes)
{
    uint64_t deadline = now_ms() + c->target->timeout_ms;
    short got;
    while (buf_length(&c->in) < bytes) {
        if (c->ended)
            return PROBE_CLOSED;
        if (!wait_for(c, POLLIN, deadline, &got))
            return PROBE_TIMEOUT;
    }
    return PROBE_MESSAGE;
}

/* ---- messages ----------------------------------------------------------- */

/* Everything up to the end, which is not framed. */
static enum probe_event read_bytes(struct probe_conn *c, struct slice *body)
{
    if (fill(c, MAX_IN_BYTES) == PROBE_TIMEOUT)
        return PROBE_TIMEOUT;
    *body = buf_slice(&c->in);
    buf_consume(&c->in, body->len);
    return PROBE_BYTES;
}

static void note_key(struct probe_conn *c, struct slice body)
{
    struct wire_reader r;
    struct wire_backend_key m;
    wire_reader_init(&r, body);
    if (!wire_read_backend_key(&r, &m) || m.key.len > sizeof c->key)
        return;
    c->pid = m.pid;
    c->key_bytes = m.key.len;
    memcpy(c->key, m.key.data, m.key.len);
}

enum probe_event probe_conn_read(struct probe_conn *c, char *type, struct slice *body)
{
    struct wire_header h;
    enum probe_event e = fill(c, WIRE_HEADER_BYTES);
    if (e == PROBE_CLOSED && buf_length(&c->in) > 0)
        return read_bytes(c, body);
    if (e != PROBE_MESSAGE)
        return e;
    if (!wire_read_header(buf_data(&c->in), &h))
        return read_bytes(c, body);
    e = fill(c, WIRE_HEADER_BYTES + (size_t)h.body_bytes);
    if (e == PROBE_CLOSED)
        return read_bytes(c, body);
    if (e != PROBE_MESSAGE)
        return e;
    *type = h.type;
    *body = slice_of(buf_data(&c->in) + WIRE_HEADER_BYTES, h.body_bytes);
    buf_consume(&c->in, WIRE_HEADER_BYTES + (size_t)h.body_bytes);
    if (h.type == 'K')
        note_key(c, *body);
    return PROBE_MESSAGE;
}

enum probe_event probe_conn_read_byte(struct probe_conn *c, char *byte)
{
    enum probe_event e = fill(c, 1);
    if (e != PROBE_MESSAGE)
        return e;
    *byte = *buf_data(&c->in);
    buf_consume(&c->in, 1);
    return PROBE_MESSAGE;
}

/* ---- authentication ----------------------------------------------------- */

static struct slice password_of(const struct probe_conn *c)
{
    return slice_cstr(c->lies ? "not the password" : c->target->password);
}

static bool start_scram(struct probe_conn *c, const struct wire_auth *m, struct buf *out,
                        struct err *err)
{
    struct buf first;
    if (!wire_auth_has_mechanism(m, SCRAM_MECHANISM))
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "the server does not offer %s",
                       SCRAM_MECHANISM);
    buf_init(&first, SCRAM_MAX_MESSAGE_BYTES);
    scram_client_free(c->scram);
    c->scram = NULL;
    bool ok = scram_client_new(password_of(c), NULL, &c->scram, err) &&
              scram_client_write_first(c->scram, &first, err);
    if (ok) {
        struct wire_sasl_initial initial = {slice_cstr(SCRAM_MECHANISM), true, buf_slice(&first)};
        ok = wire_write_sasl_initial(out, &initial) || err_no_memory(err);
    }
    buf_fini(&first);
    return ok;
}

static bool go_on_with_scram(struct probe_conn *c, struct slice challenge, struct buf *out,
                             struct err *err)
{
    struct buf final;
    buf_init(&final, SCRAM_MAX_MESSAGE_BYTES);
    bool ok = scram_client_step(c->scram, challenge, &final, err) &&
              (wire_write_sasl_response(out, buf_slice(&final)) || err_no_memory(err));
    buf_fini(&final);
    return ok;
}

static bool write_md5(struct probe_conn *c, struct slice salt, struct buf *out, struct err *err)
{
    char answer[CRYPTO_MD5_ANSWER_BYTES];
    if (crypto_md5_answer(slice_cstr(c->target->user), password_of(c), salt, answer) &&
        wire_write_password(out, slice_cstr(answer)))
        return true;
    return err_no_memory(err);
}

static bool write_answer(struct probe_conn *c, const struct wire_auth *m, struct buf *out,
                         struct err *err)
{
    switch (m->kind) {
    case WIRE_AUTH_OK:
    case WIRE_AUTH_SASL_FINAL: return true;
    case WIRE_AUTH_CLEARTEXT: return wire_write_password(out, password_of(c)) || err_no_memory(err);
    case WIRE_AUTH_MD5: return write_md5(c, m->data, out, err);
    case WIRE_AUTH_SASL: return start_scram(c, m, out, err);
    case WIRE_AUTH_SASL_CONTINUE:
        if (c->scram != NULL)
            return go_on_with_scram(c, m->data, out, err);
        break;
    default: break;
    }
    return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                   "authentication method %u is not known here", m->kind);
}

bool probe_conn_answer(struct probe_conn *c, struct slice body, size_t piece, struct err *err)
{
    struct wire_reader r;
    struct wire_auth m;
    struct buf out;
    wire_reader_init(&r, body);
    if (!wire_read_auth(&r, &m))
        return err_set(err, SQLSTATE_PROTOCOL_VIOLATION, "a damaged authentication message");
    buf_init(&out, READ_BYTES);
    bool ok = write_answer(c, &m, &out, err);
    if (ok && buf_length(&out) > 0)
        probe_conn_send(c, buf_data(&out), buf_length(&out), piece);
    buf_fini(&out);
    return ok;
}
