#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "pgclient/pgclient.h"

static void names_and_texts_are_quoted(void **state)
{
    struct arena a;
    (void)state;
    arena_init(&a, 0);
    assert_string_equal(pgclient_quote_name(&a, "t"), "\"t\"");
    assert_string_equal(pgclient_quote_name(&a, "a\"b"), "\"a\"\"b\"");
    assert_string_equal(pgclient_quote_text(&a, ""), "''");
    assert_string_equal(pgclient_quote_text(&a, "it's"), "'it''s'");
    assert_string_equal(pgclient_quote_text(&a, "a\\'"), " E'a\\\\'''");
    arena_fini(&a);
}

static void quoting_without_memory_is_told(void **state)
{
    struct arena a;
    (void)state;
    arena_init(&a, 2);
    assert_null(pgclient_quote_name(&a, "name"));
    assert_null(pgclient_quote_text(&a, "text"));
    arena_fini(&a);
}

static void nobody_listens(void **state)
{
    struct pgclient *c;
    struct err err;
    (void)state;
    assert_false(pgclient_open("host=/nowhere", "d", "test", &c, &err));
    assert_null(c);
    assert_string_equal(err.sqlstate, SQLSTATE_CANNOT_CONNECT);
}

static void a_malformed_string_is_not_repeated(void **state)
{
    struct pgclient *c;
    struct err err;
    (void)state;
    assert_false(pgclient_open("host=a hunter2", "d", "test", &c, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_CONFIG_FILE_ERROR);
    assert_null(strstr(err.message, "hunter2"));
    assert_null(strstr(err.detail, "hunter2"));
    assert_null(strstr(err.hint, "hunter2"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_texts_are_quoted),
        cmocka_unit_test(quoting_without_memory_is_told),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(a_malformed_string_is_not_repeated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
