/* The exchange of RFC 7677 in the server's role, our client against our server, and hostile messages
 * to both. That our client logs in to PostgreSQL is shown by the tests of proxy/control.c. */
#include "protocol/scram.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define CLIENT_NONCE "rOprNGfwEbeRWgbNEkqO"
#define SERVER_NONCE "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
#define RFC_SALT "W22ZaJ0SNY7soEsUEjb6gQ=="

static struct scram_verifier rfc_verifier(const char *password)
{
    struct scram_verifier v;
    struct err err;
    struct buf salt;
    buf_init(&salt, 64);
    assert_true(crypto_base64_read(&salt, slice_cstr(RFC_SALT)));
    assert_true(scram_verifier_make(slice_cstr(password), buf_slice(&salt), 4096, &v, &err));
    buf_fini(&salt);
    return v;
}

static void test_rfc7677(void **state)
{
    (void)state;
    struct scram_verifier v = rfc_verifier("pencil");
    struct scram_server *s;
    struct err err;
    struct buf out;
    uint8_t key[CRYPTO_SHA256_BYTES];
    buf_init(&out, 1024);
    assert_true(scram_server_new(&v, SERVER_NONCE, &s, &err));
    assert_true(scram_server_challenge(s, slice_cstr("n,,n=user,r=" CLIENT_NONCE), &out, &err));
    assert_true(slice_equals_cstr(buf_slice(&out),
                                  "r=" CLIENT_NONCE SERVER_NONCE ",s=" RFC_SALT ",i=4096"));
    buf_clear(&out);
    assert_true(scram_server_finish(s,
                                    slice_cstr("c=biws,r=" CLIENT_NONCE SERVER_NONCE
                                               ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="),
                                    &out, key, &err));
    assert_true(
        slice_equals_cstr(buf_slice(&out), "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="));
    scram_server_free(s);
    buf_fini(&out);
}

/* What a server made of "pencil" in the form that pg_authid shows. */
static void test_verifier_text(void **state)
{
    (void)state;
    struct scram_verifier v = rfc_verifier("pencil");
    struct scram_verifier back;
    struct buf text;
    buf_init(&text, 1024);
    assert_true(scram_verifier_write(&v, &text));
    assert_true(slice_starts_with(buf_slice(&text), "SCRAM-SHA-256$4096:" RFC_SALT "$"));
    assert_true(scram_verifier_read(buf_slice(&text), &back));
    assert_memory_equal(back.stored_key, v.stored_key, sizeof v.stored_key);
    assert_memory_equal(back.server_key, v.server_key, sizeof v.server_key);
    assert_int_equal(back.salt_bytes, v.salt_bytes);
    for (size_t n = 0; n < buf_length(&text); n++)
        assert_false(scram_verifier_read(slice_part(buf_slice(&text), 0, n), &back));
    assert_false(scram_verifier_read(slice_cstr("md5900150983cd24fb0d6963f7d28e17f72"), &back));
    buf_fini(&text);
}

/* Both roles, with random nonces. The client has a password, or keys. */
static bool exchange_keys(const struct scram_verifier *v, const char *password,
                          const uint8_t *client_key, const uint8_t *server_key,
                          uint8_t key[CRYPTO_SHA256_BYTES], struct err *err)
{
    struct scram_client *c;
    struct scram_server *s;
    struct buf a;
    struct buf b;
    buf_init(&a, 1024);
    buf_init(&b, 1024);
    assert_true(scram_client_new(slice_cstr(password == NULL ? "" : password), NULL, &c, err));
    if (client_key != NULL)
        scram_client_set_keys(c, client_key, server_key);
    assert_true(scram_server_new(v, NULL, &s, err));
    bool ok =
        scram_client_write_first(c, &a, err) && scram_server_challenge(s, buf_slice(&a), &b, err);
    buf_clear(&a);
    ok = ok && scram_client_step(c, buf_slice(&b), &a, err);
    buf_clear(&b);
    ok = ok && scram_server_finish(s, buf_slice(&a), &b, key, err) &&
         scram_client_finish(c, buf_slice(&b), err);
    scram_client_free(c);
    scram_server_free(s);
    buf_fini(&a);
    buf_fini(&b);
    return ok;
}

static bool exchange(const char *password, const char *stored, struct err *err)
{
    struct scram_verifier v = rfc_verifier(stored);
    uint8_t key[CRYPTO_SHA256_BYTES];
    return exchange_keys(&v, password, NULL, NULL, key, err);
}

static void test_client_and_server_agree(void **state)
{
    (void)state;
    struct err err;
    assert_true(exchange("pencil", "pencil", &err));
    assert_true(exchange("", "", &err));
    assert_true(exchange("p\xc3\xa4ssw\xc3\xb6rt", "p\xc3\xa4ssw\xc3\xb6rt", &err));
    assert_false(exchange("pencil", "Pencil", &err));
    assert_string_equal(err.sqlstate, SQLSTATE_INVALID_PASSWORD);
}

/* The client knows keys and no password: the one that the proof of an earlier login revealed, and the
 * verifier's ServerKey. */
static void test_login_with_keys(void **state)
{
    (void)state;
    struct scram_verifier v = rfc_verifier("pencil");
    uint8_t key[CRYPTO_SHA256_BYTES];
    uint8_t again[CRYPTO_SHA256_BYTES];
    uint8_t wrong[CRYPTO_SHA256_BYTES] = {1};
    struct err err;
    assert_true(exchange_keys(&v, "pencil", NULL, NULL, key, &err));
    assert_true(exchange_keys(&v, NULL, key, v.server_key, again, &err));
    assert_memory_equal(key, again, sizeof key);
    assert_true(exchange_keys(&v, NULL, key, NULL, again, &err));
    assert_false(exchange_keys(&v, NULL, wrong, v.server_key, again, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_INVALID_PASSWORD);
    assert_false(exchange_keys(&v, NULL, key, wrong, again, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_INVALID_AUTHORIZATION);
    v = rfc_verifier("Pencil"); /* the password was changed meanwhile */
    assert_false(exchange_keys(&v, NULL, key, v.server_key, again, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_INVALID_PASSWORD);
}

static bool client_takes(const char *challenge, struct err *err)
{
    struct scram_client *c;
    struct buf out;
    buf_init(&out, 8192);
    assert_true(scram_client_new(slice_cstr("pencil"), "abc", &c, err));
    assert_true(scram_client_write_first(c, &out, err));
    assert_true(slice_equals_cstr(buf_slice(&out), "n,,n=,r=abc"));
    bool ok = scram_client_step(c, slice_cstr(challenge), &out, err);
    scram_client_free(c);
    buf_fini(&out);
    return ok;
}

static void test_hostile_challenges(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "r=",
        "r=abc,s=c2FsdA==,i=4096",  /* adds nothing to our nonce */
        "r=abX1,s=c2FsdA==,i=4096", /* not ours */
        "r=xabc,s=c2FsdA==,i=4096",
        "r=abc d,s=c2FsdA==,i=4096", /* not printable */
        "r=abc\x7f,s=c2FsdA==,i=4096",
        "r=abc1",
        "r=abc1,",
        "r=abc1,s=",
        "r=abc1,s=,i=4096",
        "r=abc1,s=c2FsdA=,i=4096",
        "r=abc1,s=****,i=4096",
        "r=abc1,s=c2FsdA==",
        "r=abc1,s=c2FsdA==,",
        "r=abc1,s=c2FsdA==,i=",
        "r=abc1,s=c2FsdA==,i=0",
        "r=abc1,s=c2FsdA==,i=04096",
        "r=abc1,s=c2FsdA==,i=-1",
        "r=abc1,s=c2FsdA==,i=4096x",
        "r=abc1,s=c2FsdA==,i=2147483648",
        "r=abc1,s=c2FsdA==,i=99999999999999999999999999",
        "r=abc1,s=c2FsdA==,i=1000001",
        "m=ext,r=abc1,s=c2FsdA==,i=4096",
        "s=c2FsdA==,r=abc1,i=4096",
        "e=other-error",
    };
    struct err err;
    assert_true(client_takes("r=abc1,s=c2FsdA==,i=4096", &err));
    assert_true(client_takes("r=abc1,s=c2FsdA==,i=1,x=an extension", &err));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (client_takes(bad[i], &err))
            fail_msg("challenge \"%s\" was taken", bad[i]);
        assert_string_equal(err.sqlstate, SQLSTATE_PROTOCOL_VIOLATION);
    }
}

static void test_huge_challenge(void **state)
{
    (void)state;
    static char text[65536 + 64];
    struct err err;
    memset(text, 'n', 65536);
    memcpy(text, "r=abc", 5);
    snprintf(text + 65536, 64, ",s=c2FsdA==,i=4096");
    assert_false(client_takes(text, &err));
}

static void test_finals(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "v=",
                                      "v=AAAA",
                                      "v=*",
                                      "x=1",
                                      "e=invalid-proof",
                                      "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="};
    struct scram_client *c;
    struct buf out;
    struct err err;
    buf_init(&out, 8192);
    assert_true(scram_client_new(slice_cstr("pencil"), NULL, &c, &err));
    assert_false(scram_client_step(c, slice_cstr("r=x"), &out, &err));
    assert_false(scram_client_finish(c, slice_cstr("v=x"), &err));
    scram_client_free(c);
    assert_true(scram_client_new(slice_cstr("pencil"), "abc", &c, &err));
    assert_true(scram_client_write_first(c, &out, &err));
    assert_false(scram_client_finish(c, slice_cstr("v=x"), &err));
    assert_true(scram_client_step(c, slice_cstr("r=abc1,s=c2FsdA==,i=4096"), &out, &err));
    assert_false(scram_client_step(c, slice_cstr("r=abc1,s=c2FsdA==,i=4096"), &out, &err));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (scram_client_finish(c, slice_cstr(bad[i]), &err))
            fail_msg("final \"%s\" was taken", bad[i]);
    scram_client_free(c);
    buf_fini(&out);
}

static void test_long_passwords(void **state)
{
    (void)state;
    static char password[SCRAM_MAX_MESSAGE_BYTES + 2];
    struct scram_client *c;
    struct err err;
    memset(password, 'p', SCRAM_MAX_MESSAGE_BYTES);
    assert_true(scram_client_new(slice_cstr(password), NULL, &c, &err));
    scram_client_free(c);
    password[SCRAM_MAX_MESSAGE_BYTES] = 'p';
    assert_false(scram_client_new(slice_cstr(password), NULL, &c, &err));
    assert_null(c);
}

static bool server_takes_first(const char *first, struct err *err)
{
    struct scram_verifier v = rfc_verifier("pencil");
    struct scram_server *s;
    struct buf out;
    buf_init(&out, 8192);
    assert_true(scram_server_new(&v, "srv", &s, err));
    bool ok = scram_server_challenge(s, slice_cstr(first), &out, err);
    scram_server_free(s);
    buf_fini(&out);
    return ok;
}

static void test_hostile_first_messages(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "n",
                                      "n,",
                                      "n,,",
                                      "n,,n=",
                                      "n,,n=,r=",
                                      "n,,r=abc",
                                      "n,a=x,n=,r=a",
                                      "q,,n=,r=abc",
                                      "p=tls-unique,,n=,r=abc",
                                      "p,,n=,r=a",
                                      "n,,m=x,n=,r=abc",
                                      "n,,n=,r=a b",
                                      "n,,n=,r=abc,",
                                      "n=,r=abc"};
    struct err err;
    assert_true(server_takes_first("n,,n=,r=abc", &err));
    assert_true(server_takes_first("y,,n=user,r=abc,x=extension", &err));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (server_takes_first(bad[i], &err))
            fail_msg("first message \"%s\" was taken", bad[i]);
}

static bool server_takes_final(const char *final, struct err *err)
{
    struct scram_verifier v = rfc_verifier("pencil");
    struct scram_server *s;
    struct buf out;
    uint8_t key[CRYPTO_SHA256_BYTES];
    buf_init(&out, 8192);
    assert_true(scram_server_new(&v, SERVER_NONCE, &s, err));
    assert_true(scram_server_challenge(s, slice_cstr("n,,n=user,r=" CLIENT_NONCE), &out, err));
    bool ok = scram_server_finish(s, slice_cstr(final), &out, key, err);
    scram_server_free(s);
    buf_fini(&out);
    return ok;
}

static void test_hostile_final_messages(void **state)
{
    (void)state;
#define NONCES CLIENT_NONCE SERVER_NONCE
#define PROOF "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    static const char *const bad[] = {
        "",
        "p=" PROOF,
        "c=biws,r=" NONCES,
        "c=biws,r=" NONCES ",p=",
        "c=biws,r=" NONCES ",p=AAAA",
        "c=biws,r=" NONCES ",p=" PROOF "x",
        "c=biws,r=" NONCES ",p=" PROOF ",x=1",
        "c=eSws,r=" NONCES ",p=" PROOF, /* says y, first message said n */
        "c=,r=" NONCES ",p=" PROOF,
        "r=" NONCES ",c=biws,p=" PROOF,
        "c=biws,r=" CLIENT_NONCE ",p=" PROOF,
        "c=biws,r=" NONCES "x,p=" PROOF,
        "c=biws,r=" NONCES ",x=1,p=" PROOF, /* the proof is of another text */
        "c=biws,r=" NONCES ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="};
    struct err err;
    assert_true(server_takes_final("c=biws,r=" NONCES ",p=" PROOF, &err));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        if (server_takes_final(bad[i], &err))
            fail_msg("final message \"%s\" was taken", bad[i]);
    assert_string_equal(err.sqlstate, SQLSTATE_INVALID_PASSWORD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc7677),
        cmocka_unit_test(test_verifier_text),
        cmocka_unit_test(test_client_and_server_agree),
        cmocka_unit_test(test_login_with_keys),
        cmocka_unit_test(test_hostile_challenges),
        cmocka_unit_test(test_huge_challenge),
        cmocka_unit_test(test_finals),
        cmocka_unit_test(test_long_passwords),
        cmocka_unit_test(test_hostile_first_messages),
        cmocka_unit_test(test_hostile_final_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
