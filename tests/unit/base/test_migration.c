/* The text of the upgrade script; what a server makes of it is tested in tests/e2e/sql/test_upgrade.py. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "base/migration.h"

static const char *write_script(const struct migration *items, size_t count, struct buf *out)
{
    struct migration_list list = {items, count};
    buf_init(out, 64 * 1024);
    assert_true(migration_script(&list, 1, out));
    return buf_cstr(out);
}

static void expect_revision(const char *sql, const char *revision)
{
    struct buf out;
    struct migration m = {"task", "001_task", sql};
    char row[64], due[64];
    const char *script = write_script(&m, 1, &out);
    snprintf(row, sizeof row, "('task', '001_task', %s)", revision);
    snprintf(due, sizeof due, "at_revision < %s THEN", revision);
    assert_non_null(strstr(script, row));
    assert_non_null(strstr(script, due));
    buf_fini(&out);
}

static void test_revision_stands_in_the_first_line(void **state)
{
    (void)state;
    expect_revision("-- A table.\nSELECT 1;", "1");
    expect_revision("-- revision 2\n-- A table.\nSELECT 1;", "2");
    expect_revision("-- revision 13\n", "13");
    expect_revision("-- A table.\n-- revision 2\nSELECT 1;", "1");
    expect_revision(" -- revision 2\n", "1");
    expect_revision("", "1");
}

static void test_quote_is_not_in_the_text(void **state)
{
    (void)state;
    struct buf out;
    struct migration m = {"task", "001_task", "SELECT $migration0$ $migration1$;"};
    const char *script = write_script(&m, 1, &out);
    assert_non_null(
        strstr(script, "EXECUTE $migration2$SELECT $migration0$ $migration1$;$migration2$;"));
    buf_fini(&out);
}

static void test_files_in_their_order_in_one_statement(void **state)
{
    (void)state;
    struct buf out;
    const struct migration items[] = {{"b", "001_b", "SELECT 'first'"},
                                      {"a", "002_a", "SELECT 'second'"}};
    const char *script = write_script(items, 2, &out);
    const char *first = strstr(script, "$SELECT 'first'$");
    const char *second = strstr(script, "$SELECT 'second'$");
    assert_non_null(first);
    assert_non_null(second);
    assert_true(first < second);
    const char *quote = strstr(script, "$pgveneer_migration$");
    assert_memory_equal(script, "DO ", 3);
    assert_ptr_equal(quote, script + 3);
    assert_string_equal(strstr(quote + 1, "$pgveneer_migration$"), "$pgveneer_migration$;\n");
    buf_fini(&out);
}

/* The checksum that a script records. */
static void read_checksum(const char *sql, char sum[17])
{
    struct buf out;
    struct migration m = {"task", "001_task", sql};
    const char *script = write_script(&m, 1, &out);
    static const char before[] = "VALUES ('task', '001_task', '";
    const char *at = strstr(script, before);
    assert_non_null(at);
    snprintf(sum, 17, "%s", at + sizeof before - 1);
    buf_fini(&out);
}

static void test_checksum_is_fnv_1a(void **state)
{
    (void)state;
    char sum[17], other[17];
    read_checksum("a", sum);
    assert_string_equal(sum, "af63dc4c8601ec8c");
    read_checksum("b", other);
    assert_string_not_equal(sum, other);
}

static void test_full_buffer_is_told(void **state)
{
    (void)state;
    struct migration m = {"task", "001_task", "SELECT 1;"};
    struct migration_list list = {&m, 1};
    struct buf whole;
    write_script(&m, 1, &whole);
    for (size_t max = 1; max < buf_length(&whole); max += 97) {
        struct buf out;
        buf_init(&out, max);
        assert_false(migration_script(&list, 1, &out));
        buf_fini(&out);
    }
    buf_fini(&whole);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_revision_stands_in_the_first_line),
        cmocka_unit_test(test_quote_is_not_in_the_text),
        cmocka_unit_test(test_files_in_their_order_in_one_statement),
        cmocka_unit_test(test_checksum_is_fnv_1a),
        cmocka_unit_test(test_full_buffer_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
