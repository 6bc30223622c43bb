/* Commit metadata as JSON and as Avro containers, whole and damaged. */
#include "fixture.h"

#include <zlib.h>

#include "avro.h"
#include "commit_metadata.h"

static struct arena arena;

static const char json[] =
    "{\"partitionToWriteStats\":{\"p=1\":[{\"fileId\":\"a\",\"path\":\"p=1/"
    "a.parquet\",\"prevCommit\":"
    "\"null\",\"numWrites\":5,\"numDeletes\":0},{\"fileId\":\"b\",\"path\":null,\"prevCommit\":"
    "\"2024\"}],"
    "\"\":[]},\"compacted\":false,\"operationType\":\"UPSERT\",\"partitionToReplaceFileIds\":"
    "{\"p=2\":[\"x\",\"y\"]}}";

static struct commit_metadata read_ok(struct slice content)
{
    struct commit_metadata m;
    struct err err;
    if (!commit_metadata_read(&arena, content, &m, &err))
        fail_msg("%s", err.message);
    return m;
}

static void refuse(struct slice content)
{
    struct commit_metadata m;
    struct err err;
    assert_false(commit_metadata_read(&arena, content, &m, &err));
    assert_string_equal(SQLSTATE_DATA_CORRUPTED, err.sqlstate);
}

static void test_json(void **state)
{
    (void)state;
    struct commit_metadata m = read_ok(slice_cstr(json));
    assert_string_equal("UPSERT", m.operation);
    assert_int_equal(2, m.nstats);
    assert_string_equal("p=1", m.stats[0].partition);
    assert_string_equal("a", m.stats[0].file_id);
    assert_null(m.stats[0].prev_commit);
    assert_true(m.stats[0].num_writes == 5 && m.stats[0].num_deletes == 0);
    assert_null(m.stats[1].path);
    assert_string_equal("2024", m.stats[1].prev_commit);
    assert_true(m.stats[1].num_deletes == -1);
    assert_int_equal(2, m.nreplaced);
    assert_string_equal("y", m.replaced[1].file_id);
}

static void test_little_or_nothing(void **state)
{
    (void)state;
    assert_int_equal(0, read_ok(slice_cstr("{}")).nstats);
    struct commit_metadata m =
        read_ok(slice_cstr("{\"partitionToWriteStats\":null,\"operationType\":null}"));
    assert_int_equal(0, m.nstats);
    assert_string_equal("", m.operation);
}

static void test_damaged_json(void **state)
{
    (void)state;
    refuse(slice_cstr(""));
    refuse(slice_cstr(" \n"));
    refuse(slice_cstr("[]"));
    refuse(slice_cstr("nonsense"));
    refuse(slice_cstr("{\"partitionToWriteStats\":[]}"));
    refuse(slice_cstr("{\"partitionToWriteStats\":{\"p\":{}}}"));
    refuse(slice_cstr("{\"partitionToWriteStats\":{\"p\":[1]}}"));
    refuse(slice_cstr("{\"partitionToWriteStats\":{\"p\":[{}]}}"));
    refuse(slice_cstr("{\"partitionToReplaceFileIds\":{\"p\":[1]}}"));
    for (size_t n = 0; n < sizeof json - 1; n++)
        refuse(slice_of(json, n));
}

/* ---- Avro ---- */

static const char schema[] =
    "{\"type\":\"record\",\"name\":\"HoodieReplaceCommitMetadata\",\"fields\":["
    "{\"name\":\"partitionToWriteStats\",\"type\":[\"null\",{\"type\":\"map\",\"values\":{\"type\":"
    "\"array\","
    "\"items\":{\"type\":\"record\",\"name\":\"Stat\",\"fields\":[{\"name\":\"fileId\",\"type\":["
    "\"null\","
    "\"string\"]},{\"name\":\"numDeletes\",\"type\":[\"null\",\"long\"]}]}}}]},"
    "{\"name\":\"d\",\"type\":\"double\"},{\"name\":\"f\",\"type\":\"float\"},"
    "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"X\",\"Y\"]}},"
    "{\"name\":\"x\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}},"
    "{\"name\":\"b\",\"type\":\"boolean\"},"
    "{\"name\":\"operationType\",\"type\":[\"null\",\"string\"]}]}";

/* {p: [{fileId: "ab", numDeletes: -2}]}, 1.5, NaN, "Y", "zz", true, "UPSERT" */
static const char object[] =
    "\x02\x02\x02p\x02\x02\x04"
    "ab\x02\x03\x00\x00\x00\x00\x00\x00\x00\x00\xF8\x3F\x00\x00\xC0\x7F\x02"
    "zz\x01\x02\x0CUPSERT";

static void put_long(struct buf *b, size_t v)
{
    for (v <<= 1; v >= 0x80; v >>= 7)
        buf_append_byte(b, (char)(0x80 | (v & 0x7F)));
    buf_append_byte(b, (char)v);
}

static void put_bytes(struct buf *b, struct slice s)
{
    put_long(b, s.len);
    buf_append_slice(b, s);
}

static void make_container(struct buf *b, const char *schema_text, const char *codec,
                           struct slice block)
{
    buf_append(b, "Obj\1", 4);
    put_long(b, codec == NULL ? 1 : 2);
    put_bytes(b, slice_cstr("avro.schema"));
    put_bytes(b, slice_cstr(schema_text));
    if (codec != NULL) {
        put_bytes(b, slice_cstr("avro.codec"));
        put_bytes(b, slice_cstr(codec));
    }
    put_long(b, 0);
    buf_append(b, "0123456789abcdef", 16);
    put_long(b, 1);
    put_bytes(b, block);
    buf_append(b, "0123456789abcdef", 16);
}

static void test_avro(void **state)
{
    (void)state;
    struct buf b, text;
    struct err err;
    buf_init(&b, 1 << 16);
    buf_init(&text, 1 << 16);
    make_container(&b, schema, NULL, slice_of(object, sizeof object - 1));
    if (!avro_container_to_json(buf_slice(&b), &text, &err))
        fail_msg("%s", err.message);
    assert_string_equal(
        "{\"partitionToWriteStats\":{\"p\":[{\"fileId\":\"ab\",\"numDeletes\":-2}]},"
        "\"d\":1.5,\"f\":null,\"e\":\"Y\",\"x\":\"zz\",\"b\":true,"
        "\"operationType\":\"UPSERT\"}",
        buf_cstr(&text));
    struct commit_metadata m = read_ok(buf_slice(&b));
    assert_int_equal(1, m.nstats);
    assert_string_equal("ab", m.stats[0].file_id);
    size_t whole = buf_length(&b);
    for (size_t n = 0; n < whole; n++) {
        char *cut = malloc(n + 1); /* its own block, so that ASan sees a read behind it */
        assert_non_null(cut);
        memcpy(cut, buf_data(&b), n);
        refuse(slice_of(cut, n));
        free(cut);
    }
    buf_fini(&b);
    buf_fini(&text);
}

static size_t deflate_raw(char *out, size_t room, const char *in, size_t len)
{
    z_stream z = {0};
    assert_int_equal(Z_OK, deflateInit2(&z, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY));
    z.next_in = (unsigned char *)(uintptr_t)in;
    z.avail_in = (uInt)len;
    z.next_out = (unsigned char *)out;
    z.avail_out = (uInt)room;
    assert_int_equal(Z_STREAM_END, deflate(&z, Z_FINISH));
    deflateEnd(&z);
    return z.total_out;
}

static void test_avro_codecs(void **state)
{
    (void)state;
    char packed[256];
    struct buf b, text;
    struct err err;
    size_t n = deflate_raw(packed, sizeof packed, object, sizeof object - 1);
    buf_init(&b, 1 << 16);
    buf_init(&text, 1 << 16);
    make_container(&b, schema, "deflate", slice_of(packed, n));
    assert_int_equal(1, read_ok(buf_slice(&b)).nstats);
    buf_clear(&b);
    make_container(&b, schema, "deflate", slice_of(object, sizeof object - 1));
    refuse(buf_slice(&b));
    buf_clear(&b);
    make_container(&b, schema, "snappy", slice_of(object, sizeof object - 1));
    assert_false(avro_container_to_json(buf_slice(&b), &text, &err));
    assert_string_equal(SQLSTATE_FEATURE_NOT_SUPPORTED, err.sqlstate);
    buf_fini(&b);
    buf_fini(&text);
}

static void expect_damaged(const char *schema_text, struct slice block)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    make_container(&b, schema_text, NULL, block);
    refuse(buf_slice(&b));
    buf_fini(&b);
}

/* Few bytes that claim to be many, values out of range, schemas without end. */
static void test_hostile_avro(void **state)
{
    (void)state;
    expect_damaged("nonsense", slice_of("", 0));
    expect_damaged("{\"type\":\"array\",\"items\":\"null\"}", slice_cstr("\xFE\xFF\xFF\xFF\x0F"));
    expect_damaged("{\"type\":\"array\",\"items\":\"null\"}", slice_of("\x02\x00", 2));
    expect_damaged("\"string\"", slice_cstr("\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"));
    expect_damaged("\"string\"", slice_cstr("\x01"));
    expect_damaged("\"long\"", slice_cstr("\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"));
    expect_damaged("[\"null\",\"long\"]", slice_cstr("\x04"));
    expect_damaged("[\"null\",\"long\"]", slice_cstr("\x01"));
    expect_damaged("{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"X\"]}", slice_cstr("\x02"));
    char many[512];
    memset(many, 2, sizeof many);
    expect_damaged("{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"r\",\"type\":["
                   "\"null\",\"R\"]}]}",
                   slice_of(many, sizeof many));
}

static void test_files(void **state)
{
    (void)state;
    struct fixture f;
    struct err err;
    struct commit_metadata m;
    const char **commits;
    size_t count;
    bool clusters;
    fixture_make(&f, 1, "");
    assert_true(fixture_open(&f, &err));
    fixture_write(&f, "bad", "{");
    assert_false(commit_metadata_load(&arena, f.store, "bad", &m, &err));
    assert_non_null(strstr(err.message, "\"bad\""));
    assert_false(commit_metadata_load(&arena, f.store, "missing", &m, &err));
    assert_string_equal(SQLSTATE_UNDEFINED_FILE, err.sqlstate);
    fixture_write(&f, "rollback", "{\"commitsRollback\":[\"1\",2,\"3\"]}");
    assert_true(rollback_metadata_load(&arena, f.store, "rollback", &commits, &count, &err));
    assert_int_equal(2, count);
    assert_string_equal("3", commits[1]);
    assert_false(rollback_metadata_load(&arena, f.store, "bad", &commits, &count, &err));
    fixture_write(&f, "requested", "{\"operationType\":\"CLUSTER\"}");
    assert_true(requested_replace_is_clustering(f.store, "requested", &clusters, &err));
    assert_true(clusters);
    assert_true(requested_replace_is_clustering(f.store, "bad", &clusters, &err));
    assert_false(clusters);
    fixture_end(&f);
}

static void test_no_memory(void **state)
{
    (void)state;
    struct arena small;
    struct commit_metadata m;
    struct err err;
    bool ok = false;
    for (size_t limit = 1; !ok; limit += 32) {
        arena_init(&small, limit);
        ok = commit_metadata_read(&small, slice_cstr(json), &m, &err);
        if (!ok)
            assert_string_equal(SQLSTATE_OUT_OF_MEMORY, err.sqlstate);
        arena_fini(&small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),         cmocka_unit_test(test_little_or_nothing),
        cmocka_unit_test(test_damaged_json), cmocka_unit_test(test_avro),
        cmocka_unit_test(test_avro_codecs),  cmocka_unit_test(test_hostile_avro),
        cmocka_unit_test(test_files),        cmocka_unit_test(test_no_memory),
    };
    arena_init(&arena, 0);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_fini(&arena);
    return failed;
}
