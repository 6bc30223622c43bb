/* hoodie.properties understood, and tables that are refused. */
#include "fixture.h"

static void make(struct fixture *f, const char *properties)
{
    fixture_begin(f);
    fixture_write(f, ".hoodie/hoodie.properties", properties);
}

static void expect_refused(const char *properties, const char *sqlstate, const char *message)
{
    struct fixture f;
    struct err err;
    make(&f, properties);
    assert_false(fixture_open(&f, &err));
    assert_string_equal(sqlstate, err.sqlstate);
    if (strstr(err.message, message) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", message, err.message);
    fixture_end(&f);
}

static void test_everything_named(void **state)
{
    (void)state;
    struct fixture f;
    struct err err;
    make(&f,
         "hoodie.table.name=t\\:1\nhoodie.table.type=COPY_ON_WRITE\nhoodie.table.version=9\n"
         "hoodie.table.recordkey.fields=id, k2\nhoodie.table.ordering.fields=ts,seq\n"
         "hoodie.table.precombine.field=old\nhoodie.table.partition.fields=a:SIMPLE,b:TIMESTAMP\n"
         "hoodie.datasource.write.hive_style_partitioning=true\n"
         "hoodie.datasource.write.partitionpath.urlencode=true\n"
         "hoodie.datasource.write.drop.partition.columns=true\n"
         "hoodie.populate.meta.fields=false\nhoodie.table.timeline.timezone=utc\n"
         "hoodie.record.merge.mode=EVENT_TIME_ORDERING\n"
         "hoodie.table.legacy.payload.class=org.x.Payload\n"
         "hoodie.table.base.file.format=parquet\nhoodie.table.format=native\n");
    assert_true(fixture_open(&f, &err));
    assert_string_equal("t:1", f.table.name);
    assert_int_equal(9, f.table.version);
    assert_int_equal(2, f.table.layout);
    assert_int_equal(2, f.table.record_key.count);
    assert_string_equal("k2", f.table.record_key.items[1]);
    assert_int_equal(2, f.table.ordering.count);
    assert_string_equal("ts", f.table.ordering.items[0]);
    assert_string_equal("b", f.table.partition.items[1]);
    assert_true(f.table.hive_style && f.table.url_encoded && f.table.drops_partition_columns);
    assert_true(!f.table.has_meta_fields && f.table.timeline_is_utc);
    assert_string_equal("org.x.Payload", f.table.payload_class);
    assert_string_equal(".hoodie/timeline", f.table.timeline_folder);
    assert_string_equal(".hoodie/timeline/history", f.table.archive_folder);
    fixture_end(&f);
}

static void test_oldest_version_names_little(void **state)
{
    (void)state;
    struct fixture f;
    struct err err;
    make(&f,
         "hoodie.table.name=t\nhoodie.archivelog.folder=gone\nhoodie.table.partition.fields=\n");
    assert_true(fixture_open(&f, &err));
    assert_int_equal(0, f.table.version);
    assert_int_equal(1, f.table.layout);
    assert_int_equal(0, f.table.record_key.count);
    assert_int_equal(0, f.table.partition.count);
    assert_true(f.table.has_meta_fields && !f.table.timeline_is_utc);
    assert_null(f.table.payload_class);
    assert_string_equal(".hoodie", f.table.timeline_folder);
    assert_string_equal(".hoodie/gone", f.table.archive_folder);
    fixture_end(&f);
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused("hoodie.table.name=t\nhoodie.table.type=OTHER\n", SQLSTATE_FEATURE_NOT_SUPPORTED,
                   "\"OTHER\"");
    expect_refused("hoodie.table.name=t\nhoodie.table.version=10\n", SQLSTATE_FEATURE_NOT_SUPPORTED,
                   "version 10");
    expect_refused(
        "hoodie.table.name=t\nhoodie.table.version=6\nhoodie.timeline.layout.version=3\n",
        SQLSTATE_FEATURE_NOT_SUPPORTED, "layout 3");
    expect_refused("hoodie.table.name=t\nhoodie.table.base.file.format=LANCE\n",
                   SQLSTATE_FEATURE_NOT_SUPPORTED, "\"LANCE\"");
    expect_refused("hoodie.table.name=t\nhoodie.table.format=iceberg\n",
                   SQLSTATE_FEATURE_NOT_SUPPORTED, "\"iceberg\"");
    expect_refused("hoodie.table.name=t\nhoodie.table.version=six\n", SQLSTATE_DATA_CORRUPTED,
                   "\"six\"");
    expect_refused("", SQLSTATE_DATA_CORRUPTED, "names no table");
    expect_refused("a=\\u12", SQLSTATE_DATA_CORRUPTED, "hoodie.properties");
}

static void test_bootstrapped(void **state)
{
    (void)state;
    struct fixture f;
    struct err err;
    make(&f, "hoodie.table.name=t\nhoodie.bootstrap.base.path=/elsewhere\n");
    assert_true(fixture_open(&f, &err)); /* a full copy has no index */
    fixture_write(&f, ".hoodie/.aux/.bootstrap/.partitions/x.hfile", "");
    assert_false(fixture_open(&f, &err));
    assert_string_equal("bootstrapped tables are not supported", err.message);
    fixture_end(&f);
}

static void test_no_table(void **state)
{
    (void)state;
    struct fixture f;
    struct err err;
    fixture_begin(&f);
    assert_false(fixture_open(&f, &err));
    assert_string_equal(SQLSTATE_UNDEFINED_TABLE, err.sqlstate);
    /* While the properties are replaced the backup stands for them. */
    fixture_write(&f, ".hoodie/hoodie.properties.backup", "hoodie.table.name=t\n");
    assert_true(fixture_open(&f, &err));
    fixture_write(&f, ".hoodie/hoodie.properties", "");
    assert_true(fixture_open(&f, &err));
    fixture_end(&f);
}

/* Folders named by properties cannot lead out of the table. */
static void test_climbing_folders(void **state)
{
    (void)state;
    struct fixture f;
    make(&f, "hoodie.table.name=t\nhoodie.table.version=8\nhoodie.timeline.path=../../etc\n");
    fixture_plan_fails(&f, NULL, SQLSTATE_INSUFFICIENT_PRIVILEGE, "outside");
    fixture_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everything_named), cmocka_unit_test(test_oldest_version_names_little),
        cmocka_unit_test(test_refused),          cmocka_unit_test(test_bootstrapped),
        cmocka_unit_test(test_no_table),         cmocka_unit_test(test_climbing_folders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
