/* A listening socket on a loop. */
#ifndef PROXY_LISTENER_H
#define PROXY_LISTENER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "base/err.h"
#include "conn.h"

struct listener;
struct loop;

/* Gets each accepted socket: close-on-exec, non-blocking; takes fd. */
typedef void listener_accept(void *arg, int fd);

/* address  as conn_resolve gives it; a unix socket's file is made with mode 0777 as PostgreSQL does,
 *          and a file that a dead process left behind is replaced
 * port     out, may be NULL: the TCP port in use (port 0 in the address takes any free one)
 * Errors   58030, 42501 and others by errno; a unix socket that somebody serves: 55006 */
MUST_USE bool listener_open(struct loop *l, const struct conn_target *target, size_t address,
                            listener_accept *on_accept, void *arg, struct listener **out,
                            uint16_t *port, struct err *err);
/* Stops listening and removes the file of a unix socket. On the loop's thread, or when it does not
 * run. NULL: nothing. */
void listener_close(struct listener *l);
/* "*" is all addresses of IPv4 and IPv6. Otherwise as conn_resolve. */
MUST_USE bool listener_resolve(const char *host, uint16_t port, struct conn_target *out,
                               struct err *err);

#endif
