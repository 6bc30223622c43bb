/* Names of base files. What a view shows is tested with the plans (test_plan.c). */
#include "fixture.h"

#include "file_view.h"

static void expect_name(const char *name, const char *file_id, const char *token,
                        const char *instant, const char *extension)
{
    struct base_file_name n;
    if (!base_file_name_read(slice_cstr(name), &n))
        fail_msg("%s is a base file", name);
    assert_true(slice_equals_cstr(n.file_id, file_id));
    assert_true(slice_equals_cstr(n.token, token));
    assert_true(slice_equals_cstr(n.instant, instant));
    assert_true(slice_equals_cstr(n.extension, extension));
}

static void test_names(void **state)
{
    (void)state;
    expect_name("a22e8257-e249-45e9-ba46-115bc85adcba-0_0-161-223_20240418173235694.parquet",
                "a22e8257-e249-45e9-ba46-115bc85adcba-0", "0-161-223", "20240418173235694",
                "parquet");
    expect_name("00000003-0_0-1-0_20200210090610.orc", "00000003-0", "0-1-0", "20200210090610",
                "orc");
}

static void test_what_is_no_name(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ".parquet",
                                      "part-00000-596d8885.c000.snappy.parquet",
                                      "a_0-1-0_2024.parquet",
                                      "a_0-1-0_2024010100000000x.parquet",
                                      "a_0-1-0_20240101000000001",
                                      "a_20240101000000001.parquet",
                                      "_0-1-0_20240101000000001.parquet",
                                      "a__20240101000000001.parquet",
                                      ".a_0-1-0_20240101000000001.parquet.crc",
                                      "._a_0-1-0_20240101000000001.parquet",
                                      ".a_20240101000000001.log.1_0-1-0",
                                      "a b_0-1-0_20240101000000001.parquet"};
    struct base_file_name n;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(base_file_name_read(slice_cstr(bad[i]), &n));
}

static void test_nested_too_deep(void **state)
{
    (void)state;
    struct fixture f;
    char path[256] = "d";
    fixture_make(&f, 1, "");
    fixture_commit(&f, "20240101000000001", NULL, "INSERT",
                   (struct written[]){{"p=1", "a", NULL, 0}, {NULL, NULL, NULL, 0}}, NULL);
    for (int i = 0; i < 70; i++)
        strncat(path, "/d", sizeof path - strlen(path) - 1);
    fixture_data_file(&f, path, "x", "20240101000000001");
    fixture_plan_fails(&f, NULL, SQLSTATE_DATA_CORRUPTED, "too deep");
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_what_is_no_name),
        cmocka_unit_test(test_nested_too_deep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
