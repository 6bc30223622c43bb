/* Which differences of two Avro schemas count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "schema_change.h"

#define RECORD(fields) "{\"type\": \"record\", \"name\": \"r\", \"fields\": [" fields "]}"
#define ID "{\"name\": \"id\", \"type\": \"int\"}"
#define V "{\"name\": \"v\", \"type\": [\"null\", \"string\"]}"

static bool changed(const char *older, const char *newer)
{
    struct err err;
    bool is;
    assert_true(schema_change_find(older, newer, &is, &err));
    return is;
}

static void test_same(void **state)
{
    (void)state;
    assert_false(changed(RECORD(ID ", " V), RECORD(ID ", " V)));
    assert_false(changed(RECORD(ID ", " V), RECORD(V ",   " ID)));
    assert_false(changed(RECORD(ID), RECORD(ID ", " V))); /* a new column */
    assert_false(
        changed(RECORD("{\"type\": \"int\", \"name\": \"id\", \"doc\": \"x\"}"), RECORD(ID)));
    assert_false(changed(RECORD("{\"name\": \"_hoodie_file_name\", \"type\": \"string\"}, " ID),
                         RECORD(ID)));
}

static void test_changed(void **state)
{
    (void)state;
    assert_true(changed(RECORD(ID ", " V), RECORD(ID)));
    assert_true(changed(RECORD(ID), RECORD("{\"name\": \"id\", \"type\": \"long\"}")));
    assert_true(changed(RECORD("{\"name\": \"t\", \"type\": {\"type\": \"long\", \"logicalType\": "
                               "\"timestamp-micros\"}}"),
                        RECORD("{\"name\": \"t\", \"type\": {\"type\": \"long\", \"logicalType\": "
                               "\"timestamp-millis\"}}")));
    assert_true(changed(
        RECORD("{\"name\": \"t\", \"type\": \"long\"}"),
        RECORD("{\"name\": \"t\", \"type\": {\"type\": \"long\", \"logicalType\": \"x\"}}")));
    assert_true(changed(RECORD("{\"name\": \"t\", \"type\": [\"null\", \"int\"]}"),
                        RECORD("{\"name\": \"t\", \"type\": [\"null\", \"int\", \"long\"]}")));
}

static void test_damaged(void **state)
{
    (void)state;
    struct err err;
    bool is;
    assert_false(schema_change_find(RECORD(ID), "{\"fields\": [", &is, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_DATA_CORRUPTED);
    assert_true(schema_change_find("{}", RECORD(ID), &is, &err));
    assert_false(is);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_changed),
        cmocka_unit_test(test_damaged),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
