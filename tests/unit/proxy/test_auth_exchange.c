/* Both exchanges of a terminated login, with our own client and server at the ends: who has the password
 * gets in with and without channel binding, nobody else does, and what each end sees. */
#include "auth_exchange.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/client_msg.h"
#include "protocol/scram.h"

/* Where a login stood when it ended. */
enum end { LET_IN, REFUSED_BY_US, REFUSED_BY_SERVER, FORWARDED };

struct login {
    struct scram_verifier stored;    /* in the server */
    struct scram_verifier looked_up; /* by the proxy; iterations 0: none */
    const char *password;
    struct slice client_binding; /* empty: the client does not bind */
    struct slice proxy_binding;  /* empty: the client's leg is plain */
    char gs2_flag;               /* 0: the client's own */
    struct slice server_binding; /* of the server's certificate; empty: its leg is plain */
    struct slice seen_binding;   /* what the proxy sees of it */
    /* outcome */
    struct err err;
    struct credential credential;
};

static struct slice body_of(const struct buf *message)
{
    return slice_part(buf_slice(message), WIRE_HEADER_BYTES, buf_length(message));
}

static struct wire_auth auth_of(const struct buf *message)
{
    struct wire_reader r;
    struct wire_auth m;
    wire_reader_init(&r, body_of(message));
    assert_true(wire_read_auth(&r, &m));
    return m;
}

/* The message's data, and the server has taken its choice. */
static struct slice initial_of(const struct buf *message, struct scram_server *server)
{
    struct wire_reader r;
    struct wire_sasl_initial m;
    struct err err;
    wire_reader_init(&r, body_of(message));
    assert_true(wire_read_sasl_initial(&r, &m));
    assert_true(scram_server_select(server, m.mechanism, &err));
    return m.data;
}

static void look_up(struct auth_exchange *x, const struct login *l)
{
    struct buf text;
    buf_init(&text, 1024);
    if (l->looked_up.iterations > 0)
        assert_true(scram_verifier_write(&l->looked_up, &text));
    auth_exchange_set_verifier(x, buf_slice(&text));
    buf_fini(&text);
}

struct ends {
    struct auth_exchange *x;
    struct scram_client *client;
    struct scram_server *server;
    struct buf to_client, to_server, text, m;
};

static void begin(struct ends *e, struct login *l)
{
    struct err err;
    e->x = auth_exchange_new(slice_cstr("anna"), l->proxy_binding);
    assert_non_null(e->x);
    assert_true(scram_client_new(slice_cstr(l->password), NULL, &e->client, &err));
    if (l->client_binding.len > 0)
        assert_true(scram_client_set_binding(e->client, l->client_binding));
    assert_true(scram_server_new(&l->stored, NULL, &e->server, &err));
    scram_server_set_binding(e->server, l->server_binding);
    auth_exchange_bind_server(e->x, l->seen_binding);
    buf_init(&e->to_client, 65536);
    buf_init(&e->to_server, 65536);
    buf_init(&e->text, 65536);
    buf_init(&e->m, 65536);
    assert_true(auth_exchange_offer(e->x, &e->to_client));
    struct wire_auth offer = auth_of(&e->to_client);
    assert_true(wire_auth_has_mechanism(&offer, SCRAM_MECHANISM));
    assert_int_equal(wire_auth_has_mechanism(&offer, SCRAM_PLUS_MECHANISM),
                     l->proxy_binding.len > 0);
    buf_clear(&e->to_client);
}

static void finish(struct ends *e)
{
    auth_exchange_free(e->x);
    scram_client_free(e->client);
    scram_server_free(e->server);
    buf_fini(&e->to_client);
    buf_fini(&e->to_server);
    buf_fini(&e->text);
    buf_fini(&e->m);
}

static enum end end_of(enum auth_outcome outcome)
{
    return outcome == AUTH_REFUSED ? REFUSED_BY_US : FORWARDED;
}

/* The client's first message, and the server's challenge back to it. */
static enum auth_outcome first_round(struct ends *e, struct login *l)
{
    assert_true(scram_client_write_first(e->client, &e->text, &l->err));
    if (l->gs2_flag != 0)
        e->text.data[e->text.start] = l->gs2_flag;
    const char *name = l->client_binding.len > 0 ? SCRAM_PLUS_MECHANISM : SCRAM_MECHANISM;
    struct wire_sasl_initial m = {slice_cstr(name), true, buf_slice(&e->text)};
    assert_true(wire_write_sasl_initial(&e->m, &m));
    assert_int_equal(auth_exchange_on_header(e->x, 'p', 100), AUTH_TAKEN);
    enum auth_outcome o = auth_exchange_on_client(e->x, body_of(&e->m), &e->to_server, &l->err);
    if (o != AUTH_TAKEN)
        return o;
    assert_int_equal(auth_exchange_on_header(e->x, 'Q', 100), AUTH_WAIT);
    buf_clear(&e->text);
    assert_true(scram_server_challenge(e->server, initial_of(&e->to_server, e->server), &e->text, &l->err));
    struct wire_auth challenge = {WIRE_AUTH_SASL_CONTINUE, buf_slice(&e->text)};
    return auth_exchange_on_server(e->x, &challenge, &e->to_client, &l->err);
}

/* The proofs. */
static enum end second_round(struct ends *e, struct login *l)
{
    uint8_t key[CRYPTO_SHA256_BYTES];
    struct credential c;
    buf_clear(&e->text);
    buf_clear(&e->m);
    buf_clear(&e->to_server);
    assert_true(scram_client_step(e->client, auth_of(&e->to_client).data, &e->text, &l->err));
    assert_true(wire_write_sasl_response(&e->m, buf_slice(&e->text)));
    enum auth_outcome o = auth_exchange_on_client(e->x, body_of(&e->m), &e->to_server, &l->err);
    assert_int_equal(o, AUTH_WAIT); /* for the verifier */
    look_up(e->x, l);
    o = auth_exchange_on_client(e->x, body_of(&e->m), &e->to_server, &l->err);
    if (o != AUTH_TAKEN)
        return end_of(o);
    buf_clear(&e->text);
    buf_clear(&e->to_client);
    assert_false(auth_exchange_get_credential(e->x, &c));
    if (!scram_server_finish(e->server, body_of(&e->to_server), &e->text, key, &l->err))
        return REFUSED_BY_SERVER;
    struct wire_auth final = {WIRE_AUTH_SASL_FINAL, buf_slice(&e->text)};
    o = auth_exchange_on_server(e->x, &final, &e->to_client, &l->err);
    if (o != AUTH_TAKEN)
        return end_of(o);
    assert_true(scram_client_finish(e->client, auth_of(&e->to_client).data, &l->err));
    assert_true(auth_exchange_get_credential(e->x, &l->credential));
    assert_memory_equal(l->credential.client_key, key, sizeof key);
    struct wire_auth ok = {WIRE_AUTH_OK, slice_of("", 0)};
    assert_int_equal(auth_exchange_on_server(e->x, &ok, &e->to_client, &l->err), AUTH_FORWARD);
    assert_int_equal(auth_exchange_on_header(e->x, 'Q', 100000), AUTH_FORWARD);
    return LET_IN;
}

static enum end run(struct login *l)
{
    struct ends e;
    begin(&e, l);
    enum auth_outcome o = first_round(&e, l);
    enum end end = o == AUTH_TAKEN ? second_round(&e, l) : end_of(o);
    finish(&e);
    return end;
}

static struct scram_verifier verifier_of(const char *password, const char *salt)
{
    struct scram_verifier v;
    struct err err;
    assert_true(scram_verifier_make(slice_cstr(password), slice_cstr(salt), 4096, &v, &err));
    return v;
}

static struct login login_of(const char *password)
{
    struct scram_verifier v = verifier_of("pencil", "salt");
    return (struct login){.stored = v, .looked_up = v, .password = password};
}

static void test_passwords(void **state)
{
    (void)state;
    struct login l = login_of("pencil");
    assert_int_equal(run(&l), LET_IN);
    assert_int_equal(l.credential.kind, CREDENTIAL_SCRAM_KEY);
    assert_memory_equal(l.credential.server_key, l.stored.server_key, sizeof l.stored.server_key);
    l = login_of("Pencil");
    assert_int_equal(run(&l), REFUSED_BY_SERVER);
    l = login_of("pencil");
    l.gs2_flag =
        'y'; /* may be said on a plain leg, but c= does not repeat it: the server's to judge */
    assert_int_equal(run(&l), FORWARDED);
}

/* The server's verifier and the one that was looked up are not the same, or there is none. */
static void test_verifiers(void **state)
{
    (void)state;
    struct login l = login_of("pencil");
    l.looked_up.iterations = 0;
    assert_int_equal(run(&l), REFUSED_BY_SERVER);
    l.looked_up = verifier_of("pencil", "tlas");
    assert_int_equal(run(&l), REFUSED_BY_SERVER);
    l.looked_up = verifier_of("Pencil", "salt");
    assert_int_equal(run(&l), REFUSED_BY_SERVER);
    l.stored = verifier_of("Pencil", "salt"); /* the server's is not what we looked up */
    l.looked_up = verifier_of("pencil", "salt");
    assert_int_equal(run(&l), REFUSED_BY_SERVER);
}

static void test_binding(void **state)
{
    (void)state;
    struct slice ours = slice_cstr("0123456789abcdef0123456789abcdef");
    struct slice theirs = slice_cstr("fedcba9876543210fedcba9876543210");
    struct slice longer = slice_cstr("0123456789abcdef0123456789abcdef0123456789abcdef");
    struct login l = login_of("pencil");
    l.proxy_binding = ours;
    assert_int_equal(run(&l), LET_IN); /* does not bind, and says so */
    l.client_binding = ours;
    assert_int_equal(run(&l), LET_IN);
    l.client_binding = theirs;
    assert_int_equal(run(&l), REFUSED_BY_US);
    assert_string_equal(l.err.sqlstate, SQLSTATE_INVALID_AUTHORIZATION);
    assert_string_equal(l.err.message, "SCRAM channel binding check failed");
    l.client_binding = longer;
    assert_int_equal(run(&l), REFUSED_BY_US);
    l.client_binding = slice_of("", 0);
    l.gs2_flag = 'y'; /* somebody took PLUS out of the list */
    assert_int_equal(run(&l), REFUSED_BY_US);
    assert_string_equal(l.err.message, "SCRAM channel binding negotiation error");
    l = login_of("pencil");
    l.client_binding = ours; /* PLUS was not offered */
    assert_int_equal(run(&l), FORWARDED);
}

/* Our own login binds to the server; it does not succeed through somebody else's certificate. */
static void test_binding_to_server(void **state)
{
    (void)state;
    struct login l = login_of("pencil");
    l.server_binding = l.seen_binding = slice_cstr("0123456789abcdef0123456789abcdef");
    assert_int_equal(run(&l), LET_IN);
    l.seen_binding = slice_cstr("fedcba9876543210fedcba9876543210");
    assert_int_equal(run(&l), REFUSED_BY_SERVER);
    assert_string_equal(l.err.message, "SCRAM channel binding check failed");
    l.seen_binding = slice_of("", 0); /* not offered to us */
    assert_int_equal(run(&l), LET_IN);
}

static enum auth_outcome server_says(struct auth_exchange *x, uint32_t kind, const char *text,
                                     struct err *err)
{
    struct buf to_client;
    buf_init(&to_client, 65536);
    struct wire_auth m = {kind, slice_cstr(text)};
    enum auth_outcome o = auth_exchange_on_server(x, &m, &to_client, err);
    buf_fini(&to_client);
    return o;
}

/* What we did not understand went to the server; if it likes it, the client is refused all the same. */
static void test_server_that_accepts_too_much(void **state)
{
    (void)state;
    static const uint32_t kinds[] = {WIRE_AUTH_OK,  WIRE_AUTH_SASL_CONTINUE, WIRE_AUTH_SASL_FINAL,
                                     WIRE_AUTH_MD5, WIRE_AUTH_CLEARTEXT,     WIRE_AUTH_SASL};
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        struct auth_exchange *x = auth_exchange_new(slice_cstr("anna"), slice_of("", 0));
        assert_int_equal(server_says(x, kinds[i], "", &err), AUTH_REFUSED); /* out of turn */
        assert_string_equal(err.sqlstate, SQLSTATE_PROTOCOL_VIOLATION);
        auth_exchange_free(x);
        x = auth_exchange_new(slice_cstr("anna"), slice_of("", 0));
        assert_int_equal(auth_exchange_on_header(x, 'Q', 10), AUTH_FORWARD);
        assert_int_equal(server_says(x, kinds[i], "r=x,s=c2FsdA==,i=1", &err), AUTH_REFUSED);
        assert_string_equal(err.sqlstate, SQLSTATE_INVALID_PASSWORD);
        assert_string_equal(err.message, "password authentication failed for user \"anna\"");
        auth_exchange_free(x);
    }
}

/* A server that does not know the verifier is none, whatever it says. */
static void test_server_without_proof(void **state)
{
    (void)state;
    struct login l = login_of("pencil");
    struct ends e;
    begin(&e, &l);
    assert_int_equal(first_round(&e, &l), AUTH_TAKEN);
    buf_clear(&e.text);
    buf_clear(&e.m);
    buf_clear(&e.to_server);
    assert_true(scram_client_step(e.client, auth_of(&e.to_client).data, &e.text, &l.err));
    assert_true(wire_write_sasl_response(&e.m, buf_slice(&e.text)));
    look_up(e.x, &l);
    assert_int_equal(auth_exchange_on_client(e.x, body_of(&e.m), &e.to_server, &l.err), AUTH_TAKEN);
    assert_int_equal(server_says(e.x, WIRE_AUTH_SASL_FINAL,
                                 "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", &l.err),
                     AUTH_REFUSED);
    assert_string_equal(l.err.sqlstate, SQLSTATE_INVALID_AUTHORIZATION);
    assert_int_equal(server_says(e.x, WIRE_AUTH_OK, "", &l.err), AUTH_REFUSED);
    assert_false(auth_exchange_get_credential(e.x, &l.credential));
    finish(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passwords),
        cmocka_unit_test(test_verifiers),
        cmocka_unit_test(test_binding),
        cmocka_unit_test(test_binding_to_server),
        cmocka_unit_test(test_server_that_accepts_too_much),
        cmocka_unit_test(test_server_without_proof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
