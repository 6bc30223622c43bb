/* Trust, lists of mechanisms, and what a relayed login reveals. */
#include "auth.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/client_msg.h"
#include "protocol/scram.h"

static void test_trust(void **state)
{
    (void)state;
    struct err err;
    struct auth a;
    auth_init(&a, false);
    assert_false(auth_check_trust(&a, false, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_INVALID_AUTHORIZATION);
    assert_true(auth_check_trust(&a, true, &err));
    a.is_open = true; /* there was a challenge */
    assert_true(auth_check_trust(&a, false, &err));
    auth_fini(&a);
}

#define LIST(text) slice_of(text "\0", sizeof text + 1)

static void check_list(struct slice before, struct slice after)
{
    struct wire_auth m = {WIRE_AUTH_SASL, before};
    struct wire_auth back;
    struct wire_reader r;
    struct buf out;
    buf_init(&out, 4096);
    assert_int_equal(auth_write_without_plus(&m, &out), after.len > 0);
    if (after.len > 0) {
        wire_reader_init(&r, slice_part(buf_slice(&out), WIRE_HEADER_BYTES, buf_length(&out)));
        assert_true(wire_read_auth(&r, &back));
        assert_int_equal(back.kind, WIRE_AUTH_SASL);
        assert_true(slice_equals(back.data, after));
    }
    buf_fini(&out);
}

static void test_mechanisms(void **state)
{
    (void)state;
    struct slice as_it_is = slice_of("", 0);
    check_list(LIST("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256"), LIST("SCRAM-SHA-256"));
    check_list(LIST("SCRAM-SHA-256\0SCRAM-SHA-256-PLUS"), LIST("SCRAM-SHA-256"));
    check_list(LIST("A\0SCRAM-SHA-512-PLUS\0B\0C-PLUS"), LIST("A\0B"));
    check_list(LIST("SCRAM-SHA-256"), as_it_is);
    check_list(LIST("OAUTHBEARER"), as_it_is);
    check_list(LIST("SCRAM-SHA-256-PLUS"), as_it_is); /* nothing would be left */
    check_list(slice_of("\0", 1), as_it_is);
    check_list(slice_of("", 0), as_it_is);
}

/* ---- what is kept ---- */

static void feed(struct auth_record *r, uint32_t kind, struct slice data)
{
    auth_record_on_server(r, &(struct wire_auth){kind, data});
}

/* The client's message without its header. */
static void feed_client(struct auth_record *r, const struct buf *message)
{
    auth_record_on_client(r,
                          slice_part(buf_slice(message), WIRE_HEADER_BYTES, buf_length(message)));
}

static void feed_password(struct auth_record *r, const char *text)
{
    struct buf m;
    buf_init(&m, 4096);
    assert_true(wire_write_password(&m, slice_cstr(text)));
    feed_client(r, &m);
    buf_fini(&m);
}

static struct credential made(const struct auth_record *r, const char *verifier,
                              bool keeps_password)
{
    struct credential c;
    bool ok = auth_record_make(r, slice_cstr("anna"), slice_cstr(verifier), keeps_password, &c);
    if (!ok)
        assert_int_equal(c.kind, CREDENTIAL_NONE);
    return c;
}

static void test_record_password(void **state)
{
    (void)state;
    struct auth_record r;
    auth_record_init(&r);
    assert_int_equal(made(&r, "", true).kind, CREDENTIAL_NONE); /* it is off */
    r.is_on = true;
    assert_int_equal(made(&r, "", true).kind, CREDENTIAL_TRUST);
    feed(&r, WIRE_AUTH_CLEARTEXT, slice_of("", 0));
    feed_password(&r, "geheim");
    assert_false(auth_record_needs_verifier(&r));
    assert_string_equal(made(&r, "", true).text, "geheim");
    assert_int_equal(made(&r, "", false).kind, CREDENTIAL_NONE);
    feed(&r, WIRE_AUTH_CLEARTEXT, slice_of("", 0)); /* once more: whatever that means */
    assert_int_equal(made(&r, "", true).kind, CREDENTIAL_NONE);
    auth_record_fini(&r);
}

static void test_record_md5(void **state)
{
    (void)state;
    struct auth_record r;
    char inner[CRYPTO_MD5_HEX_BYTES];
    char hash[64];
    char answer[CRYPTO_MD5_ANSWER_BYTES];
    struct slice parts[] = {slice_cstr("geheim"), slice_cstr("anna")};
    struct slice salt = slice_of("\0\1\2\377", 4);
    assert_true(crypto_md5_hex(parts, 2, inner));
    snprintf(hash, sizeof hash, "md5%s", inner);
    assert_true(crypto_md5_answer(slice_cstr("anna"), slice_cstr("geheim"), salt, answer));
    auth_record_init(&r);
    r.is_on = true;
    feed(&r, WIRE_AUTH_MD5, salt);
    feed_password(&r, answer);
    assert_true(auth_record_needs_verifier(&r));
    assert_string_equal(made(&r, hash, false).text, hash);
    assert_int_equal(made(&r, hash, false).kind, CREDENTIAL_MD5);
    assert_int_equal(made(&r, "", false).kind, CREDENTIAL_NONE);
    hash[10] = hash[10] == '0' ? '1' : '0'; /* another password's */
    assert_int_equal(made(&r, hash, false).kind, CREDENTIAL_NONE);
    auth_record_fini(&r);
}

/* Our client against our server, with a record that looks on. */
static void record_scram(struct auth_record *r, const struct scram_verifier *v,
                         uint8_t key[CRYPTO_SHA256_BYTES])
{
    struct scram_client *c;
    struct scram_server *s;
    struct err err;
    struct buf text, m, answer;
    buf_init(&text, 4096);
    buf_init(&m, 4096);
    buf_init(&answer, 4096);
    auth_record_init(r);
    r->is_on = true;
    feed(r, WIRE_AUTH_SASL, LIST("SCRAM-SHA-256"));
    assert_true(scram_client_new(slice_cstr("pencil"), NULL, &c, &err));
    assert_true(scram_server_new(v, NULL, &s, &err));
    assert_true(scram_client_write_first(c, &text, &err));
    struct wire_sasl_initial first = {slice_cstr(SCRAM_MECHANISM), true, buf_slice(&text)};
    assert_true(wire_write_sasl_initial(&m, &first));
    feed_client(r, &m);
    assert_true(scram_server_challenge(s, buf_slice(&text), &answer, &err));
    feed(r, WIRE_AUTH_SASL_CONTINUE, buf_slice(&answer));
    buf_clear(&text);
    buf_clear(&m);
    assert_true(scram_client_step(c, buf_slice(&answer), &text, &err));
    assert_true(wire_write_sasl_response(&m, buf_slice(&text)));
    feed_client(r, &m);
    buf_clear(&answer);
    assert_true(scram_server_finish(s, buf_slice(&text), &answer, key, &err));
    feed(r, WIRE_AUTH_SASL_FINAL, buf_slice(&answer));
    feed(r, WIRE_AUTH_OK, slice_of("", 0));
    scram_client_free(c);
    scram_server_free(s);
    buf_fini(&text);
    buf_fini(&m);
    buf_fini(&answer);
}

static void test_record_scram(void **state)
{
    (void)state;
    struct scram_verifier v, other;
    struct auth_record r;
    struct err err;
    struct buf text;
    uint8_t key[CRYPTO_SHA256_BYTES];
    buf_init(&text, 4096);
    assert_true(scram_verifier_make(slice_cstr("pencil"), slice_cstr("salt"), 4096, &v, &err));
    assert_true(scram_verifier_make(slice_cstr("pencil"), slice_cstr("tlas"), 4096, &other, &err));
    record_scram(&r, &v, key);
    assert_true(auth_record_needs_verifier(&r));
    assert_true(scram_verifier_write(&v, &text));
    struct credential c = made(&r, buf_cstr(&text), false);
    assert_int_equal(c.kind, CREDENTIAL_SCRAM_KEY);
    assert_memory_equal(c.client_key, key, sizeof key);
    assert_true(c.has_server_key);
    assert_memory_equal(c.server_key, v.server_key, sizeof key);
    buf_clear(&text);
    assert_true(scram_verifier_write(&other, &text)); /* the same password, another verifier */
    assert_int_equal(made(&r, buf_cstr(&text), false).kind, CREDENTIAL_NONE);
    assert_int_equal(made(&r, "", false).kind, CREDENTIAL_NONE);
    assert_int_equal(made(&r, "md5900150983cd24fb0d6963f7d28e17f72", false).kind, CREDENTIAL_NONE);
    auth_record_fini(&r);
    buf_fini(&text);
}

/* Proof recovery from texts that hold no proof, or end too early. */
static void test_recovery_of_damaged_messages(void **state)
{
    (void)state;
    struct scram_verifier v;
    struct auth_record r;
    struct err err;
    uint8_t key[CRYPTO_SHA256_BYTES];
    uint8_t again[CRYPTO_SHA256_BYTES];
    assert_true(scram_verifier_make(slice_cstr("pencil"), slice_cstr("salt"), 1, &v, &err));
    record_scram(&r, &v, key);
    struct scram_messages whole = {buf_slice(&r.first), buf_slice(&r.challenge),
                                   buf_slice(&r.final)};
    assert_true(scram_recover_client_key(&v, &whole, again));
    assert_memory_equal(key, again, sizeof key);
    for (int part = 0; part < 3; part++) {
        struct scram_messages m = whole;
        struct slice *cut = part == 0   ? &m.client_first
                            : part == 1 ? &m.challenge
                                        : &m.client_final;
        for (size_t n = cut->len; n > 0; n--) {
            cut->len = n - 1;
            assert_false(scram_recover_client_key(&v, &m, again));
        }
    }
    auth_record_fini(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trust),           cmocka_unit_test(test_mechanisms),
        cmocka_unit_test(test_record_password), cmocka_unit_test(test_record_md5),
        cmocka_unit_test(test_record_scram),    cmocka_unit_test(test_recovery_of_damaged_messages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
