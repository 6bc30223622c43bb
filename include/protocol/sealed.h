/* Secrets at rest: encrypted by the proxy before the database sees them, decrypted by jobs.
 *
 * A sealed value is text, "sealed:v1:" and base64 of nonce, tag and AES-256-GCM ciphertext. It is bound
 * to the name of the option whose value it is, so that one value cannot be put in another's place. */
#ifndef PROTOCOL_SEALED_H
#define PROTOCOL_SEALED_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "protocol/crypto.h"

struct sealed_key {
    uint8_t bytes[CRYPTO_KEY_BYTES];
};

/* 64 hexadecimal digits, white space around them. False: something else. */
MUST_USE bool sealed_key_read(struct slice text, struct sealed_key *out);

/* Appends the sealed form of the value of option `name`. Errors: 53200, XX000 */
MUST_USE bool sealed_write(const struct sealed_key *key, const char *name, struct slice value,
                           struct buf *out, struct err *err);
bool sealed_is(struct slice text);
/* Appends the value. key may be NULL. Errors: 55000 no key, or not the one it was sealed with */
MUST_USE bool sealed_read(const struct sealed_key *key, const char *name, struct slice text,
                          struct buf *out, struct err *err);

#endif
