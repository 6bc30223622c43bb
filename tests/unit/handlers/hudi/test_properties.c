/* Java properties: the rules of java.util.Properties.load. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "properties.h"

static struct arena arena;

static struct properties read_ok(const char *text)
{
    struct properties p;
    struct err err;
    if (!properties_read(&arena, slice_cstr(text), &p, &err))
        fail_msg("%s: %s", text, err.message);
    return p;
}

static void expect(const char *text, const char *key, const char *value)
{
    struct properties p = read_ok(text);
    const char *found = properties_find(&p, key);
    if (value == NULL) {
        assert_null(found);
        return;
    }
    assert_non_null(found);
    assert_string_equal(value, found);
}

static void refuse(struct slice text)
{
    struct properties p;
    struct err err;
    assert_false(properties_read(&arena, text, &p, &err));
    assert_string_equal(SQLSTATE_DATA_CORRUPTED, err.sqlstate);
}

static void test_separators(void **state)
{
    (void)state;
    expect("a=1", "a", "1");
    expect("a = 1\n", "a", "1");
    expect("a:1\r\n", "a", "1");
    expect("a 1\r", "a", "1");
    expect("a\t=\t1", "a", "1");
    expect("  a==1", "a", "=1");
    expect("a=b:c d", "a", "b:c d");
    expect("a=1 ", "a", "1 ");
    expect("a", "a", "");
    expect("a=", "a", "");
    expect("=x", "", "x");
    expect("", "a", NULL);
    expect("a=1\nb=2\na=3", "a", "3");
}

static void test_comments_and_lines(void **state)
{
    (void)state;
    expect("#a=1\n!a=2\n  # a=3\n", "a", NULL);
    expect("# comment \\\na=1", "a", "1"); /* comments do not continue */
    expect("\n\n \f\n a=1\n", "a", "1");
    expect("a=1\\\n   2\\\r\n3", "a", "123");
    expect("a=1\\\\\nb=2", "a", "1\\");
    expect("a=1\\\\\nb=2", "b", "2");
    expect("a=1\\", "a", "1");
    expect("a\\\n b=1", "ab", "1");
    expect("a=#1", "a", "#1");
}

static void test_escapes(void **state)
{
    (void)state;
    expect("hoodie.table.name=a\\:b\\=c\\ d", "hoodie.table.name", "a:b=c d");
    expect("a\\=b=1", "a=b", "1");
    expect("a\\ b 1", "a b", "1");
    expect("a=\\t\\n\\r\\f\\z\\\\", "a", "\t\n\r\fz\\");
    expect("a=\\u00e9\\u4E2D\\ud83d\\ude00", "a", "é中😀");
    expect("a=\xC3\xA9", "a", "é");
}

static void expect_raw(const char *text, const char *key, const char *value)
{
    struct properties p;
    struct err err;
    assert_true(properties_read_raw(&arena, slice_cstr(text), &p, &err));
    assert_non_null(properties_find(&p, key));
    assert_string_equal(properties_find(&p, key), value);
}

static void test_raw(void **state)
{
    (void)state;
    struct properties p;
    struct err err;
    expect_raw("# c\na.url = obs\\://b\\=c \n", "a.url", "obs\\://b\\=c ");
    expect_raw("a\\:b:c:d", "a\\:b", "c:d");
    expect_raw("a\\", "a\\", "");
    expect_raw("a=\\u00e9\nb", "a", "\\u00e9");
    expect_raw("a=\\u00e9\nb", "b", "");
    expect_raw("a=1\\\n  2\nb=3", "a", "1\\\n  2");
    assert_false(properties_read_raw(&arena, slice_cstr("a=\xFF"), &p, &err));
    assert_false(properties_read_raw(&arena, slice_of("a=\0b", 4), &p, &err));
    assert_string_equal(SQLSTATE_DATA_CORRUPTED, err.sqlstate);
}

static void test_damaged(void **state)
{
    (void)state;
    refuse(slice_cstr("a=\\u12"));
    refuse(slice_cstr("a=\\u12g4"));
    refuse(slice_cstr("a=\\u0000"));
    refuse(slice_cstr("a=\\ud83d"));
    refuse(slice_cstr("a=\\ud83dx"));
    refuse(slice_cstr("a=\\ud83d\\u0041"));
    refuse(slice_cstr("a=\\ude00"));
    refuse(slice_cstr("a=\xFF"));
    refuse(slice_cstr("a=\xC3"));
    refuse(slice_of("a=\0b", 4));
}

static void test_every_truncation(void **state)
{
    (void)state;
    static const char text[] = "# c\nk\\=1 = v\\u00e9\\\n  more\\t\\ud83d\\ude00\r\nx:y\n";
    for (size_t n = 0; n < sizeof text; n++) {
        struct properties p;
        struct err err;
        char *copy = arena_copy(&arena, slice_of(text, n));
        assert_non_null(copy);
        (void)!properties_read(&arena, slice_of(copy, n), &p, &err);
    }
}

static void test_bool(void **state)
{
    (void)state;
    struct properties p = read_ok("a=true\nb=TRUE\nc=false\nd=\ne=yes");
    assert_true(properties_find_bool(&p, "a", false));
    assert_true(properties_find_bool(&p, "b", false));
    assert_false(properties_find_bool(&p, "c", true));
    assert_true(properties_find_bool(&p, "d", true));
    assert_false(properties_find_bool(&p, "e", true));
    assert_true(properties_find_bool(&p, "f", true));
}

static void test_no_memory(void **state)
{
    (void)state;
    struct arena small;
    struct properties p;
    struct err err;
    bool ok = false;
    for (size_t limit = 1; !ok; limit += 16) {
        arena_init(&small, limit);
        ok = properties_read(&small, slice_cstr("a=1\nb=\\u00e9\n"), &p, &err);
        if (!ok)
            assert_string_equal(SQLSTATE_OUT_OF_MEMORY, err.sqlstate);
        arena_fini(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_separators), cmocka_unit_test(test_comments_and_lines),
        cmocka_unit_test(test_escapes),    cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_raw),        cmocka_unit_test(test_every_truncation),
        cmocka_unit_test(test_bool),       cmocka_unit_test(test_no_memory),
    };
    arena_init(&arena, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return failed;
}
