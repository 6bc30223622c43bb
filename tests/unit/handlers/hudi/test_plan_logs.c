/* Plans over merge-on-read tables made by hand: which log files belong to which slice, and what
 * compactions, planned and done, mean to a run. Instants are 202401010000 00 00n. */
#include "fixture.h"

#define T(n) "2024010100000000" #n

/* One file of a commit. */
struct piece {
    const char *file_id;
    const char *log_of; /* log file: the instant in its name; NULL: a base file */
    const char *prev;
};

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, NULL                                                                           \
    }

static void make(struct fixture *f, int layout)
{
    fixture_make(f, layout, "hoodie.table.precombine.field=ts\n");
    fixture_write(f, ".hoodie/hoodie.properties",
                  layout == 1 ? "hoodie.table.name=t\nhoodie.table.type=MERGE_ON_READ\n"
                                "hoodie.table.version=6\nhoodie.table.recordkey.fields=id\n"
                              : "hoodie.table.name=t\nhoodie.table.type=MERGE_ON_READ\n"
                                "hoodie.table.version=8\nhoodie.table.recordkey.fields=id\n"
                                "hoodie.record.merge.mode=COMMIT_TIME_ORDERING\n");
    fixture_write(f, "p/.hoodie_partition_metadata", "#\n");
}

static void path_of(char *path, size_t size, const struct piece *p, const char *instant)
{
    if (p->log_of == NULL)
        snprintf(path, size, "p/%s_0-1-0_%s.parquet", p->file_id, instant);
    else
        snprintf(path, size, "p/.%s_%s.log.%c_0-1-0", p->file_id, p->log_of, instant[16]);
}

static void commit(const struct fixture *f, const char *instant, const char *completed,
                   const char *action, const char *operation, const struct piece *pieces)
{
    char text[4096], path[256];
    size_t n =
        (size_t)snprintf(text, sizeof text,
                         "{\"operationType\":\"%s\",\"partitionToWriteStats\":{\"p\":[", operation);
    for (const struct piece *p = pieces; p->file_id != NULL; p++) {
        path_of(path, sizeof path, p, instant);
        fixture_write(f, path, "");
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "%s{\"fileId\":\"%s\",\"path\":\"%s\",\"prevCommit\":\"%s\","
                              "\"numWrites\":1,\"numDeletes\":0}",
                              p == pieces ? "" : ",", p->file_id, path,
                              p->prev == NULL ? "null" : p->prev);
    }
    snprintf(text + n, sizeof text - n, "]}}");
    fixture_completed(f, instant, completed, action, text);
}

#define PIECES(...) ((struct piece[]){__VA_ARGS__, END})

/* "a@001+23": base file and the versions of the log files behind it; "-": no base file. */
static void expect(const char *expected, struct hudi_slices list)
{
    char text[1024] = "";
    size_t n = 0;
    for (size_t i = 0; i < list.count; i++) {
        const struct hudi_slice *s = &list.items[i];
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s@%s%s", i == 0 ? "" : " ", s->file_id,
                              s->path == NULL ? "-" : s->instant + 14, s->nlogs == 0 ? "" : "+");
        for (size_t k = 0; k < s->nlogs; k++)
            n += (size_t)snprintf(text + n, sizeof text - n, "%c", strstr(s->logs[k], ".log.")[5]);
    }
    assert_string_equal(expected, text);
}

/* Base file, log, compaction, log: in the names of layout 1. */
static void make_compacted(struct fixture *f)
{
    make(f, 1);
    commit(f, T(1), NULL, "deltacommit", "UPSERT", PIECES({"a", NULL, NULL}, {"b", NULL, NULL}));
    commit(f, T(2), NULL, "deltacommit", "UPSERT", PIECES({"a", T(1), T(1)}));
    commit(f, T(3), NULL, "commit", "COMPACT", PIECES({"a", NULL, T(1)}));
    commit(f, T(4), NULL, "deltacommit", "UPSERT", PIECES({"a", T(3), T(3)}));
}

static void test_slices_of_layout_1(void **state)
{
    (void)state;
    struct fixture f;
    make_compacted(&f);
    expect("a@001+24 b@001", fixture_plan(&f, NULL, NULL, 1).read);
    expect("a@001+24 b@001", fixture_plan(&f, NULL, NULL, 2).read);
    expect("a@003+4 b@001", fixture_plan(&f, NULL, NULL, 3).read);
    struct hudi_plan p = fixture_plan(&f, T(1), T(1), 1);
    expect("a@001+24", p.read); /* what the state does not have is left out by its blocks */
    expect("a@001+24", p.before);
    expect("b@001", p.rest);
    assert_true(hudi_state_has(p.read.state, slice_cstr(T(2))));
    assert_false(hudi_state_has(p.read.state, slice_cstr(T(4))));
    assert_false(hudi_state_has(p.before.state, slice_cstr(T(2))));
    assert_true(hudi_state_has(p.before.state, slice_cstr("20230101000000"))); /* archived */
    fixture_end(&f);
}

static void test_compaction_alone_reads_nothing(void **state)
{
    (void)state;
    struct fixture f;
    make_compacted(&f);
    struct hudi_plan p = fixture_plan(&f, T(2), T(2), 1);
    assert_int_equal(HUDI_PLAN_CHANGES, p.kind);
    assert_string_equal(T(3), p.to);
    expect("", p.read);
    expect("", p.before);
    p = fixture_plan(&f, T(2), T(2), -1);
    expect("a@003+4", p.read);
    expect("a@001+24", p.before);
    fixture_end(&f);
}

static void test_planned_compaction(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 1);
    commit(&f, T(1), NULL, "deltacommit", "UPSERT", PIECES({"a", NULL, NULL}));
    commit(&f, T(2), NULL, "deltacommit", "UPSERT", PIECES({"a", T(1), T(1)}));
    fixture_write(&f, ".hoodie/" T(3) ".compaction.requested", "");
    commit(&f, T(4), NULL, "deltacommit", "UPSERT", PIECES({"a", T(3), T(3)}));
    struct hudi_plan p = fixture_plan(&f, NULL, NULL, -1);
    assert_string_equal(T(4), p.to);
    expect("a@001+24", p.read);
    p = fixture_plan(&f, T(2), T(2), -1);
    expect("a@001+24", p.read);
    expect("a@001+24", p.before);
    fixture_end(&f);
}

static void test_groups_of_logs_alone(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 1);
    commit(&f, T(1), NULL, "deltacommit", "UPSERT", PIECES({"a", T(1), T(1)}));
    commit(&f, T(2), NULL, "deltacommit", "UPSERT", PIECES({"a", T(1), T(1)}, {"b", T(2), T(2)}));
    expect("a@-+12", fixture_plan(&f, NULL, NULL, 1).read);
    expect("a@-+12 b@-+2", fixture_plan(&f, NULL, NULL, -1).read);
    struct hudi_plan p = fixture_plan(&f, T(1), T(1), -1);
    expect("a@-+12 b@-+2", p.read);
    expect("a@-+12", p.before);
    fixture_end(&f);
}

/* T2 begins before the compaction T3 and completes after it has begun: its log belongs to T3's file,
 * T4's, which completed before, to the one that T3 compacted. */
static void test_completion_decides_in_layout_2(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 2);
    commit(&f, T(1), T(1), "deltacommit", "UPSERT", PIECES({"a", NULL, NULL}));
    commit(&f, T(2), T(6), "deltacommit", "UPSERT", PIECES({"a", T(2), T(1)}));
    commit(&f, T(3), T(3), "deltacommit", "UPSERT", PIECES({"a", T(3), T(1)}));
    commit(&f, T(4), T(8), "commit", "COMPACT", PIECES({"a", NULL, T(1)}));
    expect("a@001", fixture_plan(&f, NULL, NULL, 1).read);
    expect("a@001+3", fixture_plan(&f, NULL, NULL, 2).read);
    expect("a@001+32", fixture_plan(&f, NULL, NULL, 3).read);
    expect("a@004+2", fixture_plan(&f, NULL, NULL, -1).read);
    struct hudi_plan p = fixture_plan(&f, T(2), T(6), -1);
    assert_string_equal(T(4), p.to);
    expect("", p.read);
    fixture_end(&f);
}

static void test_cleaned_old_slice(void **state)
{
    (void)state;
    struct fixture f;
    make_compacted(&f);
    fixture_remove(&f, "p/a_0-1-0_" T(1) ".parquet");
    fixture_remove(&f, "p/.a_" T(1) ".log.2_0-1-0");
    expect("a@003+4 b@001", fixture_plan(&f, NULL, NULL, -1).read);
    struct hudi_plan p = fixture_plan(&f, T(2), T(2), -1);
    assert_int_equal(HUDI_PLAN_RECONCILE, p.kind);
    expect("a@003+4 b@001", p.read);
    p = fixture_plan(&f, NULL, NULL, 2); /* that state is gone: on to the newest */
    assert_string_equal(T(4), p.to);
    p = fixture_plan(&f, T(3), T(3), -1);
    assert_int_equal(HUDI_PLAN_CHANGES, p.kind);
    expect("a@003+4", p.before);
    fixture_end(&f);
}

/* T4 goes behind the base file that the compaction T3 has planned, and completes first: that the group
 * was there before is told by the compaction alone, once its old files are gone. */
static void test_cleaned_behind_a_planned_compaction(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 2);
    commit(&f, T(1), T(1), "deltacommit", "UPSERT", PIECES({"a", NULL, NULL}, {"b", NULL, NULL}));
    commit(&f, T(2), T(2), "deltacommit", "UPSERT", PIECES({"a", T(2), T(1)}));
    commit(&f, T(4), T(5), "deltacommit", "UPSERT", PIECES({"a", T(4), T(3)}, {"c", T(4), T(4)}));
    commit(&f, T(3), T(6), "commit", "COMPACT", PIECES({"a", NULL, T(1)}));
    struct hudi_plan p = fixture_plan(&f, T(2), T(2), -1);
    assert_int_equal(HUDI_PLAN_CHANGES, p.kind);
    expect("a@003+4 c@-+4", p.read);
    expect("a@001+2", p.before);
    fixture_remove(&f, "p/.a_" T(2) ".log.2_0-1-0");
    fixture_remove(&f, "p/a_0-1-0_" T(1) ".parquet");
    p = fixture_plan(&f, T(2), T(2), -1);
    assert_int_equal(HUDI_PLAN_RECONCILE, p.kind);
    expect("a@003+4 b@001 c@-+4", p.read);
    fixture_end(&f);
}

/* The log of T2, which completed after T3 was planned, stays when the rest of the old slice goes. */
static void test_partly_cleaned_behind_a_planned_compaction(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, 2);
    commit(&f, T(1), T(1), "deltacommit", "UPSERT", PIECES({"a", NULL, NULL}));
    commit(&f, T(2), T(5), "deltacommit", "UPSERT", PIECES({"a", T(2), T(1)}));
    commit(&f, T(4), T(6), "deltacommit", "UPSERT", PIECES({"a", T(4), T(3)}));
    commit(&f, T(3), T(7), "commit", "COMPACT", PIECES({"a", NULL, T(1)}));
    expect("a@001+2", fixture_plan(&f, T(2), T(5), -1).before);
    fixture_remove(&f, "p/a_0-1-0_" T(1) ".parquet");
    struct hudi_plan p = fixture_plan(&f, T(2), T(5), -1);
    assert_int_equal(HUDI_PLAN_RECONCILE, p.kind);
    expect("a@003+24", p.read);
    fixture_end(&f);
}

static void test_missing_log(void **state)
{
    (void)state;
    struct fixture f;
    make_compacted(&f);
    fixture_remove(&f, "p/.a_" T(3) ".log.4_0-1-0");
    fixture_plan_fails(&f, T(3), SQLSTATE_UNDEFINED_FILE, "that commit " T(4) " wrote is missing");
    fixture_plan_fails(&f, NULL, SQLSTATE_UNDEFINED_FILE, "that commit " T(4) " wrote is missing");
    fixture_end(&f);
}

static void test_old_compactions_change_commit_times(void **state)
{
    (void)state;
    struct fixture f;
    make_compacted(&f);
    fixture_write(&f, ".hoodie/hoodie.properties",
                  "hoodie.table.name=t\nhoodie.table.type=MERGE_ON_READ\nhoodie.table.version=2\n");
    expect("a@003+4", fixture_plan(&f, T(2), T(2), 1).read);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slices_of_layout_1),
        cmocka_unit_test(test_compaction_alone_reads_nothing),
        cmocka_unit_test(test_planned_compaction),
        cmocka_unit_test(test_groups_of_logs_alone),
        cmocka_unit_test(test_completion_decides_in_layout_2),
        cmocka_unit_test(test_cleaned_old_slice),
        cmocka_unit_test(test_cleaned_behind_a_planned_compaction),
        cmocka_unit_test(test_partly_cleaned_behind_a_planned_compaction),
        cmocka_unit_test(test_missing_log),
        cmocka_unit_test(test_old_compactions_change_commit_times),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
