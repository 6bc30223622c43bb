/* Networks: addresses with the number of leading bits that count. */
#ifndef PROXY_NETWORK_H
#define PROXY_NETWORK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

/* IPv4 lies in IPv6 as ::ffff:a.b.c.d, so that a dual-stack socket's peers compare too. */
struct network {
    uint8_t address[16];
    unsigned bits; /* 0 to 128 */
};

#define NETWORK_MAX_LIST 64
struct network_list {
    struct network items[NETWORK_MAX_LIST];
    size_t count;
};

/* "10.0.0.0/8, 192.0.2.7, fd00::/8"; empty: none.
 * Errors  F0000 no address, a number of bits that cannot be, bits set behind them, too many */
MUST_USE bool network_read_list(struct slice text, struct network_list *out, struct err *err);
/* False for what is neither IPv4 nor IPv6. */
bool network_list_contains(const struct network_list *list, const struct sockaddr_storage *peer);

#endif
