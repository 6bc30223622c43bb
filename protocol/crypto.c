/* OpenSSL 3 behind a handful of functions. The one-call forms (EVP_Digest, HMAC) are used where the
 * data is in one piece; they keep no state, so nothing here has a life or a lock.
 *
 * Base64 is our own: EVP_DecodeBlock skips white space, counts padding as data and takes texts that
 * SCRAM must refuse. It need not be constant in time: what SCRAM encodes is sent in the clear. */
#include "protocol/crypto.h"

#include <limits.h>
#include <string.h>

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <openssl/rand.h>

bool crypto_sha256(struct slice data, uint8_t out[CRYPTO_SHA256_BYTES])
{
    return EVP_Digest(data.data, data.len, out, NULL, EVP_sha256(), NULL) == 1;
}

bool crypto_hmac_sha256(struct slice key, const struct slice *parts, size_t count,
                        uint8_t out[CRYPTO_SHA256_BYTES])
{
    char digest[] = "SHA256";
    OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
                           OSSL_PARAM_construct_end()};
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = mac == NULL ? NULL : EVP_MAC_CTX_new(mac);
    const unsigned char *k = (const unsigned char *)(key.len == 0 ? "" : key.data);
    size_t length = 0;
    bool ok = ctx != NULL && EVP_MAC_init(ctx, k, key.len, params) == 1;
    for (size_t i = 0; ok && i < count; i++)
        ok = EVP_MAC_update(ctx, (const unsigned char *)parts[i].data, parts[i].len) == 1;
    ok = ok && EVP_MAC_final(ctx, out, &length, CRYPTO_SHA256_BYTES) == 1;
    EVP_MAC_CTX_free(ctx);
    EVP_MAC_free(mac);
    return ok && length == CRYPTO_SHA256_BYTES;
}

bool crypto_pbkdf2_sha256(struct slice password, struct slice salt, uint32_t iterations,
                          uint8_t out[CRYPTO_SHA256_BYTES])
{
    if (iterations == 0 || iterations > INT_MAX || password.len > INT_MAX || salt.len > INT_MAX)
        return false;
    return PKCS5_PBKDF2_HMAC(password.len == 0 ? "" : password.data, (int)password.len,
                             (const unsigned char *)salt.data, (int)salt.len, (int)iterations,
                             EVP_sha256(), CRYPTO_SHA256_BYTES, out) == 1;
}

/* Key, nonce and what the text is about, the same for both directions. */
static EVP_CIPHER_CTX *begin_gcm(bool encrypt, const uint8_t *key, const uint8_t *nonce,
                                 struct slice about)
{
    int n;
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (ctx != NULL && about.len <= INT_MAX &&
        EVP_CipherInit_ex2(ctx, EVP_aes_256_gcm(), key, nonce, encrypt, NULL) == 1 &&
        EVP_CipherUpdate(ctx, NULL, &n, (const unsigned char *)about.data, (int)about.len) == 1)
        return ctx;
    EVP_CIPHER_CTX_free(ctx);
    return NULL;
}

bool crypto_seal(const uint8_t key[CRYPTO_KEY_BYTES], const uint8_t nonce[CRYPTO_NONCE_BYTES],
                 struct slice about, struct slice text, uint8_t *out, uint8_t tag[CRYPTO_TAG_BYTES])
{
    int n;
    EVP_CIPHER_CTX *ctx = text.len > INT_MAX ? NULL : begin_gcm(true, key, nonce, about);
    bool ok =
        ctx != NULL &&
        EVP_CipherUpdate(ctx, out, &n, (const unsigned char *)text.data, (int)text.len) == 1 &&
        EVP_CipherFinal_ex(ctx, out + n, &n) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, CRYPTO_TAG_BYTES, tag) == 1;
    EVP_CIPHER_CTX_free(ctx);
    return ok;
}

bool crypto_open(const uint8_t key[CRYPTO_KEY_BYTES], const uint8_t nonce[CRYPTO_NONCE_BYTES],
                 struct slice about, struct slice sealed, const uint8_t tag[CRYPTO_TAG_BYTES],
                 uint8_t *out)
{
    int n;
    EVP_CIPHER_CTX *ctx = sealed.len > INT_MAX ? NULL : begin_gcm(false, key, nonce, about);
    bool ok =
        ctx != NULL &&
        EVP_CipherUpdate(ctx, out, &n, (const unsigned char *)sealed.data, (int)sealed.len) == 1 &&
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, CRYPTO_TAG_BYTES, (void *)tag) == 1 &&
        EVP_CipherFinal_ex(ctx, out + n, &n) == 1;
    EVP_CIPHER_CTX_free(ctx);
    if (!ok)
        OPENSSL_cleanse(out, sealed.len);
    return ok;
}

static void put_hex(const uint8_t *bytes, size_t count, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
    out[2 * count] = '\0';
}

bool crypto_md5_hex(const struct slice *parts, size_t count, char out[CRYPTO_MD5_HEX_BYTES])
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool ok = ctx != NULL && EVP_DigestInit_ex(ctx, EVP_md5(), NULL) == 1;
    for (size_t i = 0; ok && i < count; i++)
        ok = EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) == 1;
    ok = ok && EVP_DigestFinal_ex(ctx, digest, NULL) == 1;
    EVP_MD_CTX_free(ctx);
    if (ok)
        put_hex(digest, 16, out);
    crypto_wipe(digest, sizeof digest);
    return ok;
}

bool crypto_md5_answer(struct slice user, struct slice password, struct slice salt,
                       char out[CRYPTO_MD5_ANSWER_BYTES])
{
    char inner[CRYPTO_MD5_HEX_BYTES];
    struct slice first[] = {password, user};
    bool ok = crypto_md5_hex(first, 2, inner);
    struct slice second[] = {slice_of(inner, CRYPTO_MD5_HEX_BYTES - 1), salt};
    memcpy(out, "md5", 3);
    ok = ok && crypto_md5_hex(second, 2, out + 3);
    crypto_wipe(inner, sizeof inner);
    return ok;
}

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool crypto_base64_write(struct buf *out, struct slice bytes)
{
    const unsigned char *p = (const unsigned char *)bytes.data;
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = bytes.len - i < 3 ? bytes.len - i : 3;
        uint32_t group = (uint32_t)p[i] << 16;
        group |= n > 1 ? (uint32_t)p[i + 1] << 8 : 0;
        group |= n > 2 ? p[i + 2] : 0;
        char four[4] = {'=', '=', '=', '='};
        for (size_t j = 0; j <= n; j++)
            four[j] = base64_alphabet[group >> (18 - 6 * j) & 63];
        buf_append(out, four, 4);
    }
    return !out->failed;
}

/* Value of a character, 64 for one that is not of the alphabet. */
static uint32_t base64_value(char c)
{
    const char *at = c == '\0' ? NULL : strchr(base64_alphabet, c);
    return at == NULL ? 64 : (uint32_t)(at - base64_alphabet);
}

bool crypto_base64_read(struct buf *out, struct slice text)
{
    if (text.len % 4 != 0)
        return false;
    for (size_t i = 0; i < text.len; i += 4) {
        const char *four = text.data + i;
        bool last = i + 4 == text.len;
        size_t digits = last && four[3] == '=' ? (four[2] == '=' ? 2 : 3) : 4;
        uint32_t group = 0;
        for (size_t j = 0; j < 4; j++) {
            uint32_t value = j < digits ? base64_value(four[j]) : 0;
            if (value == 64)
                return false;
            group = group << 6 | value;
        }
        char three[3] = {(char)(group >> 16), (char)(group >> 8), (char)group};
        if ((digits == 2 && (group & 0xffff) != 0) || (digits == 3 && (group & 0xff) != 0))
            return false;
        buf_append(out, three, digits - 1);
    }
    return !out->failed;
}

bool crypto_random(void *out, size_t bytes)
{
    return bytes <= INT_MAX && RAND_bytes(out, (int)bytes) == 1;
}

bool crypto_equals(const void *a, const void *b, size_t bytes)
{
    return CRYPTO_memcmp(a, b, bytes) == 0;
}

void crypto_wipe(void *data, size_t bytes)
{
    if (data != NULL)
        OPENSSL_cleanse(data, bytes);
}

void crypto_wipe_buf(struct buf *b)
{
    crypto_wipe(b->data, b->capacity);
    buf_clear(b);
}
