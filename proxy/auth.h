/* What a relayed login must show. */
#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

struct auth {
    bool allow_trust; /* setting allow_trust_backend */
    bool is_open; /* the server asked for a proof of identity, or may trust: messages may pass */
};

/* Reads an Authentication message ('R', its body). False: the login is refused, *err says why
 * (28000), and the client must not get the message. */
bool auth_on_message(struct auth *a, struct slice body, struct err *err);

#endif
