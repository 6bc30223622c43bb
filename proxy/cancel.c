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

#include "conn.h"
#include "loop.h"

#define CANCEL_TIMEOUT_MS 15000

struct cancel {
    struct conn *client;
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
    loop_defer(conn_loop(c->client), &c->end);
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

void cancel_open(struct conn *client, const struct conn_target *backend, const char *packet,
                 size_t bytes, void (*done)(void *arg), void *arg)
{
    struct cancel *c = calloc(1, sizeof *c);
    if (c == NULL) {
        conn_free(client);
        done(arg);
        return;
    }
    struct loop *l = conn_loop(client);
    *c = (struct cancel){.client = client, .done = done, .arg = arg};
    loop_task_init(&c->end, on_end_task);
    conn_set_owner(client, &client_events, c);
    c->server = conn_connect(l, backend, &server_events, c);
    c->timeout = timer_new(l, on_timeout, c);
    if (c->server == NULL || c->timeout == NULL) {
        end(c);
        return;
    }
    timer_start(c->timeout, CANCEL_TIMEOUT_MS);
    conn_send(c->server, packet, bytes);
}
