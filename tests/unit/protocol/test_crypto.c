/* Published vectors: FIPS 180-2, RFC 4231, RFC 7914 section 11, RFC 1321, RFC 4648. */
#include "protocol/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const char *hex(const uint8_t *bytes)
{
    static char text[2 * CRYPTO_SHA256_BYTES + 1];
    for (size_t i = 0; i < CRYPTO_SHA256_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", bytes[i]);
    return text;
}

static void test_sha256(void **state)
{
    (void)state;
    uint8_t out[CRYPTO_SHA256_BYTES];
    assert_true(crypto_sha256(slice_cstr("abc"), out));
    assert_string_equal(hex(out),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_true(crypto_sha256(slice_of("", 0), out));
    assert_string_equal(hex(out),
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

static void test_hmac(void **state)
{
    (void)state;
    uint8_t out[CRYPTO_SHA256_BYTES];
    struct slice parts[] = {slice_cstr("what do ya want "), slice_cstr("for nothing?")};
    assert_true(crypto_hmac_sha256(slice_cstr("Jefe"), parts, 2, out));
    assert_string_equal(hex(out),
                        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
    assert_true(crypto_hmac_sha256(slice_of("", 0), NULL, 0, out));
    assert_string_equal(hex(out),
                        "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

static void test_pbkdf2(void **state)
{
    (void)state;
    uint8_t out[CRYPTO_SHA256_BYTES];
    assert_true(crypto_pbkdf2_sha256(slice_cstr("passwd"), slice_cstr("salt"), 1, out));
    assert_string_equal(hex(out),
                        "55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc");
    assert_false(crypto_pbkdf2_sha256(slice_cstr("passwd"), slice_cstr("salt"), 0, out));
    assert_true(crypto_pbkdf2_sha256(slice_of(NULL, 0), slice_cstr("salt"), 1, out));
}

static void test_md5(void **state)
{
    (void)state;
    char out[CRYPTO_MD5_HEX_BYTES];
    char answer[CRYPTO_MD5_ANSWER_BYTES];
    struct slice text = slice_cstr("abc");
    assert_true(crypto_md5_hex(&text, 1, out));
    assert_string_equal(out, "900150983cd24fb0d6963f7d28e17f72");
    assert_true(crypto_md5_answer(slice_cstr("user"), slice_cstr("secret"),
                                  slice_of("\x01\x02\x03\x04", 4), answer));
    /* python3: 'md5' + md5(md5(b'secretuser').hexdigest().encode() + bytes([1,2,3,4])).hexdigest() */
    assert_string_equal(answer, "md5fccef98e4f1cf6cbe96b743fad4e8bd0");
}

static void test_base64(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {{"", ""},
                                           {"f", "Zg=="},
                                           {"fo", "Zm8="},
                                           {"foo", "Zm9v"},
                                           {"foob", "Zm9vYg=="},
                                           {"fooba", "Zm9vYmE="},
                                           {"foobar", "Zm9vYmFy"}};
    struct buf b;
    buf_init(&b, 64);
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        buf_clear(&b);
        assert_true(crypto_base64_write(&b, slice_cstr(pairs[i][0])));
        assert_true(slice_equals_cstr(buf_slice(&b), pairs[i][1]));
        buf_clear(&b);
        assert_true(crypto_base64_read(&b, slice_cstr(pairs[i][1])));
        assert_true(slice_equals_cstr(buf_slice(&b), pairs[i][0]));
    }
    buf_fini(&b);
}

static void test_base64_refuses(void **state)
{
    (void)state;
    static const char *const bad[] = {"Z",    "Zg",   "Zg=",   "Zh==", "Zm9=", "Zg==Zg==", "Z===",
                                      "====", "Zm9 ", "Zm\n9", "Zm-_", "=m9v", "Zm=v"};
    struct buf b;
    buf_init(&b, 64);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (crypto_base64_read(&b, slice_cstr(bad[i])))
            fail_msg("\"%s\" was read as base64", bad[i]);
    assert_false(crypto_base64_read(&b, slice_of("Zg\0=", 4)));
    buf_fini(&b);
    buf_init(&b, 2);
    assert_false(crypto_base64_read(&b, slice_cstr("Zm9v")));
    buf_fini(&b);
}

static void test_random_equals_wipe(void **state)
{
    (void)state;
    uint8_t a[16] = {0};
    uint8_t b[16] = {0};
    assert_true(crypto_random(a, sizeof a));
    assert_false(crypto_equals(a, b, sizeof a));
    crypto_wipe(a, sizeof a);
    assert_true(crypto_equals(a, b, sizeof a));
    struct buf secret;
    buf_init(&secret, 64);
    buf_append_cstr(&secret, "secret");
    const char *data = buf_data(&secret);
    crypto_wipe_buf(&secret);
    assert_int_equal(data[0], 0);
    assert_int_equal(buf_length(&secret), 0);
    buf_fini(&secret);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sha256),
        cmocka_unit_test(test_hmac),
        cmocka_unit_test(test_pbkdf2),
        cmocka_unit_test(test_md5),
        cmocka_unit_test(test_base64),
        cmocka_unit_test(test_base64_refuses),
        cmocka_unit_test(test_random_equals_wipe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
