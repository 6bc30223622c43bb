/* The folder that goes with its run, or with the next one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/scratch.h"

static char parent[64];
static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    snprintf(parent, sizeof parent, "/tmp/test_scratch.XXXXXX");
    arena_init(&arena, 0);
    return mkdtemp(parent) == NULL;
}

static int tear_down(void **state)
{
    (void)state;
    arena_fini(&arena);
    return rmdir(parent); /* fails when a test left something */
}

static bool exists(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void put_file(const char *folder, const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("spilled", f);
    fclose(f);
}

static void test_goes_with_all_that_is_in_it(void **state)
{
    struct scratch s;
    struct err err;
    char inner[256];
    (void)state;
    assert_true(scratch_open(&arena, parent, &s, &err));
    put_file(s.folder, "a");
    snprintf(inner, sizeof inner, "%s/inner", s.folder);
    assert_int_equal(mkdir(inner, 0700), 0);
    put_file(inner, "b");
    const char *folder = s.folder;
    scratch_close(&s);
    assert_false(exists(folder));
    scratch_close(&s);
}

static void test_a_living_run_keeps_its_folder(void **state)
{
    struct scratch first, second;
    struct err err;
    (void)state;
    assert_true(scratch_open(&arena, parent, &first, &err));
    put_file(first.folder, "a");
    assert_true(scratch_open(&arena, parent, &second, &err));
    assert_true(exists(first.folder));
    assert_string_not_equal(first.folder, second.folder);
    scratch_close(&first);
    scratch_close(&second);
}

/* The child tells its folder through a pipe, then waits to be killed. */
static void run_child(int out)
{
    struct scratch s;
    struct err err;
    if (!scratch_open(&arena, parent, &s, &err))
        _exit(1);
    put_file(s.folder, "a");
    if (write(out, s.folder, strlen(s.folder)) < 0)
        _exit(1);
    pause();
    _exit(1);
}

static void test_a_killed_run_is_swept_up(void **state)
{
    struct scratch s;
    struct err err;
    char left[256] = "";
    int ends[2], status;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0)
        run_child(ends[1]);
    close(ends[1]);
    assert_true(read(ends[0], left, sizeof left - 1) > 0);
    close(ends[0]);
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(exists(left));
    assert_true(scratch_open(&arena, parent, &s, &err));
    assert_false(exists(left));
    scratch_close(&s);
}

static void test_other_entries_stay(void **state)
{
    struct scratch s;
    struct err err;
    char link[256];
    char other[256];
    (void)state;
    snprintf(link, sizeof link, "%s/pgveneer-job-link", parent);
    snprintf(other, sizeof other, "%s/other", parent);
    assert_int_equal(mkdir(other, 0700), 0);
    put_file(other, "a");
    assert_int_equal(symlink(other, link), 0);
    assert_true(scratch_open(&arena, parent, &s, &err));
    scratch_close(&s);
    assert_true(exists(link));
    snprintf(link, sizeof link, "%s/other/a", parent);
    assert_true(exists(link));
    unlink(link);
    rmdir(other);
    snprintf(link, sizeof link, "%s/pgveneer-job-link", parent);
    unlink(link);
}

static void test_no_parent_is_an_error(void **state)
{
    struct scratch s;
    struct err err;
    char missing[128];
    (void)state;
    snprintf(missing, sizeof missing, "%s/missing", parent);
    assert_false(scratch_open(&arena, missing, &s, &err));
    assert_string_equal(err.sqlstate, "58P01");
    scratch_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_goes_with_all_that_is_in_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_living_run_keeps_its_folder, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_a_killed_run_is_swept_up, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_entries_stay, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_no_parent_is_an_error, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
