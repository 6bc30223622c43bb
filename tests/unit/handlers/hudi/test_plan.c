/* Plans over tables made by hand: each trap of real tables that a copy-on-write reader can fall
 * into. Instants are 202401010000 00 00n; file groups are letters. */
#include "fixture.h"

#define T1 "20240101000000001"
#define T2 "20240101000000002"
#define T3 "20240101000000003"
#define T4 "20240101000000004"
#define T5 "20240101000000005"
#define T6 "20240101000000006"
#define T9 "20240101000000009"
#define END                                                                                        \
    {                                                                                              \
        NULL, NULL, NULL, 0                                                                        \
    }

/* Two partitions, three groups; T2 updates b, T3 deletes from c. */
static void make_three_commits(struct fixture *f, const char *more)
{
    fixture_make(f, 1, more);
    fixture_commit(f, T1, NULL, "INSERT",
                   (struct written[]){
                       {"p=1", "a", NULL, 0}, {"p=2", "b", NULL, 0}, {"p=3", "c", NULL, 0}, END},
                   NULL);
    fixture_commit(f, T2, NULL, "UPSERT", (struct written[]){{"p=2", "b", T1, 0}, END}, NULL);
    fixture_commit(f, T3, NULL, "DELETE", (struct written[]){{"p=3", "c", T1, 1}, END}, NULL);
}

static void test_full_then_commit_by_commit(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    struct hudi_plan p = fixture_plan(&f, NULL, NULL, 1);
    assert_int_equal(HUDI_PLAN_FULL, p.kind);
    assert_string_equal(T1, p.to);
    expect_slices("a@001 b@001 c@001", p.read);
    p = fixture_plan(&f, T1, T1, 1);
    assert_int_equal(HUDI_PLAN_CHANGES, p.kind);
    assert_string_equal(T2, p.to);
    assert_string_equal(T2, p.to_completed);
    expect_slices("b@002", p.read);
    expect_slices("", p.before);
    expect_slices("a@001 c@001", p.rest);
    assert_int_equal(1, p.commit_times.count);
    assert_string_equal(T2, p.commit_times.items[0]);
    p = fixture_plan(&f, T2, T2, 0);
    expect_slices("c@003", p.read);
    expect_slices("c@001", p.before);
    expect_slices("a@001 b@002", p.rest);
    p = fixture_plan(&f, T1, T1, -1);
    assert_int_equal(2, p.commits);
    assert_int_equal(2, p.commit_times.count);
    expect_slices("b@002 c@003", p.read);
    expect_slices("c@001", p.before);
    p = fixture_plan(&f, T3, T3, -1);
    assert_int_equal(HUDI_PLAN_NOTHING, p.kind);
    assert_false(p.after_is_ahead);
    fixture_end(&f);
}

static void expect_between(struct fixture *f, const char *after, const char *upto, const char *to,
                           const char *read)
{
    struct err err = {0};
    struct hudi_plan p;
    assert_true(hudi_plan_between(&f->arena, &f->table, after, upto, &p, &err));
    assert_int_equal(after == NULL ? HUDI_PLAN_FULL : HUDI_PLAN_CHANGES, p.kind);
    assert_string_equal(to, p.to);
    expect_slices(read, p.read);
}

static void test_between_two_times(void **state)
{
    (void)state;
    struct fixture f;
    struct err err = {0};
    struct hudi_plan p;
    make_three_commits(&f, "");
    assert_true(fixture_open(&f, &err));
    expect_between(&f, NULL, T1, T1, "a@001 b@001 c@001");
    expect_between(&f, NULL, T2, T2, "a@001 b@002 c@001");
    expect_between(&f, NULL, T9, T3, "a@001 b@002 c@003");
    expect_between(&f, NULL, NULL, T3, "a@001 b@002 c@003");
    expect_between(&f, T1, T2, T2, "b@002");
    expect_between(&f, T1, NULL, T3, "b@002 c@003");
    assert_true(hudi_plan_between(&f.arena, &f.table, T2, T2, &p, &err));
    assert_int_equal(HUDI_PLAN_NOTHING, p.kind);
    assert_false(hudi_plan_between(&f.arena, &f.table, NULL, "yesterday", &p, &err));
    assert_string_equal(SQLSTATE_INVALID_PARAMETER_VALUE, err.sqlstate);
    fixture_end(&f);
}

static void test_empty_table(void **state)
{
    (void)state;
    struct fixture f;
    struct err err;
    struct hudi_names list;
    fixture_make(&f, 2, "");
    assert_int_equal(HUDI_PLAN_NOTHING, fixture_plan(&f, NULL, NULL, -1).kind);
    assert_int_equal(HUDI_PLAN_NOTHING, fixture_plan(&f, "", NULL, -1).kind);
    assert_int_equal(HUDI_PLAN_NOTHING, fixture_plan(&f, T1, NULL, -1).kind);
    assert_true(hudi_instants_list(&f.arena, &f.table, &list, &err));
    assert_int_equal(0, list.count);
    fixture_end(&f);
}

static void test_without_meta_fields_all_rows_count(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "hoodie.populate.meta.fields=false");
    struct hudi_plan p = fixture_plan(&f, T1, T1, 1);
    assert_int_equal(0, p.commit_times.count);
    expect_slices("b@002", p.read);
    expect_slices("b@001", p.before);
    fixture_end(&f);
}

static void test_replaced_groups(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_commit(&f, T4, NULL, "INSERT_OVERWRITE", (struct written[]){{"p=1", "d", NULL, 0}, END},
                   (struct written[]){{"p=1", "a", NULL, 0}, END});
    fixture_commit(&f, T5, NULL, "DELETE_PARTITION", (struct written[]){END},
                   (struct written[]){{"p=2", "b", NULL, 0}, END});
    struct hudi_plan p = fixture_plan(&f, T3, T3, 1);
    expect_slices("d@004", p.read);
    expect_slices("a@001", p.before);
    expect_slices("b@002 c@003", p.rest);
    p = fixture_plan(&f, T4, T4, 1);
    expect_slices("", p.read);
    expect_slices("b@002", p.before);
    expect_slices("d@004 c@003", p.rest);
    /* Within one window: written, then replaced. The rows of T2 never reach the target. */
    p = fixture_plan(&f, T1, T1, -1);
    expect_slices("d@004 c@003", p.read);
    expect_slices("a@001 b@001 c@001", p.before);
    p = fixture_plan(&f, NULL, NULL, -1);
    expect_slices("d@004 c@003", p.read);
    fixture_end(&f);
}

static void test_clustering_alone_reads_nothing(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_commit(&f, T4, NULL, "CLUSTER", (struct written[]){{"p=1", "d", NULL, 0}, END},
                   (struct written[]){{"p=1", "a", NULL, 0}, END});
    struct hudi_plan p = fixture_plan(&f, T3, T3, -1);
    assert_int_equal(HUDI_PLAN_CHANGES, p.kind);
    assert_string_equal(T4, p.to);
    expect_slices("", p.read);
    expect_slices("", p.before);
    expect_slices("d@004 b@002 c@003", p.rest);
    /* Later changes are compared with the group that clustering made. */
    fixture_commit(&f, T5, NULL, "UPSERT", (struct written[]){{"p=1", "d", T4, 1}, END}, NULL);
    p = fixture_plan(&f, T4, T4, -1);
    expect_slices("d@005", p.read);
    expect_slices("d@004", p.before);
    /* In one window with it: the keys that d lost were a's. */
    p = fixture_plan(&f, T3, T3, -1);
    expect_slices("d@005", p.read);
    expect_slices("a@001", p.before);
    fixture_end(&f);
}

static void test_clustering_of_groups_written_in_the_window(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_commit(&f, T4, NULL, "CLUSTER", (struct written[]){{"p=2", "d", NULL, 0}, END},
                   (struct written[]){{"p=2", "b", NULL, 0}, END});
    struct hudi_plan p = fixture_plan(&f, T1, T1, -1);
    expect_slices("d@004 c@003", p.read);
    expect_slices("c@001", p.before);
    fixture_end(&f);
}

static void test_hollow_commit_is_waited_for(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_pending(&f, T4, "commit", "");
    fixture_commit(&f, T5, NULL, "UPSERT", (struct written[]){{"p=1", "a", T1, 0}, END}, NULL);
    assert_int_equal(HUDI_PLAN_NOTHING, fixture_plan(&f, T3, T3, -1).kind);
    assert_string_equal(T4, fixture_plan(&f, T3, T3, -1).waits_for);
    assert_string_equal(T4, fixture_plan(&f, T1, T1, -1).waits_for);
    assert_string_equal(T3, fixture_plan(&f, T1, T1, -1).to);
    assert_string_equal(T3, fixture_plan(&f, NULL, NULL, -1).to);
    fixture_commit(&f, T4, NULL, "UPSERT", (struct written[]){{"p=2", "b", T2, 0}, END}, NULL);
    struct hudi_plan p = fixture_plan(&f, T3, T3, -1);
    assert_string_equal(T5, p.to);
    assert_null(p.waits_for);
    expect_slices("a@005 b@004", p.read);
    fixture_end(&f);
}

static void test_pending_clustering_is_not_waited_for(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_pending(&f, T4, "replacecommit", "{\"operationType\":\"CLUSTER\"}");
    fixture_commit(&f, T5, NULL, "UPSERT", (struct written[]){{"p=1", "a", T1, 0}, END}, NULL);
    assert_string_equal(T5, fixture_plan(&f, T3, T3, -1).to);
    fixture_write(&f, ".hoodie/" T4 ".replacecommit.requested", ""); /* an insert_overwrite */
    assert_int_equal(HUDI_PLAN_NOTHING, fixture_plan(&f, T3, T3, -1).kind);
    fixture_end(&f);
}

static void test_files_of_pending_commits_are_invisible(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_pending(&f, T4, "commit", "");
    fixture_data_file(&f, "p=1", "a", T4);
    fixture_data_file(&f, "p=9", "x", T4);
    fixture_data_file(&f, "p=9", "y", "20231231000000000"); /* pending before all others */
    fixture_pending(&f, "20231231000000000", "commit", "");
    struct hudi_plan p = fixture_plan(&f, T1, T1, -1);
    expect_slices("b@002 c@003", p.read);
    expect_slices("a@001", p.rest);
    fixture_end(&f);
}

static void test_completion_order_of_layout_2(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, 2, "");
    fixture_commit(&f, T1, T4, "INSERT", (struct written[]){{"p=1", "a", NULL, 0}, END}, NULL);
    fixture_commit(&f, T3, T5, "INSERT", (struct written[]){{"p=2", "b", NULL, 0}, END}, NULL);
    struct hudi_plan p = fixture_plan(&f, NULL, NULL, -1);
    assert_string_equal(T3, p.to);
    assert_string_equal(T5, p.to_completed);
    assert_true(p.flushed_ms == 1704067200005);
    /* Requested before T3, completed after it. */
    fixture_commit(&f, T2, T9, "INSERT", (struct written[]){{"p=3", "c", NULL, 0}, END}, NULL);
    p = fixture_plan(&f, T3, T5, -1);
    assert_string_equal(T2, p.to);
    expect_slices("c@002", p.read);
    assert_string_equal(T2, p.commit_times.items[0]);
    p = fixture_plan(&f, T3, NULL, -1); /* only the requested time is known */
    assert_string_equal(T2, p.to);
    assert_int_equal(HUDI_PLAN_NOTHING, fixture_plan(&f, T2, T9, -1).kind);
    /* A time set by hand: everything requested up to it is there. */
    p = fixture_plan(&f, "20240101000000000", NULL, 2);
    assert_int_equal(2, p.commits);
    expect_slices("a@001 b@003", p.read);
    fixture_end(&f);
}

static void test_pending_commits_of_layout_2_block_nothing(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, 2, "");
    fixture_pending(&f, T1, "commit", "");
    fixture_data_file(&f, "p=1", "a", T1);
    fixture_commit(&f, T2, T4, "INSERT", (struct written[]){{"p=2", "b", NULL, 0}, END}, NULL);
    struct hudi_plan p = fixture_plan(&f, NULL, NULL, -1);
    expect_slices("b@002", p.read);
    fixture_completed(
        &f, T1, T5, "commit",
        "{\"operationType\":\"INSERT\",\"partitionToWriteStats\":{\"p=1\":[{\"fileId\":\"a\","
        "\"path\":\"p=1/a_0-1-0_" T1 ".parquet\",\"prevCommit\":\"null\",\"numDeletes\":0}]}}");
    p = fixture_plan(&f, T2, T4, -1);
    assert_string_equal(T1, p.to);
    expect_slices("a@001", p.read);
    fixture_end(&f);
}

static void test_archived_start(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_data_file(&f, "p=1", "z", "20231231000000000"); /* of an archived commit */
    fixture_write(&f, ".hoodie/archived/.commits_.archive.1_1-0-1", "");
    struct hudi_plan p = fixture_plan(&f, "20231231000000000", NULL, 1);
    assert_int_equal(HUDI_PLAN_RECONCILE, p.kind);
    assert_string_equal("commit 20231231000000000 was archived", p.reason);
    assert_string_equal(T3, p.to); /* whatever max_commits says */
    expect_slices("a@001 z@000 b@002 c@003", p.read);
    p = fixture_plan(&f, T2, T2, -1);
    expect_slices("a@001 z@000 b@002", p.rest);
    fixture_end(&f);
}

static void test_start_before_a_table_without_archive(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_write(&f, ".hoodie/archived/..commits_.archive.1_1-0-1.crc", "");
    struct hudi_plan p = fixture_plan(&f, "20231231000000", NULL, 1);
    assert_int_equal(HUDI_PLAN_CHANGES, p.kind);
    assert_string_equal(T1, p.to);
    expect_slices("a@001 b@001 c@001", p.read);
    expect_slices("", p.before);
    fixture_end(&f);
}

static void test_rolled_back_start(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_completed(&f, T5, T6, "rollback", "{\"commitsRollback\":[\"" T4 "\"]}");
    struct hudi_plan p = fixture_plan(&f, T4, NULL, -1);
    assert_int_equal(HUDI_PLAN_RECONCILE, p.kind);
    assert_string_equal("commit " T4 " was rolled back", p.reason);
    assert_string_equal(T3, p.to);
    /* Without a trace of it: a run of ours reached it, so it was there. */
    fixture_remove(&f, ".hoodie/" T5 ".rollback");
    p = fixture_plan(&f, T4, T4, -1);
    assert_int_equal(HUDI_PLAN_RECONCILE, p.kind);
    assert_string_equal("commit " T4 " is no longer on the timeline", p.reason);
    /* Set by hand it is a time ahead of the table. */
    p = fixture_plan(&f, T4, NULL, -1);
    assert_int_equal(HUDI_PLAN_NOTHING, p.kind);
    assert_true(p.after_is_ahead);
    fixture_end(&f);
}

static void test_restored_start(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_pending(&f, T6, "restore", "");
    assert_int_equal(HUDI_PLAN_NOTHING, fixture_plan(&f, T1, T1, -1).kind);
    fixture_completed(&f, T6, T9, "restore", "{\"instantsToRollback\":[\"" T5 "\",\"" T4 "\"]}");
    assert_int_equal(HUDI_PLAN_RECONCILE, fixture_plan(&f, T4, NULL, -1).kind);
    assert_int_equal(HUDI_PLAN_CHANGES, fixture_plan(&f, T1, T1, -1).kind);
    fixture_end(&f);
}

static void test_cleaned_old_slice(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_clean_file(&f, "p=3", "c", T1);
    struct hudi_plan p = fixture_plan(&f, T2, T2, -1);
    assert_int_equal(HUDI_PLAN_RECONCILE, p.kind);
    assert_string_equal("files that commit " T3 " needs were cleaned", p.reason);
    expect_slices("a@001 b@002 c@003", p.read);
    /* Upserts alone do not need old files. */
    fixture_clean_file(&f, "p=2", "b", T1);
    fixture_commit(&f, T4, NULL, "UPSERT", (struct written[]){{"p=2", "b", T2, 0}, END}, NULL);
    fixture_clean_file(&f, "p=2", "b", T2);
    p = fixture_plan(&f, T3, T3, -1);
    assert_int_equal(HUDI_PLAN_CHANGES, p.kind);
    expect_slices("b@004", p.read);
    fixture_end(&f);
}

static void test_cleaned_target_state_goes_to_the_newest(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_clean_file(&f, "p=2", "b", T1); /* the state at T1 cannot be read any more */
    struct hudi_plan p = fixture_plan(&f, NULL, NULL, 1);
    assert_int_equal(HUDI_PLAN_FULL, p.kind);
    assert_string_equal(T3, p.to);
    expect_slices("a@001 b@002 c@003", p.read);
    /* So with a replaced group whose files are gone. */
    fixture_commit(&f, T4, NULL, "INSERT_OVERWRITE", (struct written[]){{"p=1", "d", NULL, 0}, END},
                   (struct written[]){{"p=1", "a", NULL, 0}, END});
    fixture_clean_file(&f, "p=1", "a", T1);
    p = fixture_plan(&f, NULL, NULL, 2);
    assert_string_equal(T4, p.to);
    p = fixture_plan(&f, T2, T2, 1);
    assert_int_equal(HUDI_PLAN_RECONCILE, p.kind);
    assert_string_equal(T4, p.to);
    fixture_end(&f);
}

static void test_cleaned_behind_a_pending_commit(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_pending(&f, "20240101000000000", "commit", "");
    assert_int_equal(HUDI_PLAN_NOTHING, fixture_plan(&f, NULL, NULL, -1).kind);
    fixture_remove(&f, ".hoodie/20240101000000000.commit.requested");
    fixture_remove(&f, ".hoodie/20240101000000000.inflight");
    fixture_pending(&f, T2, "commit", "");
    fixture_remove(&f, ".hoodie/" T2 ".commit");
    fixture_clean_file(&f, "p=3", "c", T1);
    struct hudi_plan p = fixture_plan(&f, NULL, NULL, -1);
    assert_int_equal(HUDI_PLAN_NOTHING, p.kind);
    assert_string_equal(T2, p.waits_for);
    p = fixture_plan(&f, T1, T1, -1);
    assert_int_equal(HUDI_PLAN_NOTHING, p.kind);
    assert_string_equal(T2, p.waits_for);
    fixture_end(&f);
}

static void test_missing_newest_file(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_clean_file(&f, "p=2", "b", T2);
    fixture_plan_fails(&f, T1, SQLSTATE_UNDEFINED_FILE, "is missing");
    fixture_plan_fails(&f, NULL, SQLSTATE_UNDEFINED_FILE, "is missing");
    fixture_end(&f);
}

static void test_instants_of_14_digits(void **state)
{
    (void)state;
    struct fixture f;
    fixture_make(&f, 1, "");
    fixture_commit(&f, "20200210090610", NULL, "INSERT",
                   (struct written[]){{"p=1", "a", NULL, 0}, END}, NULL);
    fixture_commit(&f, "20200210090618", NULL, "UPSERT",
                   (struct written[]){{"p=1", "a", "20200210090610", 0}, END}, NULL);
    fixture_commit(&f, "20240101000000500", NULL, "UPSERT",
                   (struct written[]){{"p=1", "a", "20200210090618", 0}, END}, NULL);
    assert_string_equal("20200210090618", fixture_plan(&f, "20200210090610", NULL, 1).to);
    assert_string_equal("20200210090618", fixture_plan(&f, "20200210090615", NULL, 1).to);
    /* 14 digits stand for the whole second. */
    assert_int_equal(HUDI_PLAN_NOTHING, fixture_plan(&f, "20240101000000", NULL, -1).kind);
    assert_string_equal("20240101000000500", fixture_plan(&f, "20231231235959", NULL, -1).to);
    fixture_plan_fails(&f, "2024", SQLSTATE_INVALID_PARAMETER_VALUE, "2024");
    fixture_plan_fails(&f, "2024010100000000a", SQLSTATE_INVALID_PARAMETER_VALUE, "digits");
    fixture_end(&f);
}

static void test_litter_is_not_read(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_write(&f, ".hoodie/._" T4 ".commit", "x");
    fixture_write(&f, ".hoodie/." T4 ".commit.crc", "x");
    fixture_write(&f, ".hoodie/" T4 ".commit.tmp", "x");
    fixture_write(&f, ".hoodie/" T4 ".savepoint", "x");
    fixture_write(&f, ".hoodie/metadata/files/x_0-0-0_" T1 ".parquet", "");
    fixture_write(&f, "p=1/._a_0-1-0_" T3 ".parquet", "x");
    fixture_write(&f, "p=1/.a_0-1-0_" T3 ".parquet.crc", "x");
    fixture_write(&f, "p=1/a_0-1-0_" T3 ".parquet.crc", "x");
    fixture_write(&f, "p=1/.a_" T3 ".log.1_0-1-0", "x");
    fixture_write(&f, "__MACOSX/p=1/._.hoodie_partition_metadata", "x");
    fixture_write(&f, "__MACOSX/p=1/x_0-1-0_" T1 ".parquet", "x");
    fixture_write(&f, "nested/.hoodie/hoodie.properties", "x");
    fixture_data_file(&f, "nested", "n", T1);
    fixture_data_file(&f, "nested/p=1", "n", "20230101000000000");
    struct hudi_plan p = fixture_plan(&f, NULL, NULL, -1);
    assert_int_equal(3, p.commits);
    expect_slices("a@001 b@002 c@003", p.read);
    fixture_end(&f);
}

static void test_retried_write(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_write(&f, "p=2/b_0-0-7_" T2 ".parquet", "");
    fixture_write(&f, "p=2/b_9-9-9_" T2 ".parquet", "");
    struct hudi_plan p = fixture_plan(&f, T1, T1, -1);
    assert_string_equal("p=2/b_0-1-0_" T2 ".parquet", p.read.items[0].path);
    fixture_end(&f);
}

static void test_damaged_metadata(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_completed(&f, T4, NULL, "commit", "");
    fixture_plan_fails(&f, T3, SQLSTATE_DATA_CORRUPTED, "empty");
    fixture_completed(&f, T4, NULL, "commit", "{\"partitionToWriteStats\":");
    fixture_plan_fails(&f, T3, SQLSTATE_DATA_CORRUPTED, T4);
    fixture_completed(&f, T4, NULL, "commit", "[\"should\", \"not\", \"be\", \"an\", \"array\"]");
    fixture_plan_fails(&f, NULL, SQLSTATE_DATA_CORRUPTED, "not an object");
    fixture_completed(&f, T4, NULL, "commit",
                      "{\"partitionToWriteStats\":{\"p=1\":[{\"fileId\":\"x\",\"path\":\"p=1/"
                      "part-0.parquet\"}]}}");
    fixture_plan_fails(&f, T3, SQLSTATE_FEATURE_NOT_SUPPORTED, "part-0.parquet");
    fixture_completed(&f, T4, NULL, "commit", "{}"); /* nothing was done */
    struct hudi_plan p = fixture_plan(&f, T3, T3, -1);
    assert_string_equal(T4, p.to);
    expect_slices("", p.read);
    fixture_end(&f);
}

static void test_other_base_files(void **state)
{
    (void)state;
    struct fixture f;
    make_three_commits(&f, "");
    fixture_write(&f, "p=1/x_0-1-0_" T3 ".orc", "");
    fixture_plan_fails(&f, NULL, SQLSTATE_FEATURE_NOT_SUPPORTED, "not in Parquet format");
    fixture_end(&f);
}

static void test_partition_values(void **state)
{
    (void)state;
    struct fixture f;
    struct err err;
    const char **values;
    fixture_make(&f, 1,
                 "hoodie.table.partition.fields=a:SIMPLE,b\n"
                 "hoodie.datasource.write.hive_style_partitioning=true\n"
                 "hoodie.datasource.write.partitionpath.urlencode=true");
    assert_true(fixture_open(&f, &err));
    assert_true(hudi_partition_values(&f.arena, &f.table, "a=x%3Ay%/b=2024/05/01", &values, &err));
    assert_string_equal("x:y%", values[0]);
    assert_string_equal("2024/05/01", values[1]);
    assert_true(hudi_partition_values(&f.arena, &f.table,
                                      "a=__HIVE_DEFAULT_PARTITION__/b=", &values, &err));
    assert_null(values[0]);
    assert_string_equal("", values[1]);
    assert_false(hudi_partition_values(&f.arena, &f.table, "a=1", &values, &err));
    assert_string_equal(SQLSTATE_DATA_CORRUPTED, err.sqlstate);
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_then_commit_by_commit),
        cmocka_unit_test(test_between_two_times),
        cmocka_unit_test(test_empty_table),
        cmocka_unit_test(test_without_meta_fields_all_rows_count),
        cmocka_unit_test(test_replaced_groups),
        cmocka_unit_test(test_clustering_alone_reads_nothing),
        cmocka_unit_test(test_clustering_of_groups_written_in_the_window),
        cmocka_unit_test(test_hollow_commit_is_waited_for),
        cmocka_unit_test(test_pending_clustering_is_not_waited_for),
        cmocka_unit_test(test_files_of_pending_commits_are_invisible),
        cmocka_unit_test(test_completion_order_of_layout_2),
        cmocka_unit_test(test_pending_commits_of_layout_2_block_nothing),
        cmocka_unit_test(test_archived_start),
        cmocka_unit_test(test_start_before_a_table_without_archive),
        cmocka_unit_test(test_rolled_back_start),
        cmocka_unit_test(test_restored_start),
        cmocka_unit_test(test_cleaned_old_slice),
        cmocka_unit_test(test_cleaned_target_state_goes_to_the_newest),
        cmocka_unit_test(test_cleaned_behind_a_pending_commit),
        cmocka_unit_test(test_missing_newest_file),
        cmocka_unit_test(test_instants_of_14_digits),
        cmocka_unit_test(test_litter_is_not_read),
        cmocka_unit_test(test_retried_write),
        cmocka_unit_test(test_damaged_metadata),
        cmocka_unit_test(test_other_base_files),
        cmocka_unit_test(test_partition_values),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
