/* The shared collection of real Hudi tables: which tables are refused, that the commits are those of
 * the collection's manifest, that plans walk through them one by one; broken timelines.
 *
 * The collection is not part of the source tree. PGVENEER_HUDI_DATA names its folder; the default is
 * ../shared/data/hudi beside the source tree; without it the test is skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/arena.h"
#include "objstore/objstore.h"
#include "commit_metadata.h"
#include "plan.h"

#define MAX_TABLES 128
#define MAX_INSTANTS 64

struct real_table {
    char name[128];
    char archive[256];
    char folder[256]; /* inside the archive */
    bool readable;
    char instants[MAX_INSTANTS][20];
    size_t ninstants;
};

static struct real_table tables[MAX_TABLES];
static size_t ntables;
static char scratch[] = "/tmp/pgveneer_real_XXXXXX";

static const char *data_folder(void)
{
    const char *folder = getenv("PGVENEER_HUDI_DATA");
    return folder == NULL ? "../shared/data/hudi" : folder;
}

/* Copies field `n` of "| a | b | c |". */
static void copy_field(const char *line, int n, char *dst, size_t size)
{
    const char *p = line;
    for (int i = 0; i <= n && p != NULL; i++)
        p = strchr(p + (i > 0), '|');
    assert_non_null(p);
    const char *end = strchr(p + 1, '|');
    assert_non_null(end);
    struct slice s = slice_trim(slice_of(p + 1, (size_t)(end - p - 1)));
    snprintf(dst, size, "%.*s", (int)s.len, s.data);
}

static void read_table_row(const char *line)
{
    char type[32], place[256], rows[32];
    copy_field(line, 2, type, sizeof type);
    if (strcmp(type, "COW") != 0 && strcmp(type, "MOR") != 0)
        return;
    assert_true(ntables < MAX_TABLES);
    struct real_table *t = &tables[ntables++];
    copy_field(line, 0, t->name, sizeof t->name);
    copy_field(line, 1, place, sizeof place);
    copy_field(line, 8, rows, sizeof rows);
    t->readable = strcmp(rows, "n/a") != 0;
    char *colon = strstr(place, " : ");
    assert_non_null(colon);
    *colon = '\0';
    snprintf(t->archive, sizeof t->archive, "%s", place);
    snprintf(t->folder, sizeof t->folder, "%s",
             strcmp(colon + 3, "(zip root)") == 0 ? "." : colon + 3);
}

/* "Snapshots (…): <requested>[_<completed>] <action> …; <requested> …" */
static void read_snapshots(struct real_table *t, const char *line)
{
    const char *p = strstr(line, "): ");
    for (; p != NULL; p = strchr(p, ';')) {
        p += p[0] == ')' ? 3 : 2;
        assert_true(t->ninstants < MAX_INSTANTS);
        size_t n = strspn(p, "0123456789");
        assert_true(n == 14 || n == 17);
        snprintf(t->instants[t->ninstants++], sizeof t->instants[0], "%.*s", (int)n, p);
    }
}

static struct real_table *find_table(const char *name)
{
    for (size_t i = 0; i < ntables; i++)
        if (strcmp(tables[i].name, name) == 0)
            return &tables[i];
    return NULL;
}

static bool read_manifest(void)
{
    char path[1024], line[65536];
    struct real_table *current = NULL;
    snprintf(path, sizeof path, "%s/MANIFEST.md", data_folder());
    FILE *f = fopen(path, "r");
    if (f == NULL)
        return false;
    while (fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "| ", 2) == 0 && strncmp(line, "| name", 6) != 0)
            read_table_row(line);
        else if (strncmp(line, "### ", 4) == 0)
            current = find_table(line + 4);
        else if (current != NULL && strncmp(line, "Snapshots (", 11) == 0)
            read_snapshots(current, line);
    }
    fclose(f);
    return true;
}

static void unpack(const struct real_table *t, char *root, size_t size)
{
    char command[2048];
    bool zip = strstr(t->archive, ".zip") != NULL;
    snprintf(root, size, "%s/%s/%s", scratch, t->name, t->folder);
    snprintf(command, sizeof command, "mkdir -p '%s/%s' && %s '%s/tables/%s' %s '%s/%s'", scratch,
             t->name, zip ? "unzip -q -o" : "tar xzf", data_folder(), t->archive, zip ? "-d" : "-C",
             scratch, t->name);
    assert_int_equal(0, system(command));
}

static void expect_slices(struct objstore *st, struct arena *a, const struct hudi_slices *list)
{
    struct err err = {0};
    for (size_t i = 0; i < list->count; i++) {
        const char *local;
        const struct hudi_slice *s = &list->items[i];
        assert_true(s->path != NULL || s->nlogs > 0);
        if (s->path != NULL && !objstore_fetch(st, a, s->path, &local, &err))
            fail_msg("%s", err.message);
        for (size_t k = 0; k < s->nlogs; k++)
            if (!objstore_fetch(st, a, s->logs[k], &local, &err))
                fail_msg("%s", err.message);
    }
}

static void expect_instants(struct arena *a, const struct real_table *r, const struct hudi_table *t)
{
    struct err err = {0};
    struct hudi_names list;
    if (!hudi_instants_list(a, t, &list, &err))
        fail_msg("%s: %s", r->name, err.message);
    assert_int_equal(r->ninstants, list.count);
    for (size_t i = 0; i < list.count; i++)
        assert_string_equal(r->instants[i], list.items[i]);
}

/* One commit at a time from the beginning to the end, then nothing. */
static void walk(struct objstore *st, struct arena *a, const struct real_table *r,
                 const struct hudi_table *t)
{
    struct err err = {0};
    struct hudi_plan plan;
    const char *after = NULL, *completed = NULL;
    for (size_t i = 0; i < r->ninstants; i++) {
        if (!hudi_plan_make(a, t, after, completed, 1, &plan, &err))
            fail_msg("%s after %s: %s", r->name, after == NULL ? "0" : after, err.message);
        assert_int_equal(i == 0 ? HUDI_PLAN_FULL : HUDI_PLAN_CHANGES, plan.kind);
        assert_string_equal(r->instants[i], plan.to);
        assert_int_equal(1, plan.commits);
        assert_true(plan.flushed_ms > 0);
        expect_slices(st, a, &plan.read);
        expect_slices(st, a, &plan.before);
        expect_slices(st, a, &plan.rest);
        after = plan.to;
        completed = plan.to_completed;
    }
    assert_true(hudi_plan_make(a, t, after, completed, 1, &plan, &err));
    assert_int_equal(HUDI_PLAN_NOTHING, plan.kind);
}

static void expect_refusal(const struct real_table *r, const struct err *err)
{
    assert_string_equal(SQLSTATE_FEATURE_NOT_SUPPORTED, err->sqlstate);
    if (strstr(err->message, "LANCE") == NULL && strstr(err->message, "bootstrapped") == NULL)
        fail_msg("%s: %s", r->name, err->message);
}

/* Returns whether the table could be read. */
static bool try_table(const struct real_table *r)
{
    char root[1024];
    struct err err = {0};
    struct arena a;
    struct objstore *st;
    struct hudi_table t;
    arena_init(&a, 0);
    unpack(r, root, sizeof root);
    assert_true(objstore_open_local(root, scratch, &st, &err));
    bool ok = hudi_table_open(&a, st, &t, &err);
    if (ok != r->readable)
        fail_msg("%s: %s", r->name, ok ? "was not refused" : err.message);
    if (ok) {
        expect_instants(&a, r, &t);
        walk(st, &a, r, &t);
    } else {
        expect_refusal(r, &err);
    }
    objstore_close(st);
    arena_fini(&a);
    return ok;
}

static bool have_collection(void)
{
    if (ntables > 0 || read_manifest())
        return true;
    print_message("skipped: no collection of Hudi tables in %s\n", data_folder());
    return false;
}

static void test_every_table(void **state)
{
    (void)state;
    size_t read = 0;
    if (!have_collection())
        skip();
    for (size_t i = 0; i < ntables; i++)
        read += try_table(&tables[i]) ? 1 : 0;
    print_message("%zu of %zu tables planned, %zu refused as they must be\n", read, ntables,
                  ntables - read);
    assert_true(read > 0);
}

/* ---- single files and broken timelines ---- */

static void write_file(const char *path, const char *content)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    fputs(content, f);
    fclose(f);
}

/* A plan over one of the broken timelines: as it came without properties, then with some. */
static bool plan_broken(const char *name, struct hudi_plan *plan, struct err *err)
{
    char root[1024], properties[2048];
    struct arena a;
    struct objstore *st;
    struct hudi_table t;
    arena_init(&a, 0);
    snprintf(root, sizeof root, "%s/parts/%s", scratch, name);
    snprintf(properties, sizeof properties, "%s/.hoodie/hoodie.properties", root);
    assert_true(objstore_open_local(root, scratch, &st, err));
    assert_false(hudi_table_open(&a, st, &t, err));
    assert_string_equal(SQLSTATE_DATA_CORRUPTED, err->sqlstate);
    write_file(properties, "hoodie.table.name=t\n");
    assert_true(hudi_table_open(&a, st, &t, err));
    bool ok = hudi_plan_make(&a, &t, NULL, NULL, -1, plan, err);
    objstore_close(st);
    arena_fini(&a);
    return ok;
}

static void test_broken_timelines(void **state)
{
    (void)state;
    struct err err;
    struct hudi_plan plan;
    char command[2048];
    if (!have_collection())
        skip();
    snprintf(command, sizeof command,
             "mkdir '%s/parts' && tar xzf '%s/parts/timeline_edge_cases.tar.gz' -C '%s/parts'",
             scratch, data_folder(), scratch);
    assert_int_equal(0, system(command));
    assert_false(plan_broken("commits_stub", &plan, &err)); /* zero bytes */
    assert_string_equal(SQLSTATE_DATA_CORRUPTED, err.sqlstate);
    assert_false(plan_broken("commits_with_invalid_content", &plan, &err));
    assert_string_equal(SQLSTATE_DATA_CORRUPTED, err.sqlstate);
    assert_true(plan_broken("commits_with_empty_commit_metadata", &plan, &err));
    assert_int_equal(0, plan.read.count);
    assert_true(plan_broken("commits_with_no_schema_and_write_stats", &plan, &err));
    assert_int_equal(0, plan.read.count);
}

static void expect_metadata(const char *name, size_t stats, const char *operation)
{
    struct err err;
    struct arena a;
    struct objstore *st;
    struct commit_metadata m;
    char *folder = realpath(data_folder(), NULL);
    assert_non_null(folder);
    arena_init(&a, 0);
    assert_true(objstore_open_local(folder, folder, &st, &err));
    if (!commit_metadata_load(&a, st, name, &m, &err))
        fail_msg("%s", err.message);
    assert_int_equal(stats, m.nstats);
    assert_string_equal(operation, m.operation);
    objstore_close(st);
    arena_fini(&a);
    free(folder);
}

static void test_single_files(void **state)
{
    (void)state;
    if (!have_collection())
        skip();
    expect_metadata("parts/v6_commit.json", 1, "UPSERT");
    expect_metadata("parts/v8_deltacommit.avro", 3, "UPSERT");
}

static int make_scratch(void **state)
{
    (void)state;
    return mkdtemp(scratch) == NULL ? -1 : 0;
}

static int remove_scratch(void **state)
{
    char command[256];
    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", scratch);
    return system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_table),
        cmocka_unit_test(test_broken_timelines),
        cmocka_unit_test(test_single_files),
    };
    return cmocka_run_group_tests(tests, make_scratch, remove_scratch);
}
