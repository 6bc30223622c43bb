/* The header of the PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt): what a balancer sends in
 * front of a connection to tell whose it is. Pure: bytes in, verdict out. */
#ifndef PROXY_PROXY_HEADER_H
#define PROXY_PROXY_HEADER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "base/slice.h"

/* Longer ones are refused; balancers send some hundred bytes at most. */
#define PROXY_HEADER_MAX_BYTES ((size_t)4096)

enum proxy_header_verdict {
    PROXY_HEADER_INCOMPLETE, /* read on */
    PROXY_HEADER_OK,
    PROXY_HEADER_BAD /* no such header, or a damaged one: close the connection */
};

struct proxy_header {
    size_t bytes;     /* of the whole header */
    bool has_address; /* else the connection is the balancer's own (a health check), or of a kind
                         without one */
    struct sockaddr_storage source;
};

enum proxy_header_verdict proxy_header_read(struct slice data, struct proxy_header *out);

#endif
