/* Borrowed memory: comparisons without case are ASCII only; empty slices are harmless. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "base/slice.h"

static void test_comparisons(void **state)
{
    (void)state;
    assert_true(slice_equals_nocase(slice_cstr("Pg_Task"), "pg_TASK"));
    assert_false(slice_equals_nocase(slice_cstr("pg_tas"), "pg_task"));
    assert_false(slice_equals_nocase(slice_cstr("pg_task"), "pg_tas"));
    assert_false(slice_equals_nocase(slice_cstr("\xC3\x84"), "\xC3\xA4"));
    assert_true(slice_equals(slice_of(NULL, 0), slice_cstr("")));
    assert_true(slice_starts_with(slice_cstr("abc"), ""));
    assert_false(slice_starts_with(slice_of("abc", 2), "abc"));
    assert_true(slice_ends_with(slice_cstr("a.parquet"), ".parquet"));
}

static void test_find_and_trim(void **state)
{
    (void)state;
    assert_int_equal(slice_find_byte(slice_cstr("a/b"), '/'), 1);
    assert_int_equal(slice_find_byte(slice_of(NULL, 0), '/'), 0);
    assert_true(slice_equals_cstr(slice_trim(slice_cstr(" \t\na b\r ")), "a b"));
    assert_true(slice_is_empty(slice_trim(slice_cstr("  "))));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_comparisons),
        cmocka_unit_test(test_find_and_trim),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
