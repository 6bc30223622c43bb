/* How a merge-on-read table's rows are merged, as its properties say it in each table version. */
#include "fixture.h"

static bool open_table(struct fixture *f, int version, const char *more, struct err *err)
{
    char text[2048];
    fixture_begin(f);
    snprintf(text, sizeof text,
             "hoodie.table.name=t\nhoodie.table.type=MERGE_ON_READ\nhoodie.table.version=%d\n%s",
             version, more);
    fixture_write(f, ".hoodie/hoodie.properties", text);
    return fixture_open(f, err);
}

static void expect(int version, const char *more, enum merge_order order,
                   enum merge_partial partial, const char *delete_field)
{
    struct fixture f;
    struct err err;
    if (!open_table(&f, version, more, &err))
        fail_msg("%s", err.message);
    assert_int_equal(order, f.table.merge.order);
    assert_int_equal(partial, f.table.merge.partial);
    if (delete_field == NULL)
        assert_null(f.table.merge.delete_field);
    else
        assert_string_equal(delete_field, f.table.merge.delete_field);
    fixture_end(&f);
}

static void expect_refused(int version, const char *more, const char *message)
{
    struct fixture f;
    struct err err;
    assert_false(open_table(&f, version, more, &err));
    assert_string_equal(SQLSTATE_FEATURE_NOT_SUPPORTED, err.sqlstate);
    if (strstr(err.message, message) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", message, err.message);
    fixture_end(&f);
}

#define CLASS(name) "hoodie.compaction.payload.class=org.apache.hudi.common.model." name "\n"

static void test_payload_classes(void **state)
{
    (void)state;
    expect(6, "", MERGE_COMMIT_TIME, MERGE_WHOLE, NULL);
    expect(6, "hoodie.table.precombine.field=ts\n", MERGE_EVENT_TIME, MERGE_WHOLE, NULL);
    expect(6, CLASS("OverwriteWithLatestAvroPayload") "hoodie.table.precombine.field=ts\n",
           MERGE_COMMIT_TIME, MERGE_WHOLE, NULL);
    expect(6, CLASS("DefaultHoodieRecordPayload"), MERGE_EVENT_TIME, MERGE_WHOLE, NULL);
    expect(6, CLASS("PartialUpdateAvroPayload"), MERGE_EVENT_TIME, MERGE_IGNORE_NULLS, NULL);
    expect(6, CLASS("OverwriteNonDefaultsWithLatestAvroPayload"), MERGE_COMMIT_TIME,
           MERGE_IGNORE_DEFAULTS, NULL);
    expect(6, CLASS("AWSDmsAvroPayload"), MERGE_COMMIT_TIME, MERGE_WHOLE, "Op");
    expect(6, CLASS("debezium.PostgresDebeziumAvroPayload"), MERGE_EVENT_TIME,
           MERGE_FILL_UNAVAILABLE, "_change_operation_type");
    expect_refused(6, CLASS("MyPayload"),
                   "payload class \"org.apache.hudi.common.model.MyPayload\"");
}

static void test_merge_modes(void **state)
{
    (void)state;
    expect(8, "hoodie.record.merge.mode=COMMIT_TIME_ORDERING\nhoodie.table.precombine.field=ts\n",
           MERGE_COMMIT_TIME, MERGE_WHOLE, NULL);
    expect(8, "hoodie.record.merge.mode=EVENT_TIME_ORDERING\n" CLASS("MyPayload"), MERGE_EVENT_TIME,
           MERGE_WHOLE, NULL);
    expect(8,
           "hoodie.record.merge.mode=CUSTOM\n"
           "hoodie.record.merge.strategy.id=00000000-0000-0000-0000-000000000000\n" CLASS(
               "AWSDmsAvroPayload"),
           MERGE_COMMIT_TIME, MERGE_WHOLE, "Op");
    expect(9,
           "hoodie.record.merge.mode=COMMIT_TIME_ORDERING\n"
           "hoodie.table.partial.update.mode=IGNORE_DEFAULTS\n"
           "hoodie.record.merge.property.hoodie.payload.delete.field=gone\n"
           "hoodie.record.merge.property.hoodie.payload.delete.marker=y\n",
           MERGE_COMMIT_TIME, MERGE_IGNORE_DEFAULTS, "gone");
    expect(9,
           "hoodie.record.merge.mode=EVENT_TIME_ORDERING\n"
           "hoodie.table.partial.update.mode=IGNORE_DEFAULTS\n"
           "hoodie.table.legacy.payload.class=org.apache.hudi.common.model."
           "PartialUpdateAvroPayload\n",
           MERGE_EVENT_TIME, MERGE_IGNORE_DEFAULTS, NULL);
    expect(9,
           "hoodie.record.merge.mode=EVENT_TIME_ORDERING\n"
           "hoodie.table.partial.update.mode=FILL_UNAVAILABLE\n",
           MERGE_EVENT_TIME, MERGE_WHOLE, NULL); /* no property names the marker */
    expect_refused(8, "hoodie.record.merge.mode=CUSTOM\n" CLASS("MyPayload"), "MyPayload");
    expect_refused(8, "hoodie.record.merge.mode=CUSTOM\n", "merge mode \"CUSTOM\"");
    expect_refused(8,
                   "hoodie.record.merge.mode=CUSTOM\nhoodie.record.merge.strategy.id=mine\n" CLASS(
                       "AWSDmsAvroPayload"),
                   "merge strategy \"mine\"");
    expect_refused(9,
                   "hoodie.record.merge.mode=COMMIT_TIME_ORDERING\n"
                   "hoodie.table.partial.update.mode=GUESS\n",
                   "partial update mode \"GUESS\"");
}

static void test_without_any_key(void **state)
{
    (void)state;
    expect_refused(6, "hoodie.populate.meta.fields=false\n",
                   "neither meta fields nor a record key");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_payload_classes),
        cmocka_unit_test(test_merge_modes),
        cmocka_unit_test(test_without_any_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
