/* A local folder as an object store: reading, listing, and everything that must not be read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "objstore/objstore.h"

static char root[64]; /* holds data/, database/, secret */
static struct arena arena;

static const char *path(const char *name)
{
    static char full[4][512];
    static int next;
    char *p = full[next++ % 4];
    snprintf(p, sizeof full[0], "%s/%s", root, name);
    return p;
}

static void put(const char *name, const char *content)
{
    FILE *f = fopen(path(name), "wb");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
}

static int setup(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "/tmp/pgveneer_store_XXXXXX");
    assert_non_null(mkdtemp(root));
    assert_int_equal(0, mkdir(path("data"), 0777));
    assert_int_equal(0, mkdir(path("data/t"), 0777));
    assert_int_equal(0, mkdir(path("data/t/sub"), 0777));
    assert_int_equal(0, mkdir(path("data/other"), 0777));
    assert_int_equal(0, mkdir(path("database"), 0777));
    put("secret", "secret");
    put("database/x", "x");
    put("data/t/b", "bb");
    put("data/t/a", "a");
    put("data/t/sub/c", "ccc");
    put("data/other/o", "o");
    arena_init(&arena, 0);
    return 0;
}

static int remove_entry(const char *name, const struct stat *s, int kind, struct FTW *ftw)
{
    (void)s, (void)kind, (void)ftw;
    return remove(name);
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static struct objstore *open_table(void)
{
    struct err err;
    struct objstore *st;
    if (!objstore_open_local(path("data/t"), path("data"), &st, &err))
        fail_msg("%s", err.message);
    return st;
}

static void expect_refused(const char *folder, const char *roots, const char *sqlstate)
{
    struct err err;
    struct objstore *st = (struct objstore *)root;
    assert_false(objstore_open_local(folder, roots, &st, &err));
    assert_null(st);
    assert_string_equal(sqlstate, err.sqlstate);
}

static void test_roots(void **state)
{
    (void)state;
    struct err err;
    struct objstore *st;
    char many[1024];
    expect_refused(path("data/t"), "", SQLSTATE_INSUFFICIENT_PRIVILEGE);
    expect_refused(path("data/t"), NULL, SQLSTATE_INSUFFICIENT_PRIVILEGE);
    expect_refused(path("data/t"), path("nowhere"), SQLSTATE_INSUFFICIENT_PRIVILEGE);
    expect_refused(path("database"), path("data"), SQLSTATE_INSUFFICIENT_PRIVILEGE);
    expect_refused(path("data/../database"), path("data"), SQLSTATE_INSUFFICIENT_PRIVILEGE);
    expect_refused("/etc", path("data"), SQLSTATE_INSUFFICIENT_PRIVILEGE);
    expect_refused("data/t", path("data"), SQLSTATE_INVALID_PARAMETER_VALUE);
    expect_refused(path("data/t/a"), path("data"), SQLSTATE_UNDEFINED_FILE); /* a file */
    snprintf(many, sizeof many, " /nowhere , %s/ ,relative", path("data"));
    assert_true(objstore_open_local(path("data/t/"), many, &st, &err));
    objstore_close(st);
    assert_true(objstore_open_local(path("data/other/../t"), path("data"), &st, &err));
    objstore_close(st);
    assert_true(objstore_open_local(path("data"), path("data"), &st, &err));
    objstore_close(st);
    assert_true(objstore_open_local(path("data"), "/", &st, &err));
    objstore_close(st);
}

/* What lies outside is not told apart from what does not exist. */
static void test_missing_folders(void **state)
{
    (void)state;
    expect_refused(path("data/missing/deep"), path("data"), SQLSTATE_UNDEFINED_FILE);
    expect_refused(path("missing"), path("data"), SQLSTATE_INSUFFICIENT_PRIVILEGE);
    expect_refused(path("data/../missing"), path("data"), SQLSTATE_INSUFFICIENT_PRIVILEGE);
    expect_refused("/etc/missing", path("data"), SQLSTATE_INSUFFICIENT_PRIVILEGE);
}

static void test_links(void **state)
{
    (void)state;
    struct err err;
    struct objstore *st;
    struct buf b;
    struct objstore_listing list;
    const char *local;
    assert_int_equal(0, symlink(path("database"), path("data/link")));
    assert_int_equal(0, symlink(path("data/t"), path("alias")));
    assert_int_equal(0, symlink("../../secret", path("data/t/out")));
    assert_int_equal(0, symlink("../../database", path("data/t/outdir")));
    assert_int_equal(0, symlink("../other/o", path("data/t/in")));
    expect_refused(path("data/link"), path("data"), SQLSTATE_INSUFFICIENT_PRIVILEGE);
    assert_true(objstore_open_local(path("alias"), path("data"), &st, &err));
    buf_init(&b, 100);
    assert_false(objstore_read(st, "out", &b, &err));
    assert_string_equal(SQLSTATE_INSUFFICIENT_PRIVILEGE, err.sqlstate);
    assert_false(objstore_fetch(st, &arena, "out", &local, &err));
    assert_string_equal(SQLSTATE_INSUFFICIENT_PRIVILEGE, err.sqlstate);
    assert_false(objstore_read(st, "outdir/x", &b, &err));
    assert_string_equal(SQLSTATE_INSUFFICIENT_PRIVILEGE, err.sqlstate);
    assert_false(objstore_list(st, &arena, "outdir", &list, &err));
    assert_string_equal(SQLSTATE_INSUFFICIENT_PRIVILEGE, err.sqlstate);
    assert_true(objstore_read(st, "in", &b, &err));
    assert_int_equal(1, buf_length(&b));
    assert_true(objstore_fetch(st, &arena, "in", &local, &err));
    assert_string_equal(path("data/other/o"), local);
    buf_fini(&b);
    objstore_close(st);
}

static void test_paths_that_climb(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "..", "../other/o", "sub/../../other/o", "/etc/passwd", "sub//c", "./a", "sub/", "a/.."};
    struct err err;
    struct objstore *st = open_table();
    struct buf b;
    struct objstore_listing list;
    buf_init(&b, 100);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(objstore_read(st, bad[i], &b, &err));
        assert_string_equal(SQLSTATE_INSUFFICIENT_PRIVILEGE, err.sqlstate);
        assert_false(objstore_list(st, &arena, bad[i], &list, &err));
        assert_string_equal(SQLSTATE_INSUFFICIENT_PRIVILEGE, err.sqlstate);
    }
    buf_fini(&b);
    objstore_close(st);
}

static void test_listing(void **state)
{
    (void)state;
    struct err err;
    struct objstore *st = open_table();
    struct objstore_listing list;
    assert_int_equal(0, symlink("/nowhere", path("data/t/dangling")));
    assert_int_equal(0, mkfifo(path("data/t/pipe"), 0666));
    assert_true(objstore_list(st, &arena, "", &list, &err));
    assert_int_equal(3, list.count);
    assert_string_equal("a", list.items[0].path);
    assert_int_equal(1, list.items[0].size_bytes);
    assert_true(list.items[0].modified_ms > 1600000000000);
    assert_string_equal("b", list.items[1].path);
    assert_string_equal("sub", list.items[2].path);
    assert_true(list.items[2].is_folder);
    assert_true(objstore_list(st, &arena, "sub", &list, &err));
    assert_int_equal(1, list.count);
    assert_string_equal("sub/c", list.items[0].path);
    assert_true(objstore_list(st, &arena, "missing", &list, &err));
    assert_int_equal(0, list.count);
    objstore_close(st);
}

static void test_reading(void **state)
{
    (void)state;
    struct err err;
    struct objstore *st = open_table();
    struct buf b;
    const char *local;
    buf_init(&b, 3);
    assert_true(objstore_read(st, "sub/c", &b, &err)); /* as long as the limit */
    assert_true(slice_equals_cstr(buf_slice(&b), "ccc"));
    assert_false(objstore_read(st, "a", &b, &err)); /* one more */
    assert_string_equal(SQLSTATE_PROGRAM_LIMIT_EXCEEDED, err.sqlstate);
    buf_clear(&b);
    assert_false(objstore_read(st, "missing", &b, &err));
    assert_string_equal(SQLSTATE_UNDEFINED_FILE, err.sqlstate);
    assert_false(objstore_read(st, "sub", &b, &err));
    assert_string_equal(SQLSTATE_UNDEFINED_FILE, err.sqlstate);
    assert_int_equal(0, mkfifo(path("data/t/pipe"), 0666));
    assert_false(objstore_read(st, "pipe", &b, &err)); /* and does not wait for a writer */
    assert_int_equal(0, objstore_fetch_count(st));
    assert_true(objstore_fetch(st, &arena, "sub/c", &local, &err));
    assert_string_equal(path("data/t/sub/c"), local);
    assert_false(objstore_fetch(st, &arena, "missing", &local, &err));
    assert_int_equal(1, objstore_fetch_count(st));
    buf_fini(&b);
    objstore_close(st);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_roots, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_folders, setup, teardown),
        cmocka_unit_test_setup_teardown(test_links, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paths_that_climb, setup, teardown),
        cmocka_unit_test_setup_teardown(test_listing, setup, teardown),
        cmocka_unit_test_setup_teardown(test_reading, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
