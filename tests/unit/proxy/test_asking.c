/* Which notices are questions to the proxy. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"
#include "base/err.h"
#include "protocol/server_msg.h"

#include "asking.h"

/* The body of a NoticeResponse with this SQLSTATE and detail; NULL: no detail. */
static void put_body(struct buf *b, const char *state, const char *detail)
{
    buf_append_cstr(b, "SINFO");
    buf_append_byte(b, '\0');
    buf_printf(b, "C%s", state);
    buf_append_byte(b, '\0');
    buf_append_cstr(b, "Mthis session asks");
    buf_append_byte(b, '\0');
    if (detail != NULL) {
        buf_printf(b, "D%s", detail);
        buf_append_byte(b, '\0');
    }
    buf_append_byte(b, '\0');
}

static bool asks(const char *state, const char *detail)
{
    struct buf b;
    struct slice message;
    buf_init(&b, 65536);
    put_body(&b, state, detail);
    bool is = asking_read(buf_slice(&b), &message);
    if (is)
        assert_true(slice_equals_cstr(message, detail));
    buf_fini(&b);
    return is;
}

static void test_what_is_a_message(void **state)
{
    (void)state;
    assert_true(asks("PV001", "10.e30=.0a"));
    assert_true(asks("PV001", "+/=.AZaz09"));
    assert_false(asks("PV002", "10.e30=.0a"));
    assert_false(asks("00000", "10.e30=.0a"));
    assert_false(asks("PV0011", "10.e30=.0a"));
    assert_false(asks("PV001", NULL));
    assert_false(asks("PV001", ""));
    assert_false(asks("PV001", "a b"));
    assert_false(asks("PV001", "a'b"));
    assert_false(asks("PV001", "a\nb"));
    assert_false(asks("PV001", "a\xc3\xa4"));
}

static void test_length(void **state)
{
    char text[32770];
    (void)state;
    memset(text, 'a', sizeof text);
    text[32768] = '\0';
    assert_true(asks("PV001", text));
    text[32768] = 'a';
    text[32769] = '\0';
    assert_false(asks("PV001", text));
}

static void test_every_truncation(void **state)
{
    struct buf b;
    struct slice message;
    (void)state;
    buf_init(&b, 65536);
    put_body(&b, "PV001", "10.e30=.0a");
    size_t fields = buf_length(&b) - 2; /* without the last NUL of the detail and the end */
    for (size_t n = 0; n <= fields; n++)
        assert_false(asking_read(slice_of(buf_data(&b), n), &message));
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_a_message),
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_every_truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
