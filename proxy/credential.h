/* What is known of a user's secret: enough to log in as that user once more, and no more than that. */
#ifndef PROXY_CREDENTIAL_H
#define PROXY_CREDENTIAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/slice.h"
#include "protocol/crypto.h"

enum credential_kind {
    CREDENTIAL_NONE,     /* nothing is known, or nothing was kept */
    CREDENTIAL_TRUST,    /* the server asked for nothing */
    CREDENTIAL_PASSWORD, /* the password itself: answers every challenge */
    CREDENTIAL_MD5,      /* "md5" and 32 digits as in pg_authid: answers md5 only */
    CREDENTIAL_SCRAM_KEY /* ClientKey: answers SCRAM-SHA-256 while the user's verifier is the same */
};

/* Longer passwords are not kept. */
#define CREDENTIAL_TEXT_BYTES 1024

/* A plain value: copy it by assignment, wipe every copy. */
struct credential {
    enum credential_kind kind;
    bool has_server_key;
    char text[CREDENTIAL_TEXT_BYTES]; /* PASSWORD, MD5 */
    uint8_t client_key[CRYPTO_SHA256_BYTES];
    uint8_t server_key[CRYPTO_SHA256_BYTES]; /* if known: the server must prove that it has it */
};

/* PASSWORD; NONE for an empty text, and (returning false) for one that is too long. */
bool credential_set_password(struct credential *c, struct slice password);
/* SCRAM_KEY. server_key: NULL: unknown */
void credential_set_keys(struct credential *c, const uint8_t client_key[CRYPTO_SHA256_BYTES],
                         const uint8_t *server_key);
/* MD5, when the text is what pg_authid holds for a user with an md5 password. */
MUST_USE bool credential_set_md5(struct credential *c, struct slice text);
/* The response to AuthenticationMD5Password; false: this credential cannot give it. */
MUST_USE bool credential_answer_md5(const struct credential *c, struct slice user,
                                    struct slice salt, char out[CRYPTO_MD5_ANSWER_BYTES]);
/* "a password", for the log. */
const char *credential_kind_name(enum credential_kind kind);
/* Zeroes all of it: NONE. */
void credential_wipe(struct credential *c);

#endif
