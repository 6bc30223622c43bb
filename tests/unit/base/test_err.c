/* Errors as values: the texts are cut at characters, transient classes are the ones that may be
 * retried. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/err.h"

static void test_set_clears_other_fields(void **state)
{
    struct err err = {0};
    (void)state;
    err_set(&err, "42P01", "relation \"%s\" does not exist", "a");
    err_hint(&err, "Use IF EXISTS.");
    err_detail(&err, "A detail.");
    assert_false(err_set(&err, "22023", "other"));
    assert_string_equal(err.sqlstate, "22023");
    assert_string_equal(err.message, "other");
    assert_string_equal(err.hint, "");
    assert_string_equal(err.detail, "");
}

static void test_long_text_is_cut_at_a_character(void **state)
{
    struct err err = {0};
    char text[1200];
    (void)state;
    for (size_t shift = 0; shift < 3; shift++) {
        memset(text, 'x', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3)
            memcpy(text + i, "\xE2\x82\xAC", 4);
        err_set(&err, "22023", "%s", text);
        size_t n = strlen(err.message);
        assert_in_range(n, sizeof err.message - 4, sizeof err.message - 1);
        assert_int_equal((n - shift) % 3, 0);
    }
}

static void test_context_goes_in_front(void **state)
{
    struct err err = {0};
    (void)state;
    err_set(&err, "58030", "no space");
    err_context(&err, "file %d", 7);
    assert_string_equal(err.message, "file 7: no space");
    assert_string_equal(err.sqlstate, "58030");
}

static void test_transient_classes(void **state)
{
    static const char *const transient[] = {"08006", "40001", "40P01", "53300", "58030",
                                            "55P03", "57P01", "57P02", "57P03"};
    static const char *const lasting[] = {"28P01", "28000", "42501", "57014", "55000", "XX000", ""};
    struct err err = {0};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(transient); i++) {
        err_set(&err, transient[i], "x");
        assert_true(err_is_transient(&err));
    }
    for (size_t i = 0; i < ARRAY_LEN(lasting); i++) {
        err_set(&err, lasting[i], "x");
        assert_false(err_is_transient(&err));
    }
}

static void test_errno_gets_a_sqlstate(void **state)
{
    struct err err = {0};
    (void)state;
    assert_false(err_set_errno(&err, ENOENT, "open \"%s\"", "a"));
    assert_string_equal(err.sqlstate, "58P01");
    assert_string_equal(err.message, "open \"a\": No such file or directory");
    err_set_errno(&err, ECONNREFUSED, "connect");
    assert_string_equal(err.sqlstate, "08006");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set_clears_other_fields),
        cmocka_unit_test(test_long_text_is_cut_at_a_character),
        cmocka_unit_test(test_context_goes_in_front),
        cmocka_unit_test(test_transient_classes),
        cmocka_unit_test(test_errno_gets_a_sqlstate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
