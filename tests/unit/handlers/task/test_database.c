#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "database.h"

static void named_databases_come_and_go(void **state)
{
    struct databases list = {.service = "host=/nowhere"};
    (void)state;
    databases_find(&list, " a, b ,,c");
    assert_int_equal(list.count, 3);
    assert_non_null(databases_get(&list, "a"));
    assert_non_null(databases_get(&list, "b"));
    assert_non_null(databases_get(&list, "c"));
    databases_find(&list, "c,a,a");
    assert_int_equal(list.count, 2);
    assert_null(databases_get(&list, "b"));
    databases_fini(&list);
    assert_int_equal(list.count, 0);
}

static void a_name_that_no_database_can_have_is_left_out(void **state)
{
    struct databases list = {.service = "host=/nowhere"};
    (void)state;
    databases_find(&list,
                   "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa,b"); /* 64 */
    assert_int_equal(list.count, 1);
    databases_fini(&list);
}

static void an_absent_server_is_no_end(void **state)
{
    struct databases list = {.service = "host=/nowhere"};
    struct claim claim = {.task_id = "t", .fencing = 1};
    (void)state;
    databases_find(&list, "a");
    assert_false(database_is_ready(&list.items[0], list.service));
    assert_false(database_is_ready(&list.items[0], list.service));
    assert_false(database_free_claim(&list.items[0], &claim, NULL));
    databases_find(&list, ""); /* cannot be listed: what is known stays */
    assert_int_equal(list.count, 1);
    databases_fini(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(named_databases_come_and_go),
        cmocka_unit_test(a_name_that_no_database_can_have_is_left_out),
        cmocka_unit_test(an_absent_server_is_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
