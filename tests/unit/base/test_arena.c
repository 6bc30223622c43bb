/* The arena: alignment, zeroing, its limit, and reuse after a reset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "base/arena.h"

static void test_memory_is_zeroed_and_aligned_after_reset(void **state)
{
    struct arena a;
    (void)state;
    arena_init(&a, 0);
    for (int round = 0; round < 3; round++) {
        for (size_t n = 1; n < 9000; n += 113) {
            unsigned char *p = arena_alloc(&a, n);
            assert_non_null(p);
            assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < n; i++)
                assert_int_equal(p[i], 0);
            memset(p, 0xFF, n);
        }
        arena_reset(&a);
        assert_int_equal(a.used_bytes, 0);
    }
    arena_fini(&a);
}

static void test_limit_and_overflow_are_refused(void **state)
{
    struct arena a;
    (void)state;
    arena_init(&a, 1024);
    assert_non_null(arena_alloc(&a, 1000));
    assert_null(arena_alloc(&a, 32));
    assert_null(arena_alloc(&a, SIZE_MAX));
    assert_null(arena_alloc_array(&a, SIZE_MAX / 8, 16));
    arena_reset(&a);
    assert_non_null(arena_alloc(&a, 1024));
    arena_fini(&a);
}

static void test_texts(void **state)
{
    struct arena a;
    (void)state;
    arena_init(&a, 0);
    assert_string_equal(arena_copy(&a, slice_of("abcdef", 3)), "abc");
    assert_string_equal(arena_copy(&a, slice_of(NULL, 0)), "");
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 42), "x-42");
    arena_fini(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory_is_zeroed_and_aligned_after_reset),
        cmocka_unit_test(test_limit_and_overflow_are_refused),
        cmocka_unit_test(test_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
