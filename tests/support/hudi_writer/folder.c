/* Files of the table and instants of its timeline.
 *
 * Order of a commit: requested, inflight, data files, completed. Each file appears whole (written
 * under .hoodie/.temp, then renamed), the completed file last. */
#include "writer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    fputs("hudi_writer: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

void die_of(const struct err *err)
{
    die("%s (%s)%s%s", err->message, err->sqlstate, err->detail[0] == '\0' ? "" : ": ",
        err->detail);
}

void *have(void *p)
{
    if (p == NULL)
        die("out of memory");
    return p;
}

char *text(struct writer *w, const char *fmt, ...)
{
    char small[4096];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(small, sizeof small, fmt, args);
    va_end(args);
    if (n < 0)
        die("could not format");
    char *p = have(arena_alloc(&w->arena, (size_t)n + 1));
    va_start(args, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, args);
    va_end(args);
    return p;
}

void folder_make(const char *path)
{
    char part[4096];
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1;; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(part, 0777) != 0 && errno != EEXIST)
            die("could not make folder %s: errno %d", part, errno);
        *p = c;
        if (c == '\0')
            return;
    }
}

static void write_file(const char *path, const void *data, size_t bytes)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(data, 1, bytes, f) != bytes || fclose(f) != 0)
        die("could not write %s: errno %d", path, errno);
}

void folder_publish(struct writer *w, const char *path, const void *data, size_t bytes)
{
    const char *temp = text(w, "%s/.hoodie/.temp/%d", w->o.dir, (int)getpid());
    const char *final = text(w, "%s/%s", w->o.dir, path);
    write_file(temp, data, bytes);
    if (rename(temp, final) != 0)
        die("could not rename to %s: errno %d", final, errno);
}

int64_t folder_file_size(struct writer *w, const char *path)
{
    struct stat s;
    const char *full = text(w, "%s/%s", w->o.dir, path);
    if (stat(full, &s) != 0)
        die("no file %s", full);
    return s.st_size;
}

void folder_remove(struct writer *w, const char *path)
{
    const char *full = text(w, "%s/%s", w->o.dir, path);
    if (unlink(full) != 0 && errno != ENOENT)
        die("could not remove %s: errno %d", full, errno);
}

static void read_properties(struct writer *w)
{
    struct err err;
    struct buf content;
    buf_init(&content, 1 << 20);
    if (!objstore_read(w->store, ".hoodie/hoodie.properties", &content, &err) ||
        !properties_read(&w->arena, buf_slice(&content), &w->properties, &err))
        die_of(&err);
    buf_fini(&content);
}

void folder_open(struct writer *w)
{
    struct err err;
    if (!objstore_open_local(w->o.dir, "/", &w->store, &err) ||
        !hudi_table_open(&w->arena, w->store, &w->table, &err) ||
        !timeline_load(&w->arena, w->store, w->table.layout, w->table.timeline_folder,
                       w->table.archive_folder, &w->timeline, &err))
        die_of(&err);
    size_t n = w->timeline.commits.count;
    struct commit_metadata *metadata = have(arena_alloc_array(&w->arena, n + 1, sizeof *metadata));
    w->all = have(arena_alloc_array(&w->arena, n + 1, sizeof *w->all));
    for (size_t i = 0; i < n; i++) {
        w->all[i] = true;
        if (!commit_metadata_load(&w->arena, w->store, w->timeline.commits.items[i].path,
                                  &metadata[i], &err))
            die_of(&err);
    }
    if (!view_load(&w->arena, &w->table, &w->timeline, metadata, &w->view, &err))
        die_of(&err);
    read_properties(w);
}

/* ---- instants ---- */

/* Date of days since 1970-01-01. */
static void date_of_days(int64_t days, int *year, int *month, int *day)
{
    int64_t z = days + 719468;
    int64_t era = z / 146097;
    int64_t doe = z - era * 146097;
    int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    int64_t mp = (5 * doy + 2) / 153;
    *day = (int)(doy - (153 * mp + 2) / 5 + 1);
    *month = (int)(mp < 10 ? mp + 3 : mp - 9);
    *year = (int)(yoe + era * 400 + (*month <= 2 ? 1 : 0));
}

static const char *time_of_ms(struct writer *w, int64_t ms)
{
    int year, month, day;
    int64_t s = ms / 1000;
    date_of_days(s / 86400, &year, &month, &day);
    return text(w, "%04d%02d%02d%02d%02d%02d%03d", year, month, day, (int)(s / 3600 % 24),
                (int)(s / 60 % 60), (int)(s % 60), (int)(ms % 1000));
}

static int64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void raise_to(int64_t *ms, const char *time)
{
    if (time != NULL && instant_time_ms(time) >= *ms)
        *ms = instant_time_ms(time) + 1;
}

/* Now, but later than every instant there is. */
static const char *next_time(struct writer *w)
{
    int64_t ms = now_ms();
    const struct instants *lists[] = {&w->timeline.commits, &w->timeline.rollbacks,
                                      &w->timeline.pending};
    for (size_t k = 0; k < ARRAY_LEN(lists); k++)
        for (size_t i = 0; i < lists[k]->count; i++) {
            raise_to(&ms, lists[k]->items[i].requested);
            raise_to(&ms, lists[k]->items[i].completed);
        }
    raise_to(&ms, w->instant);
    return time_of_ms(w, ms);
}

static const char *inflight_name(struct writer *w)
{
    if (strcmp(w->pending_action, "commit") == 0)
        return text(w, "%s/%s.inflight", w->table.timeline_folder, w->instant);
    return text(w, "%s/%s.%s.inflight", w->table.timeline_folder, w->instant, w->pending_action);
}

static const char *requested_name(struct writer *w)
{
    return text(w, "%s/%s.%s.requested", w->table.timeline_folder, w->instant, w->pending_action);
}

void instant_begin(struct writer *w, const char *action, const char *operation)
{
    bool clusters = strcmp(operation, "CLUSTER") == 0;
    struct buf plan;
    buf_init(&plan, 4096);
    w->action = action;
    w->operation = operation;
    w->pending_action = clusters && w->table.layout == 2 ? "clustering" : action;
    w->instant = w->o.time != NULL ? w->o.time : next_time(w);
    if (clusters)
        metadata_write_clustering_plan(&plan);
    folder_publish(w, requested_name(w), plan.data, buf_length(&plan));
    folder_publish(w, inflight_name(w), "", 0);
    buf_fini(&plan);
}

void instant_complete(struct writer *w, const void *data, size_t bytes)
{
    const char *completed = w->o.completed != NULL ? w->o.completed : next_time(w);
    const char *path =
        w->table.layout == 2
            ? text(w, "%s/%s_%s.%s", w->table.timeline_folder, w->instant, completed, w->action)
            : text(w, "%s/%s.%s", w->table.timeline_folder, w->instant, w->action);
    folder_publish(w, path, data, bytes);
    printf("%s\n", w->instant);
}

void partition_begin(struct writer *w, const char *partition)
{
    const char *folder = text(w, "%s/%s", w->o.dir, partition);
    const char *mark =
        text(w, "%s%s.hoodie_partition_metadata", partition, partition[0] == '\0' ? "" : "/");
    int depth = partition[0] == '\0' ? 0 : 1;
    for (const char *p = partition; *p != '\0'; p++)
        depth += *p == '/' ? 1 : 0;
    folder_make(folder);
    if (access(text(w, "%s/%s", w->o.dir, mark), F_OK) == 0)
        return;
    const char *content =
        text(w, "#partition metadata\ncommitTime=%s\npartitionDepth=%d\n", w->instant, depth);
    folder_publish(w, mark, content, strlen(content));
}
