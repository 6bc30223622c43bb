/* Names of instants, and timelines as folders show them. */
#include "fixture.h"

#include "timeline.h"

static void expect_name(const char *name, int layout, enum instant_action action,
                        enum instant_state state, const char *requested, const char *completed)
{
    struct instant_name n;
    if (!instant_name_read(slice_cstr(name), layout, &n))
        fail_msg("%s is an instant", name);
    assert_int_equal(action, n.action);
    assert_int_equal(state, n.state);
    assert_true(slice_equals_cstr(n.requested, requested));
    assert_true(slice_equals_cstr(n.completed, completed));
}

#define A "20240418173213674"
#define B "20240418173235694"

static void test_names(void **state)
{
    (void)state;
    expect_name(A ".commit", 1, INSTANT_COMMIT, INSTANT_COMPLETED, A, "");
    expect_name(A ".commit.requested", 1, INSTANT_COMMIT, INSTANT_REQUESTED, A, "");
    expect_name(A ".inflight", 1, INSTANT_COMMIT, INSTANT_INFLIGHT, A, "");
    expect_name(A ".commit.inflight", 1, INSTANT_COMMIT, INSTANT_INFLIGHT, A, "");
    expect_name(A ".deltacommit.inflight", 1, INSTANT_DELTACOMMIT, INSTANT_INFLIGHT, A, "");
    expect_name(A ".replacecommit", 1, INSTANT_REPLACECOMMIT, INSTANT_COMPLETED, A, "");
    expect_name("20200210090610.clean", 1, INSTANT_CLEAN, INSTANT_COMPLETED, "20200210090610", "");
    expect_name(A "_" B ".commit", 2, INSTANT_COMMIT, INSTANT_COMPLETED, A, B);
    expect_name(A ".inflight", 2, INSTANT_COMMIT, INSTANT_INFLIGHT, A, "");
    expect_name(A ".clustering.requested", 2, INSTANT_CLUSTERING, INSTANT_REQUESTED, A, "");
    expect_name(A "_" B ".rollback", 2, INSTANT_ROLLBACK, INSTANT_COMPLETED, A, B);
    expect_name("00000000000001.deltacommit", 1, INSTANT_DELTACOMMIT, INSTANT_COMPLETED,
                "00000000000001", "");
}

static void test_what_is_no_name(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      ".",
                                      "hoodie.properties",
                                      A,
                                      A ".",
                                      A ".unknown",
                                      A ".commit.crc",
                                      "." A ".commit.crc",
                                      "._" A ".commit",
                                      "2024.commit",
                                      "2024041817321367a.commit",
                                      A "0.commit",
                                      A "_.commit",
                                      A "_2024.commit",
                                      A "_" B,
                                      A "_" B "_" B ".commit",
                                      A ".requested",
                                      A "_" B ".inflight",
                                      A ".commit.requested.requested",
                                      A "commit",
                                      A "_" B ".commit.requested"};
    struct instant_name n;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(instant_name_read(slice_cstr(bad[i]), 1, &n));
        assert_false(instant_name_read(slice_cstr(bad[i]), 2, &n));
    }
    assert_false(instant_name_read(slice_cstr(A "_" B ".commit"), 1, &n));
    assert_false(instant_name_read(slice_cstr(A ".commit"), 2, &n));
}

static void test_keys(void **state)
{
    (void)state;
    char key[INSTANT_KEY_SIZE];
    assert_true(instant_key_read(A, key));
    assert_string_equal(A, key);
    assert_true(instant_key_read("20240418173213", key));
    assert_string_equal("20240418173213999", key);
    assert_false(instant_key_read("", key));
    assert_false(instant_key_read("2024041817321", key));
    assert_false(instant_key_read("202404181732136741", key));
    assert_false(instant_key_read("2024041817321x", key));
}

static void test_times(void **state)
{
    (void)state;
    assert_true(instant_time_ms("19700101000000000") == 0);
    assert_true(instant_time_ms("19700101000000") == 0);
    assert_true(instant_time_ms("20240229123456789") == 1709210096789);
    assert_true(instant_time_ms("20000301000000000") == 951868800000);
    assert_true(instant_time_ms("19691231235959999") == -1);
}

static struct timeline load(struct fixture *f)
{
    struct err err;
    struct timeline t;
    assert_true(fixture_open(f, &err));
    if (!timeline_load(&f->arena, f->store, f->layout, f->table.timeline_folder,
                       f->table.archive_folder, &t, &err))
        fail_msg("%s", err.message);
    return t;
}

static void test_states(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, 1, "");
    fixture_pending(&f, A, "commit", "");
    fixture_pending(&f, B, "replacecommit", "x");
    struct timeline t = load(&f);
    assert_int_equal(0, t.commits.count);
    assert_null(t.oldest_key);
    assert_int_equal(2, t.pending.count);
    assert_string_equal(A, t.pending.items[0].requested);
    assert_string_equal(".hoodie/" B ".replacecommit.requested", t.pending.items[1].path);
    fixture_completed(&f, A, NULL, "commit", "{}");
    fixture_completed(&f, "20240418173213", NULL, "deltacommit", "{}");
    t = load(&f);
    assert_int_equal(2, t.commits.count);
    assert_string_equal(A, t.commits.items[0].requested); /* 14 digits are the end of the second */
    assert_string_equal(A, t.oldest_key);
    assert_int_equal(1, t.pending.count);
    assert_true(timeline_is_pending(&t, B));
    assert_false(timeline_is_pending(&t, A));
    assert_non_null(timeline_find(&t, A));
    assert_null(timeline_find(&t, B));
    assert_false(t.has_archive);
    fixture_write(&f, ".hoodie/archived/.commits_.archive.1_1-0-1", "x");
    assert_true(load(&f).has_archive);
    fixture_end(&f);
}

static void test_other_folders(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, 2, "hoodie.timeline.path=tl\nhoodie.timeline.history.path=old\n");
    fixture_write(&f, ".hoodie/tl/" A "_" B ".commit", "{}");
    fixture_write(&f, ".hoodie/tl/old/_version_", "1");
    struct timeline t = load(&f);
    assert_int_equal(1, t.commits.count);
    assert_string_equal(B, t.commits.items[0].completed);
    assert_false(t.has_archive);
    fixture_write(&f, ".hoodie/tl/old/" A "_" B "_0.parquet", "");
    assert_true(load(&f).has_archive);
    fixture_end(&f);
}

static void test_clustering_of_layout_2_becomes_a_replacecommit(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, 2, "");
    fixture_pending(&f, A, "clustering", "");
    struct timeline t = load(&f);
    assert_int_equal(1, t.pending.count);
    fixture_completed(&f, A, B, "replacecommit", "{}");
    t = load(&f);
    assert_int_equal(0, t.pending.count);
    assert_int_equal(1, t.commits.count);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_what_is_no_name),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_other_folders),
        cmocka_unit_test(test_clustering_of_layout_2_becomes_a_replacecommit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
