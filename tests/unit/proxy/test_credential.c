/* What a credential answers and what it refuses, and that nothing is left of it. */
#include "credential.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static const struct credential zeroes;

static void test_password(void **state)
{
    (void)state;
    struct credential c;
    static char longest[CREDENTIAL_TEXT_BYTES];
    memset(longest, 'x', sizeof longest);
    assert_true(credential_set_password(&c, slice_cstr("pencil")));
    assert_int_equal(c.kind, CREDENTIAL_PASSWORD);
    assert_string_equal(c.text, "pencil");
    assert_true(credential_set_password(&c, slice_of(NULL, 0)));
    assert_memory_equal(&c, &zeroes, sizeof c);
    assert_true(credential_set_password(&c, slice_of(longest, sizeof longest - 1)));
    assert_int_equal(strlen(c.text), sizeof longest - 1);
    assert_false(credential_set_password(&c, slice_of(longest, sizeof longest)));
    assert_memory_equal(&c, &zeroes, sizeof c);
    assert_false(credential_set_password(&c, slice_of("a\0b", 3)));
    assert_int_equal(c.kind, CREDENTIAL_NONE);
}

static void test_keys(void **state)
{
    (void)state;
    struct credential c;
    uint8_t client[CRYPTO_SHA256_BYTES];
    uint8_t server[CRYPTO_SHA256_BYTES];
    memset(client, 1, sizeof client);
    memset(server, 2, sizeof server);
    credential_set_keys(&c, client, server);
    assert_int_equal(c.kind, CREDENTIAL_SCRAM_KEY);
    assert_true(c.has_server_key);
    assert_memory_equal(c.client_key, client, sizeof client);
    assert_memory_equal(c.server_key, server, sizeof server);
    credential_set_keys(&c, client, NULL);
    assert_false(c.has_server_key);
    assert_memory_equal(c.server_key, zeroes.server_key, sizeof server);
    credential_wipe(&c);
    assert_memory_equal(&c, &zeroes, sizeof c);
}

/* The hash of password "geheim" of user "anna" answers as the password does. */
static void test_md5(void **state)
{
    (void)state;
    struct credential by_hash;
    struct credential by_password;
    char inner[CRYPTO_MD5_HEX_BYTES];
    char text[64];
    char a[CRYPTO_MD5_ANSWER_BYTES];
    char b[CRYPTO_MD5_ANSWER_BYTES];
    struct slice parts[] = {slice_cstr("geheim"), slice_cstr("anna")};
    struct slice salt = slice_of("\0\1\2\377", 4);
    assert_true(crypto_md5_hex(parts, 2, inner));
    snprintf(text, sizeof text, "md5%s", inner);
    assert_true(credential_set_md5(&by_hash, slice_cstr(text)));
    assert_true(credential_set_password(&by_password, slice_cstr("geheim")));
    assert_true(credential_answer_md5(&by_hash, slice_cstr("anna"), salt, a));
    assert_true(credential_answer_md5(&by_password, slice_cstr("anna"), salt, b));
    assert_string_equal(a, b);
    credential_set_keys(&by_hash, zeroes.client_key, NULL);
    assert_false(credential_answer_md5(&by_hash, slice_cstr("anna"), salt, a));
}

static void test_md5_texts(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "md5",
        "md5900150983cd24fb0d6963f7d28e17f7",
        "md5900150983cd24fb0d6963f7d28e17f722",
        "MD5900150983cd24fb0d6963f7d28e17f72",
        "md5900150983CD24FB0D6963F7D28E17F72",
        "md5900150983cd24fb0d6963f7d28e17f7g",
        "SCRAM-SHA-256$4096:c2FsdA==$x:y",
    };
    struct credential c;
    assert_true(credential_set_md5(&c, slice_cstr("md5900150983cd24fb0d6963f7d28e17f72")));
    assert_int_equal(c.kind, CREDENTIAL_MD5);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(credential_set_md5(&c, slice_cstr(bad[i])));
        assert_memory_equal(&c, &zeroes, sizeof c);
    }
    assert_false(credential_set_md5(&c, slice_of("md5900150983cd24fb0d6963f7d28e17f\0", 35)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_password),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_md5),
        cmocka_unit_test(test_md5_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
