/* The first packets of a client, which have no type byte: SSLRequest, GSSENCRequest, CancelRequest,
 * StartupMessage. Pure: bytes in, verdict out. */
#ifndef PROXY_STARTUP_H
#define PROXY_STARTUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

enum startup_kind {
    STARTUP_INCOMPLETE, /* read on */
    STARTUP_NONSENSE,   /* not our protocol: close without a word, as the server does */
    STARTUP_SSL,        /* SSLRequest: answer one byte */
    STARTUP_GSSENC,     /* GSSENCRequest: answer one byte */
    STARTUP_CANCEL,     /* CancelRequest */
    STARTUP_REPEATED,   /* SSLRequest or GSSENCRequest again: to the server an unknown version */
    STARTUP_SESSION     /* StartupMessage of any version: for the server, which may refuse it */
};

/* = password: for clients of retrieve sessions that know no SCRAM. */
#define STARTUP_RETRIEVE_AUTH "pgveneer.retrieve_auth"

struct startup_packet {
    enum startup_kind kind;
    size_t bytes;      /* of the packet, length word included */
    uint32_t version;  /* the packet's first word */
    struct slice user; /* borrow from the packet; empty when absent or the layout is damaged (the */
    struct slice dbname; /* server will say so). dbname is the user's name when it is not given */
    bool is_replication; /* speaks the grammar of a WAL sender */
    bool is_retrieve;    /* wants to read endpoints of parallel retrieve cursors */
    bool asks_for_password;      /* and to be asked for the token in clear text */
    const char *client_encoding; /* as asked for; borrows; "" when it was not */
};

/* Judges the first packet in `data`. ssl_done, gss_done: such a request was answered before on this
 * connection. */
struct startup_packet startup_read(struct slice data, bool ssl_done, bool gss_done);

#endif
