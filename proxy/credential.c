/* A secret as a value. Which challenge of a server it answers:
 *
 *              trust   password   md5   SCRAM-SHA-256
 *   TRUST        x
 *   PASSWORD     x        x        x         x
 *   MD5          x                 x
 *   SCRAM_KEY    x                           x
 *
 * The md5 hash of pg_authid is md5(password user): who has it can answer every md5 challenge, so it
 * is as good as the password for that method. ClientKey is what a SCRAM proof is made of; it is good
 * as long as the user's verifier in the server is the one that it belongs to. */
#include "credential.h"

#include <string.h>

#define MD5_TEXT_BYTES 35 /* "md5" and 32 digits */

bool credential_set_password(struct credential *c, struct slice password)
{
    credential_wipe(c);
    if (password.len >= sizeof c->text || slice_find_byte(password, '\0') < password.len)
        return false;
    if (password.len == 0)
        return true;
    c->kind = CREDENTIAL_PASSWORD;
    memcpy(c->text, password.data, password.len);
    return true;
}

void credential_set_keys(struct credential *c, const uint8_t client_key[CRYPTO_SHA256_BYTES],
                         const uint8_t *server_key)
{
    credential_wipe(c);
    c->kind = CREDENTIAL_SCRAM_KEY;
    memcpy(c->client_key, client_key, sizeof c->client_key);
    c->has_server_key = server_key != NULL;
    if (server_key != NULL)
        memcpy(c->server_key, server_key, sizeof c->server_key);
}

bool credential_set_md5(struct credential *c, struct slice text)
{
    credential_wipe(c);
    if (text.len != MD5_TEXT_BYTES || !slice_starts_with(text, "md5"))
        return false;
    for (size_t i = 3; i < text.len; i++)
        if (strchr("0123456789abcdef", text.data[i]) == NULL || text.data[i] == '\0')
            return false;
    c->kind = CREDENTIAL_MD5;
    memcpy(c->text, text.data, text.len);
    return true;
}

bool credential_answer_md5(const struct credential *c, struct slice user, struct slice salt,
                           char out[CRYPTO_MD5_ANSWER_BYTES])
{
    struct slice text = slice_cstr(c->text);
    if (c->kind == CREDENTIAL_PASSWORD)
        return crypto_md5_answer(user, text, salt, out);
    if (c->kind != CREDENTIAL_MD5)
        return false;
    struct slice parts[] = {slice_part(text, 3, text.len), salt};
    memcpy(out, "md5", 3);
    return crypto_md5_hex(parts, 2, out + 3);
}

const char *credential_kind_name(enum credential_kind kind)
{
    static const char *const names[] = {
        [CREDENTIAL_NONE] = "nothing",          [CREDENTIAL_TRUST] = "the server's trust",
        [CREDENTIAL_PASSWORD] = "a password",   [CREDENTIAL_MD5] = "an md5 hash",
        [CREDENTIAL_SCRAM_KEY] = "a SCRAM key",
    };
    return names[kind];
}

void credential_wipe(struct credential *c)
{
    crypto_wipe(c, sizeof *c);
}
