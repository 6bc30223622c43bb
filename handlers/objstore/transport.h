/* HTTP requests, several at a time, one thread. libcurl's only door.
 *
 * Knows nothing of stores and never repeats a request: it sends exactly the URL and headers it is given,
 * follows no redirect, and tells how each exchange ended. */
#ifndef OBJSTORE_TRANSPORT_H
#define OBJSTORE_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "s3_answer.h"

struct transport; /* owns connections, which are kept between exchanges */

struct transport_settings { /* copied */
    const char *ca_file;    /* PEM; NULL or empty: the system's */
    unsigned timeout_s;     /* to connect, and longest silence */
};

enum transport_end {
    TRANSPORT_ANSWERED,    /* a whole answer, whatever its status */
    TRANSPORT_STOPPED,     /* on_body said so */
    TRANSPORT_UNREACHABLE, /* no connection: name, network, nobody listens */
    TRANSPORT_CUT,         /* connection lost or silent; may work the next time */
    TRANSPORT_UNTRUSTED,   /* the certificate is not the one we want */
    TRANSPORT_IMPOSSIBLE   /* the request cannot be made: bad URL, unreadable ca_file */
};

struct transport_exchange {
    /* The caller's, constant while it runs. */
    const char *method;         /* GET or HEAD */
    const char *url;            /* fully encoded */
    const char *const *headers; /* "name: value" */
    size_t header_count;
    /* Pieces of the body, in order; head is complete by then. False ends the exchange. */
    bool (*on_body)(void *arg, struct transport_exchange *x, struct slice piece);
    void *arg;
    /* Results. */
    struct s3_head head;
    enum transport_end end;
    char trouble[256]; /* libcurl's words when it was not answered */
    /* Private. */
    void *easy;
    void *list;
};

MUST_USE bool transport_open(const struct transport_settings *s, struct transport **out,
                             struct err *err);
/* What still runs must have been dropped. */
void transport_close(struct transport *t);
MUST_USE bool transport_start(struct transport *t, struct transport_exchange *x, struct err *err);
/* An exchange that has ended, or NULL when none has within the time. */
MUST_USE bool transport_wait(struct transport *t, int timeout_ms, struct transport_exchange **ended,
                             struct err *err);
/* Ends an exchange that was started and has not ended. */
void transport_drop(struct transport *t, struct transport_exchange *x);

#endif
