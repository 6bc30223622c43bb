/* Secrets at rest: a published vector of AES-256-GCM, there and back, and everything that must not open. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "protocol/sealed.h"

#define KEY_TEXT "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static struct sealed_key key;
static struct err err;

/* "The Galois/Counter Mode of Operation" (McGrew, Viega), test case 14. */
static void test_vector(void **state)
{
    (void)state;
    const uint8_t zero[32] = {0};
    const uint8_t text[] = "\xce\xa7\x40\x3d\x4d\x60\x6b\x6e\x07\x4e\xc5\xd3\xba\xf3\x9d\x18";
    const uint8_t want[] = "\xd0\xd1\xc8\xa7\x99\x99\x6b\xf0\x26\x5b\x98\xb5\xd4\x8a\xb9\x19";
    uint8_t out[16], tag[16];
    assert_true(
        crypto_seal(zero, zero, slice_cstr(""), slice_of((const char *)zero, 16), out, tag));
    assert_memory_equal(out, text, 16);
    assert_memory_equal(tag, want, 16);
    assert_true(
        crypto_open(zero, zero, slice_cstr(""), slice_of((const char *)text, 16), tag, out));
    assert_memory_equal(out, zero, 16);
    tag[3] ^= 1;
    assert_false(
        crypto_open(zero, zero, slice_cstr(""), slice_of((const char *)text, 16), tag, out));
}

static void test_keys(void **state)
{
    (void)state;
    struct sealed_key k;
    assert_true(sealed_key_read(slice_cstr(" " KEY_TEXT "\n"), &k));
    assert_int_equal(k.bytes[31], 0x1f);
    assert_false(sealed_key_read(slice_cstr(""), &k));
    assert_false(sealed_key_read(slice_cstr(KEY_TEXT "00"), &k));
    assert_false(sealed_key_read(slice_cstr("x" KEY_TEXT), &k));
    assert_false(sealed_key_read(slice_of("g" KEY_TEXT, 64), &k));
}

static void expect_back(const char *value)
{
    struct buf sealed, back;
    buf_init(&sealed, 1 << 20);
    buf_init(&back, 1 << 20);
    assert_true(sealed_write(&key, "secret_access_key", slice_cstr(value), &sealed, &err));
    assert_true(sealed_is(buf_slice(&sealed)));
    if (value[0] != '\0')
        assert_null(strstr(buf_cstr(&sealed), value));
    assert_true(sealed_read(&key, "secret_access_key", buf_slice(&sealed), &back, &err));
    assert_string_equal(buf_cstr(&back), value);
    buf_fini(&sealed);
    buf_fini(&back);
}

static void test_back(void **state)
{
    (void)state;
    expect_back("");
    expect_back("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    expect_back("\xc3\xa9 with spaces");
}

static void expect_closed(const struct sealed_key *k, const char *name, struct slice text)
{
    struct buf back;
    buf_init(&back, 1 << 20);
    assert_false(sealed_read(k, name, text, &back, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE);
    assert_int_equal(buf_length(&back), 0);
    buf_fini(&back);
}

static void test_closed(void **state)
{
    (void)state;
    struct buf sealed;
    struct sealed_key other = key;
    other.bytes[0] ^= 1;
    buf_init(&sealed, 1 << 20);
    assert_true(sealed_write(&key, "secret_access_key", slice_cstr("geheim"), &sealed, &err));
    struct slice text = buf_slice(&sealed);
    expect_closed(NULL, "secret_access_key", text);
    expect_closed(&other, "secret_access_key", text);
    expect_closed(&key, "access_key", text); /* another option's value */
    expect_closed(&key, "secret_access_key", slice_part(text, 0, text.len - 4));
    expect_closed(&key, "secret_access_key", slice_cstr("sealed:v1:"));
    expect_closed(&key, "secret_access_key", slice_cstr("sealed:v1:!!!!"));
    for (size_t i = sizeof "sealed:v1:"; i < text.len; i += 7) {
        char *c = sealed.data + sealed.start + i, before = *c;
        *c = before == 'A' ? 'B' : 'A';
        expect_closed(&key, "secret_access_key", text);
        *c = before;
    }
    buf_fini(&sealed);
}

/* The same secret twice does not look the same. */
static void test_nonces(void **state)
{
    (void)state;
    struct buf a, b;
    buf_init(&a, 1 << 20);
    buf_init(&b, 1 << 20);
    assert_true(sealed_write(&key, "k", slice_cstr("geheim"), &a, &err));
    assert_true(sealed_write(&key, "k", slice_cstr("geheim"), &b, &err));
    assert_string_not_equal(buf_cstr(&a), buf_cstr(&b));
    buf_fini(&a);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector), cmocka_unit_test(test_keys),   cmocka_unit_test(test_back),
        cmocka_unit_test(test_closed), cmocka_unit_test(test_nonces),
    };
    if (!sealed_key_read(slice_cstr(KEY_TEXT), &key))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
