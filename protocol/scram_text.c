/* Attributes, numbers, nonces of SCRAM messages. Whatever is not exactly of the RFC's grammar is
 * refused here; nothing is trimmed, skipped or repaired. */
#include "scram_text.h"

#include <stdio.h>
#include <string.h>

bool scram_text_take(struct slice *text, char name, struct slice *value)
{
    if (text->len < 2 || text->data[0] != name || text->data[1] != '=')
        return false;
    size_t comma = slice_find_byte(*text, ',');
    *value = slice_part(*text, 2, comma);
    if (value->len > 0 && memchr(value->data, '\0', value->len) != NULL)
        return false;
    bool more = comma < text->len;
    *text = slice_part(*text, more ? comma + 1 : comma, text->len);
    return !more || text->len > 0; /* a comma with nothing behind it */
}

bool scram_text_read_number(struct slice text, uint32_t max, uint32_t *out)
{
    uint64_t n = 0;
    if (text.len == 0 || text.len > 18 || text.data[0] == '0')
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(text.data[i] - '0');
    }
    *out = (uint32_t)n;
    return n <= max;
}

bool scram_text_read_key(struct slice text, uint8_t out[CRYPTO_SHA256_BYTES])
{
    struct buf raw;
    buf_init(&raw, CRYPTO_SHA256_BYTES);
    bool ok = crypto_base64_read(&raw, text) && buf_length(&raw) == CRYPTO_SHA256_BYTES;
    if (ok)
        memcpy(out, buf_data(&raw), CRYPTO_SHA256_BYTES);
    crypto_wipe_buf(&raw);
    buf_fini(&raw);
    return ok;
}

bool scram_text_take_proof(struct slice *text, uint8_t proof[CRYPTO_SHA256_BYTES])
{
    size_t at = text->len;
    while (at > 0 && text->data[at - 1] != ',')
        at--;
    struct slice last = slice_part(*text, at, text->len);
    struct slice value;
    if (at == 0 || !scram_text_take(&last, 'p', &value) || !scram_text_read_key(value, proof))
        return false;
    *text = slice_part(*text, 0, at - 1);
    return true;
}

bool scram_text_is_nonce(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < 0x21 || text.data[i] > 0x7e || text.data[i] == ',')
            return false;
    return text.len > 0;
}

bool scram_text_make_nonce(char out[SCRAM_NONCE_SIZE], const char *fixed)
{
    uint8_t raw[SCRAM_NONCE_CHARS / 4 * 3];
    struct buf text;
    if (fixed != NULL) {
        snprintf(out, SCRAM_NONCE_SIZE, "%s", fixed);
        return true;
    }
    buf_init(&text, SCRAM_NONCE_CHARS);
    bool ok = crypto_random(raw, sizeof raw) &&
              crypto_base64_write(&text, slice_of((const char *)raw, sizeof raw));
    if (ok)
        memcpy(out, buf_data(&text), SCRAM_NONCE_CHARS);
    out[ok ? SCRAM_NONCE_CHARS : 0] = '\0';
    buf_fini(&text);
    return ok;
}

bool scram_text_malformed(struct err *err, const char *detail)
{
    err_set(err, SQLSTATE_PROTOCOL_VIOLATION, "malformed SCRAM message");
    return err_detail(err, "%s", detail);
}

bool scram_text_no_crypto(struct err *err)
{
    return err_set(err, SQLSTATE_INTERNAL_ERROR, "could not compute a SCRAM key");
}

bool scram_key_sign(const uint8_t key[CRYPTO_SHA256_BYTES], struct slice text,
                    uint8_t out[CRYPTO_SHA256_BYTES])
{
    return crypto_hmac_sha256(slice_of((const char *)key, CRYPTO_SHA256_BYTES), &text, 1, out);
}

void scram_key_xor(uint8_t into[CRYPTO_SHA256_BYTES], const uint8_t with[CRYPTO_SHA256_BYTES])
{
    for (size_t i = 0; i < CRYPTO_SHA256_BYTES; i++)
        into[i] ^= with[i];
}
