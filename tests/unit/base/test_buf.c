/* The byte buffer: its maximum, its sticky failure, and that no byte is lost or moved twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/buf.h"

static void test_appends_and_consumes(void **state)
{
    struct buf b;
    uint8_t next_in = 0;
    uint8_t next_out = 0;
    (void)state;
    buf_init(&b, 1000);
    for (int round = 0; round < 5000; round++) {
        for (int i = 0; i < round % 37 && buf_length(&b) < 900; i++)
            assert_true(buf_append_byte(&b, (char)next_in++));
        size_t take = buf_length(&b) * (size_t)(round % 3) / 2;
        for (size_t i = 0; i < take; i++)
            assert_int_equal((uint8_t)buf_data(&b)[i], next_out++);
        buf_consume(&b, take);
    }
    assert_int_equal((uint8_t)(next_in - next_out), buf_length(&b) % 256);
    assert_in_range(b.capacity, 1, 2048);
    buf_fini(&b);
}

static void test_maximum_is_exact_and_failure_sticks(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 10);
    assert_true(buf_append_cstr(&b, "0123456789"));
    assert_false(buf_append_byte(&b, 'x'));
    assert_int_equal(buf_length(&b), 10);
    buf_consume(&b, 5);
    assert_false(buf_append_byte(&b, 'x'));
    buf_clear(&b);
    assert_true(buf_append_byte(&b, 'x'));
    buf_fini(&b);
}

static void test_printf_and_cstr_at_the_maximum(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, 4);
    assert_true(buf_printf(&b, "%d", 1234));
    assert_string_equal(buf_cstr(&b), "1234");
    assert_int_equal(buf_length(&b), 4);
    assert_false(buf_printf(&b, "%d", 5));
    buf_fini(&b);
}

static void test_size_overflow_is_refused(void **state)
{
    struct buf b;
    (void)state;
    buf_init(&b, SIZE_MAX / 2);
    assert_true(buf_append_byte(&b, 'x'));
    assert_null(buf_reserve(&b, SIZE_MAX - 1));
    assert_true(b.failed);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_appends_and_consumes),
        cmocka_unit_test(test_maximum_is_exact_and_failure_sticks),
        cmocka_unit_test(test_printf_and_cstr_at_the_maximum),
        cmocka_unit_test(test_size_overflow_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
