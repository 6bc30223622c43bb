#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "record.h"

static void an_error_as_last_log(void **state)
{
    struct err err;
    char out[4096];
    (void)state;
    err_set(&err, SQLSTATE_UNDEFINED_FILE, "could not open \"x\"");
    record_log_text(&err, out, sizeof out);
    assert_string_equal(out, "could not open \"x\" (58P01)");
    err_detail(&err, "It is gone.");
    err_hint(&err, "Bring it back.");
    record_log_text(&err, out, sizeof out);
    assert_string_equal(out,
                        "could not open \"x\" (58P01); detail: It is gone.; hint: Bring it back.");
}

static void the_longest_error_fits(void **state)
{
    struct err err;
    char out[sizeof err.message + sizeof err.detail + sizeof err.hint + 64];
    char text[sizeof err.detail];
    (void)state;
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    err_set(&err, SQLSTATE_INTERNAL_ERROR, "%s", text);
    err_detail(&err, "%s", text);
    err_hint(&err, "%sy", text);
    record_log_text(&err, out, sizeof out);
    assert_int_equal(strlen(out), strlen(err.message) + strlen(err.detail) + strlen(err.hint) +
                                      strlen(" (XX000); detail: ; hint: "));
    record_log_text(&err, out, 10);
    assert_int_equal(strlen(out), 9);
}

static void each_reason_to_stop_has_a_text(void **state)
{
    (void)state;
    assert_string_equal(lease_stop_text(LEASE_STOP_NONE), "goes on");
    assert_string_equal(lease_stop_text(LEASE_STOP_PAUSED), "the task was paused or suspended");
    assert_non_null(lease_stop_text(LEASE_STOP_SIGNAL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_error_as_last_log),
        cmocka_unit_test(the_longest_error_fits),
        cmocka_unit_test(each_reason_to_stop_has_a_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
