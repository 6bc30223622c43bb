/* The key in a CancelRequest is the server's own (BackendKeyData passes through us unchanged, and one
 * client has one server process), so no table of keys is needed: the packet goes to the server as it
 * is, which finds the process or not, and never says.
 *
 * What matters is the end. The server closes the cancel connection after it sent the signal. Only
 * then do we close the client's: a client that waits for that (libpq does) may send its next query
 * without fear that the cancel hits it. */
#include "cancel.h"

#include <stdlib.h>

#include "base/log.h"
#include "protocol/client_msg.h"

#include "conn.h"
#include "loop.h"

#define CANCEL_TIMEOUT_MS 15000

struct cancel {
    struct loop *loop;
    struct conn *client; /* NULL: the request is ours */
    struct conn *server;
    struct timer *timeout;
    struct loop_task end;
    void (*done)(void *arg);
    void *arg;
};

static void on_end_task(struct loop_task *t)
{
    struct cancel *c = LIST_ENTRY(t, struct cancel, end);
    conn_free(c->client);
    conn_free(c->server);
    timer_free(c->timeout);
    c->done(c->arg);
    free(c);
}

static void end(struct cancel *c)
{
    loop_defer(c->loop, &c->end);
}

static void on_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    (void)owner;
    (void)c;
    (void)data;
    (void)bytes; /* neither side has anything to say */
}

/* A client that closes early has had its answer; the request goes on. */
static void on_client_end(void *owner, struct conn *c, const struct err *err)
{
    (void)owner;
    (void)c;
    (void)err;
}

static void on_server_end(void *owner, struct conn *c, const struct err *err)
{
    (void)c;
    if (err != NULL)
        log_err(LOG_LEVEL_DEBUG, "cancel", "cancel request", err);
    end(owner);
}

static void on_timeout(void *arg)
{
    log_warning("cancel", "the server did not close a cancel connection in time");
    end(arg);
}

static const struct conn_events client_events = {.on_read = on_read, .on_end = on_client_end};
static const struct conn_events server_events = {.on_read = on_read, .on_end = on_server_end};

/* Takes c. False: no memory; it ends by itself. */
static bool start(struct cancel *c, const struct conn_target *backend, const char *packet,
                  size_t bytes)
{
    loop_task_init(&c->end, on_end_task);
    c->server = conn_connect(c->loop, backend, &server_events, c);
    c->timeout = timer_new(c->loop, on_timeout, c);
    if (c->server == NULL || c->timeout == NULL) {
        end(c);
        return false;
    }
    timer_start(c->timeout, CANCEL_TIMEOUT_MS);
    conn_send(c->server, packet, bytes);
    return true;
}

void cancel_open(struct conn *client, const struct conn_target *backend, const char *packet,
                 size_t bytes, void (*done)(void *arg), void *arg)
{
    struct cancel *c = calloc(1, sizeof *c);
    if (c == NULL) {
        conn_free(client);
        done(arg);
        return;
    }
    *c = (struct cancel){.loop = conn_loop(client), .client = client, .done = done, .arg = arg};
    conn_set_owner(client, &client_events, c);
    (void)start(c, backend, packet, bytes);
}

bool cancel_send(struct loop *l, const struct conn_target *backend, const struct wire_cancel *m,
                 void (*done)(void *arg), void *arg)
{
    struct cancel *c = calloc(1, sizeof *c);
    struct buf packet;
    if (c == NULL)
        return false;
    *c = (struct cancel){.loop = l, .done = done, .arg = arg};
    buf_init(&packet, 1024);
    bool written = wire_write_cancel(&packet, m);
    if (written)
        (void)start(c, backend, buf_data(&packet), buf_length(&packet));
    else
        free(c);
    buf_fini(&packet);
    return written;
}
