/* Small Hudi tables made by hand: a timeline of JSON metadata and empty data files, which is all that
 * plans look at. */
#ifndef TEST_HUDI_FIXTURE_H
#define TEST_HUDI_FIXTURE_H

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

#include "base/arena.h"
#include "objstore/objstore.h"
#include "plan.h"

struct fixture {
    char root[64];
    struct arena arena;
    struct objstore *store;
    struct hudi_table table;
    int layout;
};

/* One write of a commit: partition, file id, instant of the slice before (NULL: new group). */
struct written {
    const char *partition;
    const char *file_id;
    const char *prev;
    int deletes;
};

static inline void fixture_write(const struct fixture *f, const char *path, const char *content)
{
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", f->root, path);
    for (char *p = full + strlen(f->root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(full, 0777);
        *p = '/';
    }
    FILE *file = fopen(full, "wb");
    assert_non_null(file);
    fputs(content, file);
    fclose(file);
}

static inline void fixture_remove(const struct fixture *f, const char *path)
{
    char full[1024];
    snprintf(full, sizeof full, "%s/%s", f->root, path);
    assert_int_equal(0, remove(full));
}

static inline void fixture_begin(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    snprintf(f->root, sizeof f->root, "/tmp/pgveneer_hudi_XXXXXX");
    assert_non_null(mkdtemp(f->root));
    arena_init(&f->arena, 0);
}

/* A table of layout 1 or 2; `more` are further lines of properties. */
static inline void fixture_make(struct fixture *f, int layout, const char *more)
{
    char text[2048];
    fixture_begin(f);
    f->layout = layout;
    snprintf(text, sizeof text,
             "hoodie.table.name=t\nhoodie.table.type=COPY_ON_WRITE\nhoodie.table.version=%d\n"
             "hoodie.timeline.layout.version=%d\nhoodie.table.recordkey.fields=id\n"
             "hoodie.table.partition.fields=p\nhoodie.table.timeline.timezone=UTC\n%s\n",
             layout == 2 ? 8 : 6, layout, more);
    fixture_write(f, ".hoodie/hoodie.properties", text);
}

static inline int fixture_remove_entry(const char *path, const struct stat *s, int kind,
                                       struct FTW *ftw)
{
    (void)s, (void)kind, (void)ftw;
    return remove(path);
}

static inline void fixture_end(struct fixture *f)
{
    objstore_close(f->store);
    arena_fini(&f->arena);
    nftw(f->root, fixture_remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static inline const char *fixture_timeline(const struct fixture *f)
{
    return f->layout == 2 ? ".hoodie/timeline" : ".hoodie";
}

static inline void fixture_data_file(const struct fixture *f, const char *partition,
                                     const char *file_id, const char *instant)
{
    char path[512];
    snprintf(path, sizeof path, "%s/.hoodie_partition_metadata", partition);
    fixture_write(f, path, "#partition metadata\n");
    snprintf(path, sizeof path, "%s/%s_0-1-0_%s.parquet", partition, file_id, instant);
    fixture_write(f, path, "");
}

static inline void fixture_clean_file(const struct fixture *f, const char *partition,
                                      const char *file_id, const char *instant)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s_0-1-0_%s.parquet", partition, file_id, instant);
    fixture_remove(f, path);
}

static inline void fixture_pending(const struct fixture *f, const char *instant, const char *action,
                                   const char *plan)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s.%s.requested", fixture_timeline(f), instant, action);
    fixture_write(f, path, plan);
    snprintf(path, sizeof path, "%s/%s.%s.inflight", fixture_timeline(f), instant, action);
    if (strcmp(action, "commit") == 0)
        snprintf(path, sizeof path, "%s/%s.inflight", fixture_timeline(f), instant);
    fixture_write(f, path, "");
}

static inline void fixture_completed(const struct fixture *f, const char *instant,
                                     const char *completed, const char *action, const char *content)
{
    char path[512];
    if (f->layout == 2 && completed != NULL)
        snprintf(path, sizeof path, ".hoodie/timeline/%s_%s.%s", instant, completed, action);
    else
        snprintf(path, sizeof path, ".hoodie/%s.%s", instant, action);
    fixture_write(f, path, content);
}

/* A completed commit and its data files. Writes and replacements end with a NULL file id;
 * `replaced` may be NULL. */
static inline void fixture_commit(const struct fixture *f, const char *instant,
                                  const char *completed, const char *operation,
                                  const struct written *writes, const struct written *replaced)
{
    char text[8192];
    size_t n = 0;
    n += (size_t)snprintf(text + n, sizeof text - n, "{\"operationType\":\"%s\",", operation);
    n += (size_t)snprintf(text + n, sizeof text - n, "\"partitionToWriteStats\":{");
    for (const struct written *w = writes; w->file_id != NULL; w++) {
        n += (size_t)snprintf(text + n, sizeof text - n,
                              "%s\"%s\":[{\"fileId\":\"%s\",\"path\":\"%s/%s_0-1-0_%s.parquet\","
                              "\"prevCommit\":\"%s\",\"numWrites\":3,\"numDeletes\":%d}]",
                              w == writes ? "" : ",", w->partition, w->file_id, w->partition,
                              w->file_id, instant, w->prev == NULL ? "null" : w->prev, w->deletes);
        fixture_data_file(f, w->partition, w->file_id, instant);
    }
    n += (size_t)snprintf(text + n, sizeof text - n, "},\"partitionToReplaceFileIds\":{");
    for (const struct written *w = replaced; w != NULL && w->file_id != NULL; w++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%s\":[\"%s\"]",
                              w == replaced ? "" : ",", w->partition, w->file_id);
    snprintf(text + n, sizeof text - n, "}}");
    fixture_pending(f, instant, replaced == NULL ? "commit" : "replacecommit", "");
    fixture_completed(f, instant, completed, replaced == NULL ? "commit" : "replacecommit", text);
}

static inline bool fixture_open(struct fixture *f, struct err *err)
{
    if (f->store == NULL)
        assert_true(objstore_open_local(f->root, "/tmp", &f->store, err));
    return hudi_table_open(&f->arena, f->store, &f->table, err);
}

static inline struct hudi_plan fixture_plan(struct fixture *f, const char *after,
                                            const char *completed, int64_t max_commits)
{
    struct err err;
    struct hudi_plan plan = {0};
    if (!fixture_open(f, &err) ||
        !hudi_plan_make(&f->arena, &f->table, after, completed, max_commits, &plan, &err))
        fail_msg("%s (%s)", err.message, err.sqlstate);
    return plan;
}

static inline void fixture_plan_fails(struct fixture *f, const char *after, const char *sqlstate,
                                      const char *message)
{
    struct err err;
    struct hudi_plan plan;
    if (!fixture_open(f, &err))
        fail_msg("%s (%s)", err.message, err.sqlstate);
    assert_false(hudi_plan_make(&f->arena, &f->table, after, NULL, -1, &plan, &err));
    assert_string_equal(sqlstate, err.sqlstate);
    if (strstr(err.message, message) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", message, err.message);
}

/* "a@001 b@002": file ids and the last three digits of the instants, in order. */
static inline void expect_slices(const char *expected, struct hudi_slices list)
{
    char text[2048] = "";
    size_t n = 0;
    for (size_t i = 0; i < list.count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%s@%s", i == 0 ? "" : " ",
                              list.items[i].file_id,
                              list.items[i].instant + strlen(list.items[i].instant) - 3);
    assert_string_equal(expected, text);
}

#endif
