/* A SCRAM login that ends at the proxy: one exchange with the client, with the user's verifier, and one
 * with the server, with the key that the client's proof reveals. Bytes in, bytes out: no sockets. */
#ifndef PROXY_AUTH_EXCHANGE_H
#define PROXY_AUTH_EXCHANGE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "credential.h"
#include "protocol/server_msg.h"

struct auth_exchange;

/* What comes of a message. Each may write to the buffer that it is given. */
enum auth_outcome {
    AUTH_TAKEN,   /* it ends here; what is to be sent stands in the buffer */
    AUTH_FORWARD, /* it goes to the server as it is */
    AUTH_WAIT,    /* not yet: the other side or the verifier first; it must come again */
    AUTH_REFUSED  /* *err is the client's FATAL error */
};

/* user, and end_point: the hash of our certificate on the client's connection, empty: it is not TLS;
 * both are copied. NULL: no memory. */
MUST_USE struct auth_exchange *auth_exchange_new(struct slice user, struct slice end_point);
void auth_exchange_free(struct auth_exchange *x); /* NULL: nothing */

/* The AuthenticationSASL that the client gets in place of the server's. */
MUST_USE bool auth_exchange_offer(const struct auth_exchange *x, struct buf *to_client);
/* The server offers PLUS, and its certificate has this hash: our own login binds to it. Before the
 * client's first message. */
void auth_exchange_bind_server(struct auth_exchange *x, struct slice end_point);
/* What pg_authid holds for the user: a SCRAM verifier, or anything else, for which no proof is right.
 * Once, at any time. */
void auth_exchange_set_verifier(struct auth_exchange *x, struct slice text);

/* May a message of this kind be looked at now? TAKEN: yes, give it to auth_exchange_on_client, whole.
 * FORWARD: it is none that we understand, the server will judge it. */
enum auth_outcome auth_exchange_on_header(struct auth_exchange *x, char type, uint32_t body_bytes);
/* A 'p' of the client. */
enum auth_outcome auth_exchange_on_client(struct auth_exchange *x, struct slice body,
                                          struct buf *to_server, struct err *err);
/* An Authentication message of the server, behind its AuthenticationSASL. FORWARD: to the client. */
enum auth_outcome auth_exchange_on_server(struct auth_exchange *x, const struct wire_auth *m,
                                          struct buf *to_client, struct err *err);
/* What the client proved, from its ACCEPTED end on; false: nothing yet. */
bool auth_exchange_get_credential(const struct auth_exchange *x, struct credential *c);

#endif
