/* CancelRequest: carried to the server on a connection of its own. */
#ifndef PROXY_CANCEL_H
#define PROXY_CANCEL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"

struct conn;
struct conn_target;
struct loop;
struct wire_cancel;

/* Takes client. packet: the whole CancelRequest, copied. Gives `done(arg)` when both connections are
 * closed (always from a later callback). */
void cancel_open(struct conn *client, const struct conn_target *backend, const char *packet,
                 size_t bytes, void (*done)(void *arg), void *arg);
/* A cancel request of ours. done(arg) as above. False: no memory; done is not called then. */
MUST_USE bool cancel_send(struct loop *l, const struct conn_target *backend,
                          const struct wire_cancel *m, void (*done)(void *arg), void *arg);

#endif
