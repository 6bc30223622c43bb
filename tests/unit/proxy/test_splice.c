/* Spliced texts, and the way of an error position back to the client's text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "proxy/gate.h"
#include "splice.h"

static struct gate_edit edit(const char *text, const char *at, size_t length, const char *with)
{
    return (struct gate_edit){(size_t)(strstr(text, at) - text), length, slice_cstr(with)};
}

static void check_text(const char *text, const struct gate_edit *edits, size_t count,
                       const char *expected)
{
    struct arena a;
    struct slice out;
    arena_init(&a, 0);
    assert_true(splice_text(&a, slice_cstr(text), edits, count, &out));
    assert_string_equal(arena_copy(&a, out), expected);
    arena_fini(&a);
}

static void splices(void **state)
{
    (void)state;
    const char *text = "abc def ghi";
    const struct gate_edit edits[] = {edit(text, "abc", 3, ""), edit(text, "ef", 0, "XYZ"),
                                      edit(text, "ghi", 3, "12345")};
    check_text(text, edits, 3, " dXYZef 12345");
    check_text(text, NULL, 0, text);
    check_text("", NULL, 0, "");
}

/* For each character of the spliced text: the character of the client's text it comes from, 0-based,
 * written as a letter. */
static void check_ways(const char *text, const struct gate_edit *edits, size_t count,
                       const char *encoding, const char *ways)
{
    for (uint32_t i = 0; ways[i] != '\0'; i++)
        assert_int_equal(gate_map_position(slice_cstr(text), edits, count, encoding, i + 1),
                         ways[i] - 'a' + 1);
}

static void maps_positions(void **state)
{
    (void)state;
    const char *text = "abc def";
    const struct gate_edit edits[] = {edit(text, "b", 1, "12"), edit(text, "d", 0, "xyz"),
                                      edit(text, "ef", 2, "")};
    /* "a12c xyzd": what stands in a replacement leads to the start of what was replaced. */
    check_ways(text, edits, 3, "UTF8", "abbcdeeeeh");
    check_ways(text, NULL, 0, NULL, "abcdefg");
    assert_int_equal(gate_map_position(slice_cstr(text), edits, 3, "UTF8", 0), 0);
    assert_int_equal(gate_map_position(slice_cstr(text), edits, 3, "UTF8", 4000000000u), 8);
}

static void counts_characters(void **state)
{
    (void)state;
    const char *text = "ä€😀 f()"; /* 2, 3 and 4 bytes */
    const struct gate_edit e = edit(text, "f", 0, "ü.");
    check_ways(text, &e, 1, "UTF8", "abcdeeefg");
    const char *sjis = "\x83\x5c\xb1 f()"; /* two characters in three bytes */
    const struct gate_edit s = edit(sjis, "f", 0, "\x83\x5c.");
    check_ways(sjis, &s, 1, "SJIS", "abcdddef");
    const char *gb = "\x81\x30\x81\x30 f()";
    const struct gate_edit g = edit(gb, "f", 0, "p.");
    check_ways(gb, &g, 1, "GB18030", "abcccde");
    check_ways("\xe4\xe4", NULL, 0, "LATIN1", "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splices),
        cmocka_unit_test(maps_positions),
        cmocka_unit_test(counts_characters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
