/* An instant is a time and an action; its state is told by which of its files exist:
 *
 *   layout 1   <time>.<action>.requested -> <time>.<action>.inflight -> <time>.<action>
 *              (a commit's inflight file is <time>.inflight)
 *   layout 2   <time>.<action>.requested -> <time>.<action>.inflight -> <time>_<completed>.<action>
 *              (pending clustering finishes as a replacecommit)
 *
 * The earlier files stay when the later ones appear, so an instant is pending only when no completed
 * file of its time exists.
 *
 * A folder listing is no snapshot: a commit that completes while the folder is read may be missed
 * though a later one is seen. Therefore the folder is read twice: the newest completed instant of
 * the first reading bounds what the second one may contain. Every file that was there when that
 * instant completed was there during all of the second reading, and readdir returns such files.
 * Commits that completed later belong to the next run. */
#include "timeline.h"

#include <stdlib.h>
#include <string.h>

#include "grow.h"

static const struct {
    const char *name;
    enum instant_action action;
} actions[] = {
    {"commit", INSTANT_COMMIT},
    {"deltacommit", INSTANT_DELTACOMMIT},
    {"replacecommit", INSTANT_REPLACECOMMIT},
    {"clustering", INSTANT_CLUSTERING},
    {"compaction", INSTANT_COMPACTION},
    {"logcompaction", INSTANT_LOGCOMPACTION},
    {"clean", INSTANT_CLEAN},
    {"rollback", INSTANT_ROLLBACK},
    {"restore", INSTANT_RESTORE},
    {"savepoint", INSTANT_SAVEPOINT},
    {"indexing", INSTANT_INDEXING},
};

/* ---- names ---- */

static size_t count_digits(struct slice s)
{
    size_t n = 0;
    while (n < s.len && s.data[n] >= '0' && s.data[n] <= '9')
        n++;
    return n;
}

static bool is_time_length(size_t n)
{
    return n == 14 || n == 17;
}

/* Takes "suffix" off the end of *s. */
static bool cut_suffix(struct slice *s, const char *suffix)
{
    if (!slice_ends_with(*s, suffix))
        return false;
    s->len -= strlen(suffix);
    return true;
}

static bool find_action(struct slice name, enum instant_action *out)
{
    for (size_t i = 0; i < ARRAY_LEN(actions); i++) {
        if (slice_equals_cstr(name, actions[i].name)) {
            *out = actions[i].action;
            return true;
        }
    }
    return false;
}

/* "20240418173213674" or "20240418173213674_20240418173215000" at the start of *s. */
static bool read_times(struct slice *s, struct instant_name *out)
{
    size_t n = count_digits(*s);
    if (!is_time_length(n))
        return false;
    out->requested = slice_part(*s, 0, n);
    *s = slice_part(*s, n, s->len);
    if (slice_is_empty(*s) || s->data[0] != '_')
        return true;
    *s = slice_part(*s, 1, s->len);
    n = count_digits(*s);
    if (!is_time_length(n))
        return false;
    out->completed = slice_part(*s, 0, n);
    *s = slice_part(*s, n, s->len);
    return true;
}

bool instant_name_read(struct slice name, int layout, struct instant_name *out)
{
    *out = (struct instant_name){0};
    if (!read_times(&name, out) || slice_is_empty(name) || name.data[0] != '.')
        return false;
    bool has_completed = !slice_is_empty(out->completed);
    if (!has_completed && slice_equals_cstr(name, ".inflight")) {
        out->action = INSTANT_COMMIT;
        out->state = INSTANT_INFLIGHT;
        return true;
    }
    out->state = cut_suffix(&name, ".requested")  ? INSTANT_REQUESTED
                 : cut_suffix(&name, ".inflight") ? INSTANT_INFLIGHT
                                                  : INSTANT_COMPLETED;
    if (slice_is_empty(name) || !find_action(slice_part(name, 1, name.len), &out->action))
        return false;
    return has_completed == (layout == 2 && out->state == INSTANT_COMPLETED);
}

bool instant_key_read(const char *time, char key[INSTANT_KEY_SIZE])
{
    size_t n = count_digits(slice_cstr(time));
    if (time[n] != '\0' || !is_time_length(n))
        return false;
    memcpy(key, "99999999999999999", INSTANT_KEY_SIZE);
    memcpy(key, time, n);
    return true;
}

static const char *copy_key(struct arena *a, const char *time)
{
    char key[INSTANT_KEY_SIZE];
    return instant_key_read(time, key) ? arena_copy_cstr(a, key) : NULL;
}

static int64_t digits(const char *p, size_t n)
{
    int64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v * 10 + (p[i] - '0');
    return v;
}

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar. */
static int64_t days_of_date(int64_t year, int64_t month, int64_t day)
{
    int64_t y = month <= 2 ? year - 1 : year; /* years start in March: leap days come last */
    int64_t m = month <= 2 ? month + 9 : month - 3;
    return y * 365 + y / 4 - y / 100 + y / 400 + (m * 153 + 2) / 5 + day - 1 - 719468;
}

int64_t instant_time_ms(const char *time)
{
    char key[INSTANT_KEY_SIZE];
    if (!instant_key_read(time, key))
        return 0;
    int64_t days = days_of_date(digits(key, 4), digits(key + 4, 2), digits(key + 6, 2));
    int64_t seconds = digits(key + 8, 2) * 3600 + digits(key + 10, 2) * 60 + digits(key + 12, 2);
    int64_t ms = strlen(time) == 17 ? digits(key + 14, 3) : 0;
    return (days * 86400 + seconds) * 1000 + ms;
}

/* ---- listing ---- */

static struct slice base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slice_cstr(slash == NULL ? path : slash + 1);
}

static bool is_commit(enum instant_action action)
{
    return action == INSTANT_COMMIT || action == INSTANT_DELTACOMMIT ||
           action == INSTANT_REPLACECOMMIT;
}

static bool add_instant(struct arena *a, struct instants *list, size_t *capacity, int layout,
                        const struct instant_name *name, const struct objstore_entry *file,
                        struct err *err)
{
    list->items = grow_array(a, list->items, list->count, capacity, sizeof *list->items);
    if (list->items == NULL)
        return err_no_memory(err);
    struct instant *it = &list->items[list->count];
    *it = (struct instant){
        .path = file->path, .action = name->action, .modified_ms = file->modified_ms};
    it->requested = arena_copy(a, name->requested);
    if (!slice_is_empty(name->completed))
        it->completed = arena_copy(a, name->completed);
    it->requested_key = it->requested == NULL ? NULL : copy_key(a, it->requested);
    it->order_key =
        layout == 2 && it->completed != NULL ? copy_key(a, it->completed) : it->requested_key;
    if (it->requested_key == NULL || it->order_key == NULL)
        return err_no_memory(err);
    list->count++;
    return true;
}

struct loader {
    struct timeline *t;
    size_t commits_room;
    size_t rollbacks_room;
    size_t pending_room;
};

static bool add_completed(struct loader *l, struct arena *a, const struct instant_name *name,
                          const struct objstore_entry *file, struct err *err)
{
    struct timeline *t = l->t;
    if (is_commit(name->action))
        return add_instant(a, &t->commits, &l->commits_room, t->layout, name, file, err);
    if (name->action == INSTANT_ROLLBACK || name->action == INSTANT_RESTORE)
        return add_instant(a, &t->rollbacks, &l->rollbacks_room, t->layout, name, file, err);
    return true;
}

/* Everything that is not completed at first; what turns out to be completed leaves again. */
static bool add_pending(struct loader *l, struct arena *a, const struct instant_name *name,
                        const struct objstore_entry *file, struct err *err)
{
    struct timeline *t = l->t;
    if (!is_commit(name->action) && name->action != INSTANT_CLUSTERING &&
        name->action != INSTANT_RESTORE)
        return true;
    return add_instant(a, &t->pending, &l->pending_room, t->layout, name, file, err);
}

static int compare_by_order(const void *a, const void *b)
{
    const struct instant *x = a, *y = b;
    int c = strcmp(x->order_key, y->order_key);
    return c != 0 ? c : strcmp(x->requested_key, y->requested_key);
}

static int compare_by_request(const void *a, const void *b)
{
    const struct instant *x = a, *y = b;
    int c = strcmp(x->requested, y->requested);
    return c != 0 ? c : strcmp(x->path, y->path);
}

static void sort_instants(struct instants *list, int (*compare)(const void *, const void *))
{
    if (list->count > 1)
        qsort(list->items, list->count, sizeof *list->items, compare);
}

static bool has_requested(const struct instants *list, const char *requested)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].requested, requested) == 0)
            return true;
    return false;
}

/* Keeps one entry of each pending instant (the requested file, which says what is planned, sorts
 * behind the inflight one and wins) and drops completed ones. */
static void settle_pending(struct timeline *t)
{
    struct instants *p = &t->pending;
    size_t kept = 0;
    for (size_t i = 0; i < p->count; i++) {
        struct instant it = p->items[i];
        if (has_requested(&t->commits, it.requested) || has_requested(&t->rollbacks, it.requested))
            continue;
        if (it.action == INSTANT_RESTORE) {
            t->restoring = true;
            continue;
        }
        if (kept > 0 && strcmp(p->items[kept - 1].requested, it.requested) == 0)
            kept--;
        p->items[kept++] = it;
    }
    p->count = kept;
}

static bool read_folder(struct arena *a, struct objstore *store, struct timeline *t,
                        struct err *err)
{
    struct objstore_listing files;
    struct loader l = {.t = t};
    if (!objstore_list(store, a, t->folder, &files, err))
        return false;
    for (size_t i = 0; i < files.count; i++) {
        struct instant_name name;
        const struct objstore_entry *file = &files.items[i];
        if (file->is_folder || !instant_name_read(base_name(file->path), t->layout, &name))
            continue;
        t->cleans += name.action == INSTANT_CLEAN ? 1 : 0;
        bool completed = name.state == INSTANT_COMPLETED;
        if (!(completed ? add_completed : add_pending)(&l, a, &name, file, err))
            return false;
    }
    sort_instants(&t->commits, compare_by_order);
    sort_instants(&t->rollbacks, compare_by_request);
    sort_instants(&t->pending, compare_by_request);
    settle_pending(t);
    return true;
}

/* Anything in the archive means that the oldest instant here is not the table's first. */
static bool look_for_archive(struct arena *a, struct objstore *store, struct timeline *t,
                             const char *archive_folder, struct err *err)
{
    struct objstore_listing files;
    if (!objstore_list(store, a, archive_folder, &files, err))
        return false;
    for (size_t i = 0; i < files.count; i++) {
        struct slice name = base_name(files.items[i].path);
        if (slice_starts_with(name, ".commits_") ? !slice_ends_with(name, ".crc")
                                                 : slice_ends_with(name, ".parquet"))
            t->has_archive = true;
    }
    return true;
}

static void find_oldest(struct timeline *t)
{
    for (size_t i = 0; i < t->commits.count; i++) {
        const char *key = t->commits.items[i].requested_key;
        if (t->oldest_key == NULL || strcmp(key, t->oldest_key) < 0)
            t->oldest_key = key;
    }
}

/* Commits behind `last` completed after the first reading: to this run they are still pending. */
static bool hide_later(struct arena *a, struct timeline *t, const struct instant *last,
                       struct err *err)
{
    size_t room = t->pending.count;
    while (t->commits.count > 0) {
        struct instant *newest = &t->commits.items[t->commits.count - 1];
        if (last != NULL && compare_by_order(newest, last) <= 0)
            break;
        t->pending.items =
            grow_array(a, t->pending.items, t->pending.count, &room, sizeof *t->pending.items);
        if (t->pending.items == NULL)
            return err_no_memory(err);
        t->pending.items[t->pending.count++] = *newest;
        t->commits.count--;
    }
    sort_instants(&t->pending, compare_by_request);
    return true;
}

bool timeline_load(struct arena *a, struct objstore *store, int layout, const char *folder,
                   const char *archive_folder, struct timeline *out, struct err *err)
{
    struct timeline first = {.layout = layout, .folder = folder};
    *out = first;
    if (!read_folder(a, store, &first, err) || !read_folder(a, store, out, err))
        return false;
    size_t n = first.commits.count;
    if (!hide_later(a, out, n == 0 ? NULL : &first.commits.items[n - 1], err))
        return false;
    find_oldest(out);
    return look_for_archive(a, store, out, archive_folder, err);
}

const struct instant *timeline_find(const struct timeline *t, const char *requested)
{
    for (size_t i = 0; i < t->commits.count; i++)
        if (strcmp(t->commits.items[i].requested, requested) == 0)
            return &t->commits.items[i];
    return NULL;
}

bool timeline_is_pending(const struct timeline *t, const char *requested)
{
    return has_requested(&t->pending, requested);
}

bool timeline_count_cleans(struct arena *a, struct objstore *store, const struct timeline *t,
                           size_t *out, struct err *err)
{
    struct objstore_listing files;
    *out = 0;
    if (!objstore_list(store, a, t->folder, &files, err))
        return false;
    for (size_t i = 0; i < files.count; i++) {
        struct instant_name name;
        if (!files.items[i].is_folder &&
            instant_name_read(base_name(files.items[i].path), t->layout, &name) &&
            name.action == INSTANT_CLEAN)
            (*out)++;
    }
    return true;
}

int64_t instant_flushed_ms(const struct instant *it, bool timeline_is_utc)
{
    return it->completed != NULL && timeline_is_utc ? instant_time_ms(it->completed)
                                                    : it->modified_ms;
}
