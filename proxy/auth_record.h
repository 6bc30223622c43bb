/* What a relayed login shows of the user's secret to who looks on. */
#ifndef PROXY_AUTH_RECORD_H
#define PROXY_AUTH_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/slice.h"
#include "credential.h"
#include "protocol/server_msg.h"

struct auth_record {
    bool is_on;      /* else nothing is written down */
    uint32_t method; /* enum wire_auth_kind of the server's first challenge; 0: none came */
    bool is_damaged; /* something did not fit */
    char salt[4];    /* md5 */
    struct buf
        first; /* of the client: SCRAM's first message, or its answer; wiped, like the next */
    struct buf challenge;
    struct buf final;
};

void auth_record_init(struct auth_record *r);
void auth_record_fini(struct auth_record *r);
/* A challenge of the server. */
void auth_record_on_server(struct auth_record *r, const struct wire_auth *m);
/* A 'p' of the client. */
void auth_record_on_client(struct auth_record *r, struct slice body);
/* Can the secret only be had with what pg_authid holds for the user? */
bool auth_record_needs_verifier(const struct auth_record *r);
/* The credential of a login that has succeeded. False: it cannot be had; *c is NONE then.
 * verifier  as in pg_authid; empty when unknown
 * keeps_password  a password that came in clear text may be kept */
MUST_USE bool auth_record_make(const struct auth_record *r, struct slice user,
                               struct slice verifier, bool keeps_password, struct credential *c);

#endif
