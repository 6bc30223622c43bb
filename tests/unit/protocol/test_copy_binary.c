/* Exact bytes of each type; the expected ones were taken from COPY … TO STDOUT (FORMAT binary) of
 * PostgreSQL 15. tests/e2e/hudi proves the same through a real server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "protocol/copy_binary.h"

static struct buf b;

static int setup(void **state)
{
    (void)state;
    buf_init(&b, 1 << 20);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    buf_fini(&b);
    return 0;
}

/* The buffer's content as hex, compared, then emptied. */
static void expect_hex(const char *hex)
{
    static char got[4096];
    static const char digits[] = "0123456789abcdef";
    size_t n = 0;
    for (size_t i = 0; i < buf_length(&b); i++) {
        unsigned char c = (unsigned char)buf_data(&b)[i];
        got[n++] = digits[c >> 4];
        got[n++] = digits[c & 15];
    }
    got[n] = 0;
    assert_string_equal(got, hex);
    buf_clear(&b);
}

static void test_frame(void **state)
{
    (void)state;
    copy_put_header(&b);
    expect_hex("5047434f50590aff0d0a00"
               "0000000000000000");
    copy_put_row(&b, 3);
    expect_hex("0003");
    copy_put_trailer(&b);
    expect_hex("ffff");
    copy_put_null(&b);
    expect_hex("ffffffff");
}

static void test_fixed_width(void **state)
{
    (void)state;
    copy_put_bool(&b, true);
    copy_put_bool(&b, false);
    expect_hex("0000000101"
               "0000000100");
    copy_put_int2(&b, -2);
    expect_hex("00000002fffe");
    copy_put_int4(&b, 16909060);
    expect_hex("0000000401020304");
    copy_put_int8(&b, INT64_MIN);
    expect_hex("000000088000000000000000");
    copy_put_float4(&b, 1.5f);
    expect_hex("000000043fc00000");
    copy_put_float8(&b, -0.1);
    expect_hex("00000008bfb999999999999a");
}

static void test_bytes(void **state)
{
    (void)state;
    copy_put_bytes(&b, slice_cstr("ab\xc3\xa9"));
    expect_hex("000000046162c3a9");
    copy_put_bytes(&b, slice_of(NULL, 0));
    expect_hex("00000000");
    copy_put_jsonb(&b, slice_cstr("{}"));
    expect_hex("00000003017b7d");
}

static void test_numeric(void **state)
{
    (void)state;
    copy_put_numeric(&b, 0, 0);
    expect_hex("000000080000000000000000");
    copy_put_numeric(&b, 0, 2); /* 0.00 */
    expect_hex("000000080000000000000002");
    copy_put_numeric(&b, 1, 0);
    expect_hex("0000000a00010000000000000001");
    copy_put_numeric(&b, 10000, 0); /* trailing group of zeros is left out */
    expect_hex("0000000a00010001000000000001");
    copy_put_numeric(&b, 12345678, 0);
    expect_hex("0000000c000200010000000004d2162e");
    copy_put_numeric(&b, -54320, 2); /* -543.20 */
    expect_hex("0000000c0002000040000002021f07d0");
    copy_put_numeric(&b, 1, 5); /* 0.00001 */
    expect_hex("0000000a0001fffe0000000503e8");
    copy_put_numeric(&b, 1234567891, 3); /* 1234567.891 */
    expect_hex("0000000e0003000100000003007b11d722ce");
    copy_put_numeric(&b, INT64_MIN, 0); /* -9223372036854775808 */
    expect_hex("000000120005000440000000039a0d2c0170156516b0");
}

static copy_int128 power(unsigned n)
{
    copy_int128 p = 1;
    while (n-- > 0)
        p *= 10;
    return p;
}

static void test_numeric_wide(void **state)
{
    (void)state;
    /* 38 nines, all of them behind the point: nine groups and 9900 */
    copy_put_numeric(&b, power(38) - 1, 38);
    expect_hex("0000001c000affff00000026"
               "270f270f270f270f270f270f270f270f270f26ac");
    /* 38 nines before the point: 99 and nine groups */
    copy_put_numeric(&b, power(38) - 1, 0);
    expect_hex("0000001c000a000900000000"
               "0063270f270f270f270f270f270f270f270f270f");
    /* 10^37 / 10^19 = 10^18: one digit, weight 4 */
    copy_put_numeric(&b, power(37), 19);
    expect_hex("0000000a00010004000000130064");
}

static void test_array(void **state)
{
    (void)state;
    size_t mark = copy_begin_value(&b);
    copy_put_array_head(&b, 23, 2, true);
    copy_put_int4(&b, 7);
    copy_put_null(&b);
    copy_end_value(&b, mark);
    expect_hex("00000020"
               "00000001"
               "00000001"
               "00000017"
               "00000002"
               "00000001"
               "0000000400000007"
               "ffffffff");
    mark = copy_begin_value(&b);
    copy_put_array_head(&b, 25, 0, false);
    copy_end_value(&b, mark);
    expect_hex("0000000c"
               "00000000"
               "00000000"
               "00000019");
}

static void test_text_checks(void **state)
{
    (void)state;
    assert_int_equal(copy_check_text(slice_of(NULL, 0)), COPY_TEXT_GOOD);
    assert_int_equal(copy_check_text(slice_cstr("plain ascii of more than 8 bytes")),
                     COPY_TEXT_GOOD);
    assert_int_equal(copy_check_text(slice_cstr("12345678\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")),
                     COPY_TEXT_GOOD);
    assert_int_equal(copy_check_text(slice_of("12345678\0", 9)), COPY_TEXT_HAS_NUL);
    assert_int_equal(copy_check_text(slice_of("1234\000678", 8)), COPY_TEXT_HAS_NUL);
    static const char *const bad[] = {
        "\x80",         "\xc0\x80",         "\xc1\xbf",         "\xe0\x80\x80",
        "\xed\xa0\x80", "\xf0\x80\x80\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
        "\xc3",         "\xe2\x82",         "12345678\xff",     "\xe2\x28\xa1"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(copy_check_text(slice_cstr(bad[i])), COPY_TEXT_NOT_UTF8);
    assert_int_equal(copy_count_characters(slice_cstr("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80")), 4);
}

/* A buffer that is full fails and stays so; nothing is written behind its end. */
static void test_full_buffer(void **state)
{
    (void)state;
    struct buf small;
    buf_init(&small, 10);
    copy_put_int4(&small, 1);
    assert_false(small.failed);
    size_t mark = copy_begin_value(&small);
    copy_put_numeric(&small, 1, 0);
    copy_put_bytes(&small, slice_cstr("abc"));
    copy_put_array_head(&small, 23, 0, false);
    copy_end_value(&small, mark);
    assert_true(small.failed);
    buf_fini(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_frame, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fixed_width, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numeric, setup, teardown),
        cmocka_unit_test_setup_teardown(test_numeric_wide, setup, teardown),
        cmocka_unit_test_setup_teardown(test_array, setup, teardown),
        cmocka_unit_test_setup_teardown(test_text_checks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_full_buffer, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
