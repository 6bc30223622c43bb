#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "pgclient/pgclient.h"

static const struct retry_policy policy = {.attempts = 5, .base_ms = 100, .cap_ms = 300};

static void grows_to_the_cap_and_ends(void **state)
{
    struct err err;
    (void)state;
    err_set(&err, SQLSTATE_CONNECTION_FAILURE, "lost");
    assert_int_equal(retry_wait_ms(&policy, 1, &err), -1);
    assert_int_equal(retry_wait_ms(&policy, 2, &err), 100);
    assert_int_equal(retry_wait_ms(&policy, 3, &err), 200);
    assert_int_equal(retry_wait_ms(&policy, 4, &err), 300);
    assert_int_equal(retry_wait_ms(&policy, 5, &err), 300);
    assert_int_equal(retry_wait_ms(&policy, 6, &err), -1);
}

static void large_numbers_do_not_overflow(void **state)
{
    const struct retry_policy large = {.attempts = 1000, .base_ms = 1u << 30, .cap_ms = 2000000000};
    struct err err;
    (void)state;
    err_set(&err, SQLSTATE_CONNECTION_FAILURE, "lost");
    assert_int_equal(retry_wait_ms(&large, 1000, &err), 2000000000);
}

static void jitter_stays_below_the_wait(void **state)
{
    const struct retry_policy jittered = {
        .attempts = 2, .base_ms = 100, .cap_ms = 100, .jitter_percent = 20};
    struct err err;
    (void)state;
    err_set(&err, SQLSTATE_DEADLOCK_DETECTED, "deadlock");
    for (int i = 0; i < 1000; i++)
        assert_in_range(retry_wait_ms(&jittered, 2, &err), 80, 100);
}

static void only_transient_errors(void **state)
{
    static const char *const never[] = {"28P01", "28000", "23505", "42P01", "XX001", "57014"};
    static const char *const always[] = {"08006", "40001", "53300", "58030",
                                         "55P03", "57P01", "57P03"};
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(never); i++) {
        err_set(&err, never[i], "x");
        assert_int_equal(retry_wait_ms(&policy, 2, &err), -1);
    }
    for (size_t i = 0; i < ARRAY_LEN(always); i++) {
        err_set(&err, always[i], "x");
        assert_int_equal(retry_wait_ms(&policy, 2, &err), 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_to_the_cap_and_ends),
        cmocka_unit_test(large_numbers_do_not_overflow),
        cmocka_unit_test(jitter_stays_below_the_wait),
        cmocka_unit_test(only_transient_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
