/* Reading JSON through the door, and writing strings that any reader accepts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "base/json.h"

static void test_reads_values(void **state)
{
    struct json *doc;
    struct err err = {0};
    (void)state;
    assert_true(json_read(slice_cstr("{\"a\":[1,\"x\",true,null,2.5],\"b\":{}}"), &doc, &err));
    const struct json_val *a = json_find(json_root(doc), "a");
    assert_int_equal(json_count(a), 5);
    assert_int_equal(json_as_int(json_at(a, 0), -1), 1);
    assert_string_equal(json_as_text(json_at(a, 1)), "x");
    assert_true(json_as_bool(json_at(a, 2), false));
    assert_true(json_as_real(json_at(a, 2), 0.5) == 0.5);
    assert_true(json_as_real(NULL, 0.5) == 0.5);
    assert_int_equal(json_kind_of(json_at(a, 3)), JSON_KIND_NULL);
    assert_int_equal(json_kind_of(json_at(a, 4)), JSON_KIND_REAL);
    assert_int_equal(json_kind_of(json_at(a, 5)), JSON_ABSENT);
    assert_null(json_as_text(json_find(json_root(doc), "nothing")));
    json_free(doc);
}

static void test_every_truncation_is_refused(void **state)
{
    const char *text = "{\"a\":[1,\"\xC3\xA9\",true]}";
    (void)state;
    for (size_t n = 0; n < strlen(text); n++) {
        struct json *doc = NULL;
        struct err err = {0};
        assert_false(json_read(slice_of(text, n), &doc, &err));
        assert_string_equal(err.sqlstate, "XX001");
        assert_null(doc);
    }
}

static void test_deep_nesting_is_refused(void **state)
{
    static char text[200001];
    struct json *doc = NULL;
    struct err err = {0};
    (void)state;
    memset(text, '[', sizeof text - 1);
    assert_false(json_read(slice_cstr(text), &doc, &err));
}

static void test_written_strings_read_back(void **state)
{
    struct buf b;
    struct json *doc;
    struct err err = {0};
    (void)state;
    buf_init(&b, 1 << 16);
    assert_true(json_write_string(&b, slice_cstr("a\"b\\c\n\x01\xE2\x82\xAC")));
    assert_true(json_read(buf_slice(&b), &doc, &err));
    assert_string_equal(json_as_text(json_root(doc)), "a\"b\\c\n\x01\xE2\x82\xAC");
    json_free(doc);
    buf_clear(&b);
    assert_true(json_write_string(&b, slice_cstr("x\xC0\xAF\xED\xA0\x80\xFFy")));
    assert_true(json_read(buf_slice(&b), &doc, &err));
    json_free(doc);
    buf_fini(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_values),
        cmocka_unit_test(test_every_truncation_is_refused),
        cmocka_unit_test(test_deep_nesting_is_refused),
        cmocka_unit_test(test_written_strings_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
