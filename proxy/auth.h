/* What authentication needs to know of one login; session_auth.c says what happens with it. */
#ifndef PROXY_AUTH_H
#define PROXY_AUTH_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "protocol/server_msg.h"

#include "auth_record.h"

struct auth_exchange;
struct control_ask;

struct auth {
    bool is_open;                   /* messages of the client may pass */
    bool cannot_bind;               /* a client that does will fail (topology.h) */
    bool is_stripped;               /* the client's list has no PLUS that the server's has */
    struct auth_exchange *exchange; /* owns; NULL: the login is relayed */
    struct auth_record record;      /* of a relayed login whose secret is to be kept */
    struct control_ask *ask;        /* for the verifier, under way */
    bool has_asked;
    bool has_verifier;   /* the answer came, or none will */
    struct buf verifier; /* the text; wiped */
};

/* keeps  the login's secret is to be kept */
void auth_init(struct auth *a, bool keeps);
void auth_fini(struct auth *a);
/* The session ends: an ask under way gets no answer. */
void auth_forget(struct auth *a);

/* May a login pass that the server let in without any challenge? Otherwise *err (28000). */
MUST_USE bool auth_check_trust(const struct auth *a, bool allow_trust, struct err *err);
/* Writes the message again without mechanisms that need TLS. False: there is none, or nothing else, or
 * no memory; then the message stays as it is. */
bool auth_write_without_plus(const struct wire_auth *m, struct buf *out);

#endif
