/* TLS as a filter: two streams whose bytes are carried by hand, in pieces of any size. What goes in comes
 * out, ends are told behind the data, and a certificate that does not do is refused with its reason. */
#include "tls.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <openssl/ssl.h>

#include "base/buf.h"

#include "tls_fixture.h"

static struct made_certificate ca, other_ca, server, client;

static int make_certificates(void **state)
{
    (void)state;
    fixture_open();
    fixture_make(&ca, "test ca", NULL, NULL, "EC", EVP_sha256(), 10);
    fixture_make(&other_ca, "other ca", NULL, NULL, "EC", EVP_sha256(), 10);
    fixture_make(&server, "server", "DNS:db.test,DNS:*.wild.test,IP:127.0.0.1", &ca, "EC",
                 EVP_sha256(), 10);
    fixture_make(&client, "app", NULL, &ca, "EC", EVP_sha256(), 10);
    return 0;
}

static int drop_certificates(void **state)
{
    (void)state;
    fixture_drop(&ca);
    fixture_drop(&other_ca);
    fixture_drop(&server);
    fixture_drop(&client);
    fixture_close();
    return 0;
}

/* ---- two ends and the wires between them ---- */

struct end {
    struct tls *tls;
    struct buf out; /* on its way to the other end */
    struct err err;
    enum tls_verdict verdict;
};

static void on_wire(void *arg, const char *data, size_t bytes)
{
    struct end *e = arg;
    assert_true(buf_append(&e->out, data, bytes));
}

static struct tls_policy *new_policy(enum tls_role role, const struct tls_settings *s)
{
    struct tls_policy *p;
    struct err err;
    if (!tls_policy_new(role, s, &p, &err))
        fail_msg("%s (%s)", err.message, err.detail);
    return p;
}

static void open_end(struct end *e, enum tls_role role, const struct tls_settings *s)
{
    struct tls_policy *p = new_policy(role, s);
    *e = (struct end){.verdict = TLS_MORE};
    buf_init(&e->out, 1 << 24);
    e->tls = tls_new(p, on_wire, e);
    assert_non_null(e->tls);
    tls_policy_free(p); /* the stream has a reference */
}

static void close_end(struct end *e)
{
    tls_free(e->tls);
    buf_fini(&e->out);
}

/* Carries up to `piece` bytes and lets the receiver go on with its handshake. */
static bool carry(struct end *from, struct end *to, size_t piece)
{
    char data[4096];
    size_t n = buf_length(&from->out) < piece ? buf_length(&from->out) : piece;
    if (n == 0 || to->verdict != TLS_MORE)
        return false;
    memcpy(data, buf_data(&from->out), n);
    buf_consume(&from->out, n);
    tls_feed(to->tls, data, n);
    to->verdict = tls_handshake(to->tls, &to->err);
    assert_true(tls_keep(to->tls));
    memset(data, 'x', sizeof data);
    return true;
}

static void shake(struct end *accepts, struct end *connects, size_t piece)
{
    connects->verdict = tls_handshake(connects->tls, &connects->err);
    while (carry(connects, accepts, piece) || carry(accepts, connects, piece))
        ;
}

static struct tls_settings accepting(void)
{
    return (struct tls_settings){
        .mode = TLS_PREFER, .cert_file = server.cert_file, .key_file = server.key_file};
}

static struct tls_settings connecting(enum tls_mode mode, const char *host)
{
    return (struct tls_settings){.mode = mode, .ca_file = ca.cert_file, .host = host};
}

static void open_pair(struct end *a, struct end *b, struct tls_settings accepts,
                      struct tls_settings connects, size_t piece)
{
    open_end(a, TLS_ACCEPTS, &accepts);
    open_end(b, TLS_CONNECTS, &connects);
    shake(a, b, piece);
}

static void close_pair(struct end *a, struct end *b)
{
    close_end(a);
    close_end(b);
}

/* Everything that `to` can read now; its last verdict goes to to->verdict. */
static size_t receive(struct end *from, struct end *to, char *out, size_t size, size_t piece)
{
    size_t total = 0, n;
    for (;;) {
        size_t bytes = buf_length(&from->out) < piece ? buf_length(&from->out) : piece;
        if (!tls_has_input(to->tls)) {
            if (bytes == 0)
                return total;
            tls_feed(to->tls, buf_data(&from->out), bytes);
        } else {
            bytes = 0;
        }
        to->verdict = tls_read(to->tls, out + total, size - total, &n, &to->err);
        assert_true(tls_keep(to->tls));
        buf_consume(&from->out, bytes);
        total += n;
        if (to->verdict == TLS_ENDED || to->verdict == TLS_FAILED)
            return total;
    }
}

/* ---- tests ---- */

static void test_handshake_in_pieces(void **state)
{
    static const size_t pieces[] = {1, 2, 7, 100, 4096};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(pieces); i++) {
        struct end a, b;
        char text[100], got[1000];
        open_pair(&a, &b, accepting(), connecting(TLS_VERIFY_FULL, "db.test"), pieces[i]);
        assert_int_equal(a.verdict, TLS_DONE);
        assert_int_equal(b.verdict, TLS_DONE);
        assert_true(tls_has_alpn(a.tls));
        assert_true(tls_has_alpn(b.tls));
        tls_describe(a.tls, text, sizeof text);
        assert_memory_equal(text, "TLSv1.3, ", 9);
        assert_true(tls_write(b.tls, "to the server", 13));
        assert_true(tls_write(a.tls, "to the client", 13));
        assert_int_equal(receive(&b, &a, got, sizeof got, pieces[i]), 13);
        assert_memory_equal(got, "to the server", 13);
        assert_int_equal(receive(&a, &b, got, sizeof got, pieces[i]), 13);
        assert_memory_equal(got, "to the client", 13);
        close_pair(&a, &b);
    }
}

static void test_much_data_with_a_small_output(void **state)
{
    struct end a, b;
    static char sent[300000], got[300000];
    (void)state;
    open_pair(&a, &b, accepting(), connecting(TLS_REQUIRE, "db.test"), 4096);
    for (size_t i = 0; i < sizeof sent; i++)
        sent[i] = (char)(i * 31 >> 3);
    assert_true(tls_write(b.tls, sent, sizeof sent));
    size_t total = 0;
    while (total < sizeof got) {
        size_t n, bytes = buf_length(&b.out) < 40000 ? buf_length(&b.out) : 40000;
        if (!tls_has_input(a.tls)) {
            tls_feed(a.tls, buf_data(&b.out), bytes);
            buf_consume(&b.out, bytes);
        }
        enum tls_verdict v = tls_read(
            a.tls, got + total, sizeof got - total < 999 ? sizeof got - total : 999, &n, &a.err);
        assert_true(tls_keep(a.tls));
        assert_true(n <= 999 && (v == TLS_DONE || v == TLS_MORE));
        total += n;
    }
    assert_memory_equal(got, sent, sizeof sent);
    assert_false(tls_has_input(a.tls));
    close_pair(&a, &b);
}

/* The client's last handshake message, a request and the end arrive in one piece. */
static void test_data_and_end_behind_the_handshake(void **state)
{
    struct end a, b;
    char got[100];
    struct tls_settings accepts = accepting(), connects = connecting(TLS_REQUIRE, "db.test");
    (void)state;
    open_end(&a, TLS_ACCEPTS, &accepts);
    open_end(&b, TLS_CONNECTS, &connects);
    b.verdict = tls_handshake(b.tls, &b.err);
    assert_true(carry(&b, &a, 4096));
    assert_true(carry(&a, &b, 4096));
    assert_int_equal(b.verdict, TLS_DONE);
    assert_true(tls_write(b.tls, "startup", 7));
    tls_end_writing(b.tls);
    assert_true(carry(&b, &a, 4096));
    assert_int_equal(a.verdict, TLS_DONE);
    assert_true(tls_has_input(a.tls));
    size_t n;
    assert_int_equal(tls_read(a.tls, got, sizeof got, &n, &a.err), TLS_MORE);
    assert_int_equal(n, 7);
    assert_true(tls_has_input(a.tls)); /* the end, told by the next call */
    assert_int_equal(tls_read(a.tls, got, sizeof got, &n, &a.err), TLS_ENDED);
    assert_true(tls_write(a.tls, "answer", 6)); /* the other direction is open */
    assert_int_equal(receive(&a, &b, got, sizeof got, 4096), 6);
    close_pair(&a, &b);
}

static void test_an_end_without_a_word_is_a_failure(void **state)
{
    struct end a, b;
    char got[100];
    size_t n;
    (void)state;
    open_pair(&a, &b, accepting(), connecting(TLS_REQUIRE, "db.test"), 4096);
    tls_feed_end(a.tls);
    assert_int_equal(tls_read(a.tls, got, sizeof got, &n, &a.err), TLS_FAILED);
    assert_string_equal(a.err.sqlstate, "08006");
    assert_false(tls_write(a.tls, "x", 1));
    close_pair(&a, &b);
}

static void test_a_changed_byte_is_a_failure(void **state)
{
    struct end a, b;
    char got[100], wire[200];
    size_t n;
    (void)state;
    open_pair(&a, &b, accepting(), connecting(TLS_REQUIRE, "db.test"), 4096);
    assert_true(tls_write(b.tls, "hello", 5));
    n = buf_length(&b.out);
    memcpy(wire, buf_data(&b.out), n);
    wire[n - 1] ^= 1;
    tls_feed(a.tls, wire, n);
    assert_int_equal(tls_read(a.tls, got, sizeof got, &n, &a.err), TLS_FAILED);
    close_pair(&a, &b);
}

static void test_plain_text_is_no_handshake(void **state)
{
    struct end a;
    struct tls_settings accepts = accepting();
    static const char startup[] = "\0\0\0\x10\0\3\0\0user\0app";
    (void)state;
    open_end(&a, TLS_ACCEPTS, &accepts);
    tls_feed(a.tls, startup, sizeof startup);
    assert_int_equal(tls_handshake(a.tls, &a.err), TLS_FAILED);
    close_end(&a);
}

/* Does a server with this certificate satisfy the mode, for this host? */
static bool satisfies(enum tls_mode mode, const char *host, const char *ca_file, char *why)
{
    struct end a, b;
    struct tls_settings connects = connecting(mode, host);
    connects.ca_file = ca_file;
    open_pair(&a, &b, accepting(), connects, 4096);
    bool ok = b.verdict == TLS_DONE;
    snprintf(why, 100, "%.99s", ok ? "" : b.err.detail);
    close_pair(&a, &b);
    return ok;
}

static void test_the_servers_certificate(void **state)
{
    char why[100];
    (void)state;
    assert_true(satisfies(TLS_REQUIRE, "elsewhere.test", other_ca.cert_file, why));
    assert_true(satisfies(TLS_VERIFY_CA, "elsewhere.test", ca.cert_file, why));
    assert_false(satisfies(TLS_VERIFY_CA, "db.test", other_ca.cert_file, why));
    assert_string_equal(why, "unable to get local issuer certificate");
    assert_true(satisfies(TLS_VERIFY_FULL, "db.test", ca.cert_file, why));
    assert_true(satisfies(TLS_VERIFY_FULL, "a.wild.test", ca.cert_file, why));
    assert_true(satisfies(TLS_VERIFY_FULL, "127.0.0.1", ca.cert_file, why));
    assert_false(satisfies(TLS_VERIFY_FULL, "elsewhere.test", ca.cert_file, why));
    assert_string_equal(why, "hostname mismatch");
    assert_false(satisfies(TLS_VERIFY_FULL, "127.0.0.2", ca.cert_file, why));
    assert_string_equal(why, "IP address mismatch");
    assert_false(satisfies(TLS_VERIFY_FULL, "db.test", other_ca.cert_file, why));
}

static void test_the_clients_certificate(void **state)
{
    struct end a, b;
    struct tls_settings accepts = accepting(), connects = connecting(TLS_REQUIRE, "db.test");
    struct made_certificate stranger;
    (void)state;
    accepts.mode = TLS_VERIFY_CA;
    accepts.ca_file = ca.cert_file;
    open_pair(&a, &b, accepts, connects, 4096); /* none: the handshake is complete */
    assert_int_equal(a.verdict, TLS_DONE);
    assert_false(tls_has_verified_peer(a.tls));
    assert_null(tls_peer_cn(a.tls));
    close_pair(&a, &b);
    connects.cert_file = client.cert_file;
    connects.key_file = client.key_file;
    open_pair(&a, &b, accepts, connects, 1);
    assert_int_equal(a.verdict, TLS_DONE);
    assert_true(tls_has_verified_peer(a.tls));
    assert_string_equal(tls_peer_cn(a.tls), "app");
    close_pair(&a, &b);
    fixture_make(&stranger, "app", NULL, &other_ca, "EC", EVP_sha256(), 10);
    connects.cert_file = stranger.cert_file;
    connects.key_file = stranger.key_file;
    open_pair(&a, &b, accepts, connects, 4096);
    assert_int_equal(a.verdict, TLS_FAILED);
    close_pair(&a, &b);
    accepts.mode = TLS_REQUIRE; /* not asked for: not verified, so no name */
    open_pair(&a, &b, accepts, connects, 4096);
    assert_int_equal(a.verdict, TLS_DONE);
    assert_null(tls_peer_cn(a.tls));
    close_pair(&a, &b);
    fixture_drop(&stranger);
}

/* A client that offers another protocol than ours gets an alert; one that offers none is let in. */
static void test_alpn(void **state)
{
    struct end a;
    struct tls_settings accepts = accepting();
    static const char *const offers[] = {"\010http/1.1", "\010http/1.1\012postgresql", ""};
    static const enum tls_verdict verdicts[] = {TLS_FAILED, TLS_MORE, TLS_MORE};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(offers); i++) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_alpn_protos(ctx, (const unsigned char *)offers[i], (unsigned)strlen(offers[i]));
        SSL *ssl = SSL_new(ctx);
        BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
        SSL_set_bio(ssl, in, out);
        assert_int_equal(SSL_connect(ssl), -1);
        char *hello;
        long bytes = BIO_get_mem_data(out, &hello);
        open_end(&a, TLS_ACCEPTS, &accepts);
        tls_feed(a.tls, hello, (size_t)bytes);
        assert_int_equal(tls_handshake(a.tls, &a.err), verdicts[i]);
        close_end(&a);
        SSL_free(ssl);
        SSL_CTX_free(ctx);
    }
}

static void test_protocols_and_ciphers(void **state)
{
    struct end a, b;
    char text[100];
    struct tls_settings accepts = accepting(), connects = connecting(TLS_REQUIRE, "db.test");
    (void)state;
    accepts.protocols = "tlsv1.2";
    accepts.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
    open_pair(&a, &b, accepts, connects, 4096);
    assert_int_equal(b.verdict, TLS_DONE);
    tls_describe(b.tls, text, sizeof text);
    assert_string_equal(text, "TLSv1.2, ECDHE-ECDSA-AES128-GCM-SHA256");
    close_pair(&a, &b);
    connects.protocols = "TLSv1.3";
    open_pair(&a, &b, accepts, connects, 4096);
    assert_int_equal(a.verdict, TLS_FAILED);
    close_pair(&a, &b);
}

/* RFC 5929: both ends come to the same hash, that of the server's certificate. */
static void check_end_point(const char *algorithm, const EVP_MD *signed_by, const EVP_MD *expected)
{
    struct made_certificate authority, leaf;
    struct end a, b;
    uint8_t ours[64], theirs[64], wanted[64];
    size_t n = 0, m = 0;
    unsigned size = 0;
    fixture_make(&authority, "an authority", NULL, NULL, algorithm, signed_by, 10);
    fixture_make(&leaf, "server", NULL, &authority, "EC", signed_by, 10);
    struct tls_settings accepts = accepting(), connects = connecting(TLS_REQUIRE, "db.test");
    accepts.cert_file = leaf.cert_file;
    accepts.key_file = leaf.key_file;
    open_pair(&a, &b, accepts, connects, 4096);
    assert_int_equal(b.verdict, TLS_DONE);
    bool is_defined = expected != NULL;
    assert_int_equal(tls_end_point(a.tls, ours, &n), is_defined);
    assert_int_equal(tls_end_point(b.tls, theirs, &m), is_defined);
    if (is_defined) {
        X509_digest(leaf.x, expected, wanted, &size);
        assert_int_equal(n, size);
        assert_int_equal(m, size);
        assert_memory_equal(ours, wanted, size);
        assert_memory_equal(theirs, wanted, size);
    }
    close_pair(&a, &b);
    fixture_drop(&leaf);
    fixture_drop(&authority);
}

static void test_end_point(void **state)
{
    (void)state;
    check_end_point("EC", EVP_sha256(), EVP_sha256());
    check_end_point("EC", EVP_sha384(), EVP_sha384());
    check_end_point("RSA", EVP_sha512(), EVP_sha512());
    check_end_point("ED25519", NULL, NULL);
}

static void refused(enum tls_role role, struct tls_settings s, const char *sqlstate,
                    const char *words)
{
    struct tls_policy *p;
    struct err err;
    assert_false(tls_policy_new(role, &s, &p, &err));
    assert_null(p);
    assert_string_equal(err.sqlstate, sqlstate);
    if (strstr(err.message, words) == NULL && strstr(err.detail, words) == NULL)
        fail_msg("\"%s\" is not in: %s (%s)", words, err.message, err.detail);
}

static void test_settings_that_cannot_be(void **state)
{
    struct tls_settings s = accepting();
    (void)state;
    s.key_file = NULL;
    refused(TLS_ACCEPTS, s, "F0000", "needs a certificate file");
    s = accepting();
    s.key_file = client.key_file;
    refused(TLS_ACCEPTS, s, "F0000", "key values mismatch");
    s = accepting();
    s.cert_file = "/nonexistent";
    refused(TLS_ACCEPTS, s, "58P01", "/nonexistent");
    s = accepting();
    s.cert_file = server.key_file;
    refused(TLS_ACCEPTS, s, "F0000", "no start line");
    s = accepting();
    s.mode = TLS_VERIFY_CA;
    refused(TLS_ACCEPTS, s, "F0000", "needs a CA file");
    s.ca_file = server.key_file;
    refused(TLS_ACCEPTS, s, "F0000", "certificate authorities");
    s = accepting();
    s.protocols = "tlsv1.1";
    refused(TLS_ACCEPTS, s, "F0000", "no TLS protocol");
    s.protocols = ",";
    refused(TLS_ACCEPTS, s, "F0000", "empty");
    s = accepting();
    s.ciphers = "NONSENSE";
    refused(TLS_ACCEPTS, s, "F0000", "NONSENSE");
    refused(TLS_CONNECTS, connecting(TLS_VERIFY_FULL, ""), "F0000", "host name");
    s = connecting(TLS_REQUIRE, "db.test");
    s.cert_file = client.cert_file;
    refused(TLS_CONNECTS, s, "F0000", "key file");
}

static void test_policies_and_slots(void **state)
{
    struct tls_settings s = accepting();
    struct tls_slot slot;
    struct tls_policy *p;
    struct err err;
    enum tls_mode mode;
    int64_t not_after;
    char subject[100];
    (void)state;
    assert_true(tls_mode_find("verify-full", &mode));
    assert_int_equal(mode, TLS_VERIFY_FULL);
    assert_string_equal(tls_mode_name(mode), "verify-full");
    assert_false(tls_mode_find("sometimes", &mode));
    tls_slot_init(&slot);
    assert_null(tls_slot_get(&slot));
    assert_int_equal(tls_slot_mode(NULL), TLS_DISABLE);
    tls_slot_put(&slot, new_policy(TLS_ACCEPTS, &s));
    p = tls_slot_get(&slot);
    assert_int_equal(tls_policy_mode(p), TLS_PREFER);
    assert_true(tls_policy_own_certificate(p, &not_after, subject, sizeof subject));
    assert_string_equal(subject, "/CN=server");
    tls_slot_put(&slot, NULL);
    assert_int_equal(tls_slot_mode(&slot), TLS_DISABLE);
    assert_int_equal(tls_policy_mode(p), TLS_PREFER); /* the reference holds it */
    tls_policy_free(p);
    tls_slot_fini(&slot);
    s.mode = TLS_DISABLE;
    s.cert_file = "/nonexistent";
    assert_true(tls_policy_new(TLS_ACCEPTS, &s, &p, &err));
    assert_null(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_in_pieces),
        cmocka_unit_test(test_much_data_with_a_small_output),
        cmocka_unit_test(test_data_and_end_behind_the_handshake),
        cmocka_unit_test(test_an_end_without_a_word_is_a_failure),
        cmocka_unit_test(test_a_changed_byte_is_a_failure),
        cmocka_unit_test(test_plain_text_is_no_handshake),
        cmocka_unit_test(test_the_servers_certificate),
        cmocka_unit_test(test_the_clients_certificate),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_protocols_and_ciphers),
        cmocka_unit_test(test_end_point),
        cmocka_unit_test(test_settings_that_cannot_be),
        cmocka_unit_test(test_policies_and_slots),
    };
    return cmocka_run_group_tests(tests, make_certificates, drop_certificates);
}
