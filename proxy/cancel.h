/* CancelRequest: carried to the server on a connection of its own. */
#ifndef PROXY_CANCEL_H
#define PROXY_CANCEL_H

#include <stddef.h>

struct conn;
struct conn_target;

/* Takes client. packet: the whole CancelRequest, copied. Gives `done(arg)` when both connections are
 * closed (always from a later callback). */
void cancel_open(struct conn *client, const struct conn_target *backend, const char *packet,
                 size_t bytes, void (*done)(void *arg), void *arg);

#endif
