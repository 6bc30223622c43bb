#include "protocol/sealed.h"

#include <string.h>

#define SEALED_PREFIX "sealed:v1:"
#define SEALED_PREFIX_BYTES (sizeof SEALED_PREFIX - 1)
#define SEALED_HEAD_BYTES (CRYPTO_NONCE_BYTES + CRYPTO_TAG_BYTES)
#define SEALED_MAX_BYTES ((size_t)1 << 20)

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool sealed_key_read(struct slice text, struct sealed_key *out)
{
    text = slice_trim(text);
    if (text.len != 2 * sizeof out->bytes)
        return false;
    for (size_t i = 0; i < sizeof out->bytes; i++) {
        int high = digit(text.data[2 * i]), low = digit(text.data[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

/* nonce, tag, ciphertext */
static bool seal(const struct sealed_key *key, const char *name, struct slice value,
                 struct buf *out)
{
    uint8_t *space = (uint8_t *)buf_reserve(out, SEALED_HEAD_BYTES + value.len);
    if (space == NULL || !crypto_random(space, CRYPTO_NONCE_BYTES) ||
        !crypto_seal(key->bytes, space, slice_cstr(name), value, space + SEALED_HEAD_BYTES,
                     space + CRYPTO_NONCE_BYTES))
        return false;
    buf_commit(out, SEALED_HEAD_BYTES + value.len);
    return true;
}

bool sealed_write(const struct sealed_key *key, const char *name, struct slice value,
                  struct buf *out, struct err *err)
{
    struct buf raw;
    buf_init(&raw, SEALED_MAX_BYTES);
    bool ok = seal(key, name, value, &raw);
    buf_append_cstr(out, SEALED_PREFIX);
    ok = ok && crypto_base64_write(out, buf_slice(&raw));
    buf_fini(&raw);
    return ok || err_set(err, SQLSTATE_INTERNAL_ERROR, "could not encrypt option \"%s\"", name);
}

bool sealed_is(struct slice text)
{
    return slice_starts_with(text, SEALED_PREFIX);
}

static bool open_sealed(const struct sealed_key *key, const char *name, struct slice raw,
                        struct buf *out)
{
    if (raw.len < SEALED_HEAD_BYTES)
        return false;
    const uint8_t *bytes = (const uint8_t *)raw.data;
    struct slice sealed = slice_part(raw, SEALED_HEAD_BYTES, raw.len);
    uint8_t *space = (uint8_t *)buf_reserve(out, sealed.len + 1);
    if (space == NULL || !crypto_open(key->bytes, bytes, slice_cstr(name), sealed,
                                      bytes + CRYPTO_NONCE_BYTES, space))
        return false;
    buf_commit(out, sealed.len);
    return true;
}

bool sealed_read(const struct sealed_key *key, const char *name, struct slice text, struct buf *out,
                 struct err *err)
{
    struct buf raw;
    if (key == NULL) {
        err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE, "option \"%s\" is encrypted", name);
        return err_hint(err, "The setting \"secret_key_file\" names the file with its key.");
    }
    buf_init(&raw, SEALED_MAX_BYTES);
    text = slice_part(text, SEALED_PREFIX_BYTES, text.len);
    bool ok = crypto_base64_read(&raw, text) && open_sealed(key, name, buf_slice(&raw), out);
    buf_fini(&raw);
    if (ok)
        return true;
    err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "option \"%s\" was not encrypted with the key in \"secret_key_file\"", name);
    return err_hint(err, "Set it again, or use the key that it was encrypted with.");
}
