/* The messages of a login that passes are written down until it has ended; then the secret follows:
 *
 *   none       the server asked for nothing: TRUST
 *   password   the client's answer is the password
 *   md5        the client's answer is md5(hash salt): it shows that the hash of pg_authid is the one that
 *              the user has, so that hash is the secret
 *   SCRAM      ClientKey follows from the proof and the verifier (protocol/scram_verifier.c)
 *
 * An answer that does not belong to the verifier gives nothing: then the login that succeeded was judged
 * by other rules (another server, a password changed in this moment). */
#include "auth_record.h"

#include <string.h>

#include "protocol/client_msg.h"
#include "protocol/scram.h"

void auth_record_init(struct auth_record *r)
{
    *r = (struct auth_record){.is_on = false};
    buf_init(&r->first, 2 * SCRAM_MAX_MESSAGE_BYTES);
    buf_init(&r->challenge, SCRAM_MAX_MESSAGE_BYTES);
    buf_init(&r->final, SCRAM_MAX_MESSAGE_BYTES);
}

void auth_record_fini(struct auth_record *r)
{
    crypto_wipe_buf(&r->first);
    crypto_wipe_buf(&r->final);
    buf_fini(&r->first);
    buf_fini(&r->challenge);
    buf_fini(&r->final);
}

void auth_record_on_server(struct auth_record *r, const struct wire_auth *m)
{
    if (!r->is_on || m->kind == WIRE_AUTH_OK || m->kind == WIRE_AUTH_SASL_FINAL)
        return;
    if (m->kind == WIRE_AUTH_SASL_CONTINUE && r->method == WIRE_AUTH_SASL &&
        buf_length(&r->challenge) == 0) {
        r->is_damaged = !buf_append_slice(&r->challenge, m->data) || r->is_damaged;
        return;
    }
    r->is_damaged = r->is_damaged || r->method != 0; /* asked twice */
    r->method = m->kind;
    if (m->kind == WIRE_AUTH_MD5)
        memcpy(r->salt, m->data.data, sizeof r->salt);
}

/* The data of a SASLInitialResponse for SCRAM. */
static bool take_initial(struct auth_record *r, struct slice body)
{
    struct wire_reader reader;
    struct wire_sasl_initial m;
    wire_reader_init(&reader, body);
    return wire_read_sasl_initial(&reader, &m) && m.has_data &&
           slice_starts_with(m.mechanism, SCRAM_MECHANISM) && buf_append_slice(&r->first, m.data);
}

static bool take_password(struct auth_record *r, struct slice body)
{
    struct wire_reader reader;
    struct wire_password m;
    wire_reader_init(&reader, body);
    return wire_read_password(&reader, &m) && buf_append_slice(&r->first, m.password);
}

void auth_record_on_client(struct auth_record *r, struct slice body)
{
    if (!r->is_on)
        return;
    bool is_sasl = r->method == WIRE_AUTH_SASL;
    bool is_first = buf_length(&r->first) == 0;
    bool ok = is_sasl && is_first ? take_initial(r, body)
              : is_sasl           ? buf_append_slice(&r->final, body)
              : is_first          ? take_password(r, body)
                                  : false;
    r->is_damaged = r->is_damaged || !ok;
}

bool auth_record_needs_verifier(const struct auth_record *r)
{
    return r->is_on && (r->method == WIRE_AUTH_SASL || r->method == WIRE_AUTH_MD5);
}

static bool make_keys(const struct auth_record *r, struct slice text, struct credential *c)
{
    struct scram_messages m = {buf_slice(&r->first), buf_slice(&r->challenge),
                               buf_slice(&r->final)};
    struct scram_verifier v;
    uint8_t key[CRYPTO_SHA256_BYTES];
    if (!scram_verifier_read(text, &v) || !scram_recover_client_key(&v, &m, key))
        return false;
    credential_set_keys(c, key, v.server_key);
    crypto_wipe(key, sizeof key);
    return true;
}

static bool make_md5(const struct auth_record *r, struct slice user, struct slice text,
                     struct credential *c)
{
    char answer[CRYPTO_MD5_ANSWER_BYTES];
    if (!credential_set_md5(c, text))
        return false;
    bool ok = credential_answer_md5(c, user, slice_of(r->salt, sizeof r->salt), answer) &&
              slice_equals_cstr(buf_slice(&r->first), answer);
    if (!ok)
        credential_wipe(c);
    return ok;
}

bool auth_record_make(const struct auth_record *r, struct slice user, struct slice verifier,
                      bool keeps_password, struct credential *c)
{
    credential_wipe(c);
    if (!r->is_on || r->is_damaged)
        return false;
    switch (r->method) {
    case WIRE_AUTH_OK: c->kind = CREDENTIAL_TRUST; return true;
    case WIRE_AUTH_CLEARTEXT:
        return keeps_password && credential_set_password(c, buf_slice(&r->first));
    case WIRE_AUTH_MD5: return make_md5(r, user, verifier, c);
    case WIRE_AUTH_SASL: return make_keys(r, verifier, c);
    default: return false;
    }
}
