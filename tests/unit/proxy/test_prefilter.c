/* The scans agree with a search word by word, wherever the word stands and however it is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include <cmocka.h>

#include "base/attr.h"
#include "prefilter.h"

static const char *const words[] = {"u&\"", "hudi",    "foreign",  "server",   "pg_task_", "useft",
                                    "gp_",  "rebuild", "hologres", "retrieve", "suspend"};

static uint32_t seed = 20240601;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static bool holds(const char *text, size_t length)
{
    for (size_t at = 0; at < length; at++)
        for (size_t i = 0; i < ARRAY_LEN(words); i++) {
            size_t n = strlen(words[i]);
            if (n <= length - at && strncasecmp(text + at, words[i], n) == 0)
                return true;
        }
    return false;
}

/* Pieces of words, letters and other bytes: near misses at all places. */
static size_t make_text(char *out, size_t max)
{
    size_t n = 0, length = next_random((uint32_t)max + 1);
    while (n < length) {
        const char *w = words[next_random(ARRAY_LEN(words))];
        size_t from = next_random((uint32_t)strlen(w)), bytes = next_random(9);
        for (; next_random(3) > 0 && bytes > 0 && n < length && w[from] != '\0'; bytes--)
            out[n++] = next_random(4) == 0 && w[from] >= 'a' ? (char)(w[from++] - 32) : w[from++];
        if (n < length)
            out[n++] = (char)next_random(256);
    }
    return n;
}

static void check(struct prefilter *p, const char *text, size_t length)
{
    prefilter_scan *vector = prefilter_find_vector_scan();
    prefilter_scan *scans[] = {NULL, vector, vector == NULL ? NULL : prefilter_scan_ssse3};
    char *exact = malloc(length + 1); /* a sanitizer sees a read too far */
    char *copy = realloc(exact, length > 0 ? length : 1);
    assert_non_null(copy);
    memcpy(copy, text, length);
    for (size_t i = 0; i < ARRAY_LEN(scans); i++) {
        prefilter_use_scan(p, scans[i]);
        assert_int_equal(prefilter_may_hold(p, slice_of(copy, length)), holds(text, length));
    }
    free(copy);
}

static void agrees_on_random_texts(void **state)
{
    char text[300];
    for (int i = 0; i < 100000; i++) {
        size_t n = make_text(text, i % 3 == 0 ? 40 : sizeof text);
        check(*state, text, n);
    }
}

static void finds_each_word_at_each_place(void **state)
{
    char text[120];
    for (size_t w = 0; w < ARRAY_LEN(words); w++) {
        size_t n = strlen(words[w]);
        for (size_t length = n; length <= sizeof text; length++)
            for (size_t at = 0; at + n <= length; at++) {
                memset(text, ' ', sizeof text);
                memcpy(text + at, words[w], n);
                text[at] = at % 2 == 0 ? text[at] : (char)(text[at] & ~0x20);
                check(*state, text, length);
            }
    }
}

static void refuses_short_words(void **state)
{
    (void)state;
    struct prefilter *p;
    struct err err;
    static const char *const two[] = {"ab"};
    assert_false(prefilter_new(two, 1, &p, &err));
    assert_true(prefilter_new(NULL, 0, &p, &err));
    assert_false(prefilter_may_hold(p, slice_cstr("hudi")));
    prefilter_free(p);
}

static int set_up(void **state)
{
    struct prefilter *p;
    struct err err;
    if (!prefilter_new(words, ARRAY_LEN(words), &p, &err))
        return -1;
    *state = p;
    return 0;
}

static int tear_down(void **state)
{
    prefilter_free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(agrees_on_random_texts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(finds_each_word_at_each_place, set_up, tear_down),
        cmocka_unit_test(refuses_short_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
