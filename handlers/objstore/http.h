/* HTTP requests, several at a time, one thread. libcurl's only door.
 *
 * Knows nothing of stores and never repeats a request: it sends exactly the URL and headers it is given,
 * follows no redirect, and tells how each exchange ended. */
#ifndef OBJSTORE_HTTP_H
#define OBJSTORE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "s3_answer.h"

struct http; /* owns connections, which are kept between exchanges */

struct http_settings {   /* copied */
    const char *ca_file; /* PEM; NULL or empty: the system's */
    unsigned timeout_s;  /* to connect, and longest silence */
};

enum http_end {
    HTTP_ANSWERED,    /* a whole answer, whatever its status */
    HTTP_STOPPED,     /* on_body said so */
    HTTP_UNREACHABLE, /* no connection: name, network, nobody listens */
    HTTP_CUT,         /* connection lost or silent; may work the next time */
    HTTP_UNTRUSTED,   /* the certificate is not the one we want */
    HTTP_IMPOSSIBLE   /* the request cannot be made: bad URL, unreadable ca_file */
};

struct http_exchange {
    /* The caller's, constant while it runs. */
    const char *method;         /* GET or HEAD */
    const char *url;            /* fully encoded */
    const char *const *headers; /* "name: value" */
    size_t header_count;
    /* Pieces of the body, in order; head is complete by then. False ends the exchange. */
    bool (*on_body)(void *arg, struct http_exchange *x, struct slice piece);
    void *arg;
    /* Results. */
    struct s3_head head;
    enum http_end end;
    char trouble[256]; /* libcurl's words when it was not answered */
    /* Private. */
    void *easy;
    void *list;
};

MUST_USE bool http_open(const struct http_settings *s, struct http **out, struct err *err);
/* What still runs must have been dropped. */
void http_close(struct http *h);
MUST_USE bool http_start(struct http *h, struct http_exchange *x, struct err *err);
/* An exchange that has ended, or NULL when none has within the time. */
MUST_USE bool http_wait(struct http *h, int timeout_ms, struct http_exchange **ended,
                        struct err *err);
/* Ends an exchange that was started and has not ended. */
void http_drop(struct http *h, struct http_exchange *x);

#endif
