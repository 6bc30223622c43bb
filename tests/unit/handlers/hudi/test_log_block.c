/* Blocks of log files: whole ones, every way in which they can be cut, and which of them count. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "log_block.h"
#include "log_file.h"
#include "log_scan.h"

static void test_headers(void **state)
{
    (void)state;
    struct buf b;
    struct err err;
    struct log_block k;
    bool found;
    struct log_file_header h[] = {{0, "t1"},  {1, "t0"},   {2, "s"},   {3, "0"},
                                  {4, "a,b"}, {7, "true"}, {99, "new"}};
    buf_init(&b, 1 << 20);
    log_file_block(&b, 5, h, ARRAY_LEN(h), slice_cstr("body"));
    struct log_cursor c = {buf_slice(&b), 0};
    assert_true(log_block_next(&c, &k, &found, &err));
    assert_true(found);
    assert_int_equal(LOG_BLOCK_PARQUET, k.type);
    assert_true(slice_equals_cstr(k.instant, "t1") && slice_equals_cstr(k.target_instant, "t0"));
    assert_true(slice_equals_cstr(k.schema, "s") && slice_equals_cstr(k.command, "0"));
    assert_true(slice_equals_cstr(k.compacted_times, "a,b") && k.is_partial);
    assert_true(slice_equals_cstr(k.content, "body"));
    assert_true(log_block_next(&c, &k, &found, &err));
    assert_false(found);
    buf_fini(&b);
}

/* Blocks found in the file, "C" for corrupt ones, else the content. */
static void expect_blocks(struct slice file, const char *expected)
{
    char text[256] = "";
    struct err err;
    struct log_block k;
    bool found = true;
    struct log_cursor c = {file, 0};
    while (log_block_next(&c, &k, &found, &err) && found) {
        strncat(text, k.type == LOG_BLOCK_CORRUPT ? "C" : "", 2);
        strncat(text, k.content.data == NULL ? "" : k.content.data, k.content.len);
    }
    assert_string_equal(expected, found ? err.message : text);
}

static void test_cut_anywhere(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1 << 20);
    log_file_data(&b, "t1", "x");
    size_t first = buf_length(&b);
    log_file_data(&b, "t2", "y");
    size_t whole = buf_length(&b);
    expect_blocks(buf_slice(&b), "xy");
    for (size_t n = 0; n < whole; n++)
        expect_blocks(slice_part(buf_slice(&b), 0, n), n < 6           ? ""
                                                       : n < first     ? "C"
                                                       : n < first + 6 ? "x"
                                                                       : "xC");
    buf_fini(&b);
}

/* A writer that died, and one that went on behind it. */
static void test_corrupt_block_is_stepped_over(void **state)
{
    (void)state;
    struct buf whole, b;
    buf_init(&whole, 1 << 20);
    log_file_data(&whole, "t2", "y");
    for (size_t n = 6; n < buf_length(&whole); n++) {
        buf_init(&b, 1 << 20);
        log_file_data(&b, "t1", "x");
        buf_append_slice(&b, slice_part(buf_slice(&whole), 0, n));
        log_file_data(&b, "t3", "z");
        expect_blocks(buf_slice(&b), "xCz");
        buf_fini(&b);
    }
    buf_fini(&whole);
}

static void test_damage_is_not_skipped(void **state)
{
    (void)state;
    struct buf b;
    struct log_file_header h[] = {{0, "t1"}};
    expect_blocks(slice_cstr("no log file"),
                  "log block at byte 0 is damaged: it does not begin as one");
    buf_init(&b, 1 << 20);
    log_file_block(&b, 9, h, 1, slice_cstr(""));
    expect_blocks(buf_slice(&b), "log block type 9 is not supported");
    buf_clear(&b);
    log_file_data(&b, "t1", "x");
    b.data[b.start + 17] = 7;
    expect_blocks(buf_slice(&b), "log format version 7 is not supported");
    b.data[b.start + 17] = 1;
    b.data[b.start + 22] = 127; /* headers without end */
    expect_blocks(buf_slice(&b),
                  "log block at byte 0 is damaged: its parts are longer than the block");
    buf_fini(&b);
}

static void test_names(void **state)
{
    (void)state;
    struct log_file_name n;
    assert_true(log_file_name_read(
        slice_cstr(".ff32ab89-5ad0-4968-83b4-89a34c95d32f-0_20250316025816068.log.12_0-54-122"),
        &n));
    assert_true(slice_equals_cstr(n.file_id, "ff32ab89-5ad0-4968-83b4-89a34c95d32f-0"));
    assert_true(slice_equals_cstr(n.instant, "20250316025816068"));
    assert_true(slice_equals_cstr(n.token, "0-54-122"));
    assert_int_equal(12, n.version);
    assert_true(log_file_name_read(slice_cstr(".a_20200101000000.log.1"), &n));
    static const char *const others[] = {"a_20200101000000.log.1_0-1-0",
                                         ".a_20200101000000.log.1_0-1-0.cdc",
                                         ".a_2020.log.1_0-1-0",
                                         ".a_20200101000000.log._0-1-0",
                                         "..a_20200101000000.log.1_0-1-0.crc",
                                         "._a",
                                         ""};
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(log_file_name_read(slice_cstr(others[i]), &n));
}

static void test_contents(void **state)
{
    (void)state;
    struct err err;
    struct log_content c;
    for (unsigned version = 0; version < 5; version++) {
        char avro[] = {0, 0, 0, (char)version, 0, 0, 0, 2, 'x'};
        char list[] = {0, 0, 0, (char)version, 0, 0, 0, 1, 'x'};
        assert_int_equal(version >= 1 && version <= 3,
                         log_avro_content_read(slice_of(avro, sizeof avro), &c, &err));
        assert_int_equal(version >= 1 && version <= 3,
                         log_delete_content_read(slice_of(list, sizeof list), &c, &err));
        if (version < 1 || version > 3)
            assert_string_equal(SQLSTATE_FEATURE_NOT_SUPPORTED, err.sqlstate);
    }
    for (size_t n = 0; n < 9; n++) {
        char list[] = {0, 0, 0, 3, 0, 0, 0, 1, 'x'};
        assert_false(log_delete_content_read(slice_of(list, n), &c, &err));
        assert_string_equal(SQLSTATE_DATA_CORRUPTED, err.sqlstate);
    }
}

/* ---- which blocks count ---- */

static bool is_not_failed(const void *arg, struct slice instant)
{
    (void)arg;
    return !slice_equals_cstr(instant, "bad");
}

static void expect_scan(const struct buf *files, size_t n, const char *expected)
{
    char text[1024] = "";
    struct arena a;
    struct err err;
    struct log_blocks blocks = {0};
    struct slice contents[4];
    arena_init(&a, 0);
    for (size_t i = 0; i < n; i++)
        contents[i] = buf_slice(&files[i]);
    if (!log_scan(&a, contents, n, is_not_failed, NULL, &blocks, &err))
        snprintf(text, sizeof text, "%s", err.message);
    else
        for (size_t i = 0; i < blocks.count; i++)
            strncat(text, blocks.items[i].content.data, blocks.items[i].content.len);
    assert_string_equal(expected, text);
    arena_fini(&a);
}

static void test_scan(void **state)
{
    (void)state;
    struct buf f[3];
    for (size_t i = 0; i < 3; i++)
        buf_init(&f[i], 1 << 20);
    log_file_data(&f[0], "t1", "a");
    log_file_data(&f[0], "bad", "b");
    log_file_data(&f[1], "t2", "c");
    log_file_data(&f[1], "t3", "d");
    expect_scan(f, 2, "acd");
    log_file_rollback(&f[1], "t4", "t2");
    log_file_data(&f[2], "t2", "e"); /* behind the rollback: another attempt */
    expect_scan(f, 3, "ade");
    struct log_file_header other[] = {{0, "t5"}, {3, "1"}};
    log_file_block(&f[2], 0, other, 2, slice_cstr(""));
    expect_scan(f, 3, "command \"1\" in a log file is not supported");
    buf_clear(&f[0]);
    struct log_file_header hfile[] = {{0, "t1"}};
    log_file_block(&f[0], 4, hfile, 1, slice_cstr("x"));
    expect_scan(f, 1, "HFile data blocks in log files are not supported");
    buf_clear(&f[0]);
    log_file_block(&f[0], 3, NULL, 0, slice_cstr("x"));
    expect_scan(f, 1, "log block at byte 0 names no commit");
    for (size_t i = 0; i < 3; i++)
        buf_fini(&f[i]);
}

static void test_log_compaction(void **state)
{
    (void)state;
    struct buf f;
    buf_init(&f, 1 << 20);
    log_file_data(&f, "t1", "a");
    log_file_data(&f, "t2", "b");
    log_file_data(&f, "t2", "B");
    log_file_data(&f, "t4", "d");
    log_file_compacted(&f, "t3", "t1,t2", "c");
    log_file_compacted(&f, "t3", "t1,t2", "C");
    expect_scan(&f, 1, "cCd"); /* t4 was written while t3 was made */
    log_file_compacted(&f, "t6", "t3,t4", "f");
    log_file_data(&f, "t7", "g");
    expect_scan(&f, 1, "fg"); /* one compacted again */
    log_file_compacted(&f, "bad", "t6,t7", "h");
    expect_scan(&f, 1, "fg");
    buf_clear(&f);
    log_file_compacted(&f, "t3", "t1,t2", "c"); /* what it replaces is gone */
    log_file_data(&f, "t4", "d");
    expect_scan(&f, 1, "cd");
    buf_clear(&f);
    log_file_compacted(&f, "t1", "t1", "x"); /* nonsense ends, too */
    log_file_compacted(&f, "t2", "t3", "y");
    log_file_compacted(&f, "t3", "t2", "z");
    expect_scan(&f, 1, "xyz");
    buf_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_cut_anywhere),
        cmocka_unit_test(test_corrupt_block_is_stepped_over),
        cmocka_unit_test(test_damage_is_not_skipped),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_contents),
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_log_compaction),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
