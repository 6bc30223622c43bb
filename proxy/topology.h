/* Can a relayed SCRAM login work between a client's leg and the server's? Where both are TLS, only with
 * one certificate on both. */
#ifndef PROXY_TOPOLOGY_H
#define PROXY_TOPOLOGY_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "conn.h"
#include "loop.h"
#include "tls.h"

enum topology {
    TOPOLOGY_WORKS,     /* a leg is plain, or both show the same certificate */
    TOPOLOGY_DIFFERENT, /* clients that bind cannot log in */
    TOPOLOGY_UNKNOWN    /* the server cannot be reached */
};

/* Of a session's two connections, both connected. */
bool topology_is_different(const struct conn *client, const struct conn *server);
/* What is the matter with TOPOLOGY_DIFFERENT, and the three ways out. */
void topology_explain(struct err *err);
/* What is the matter with a client without TLS that says it could bind to TLS, as libpq never does. */
void topology_explain_stripped(struct err *err);

/* err: why it is UNKNOWN, else NULL */
typedef void topology_done_fn(void *arg, enum topology result, const struct err *err);
/* Connects to the server, looks at its certificate and at the one that clients get, and goes away without a
 * word. `done` is called once, by the loop; not at all if the loop ends first. target, client: borrowed
 * until then. False: no memory. */
MUST_USE bool topology_probe(struct loop *l, const struct conn_target *target,
                             struct tls_slot *client, topology_done_fn *done, void *arg);

#endif
