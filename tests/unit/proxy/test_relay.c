/* The walk over messages: whatever the pieces in which bytes arrive, the same messages are asked for
 * and the same bytes go on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "relay.h"

/* An owner that obeys the type: a pass, d drop, w whole and pass, x whole and drop, h wait once,
 * W whole, wait once, then pass; p plain. */
struct owner {
    struct relay relay;
    struct buf out;
    struct buf asked; /* types, in order */
    size_t sends;
    bool has_waited;
    bool was_unframed;
};

static enum relay_verdict wait_once(struct owner *o)
{
    o->has_waited = !o->has_waited;
    return o->has_waited ? RELAY_WAIT : RELAY_PASS;
}

static enum relay_verdict on_header(void *owner, struct wire_header h)
{
    struct owner *o = owner;
    switch (h.type) {
    case 'd': buf_append_byte(&o->asked, h.type); return RELAY_DROP;
    case 'h':
        if (wait_once(o) == RELAY_WAIT)
            return RELAY_WAIT;
        break;
    case 'w':
    case 'x':
    case 'W': return RELAY_WHOLE;
    default: break;
    }
    buf_append_byte(&o->asked, h.type);
    return RELAY_PASS;
}

static enum relay_verdict on_message(void *owner, struct wire_header h, char *message)
{
    struct owner *o = owner;
    assert_int_equal(message[0], h.type);
    for (uint32_t i = 0; i < h.body_bytes; i++)
        assert_int_equal(message[WIRE_HEADER_BYTES + i], (char)('0' + i % 64));
    if (h.type == 'W' && wait_once(o) == RELAY_WAIT)
        return RELAY_WAIT;
    buf_append_byte(&o->asked, h.type);
    return h.type == 'x' ? RELAY_DROP : RELAY_PASS;
}

static void on_bytes(void *owner, const char *data, size_t bytes)
{
    struct owner *o = owner;
    buf_append(&o->out, data, bytes);
    o->sends++;
}

static void on_unframed(void *owner)
{
    ((struct owner *)owner)->was_unframed = true;
}

static void on_no_memory(void *owner)
{
    (void)owner;
    fail();
}

static const struct relay_events events = {on_header, on_message, on_bytes, on_unframed,
                                           on_no_memory};
static const uint8_t plain[256] = {['p'] = 1};

static void owner_init(struct owner *o)
{
    *o = (struct owner){.sends = 0};
    relay_init(&o->relay, &events, o, plain);
    buf_init(&o->out, SIZE_MAX / 4);
    buf_init(&o->asked, SIZE_MAX / 4);
}

static void owner_fini(struct owner *o)
{
    relay_fini(&o->relay);
    buf_fini(&o->out);
    buf_fini(&o->asked);
}

static void put_message(struct buf *b, char type, uint32_t body_bytes)
{
    uint32_t length = body_bytes + 4;
    const char header[] = {type, (char)(length >> 24), (char)(length >> 16), (char)(length >> 8),
                           (char)length};
    buf_append(b, header, sizeof header);
    for (uint32_t i = 0; i < body_bytes; i++)
        buf_append_byte(b, (char)('0' + i % 64));
}

static void feed(struct owner *o, const char *data, size_t bytes)
{
    char room[RELAY_HEADROOM + 70000];
    memcpy(room + RELAY_HEADROOM, data, bytes);
    relay_feed(&o->relay, room + RELAY_HEADROOM, bytes);
    memset(room, '!', sizeof room); /* what it keeps it must have copied */
}

static void feed_in_pieces(struct owner *o, struct slice all, size_t piece)
{
    for (size_t at = 0; at < all.len;) {
        size_t n = all.len - at < piece ? all.len - at : piece;
        feed(o, all.data + at, n);
        at += n;
        while (relay_is_waiting(&o->relay))
            relay_resume(&o->relay);
    }
}

static void test_any_pieces_give_the_same(void **state)
{
    static const char types[] = "apwdWxhapphwdaWWhxxaddp";
    static const uint32_t sizes[] = {0, 1, 4, 5, 30, 300};
    struct buf in, expected, asked;
    (void)state;
    buf_init(&in, SIZE_MAX / 4);
    buf_init(&expected, SIZE_MAX / 4);
    buf_init(&asked, SIZE_MAX / 4);
    for (size_t i = 0; i < 200; i++) {
        char type = types[i % (sizeof types - 1)];
        uint32_t size = sizes[(i * 7 + i / 6) % 6];
        put_message(&in, type, size);
        if (type != 'd' && type != 'x')
            put_message(&expected, type, size);
        if (type != 'p')
            buf_append_byte(&asked, type);
    }
    for (size_t piece = 1; piece < 400; piece++) {
        struct owner o;
        owner_init(&o);
        feed_in_pieces(&o, buf_slice(&in), piece);
        assert_int_equal(buf_length(&o.out), buf_length(&expected));
        assert_memory_equal(buf_data(&o.out), buf_data(&expected), buf_length(&expected));
        assert_int_equal(buf_length(&o.asked), buf_length(&asked));
        assert_memory_equal(buf_data(&o.asked), buf_data(&asked), buf_length(&asked));
        assert_true(relay_is_between(&o.relay));
        owner_fini(&o);
    }
    buf_fini(&in);
    buf_fini(&expected);
    buf_fini(&asked);
}

static void test_one_read_is_one_send(void **state)
{
    struct owner o;
    struct buf in;
    (void)state;
    owner_init(&o);
    buf_init(&in, SIZE_MAX / 4);
    for (int i = 0; i < 100; i++)
        put_message(&in, "apw"[i % 3], 20);
    feed(&o, buf_data(&in), buf_length(&in));
    assert_int_equal(o.sends, 1);
    owner_fini(&o);
    buf_fini(&in);
}

static void test_attentive_asks_for_plain_ones(void **state)
{
    struct owner o;
    struct buf in;
    (void)state;
    owner_init(&o);
    buf_init(&in, SIZE_MAX / 4);
    put_message(&in, 'p', 3);
    feed(&o, buf_data(&in), buf_length(&in));
    assert_int_equal(buf_length(&o.asked), 0);
    o.relay.attentive = true;
    feed(&o, buf_data(&in), buf_length(&in));
    assert_int_equal(buf_length(&o.asked), 1);
    owner_fini(&o);
    buf_fini(&in);
}

static void test_bytes_that_come_while_waiting_are_kept(void **state)
{
    struct owner o;
    struct buf in;
    (void)state;
    owner_init(&o);
    buf_init(&in, SIZE_MAX / 4);
    put_message(&in, 'a', 3);
    put_message(&in, 'h', 3);
    put_message(&in, 'a', 3);
    feed(&o, buf_data(&in), 12);
    feed(&o, buf_data(&in) + 12, 2);
    assert_int_equal(buf_length(&o.out), 8);
    feed(&o, buf_data(&in) + 14, buf_length(&in) - 14);
    assert_true(relay_is_waiting(&o.relay));
    assert_int_equal(buf_length(&o.out), 8);
    relay_resume(&o.relay);
    assert_int_equal(buf_length(&o.out), 24);
    assert_memory_equal(buf_data(&o.out), buf_data(&in), 24);
    owner_fini(&o);
    buf_fini(&in);
}

static void test_impossible_lengths_pass_raw(void **state)
{
    static const char *const bad[] = {"a\0\0\0\3", "a\x40\0\0\0", "a\xff\xff\xff\xff"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct owner o;
        owner_init(&o);
        feed(&o, bad[i], 5);
        feed(&o, "d\0\0\0\4 anything", 14);
        assert_true(o.was_unframed);
        assert_false(relay_is_between(&o.relay));
        assert_int_equal(buf_length(&o.out), 19);
        owner_fini(&o);
    }
}

static void test_the_end_lets_pieces_go(void **state)
{
    struct buf in;
    (void)state;
    buf_init(&in, SIZE_MAX / 4);
    put_message(&in, 'a', 3);
    put_message(&in, 'w', 300);
    for (size_t cut = 1; cut < buf_length(&in); cut++) {
        struct owner o;
        owner_init(&o);
        feed(&o, buf_data(&in), cut);
        relay_end(&o.relay);
        assert_int_equal(buf_length(&o.out), cut);
        assert_memory_equal(buf_data(&o.out), buf_data(&in), cut);
        owner_fini(&o);
    }
    buf_fini(&in);
}

static void test_stopped_takes_nothing(void **state)
{
    struct owner o;
    (void)state;
    owner_init(&o);
    relay_stop(&o.relay);
    feed(&o, "a\0\0\0\4", 5);
    relay_resume(&o.relay);
    relay_end(&o.relay);
    assert_int_equal(buf_length(&o.out), 0);
    owner_fini(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_pieces_give_the_same),
        cmocka_unit_test(test_one_read_is_one_send),
        cmocka_unit_test(test_attentive_asks_for_plain_ones),
        cmocka_unit_test(test_bytes_that_come_while_waiting_are_kept),
        cmocka_unit_test(test_impossible_lengths_pass_raw),
        cmocka_unit_test(test_the_end_lets_pieces_go),
        cmocka_unit_test(test_stopped_takes_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
