/* Plans of queries that are to be divided. The plans are PostgreSQL 15's, shortened. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "cursor_plan.h"

static struct arena arena;

#define SCAN(type, aware, name, alias, more)                                                       \
    "{\"Node Type\": \"" type "\", \"Parallel Aware\": " aware ", \"Relation Name\": \"" name      \
    "\", \"Schema\": \"public\", \"Alias\": \"" alias "\"" more "}"
#define GATHER(plans)                                                                              \
    "[{\"Plan\": {\"Node Type\": \"Gather\", \"Parallel Aware\": false, \"Plans\": [" plans "]}}]"

#define APPEND(plans)                                                                              \
    "{\"Node Type\": \"Append\", \"Parallel Aware\": true, \"Plans\": [" plans "]}"

static struct cursor_plan read(const char *json)
{
    struct cursor_plan p;
    assert_true(cursor_plan_read(&arena, slice_cstr(json), &p));
    return p;
}

static void test_divisible(void **state)
{
    static const struct {
        const char *json;
        bool divisible, exclusive;
    } rows[] = {
        {GATHER(SCAN("Seq Scan", "true", "t", "t", "")), true, false},
        {"[{\"Plan\": " SCAN("Seq Scan", "false", "t", "t", "") "}]", false, false},
        {"[{\"Plan\": {\"Node Type\": \"Aggregate\", \"Plans\": [{\"Node Type\": \"Gather\", "
         "\"Plans\": [" SCAN("Seq Scan", "true", "t", "t", "") "]}]}}]",
         false, false},
        {GATHER("{\"Node Type\": \"Hash Join\", \"Plans\": [" SCAN(
             "Seq Scan", "true", "t", "t", "") "," SCAN("Seq Scan", "false", "s", "s", "") "]}"),
         true, false},
        {GATHER(SCAN("Seq Scan", "true", "t", "t", "") "," SCAN("Seq Scan", "true", "s", "s", "")),
         false, false},
        {GATHER(SCAN("Seq Scan", "true", "t", "t", "") "," SCAN(
             "Seq Scan", "true", "s", "s", ", \"Parent Relationship\": \"InitPlan\"")),
         true, false},
        {GATHER(SCAN("Index Scan", "true", "t", "t", "")), false, false},
        {GATHER("{\"Node Type\": \"Append\", \"Parallel Aware\": true, \"Plans\": [" SCAN(
             "Seq Scan", "true", "p1", "p_1", "") "," SCAN("Seq Scan", "false", "p2", "p_2",
                                                           "") "]}"),
         true, false},
        {GATHER(APPEND("{\"Node Type\": \"Hash Join\", \"Plans\": [" SCAN(
             "Seq Scan", "true", "t", "t",
             "") "," SCAN("Seq Scan", "false", "s", "s",
                          "") "]}, "
                              "{\"Node Type\": \"Subquery Scan\", \"Plans\": [" SCAN(
                                  "Seq Scan", "false", "u", "u", "") "]}")),
         true, false},
        {GATHER(APPEND("{\"Node Type\": \"Limit\", \"Plans\": [" SCAN("Seq Scan", "false", "t", "t",
                                                                      "") "]}")),
         false, false},
        {GATHER(APPEND("{\"Node Type\": \"Hash Join\", \"Plans\": [" SCAN(
             "Seq Scan", "true", "t", "t", "") "," SCAN("Seq Scan", "true", "s", "s", "") "]}")),
         false, false},
        {GATHER(SCAN("Foreign Scan", "true", "t", "t", "")), false, true},
        {"[{\"Plan\": {\"Node Type\": \"LockRows\", \"Plans\": [" SCAN("Seq Scan", "false", "t",
                                                                       "t", "") "]}}]",
         false, true},
    };
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cursor_plan p = read(rows[i].json);
        assert_int_equal(p.is_divisible, rows[i].divisible);
        assert_int_equal(p.is_exclusive, rows[i].exclusive);
    }
    struct cursor_plan p;
    assert_false(cursor_plan_read(&arena, slice_cstr("[]"), &p));
    assert_false(cursor_plan_read(&arena, slice_cstr("[{\"Plan\": 1}]"), &p));
    assert_false(cursor_plan_read(&arena, slice_cstr("[{"), &p));
    assert_true(cursor_plan_is_personal(slice_cstr("\"(now() + a)\"")));
    assert_false(cursor_plan_is_personal(slice_cstr("\"(a + b)\"")));
}

static void test_relations(void **state)
{
    static const struct {
        const char *json;
        bool within;
    } rows[] = {
        {GATHER(SCAN("Seq Scan", "true", "part1", "p_1", "")), true},
        {GATHER(SCAN("Tid Range Scan", "false", "t", "x", "")), true},
        {GATHER(SCAN("Seq Scan", "true", "part", "p", "")), false},
        {GATHER(SCAN("Seq Scan", "true", "art1", "p", "")), false},
        {GATHER(SCAN("Seq Scan", "true", "t", "t", "") "," SCAN("Seq Scan", "true", "part2", "p_2",
                                                                "")),
         false},
        {"[{\"Plan\": {\"Node Type\": \"Result\"}}]", true},
    };
    (void)state;
    struct cursor_plan whole = read(GATHER(APPEND(
        SCAN("Seq Scan", "true", "part1", "p_1", "") "," SCAN("Seq Scan", "true", "t", "t", ""))));
    struct buf names;
    buf_init(&names, 1024);
    assert_true(cursor_plan_write_relations(&whole, &names));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct cursor_plan p = read(rows[i].json);
        assert_int_equal(cursor_plan_is_within(&p, buf_slice(&names)), rows[i].within);
    }
    buf_fini(&names);
}

static void test_confirms(void **state)
{
    (void)state;
    struct cursor_plan whole = read(
        GATHER(SCAN("Seq Scan", "true", "t", "x", "") "," SCAN("Seq Scan", "false", "t", "t", "")));
#define RANGE ", \"TID Cond\": \"(x.ctid < '(5,0)'::tid)\""
    struct cursor_plan right = read(GATHER(SCAN(
        "Tid Range Scan", "false", "t", "x", RANGE) "," SCAN("Seq Scan", "false", "t", "t", "")));
    struct cursor_plan wrong = read(GATHER(SCAN("Seq Scan", "false", "t", "x", "") "," SCAN(
        "Tid Range Scan", "false", "t", "t", RANGE)));
    struct cursor_plan both = read(GATHER(SCAN("Tid Range Scan", "false", "t", "x", RANGE) "," SCAN(
        "Tid Range Scan", "false", "t", "t", RANGE)));
    assert_true(cursor_plan_confirms(&whole, &right));
    assert_false(cursor_plan_confirms(&whole, &wrong));
    assert_false(cursor_plan_confirms(&whole, &both));
    assert_false(cursor_plan_confirms(&whole, &whole));
}

/* The bounds grow, and slices have about the same number of pages over all tables. */
static void test_divide(void **state)
{
    static const uint32_t one[] = {61729}, three[] = {84, 834, 4755}, few[] = {4};
    uint32_t b[5];
    (void)state;
    cursor_plan_divide(one, 1, b, 4);
    assert_int_equal(b[1], 15432);
    assert_int_equal(b[2], 30864);
    assert_int_equal(b[3], 46296);
    cursor_plan_divide(three, 3, b, 4);
    assert_int_equal(b[1], 667);
    assert_int_equal(b[2], 1918);
    assert_int_equal(b[3], 3336);
    cursor_plan_divide(few, 1, b, 4);
    assert_int_equal(b[1], 1);
    assert_int_equal(b[3], 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divisible),
        cmocka_unit_test(test_relations),
        cmocka_unit_test(test_confirms),
        cmocka_unit_test(test_divide),
    };
    arena_init(&arena, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return failed;
}
