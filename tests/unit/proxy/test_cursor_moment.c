/* Which literals may be a time that is fixed when the query is read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/attr.h"

#include "cursor_moment.h"

static const struct lexer_dialect dialect = {true, ENCODING_UTF8};

static void test_literals(void **state)
{
    static const struct {
        const char *query;
        bool named;
    } rows[] = {
        {"SELECT 'now'::timestamptz", true},
        {"SELECT date ' ToDay '", true},
        {"SELECT 'tomorrow 10:00+02' < t.x FROM t", true},
        {"SELECT E'no\\x77'::timestamp", true},
        {"SELECT U&'no\\0077'::timestamp", true},
        {"SELECT $$yesterday$$::date", true},
        {"SELECT '{2020-01-01,now}'::date[], 1", true},
        {"SELECT '[\"yesterday\",today)'::daterange", true},
        {"SELECT 'now", false}, /* no query at all */
        {"SELECT now, \"today\" FROM tomorrow -- 'now'", false},
        {"SELECT 'know', 'nowhere', 'todays', 'infinity', '2020-01-01'", false},
        {"SELECT a LIKE '%now%' FROM t WHERE b = 'now!'", false},
        {"", false},
    };
    struct arena arena;
    (void)state;
    arena_init(&arena, 0);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(cursor_moment_is_named(&arena, slice_cstr(rows[i].query), &dialect),
                         rows[i].named);
    arena_fini(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_literals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
