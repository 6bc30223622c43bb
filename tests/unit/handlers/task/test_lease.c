/* What a run that has to stop cancels. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lease.h"

static struct pgclient *client(size_t number)
{
    static char clients[LEASE_TARGETS + 1]; /* only their addresses matter */
    return (struct pgclient *)&clients[number];
}

static void test_targets(void **state)
{
    (void)state;
    static struct job_lease l;
    pthread_mutex_init(&l.target_lock, NULL);
    for (size_t i = 0; i < LEASE_TARGETS; i++)
        assert_true(lease_aim(&l, client(i)));
    assert_false(lease_aim(&l, client(LEASE_TARGETS)));
    lease_unaim(&l, client(LEASE_TARGETS)); /* it was not there */
    assert_false(lease_aim(&l, client(LEASE_TARGETS)));
    lease_unaim(&l, client(3));
    assert_null(l.targets[3]);
    assert_true(lease_aim(&l, client(LEASE_TARGETS)));
    assert_ptr_equal(l.targets[3], client(LEASE_TARGETS));
    lease_unaim(&l, NULL);
    pthread_mutex_destroy(&l.target_lock);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_targets)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
