/* A table without its metadata table is its folders: every folder with a .hoodie_partition_metadata
 * (or .hoodie_partition_metadata.parquet) is a partition, and so is the root; every Parquet file in
 * it whose name has the form of a base file is one state of a file group. Which states count is
 * decided by the timeline, never by the clock or by what lies there:
 *
 *   completed on the timeline          counts when the commit is in the asked set
 *   pending, or rolled back, or later  never
 *   older than the whole timeline      always: its commit was archived, and only completed commits
 *                                      leave files behind by then
 *
 * A retried write may leave two files of one group and instant (different write tokens); the one
 * that the commit's metadata names counts.
 *
 * Log files of a merge-on-read table belong to the newest base file that counts:
 *
 *   layout 1   a log's name has the instant of the base file (or of the compaction that was planned to
 *              make it) behind which it was written: those of the newest base file and of later
 *              instants; their blocks say which commit wrote what (log_scan.c)
 *   layout 2   a log's name has the instant of the commit that wrote it: those of commits that count and
 *              completed when the base file's instant had begun, whenever they themselves began
 *
 * Before a planned compaction is complete, what is written behind it belongs to the slice before. */
#include "file_view.h"

#include <stdlib.h>
#include <string.h>

#include "grow.h"

#define VIEW_MAX_DEPTH 64
#define PARTITION_FILE ".hoodie_partition_metadata"

/* ---- names ---- */

static bool is_id_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

/* Characters of an id up to `end`, which is taken too. */
static bool take_part(struct slice *s, char end, struct slice *out)
{
    size_t n = 0;
    while (n < s->len && is_id_char(s->data[n]))
        n++;
    if (n == 0 || n == s->len || s->data[n] != end)
        return false;
    *out = slice_part(*s, 0, n);
    *s = slice_part(*s, n + 1, s->len);
    return true;
}

bool base_file_name_read(struct slice name, struct base_file_name *out)
{
    *out = (struct base_file_name){0};
    if (!take_part(&name, '_', &out->file_id) || !take_part(&name, '_', &out->token) ||
        !take_part(&name, '.', &out->instant))
        return false;
    out->extension = name;
    for (size_t i = 0; i < out->instant.len; i++)
        if (out->instant.data[i] < '0' || out->instant.data[i] > '9')
            return false;
    return out->instant.len == 14 || out->instant.len == 17;
}

/* ---- listing ---- */

struct lister {
    struct arena *arena;
    const struct hudi_table *table;
    const struct timeline *timeline;
    const struct instant **by_request; /* timeline's commits by requested time */
    struct view_file *files;
    size_t count;
    size_t capacity;
    struct view_log *logs;
    size_t nlogs;
    size_t logs_room;
};

static int compare_requests(const void *a, const void *b)
{
    return strcmp((*(const struct instant *const *)a)->requested,
                  (*(const struct instant *const *)b)->requested);
}

static bool sort_by_request(struct lister *l, struct err *err)
{
    const struct instants *c = &l->timeline->commits;
    l->by_request = arena_alloc_array(l->arena, c->count + 1, sizeof *l->by_request);
    if (l->by_request == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < c->count; i++)
        l->by_request[i] = &c->items[i];
    if (c->count > 1)
        qsort(l->by_request, c->count, sizeof *l->by_request, compare_requests);
    return true;
}

static int find_commit(const struct lister *l, const char *instant, const char *key)
{
    const struct timeline *t = l->timeline;
    size_t low = 0, high = t->commits.count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c = strcmp(l->by_request[mid]->requested, instant);
        if (c == 0)
            return (int)(l->by_request[mid] - t->commits.items);
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    if (t->oldest_key == NULL || strcmp(key, t->oldest_key) >= 0 || timeline_is_pending(t, instant))
        return VIEW_HIDDEN;
    return VIEW_ARCHIVED;
}

static bool add_file(struct lister *l, const char *partition, const char *path,
                     const struct base_file_name *name, struct err *err)
{
    char key[INSTANT_KEY_SIZE];
    l->files = grow_array(l->arena, l->files, l->count, &l->capacity, sizeof *l->files);
    if (l->files == NULL)
        return err_no_memory(err);
    struct view_file *f = &l->files[l->count];
    f->slice.path = path;
    f->slice.partition_path = partition;
    f->slice.file_id = arena_copy(l->arena, name->file_id);
    f->slice.instant = arena_copy(l->arena, name->instant);
    if (f->slice.file_id == NULL || f->slice.instant == NULL)
        return err_no_memory(err);
    if (!instant_key_read(f->slice.instant, key))
        return true;
    f->key = arena_copy_cstr(l->arena, key);
    if (f->key == NULL)
        return err_no_memory(err);
    f->commit = find_commit(l, f->slice.instant, f->key);
    l->count++;
    return true;
}

static const char *log_key(const struct lister *l, const struct view_log *log)
{
    char key[INSTANT_KEY_SIZE];
    if (l->timeline->layout == 2 && log->commit >= 0)
        return l->timeline->commits.items[log->commit].order_key;
    return instant_key_read(log->instant, key) ? arena_copy_cstr(l->arena, key) : NULL;
}

static bool add_log(struct lister *l, const char *partition, const char *path,
                    const struct log_file_name *name, struct err *err)
{
    char key[INSTANT_KEY_SIZE];
    l->logs = grow_array(l->arena, l->logs, l->nlogs, &l->logs_room, sizeof *l->logs);
    if (l->logs == NULL)
        return err_no_memory(err);
    struct view_log *log = &l->logs[l->nlogs++];
    *log = (struct view_log){.path = path, .partition = partition, .version = name->version};
    log->file_id = arena_copy(l->arena, name->file_id);
    log->instant = arena_copy(l->arena, name->instant);
    log->token = arena_copy(l->arena, name->token);
    if (log->file_id == NULL || log->instant == NULL || log->token == NULL ||
        !instant_key_read(log->instant, key))
        return err_no_memory(err);
    log->commit = find_commit(l, log->instant, key);
    log->key = log_key(l, log);
    return log->key != NULL || err_no_memory(err);
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

static bool is_partition_file(const char *name)
{
    size_t n = strlen(PARTITION_FILE);
    return strncmp(name, PARTITION_FILE, n) == 0 && (name[n] == '\0' || name[n] == '.');
}

struct folder_marks {
    bool is_table;
    bool is_partition;
};

static struct folder_marks find_marks(const struct objstore_listing *files)
{
    struct folder_marks m = {false, false};
    for (size_t i = 0; i < files->count; i++) {
        const struct objstore_entry *e = &files->items[i];
        m.is_table |= e->is_folder && strcmp(base_name(e->path), ".hoodie") == 0;
        m.is_partition |= !e->is_folder && is_partition_file(base_name(e->path));
    }
    return m;
}

/* An entry that is no base file may be a log file. */
static bool try_log(struct lister *l, const char *partition, const struct objstore_entry *e,
                    struct err *err)
{
    struct log_file_name name;
    if (!l->table->merge_on_read || e->is_folder ||
        !log_file_name_read(slice_cstr(base_name(e->path)), &name))
        return true;
    return add_log(l, partition, e->path, &name, err);
}

static bool add_files(struct lister *l, const char *partition, const struct objstore_listing *files,
                      struct err *err)
{
    static const char *const others[] = {"orc", "hfile", "lance"};
    for (size_t i = 0; i < files->count; i++) {
        struct base_file_name name;
        const struct objstore_entry *e = &files->items[i];
        if (!try_log(l, partition, e, err))
            return false;
        if (e->is_folder || !base_file_name_read(slice_cstr(base_name(e->path)), &name))
            continue;
        for (size_t k = 0; k < ARRAY_LEN(others); k++)
            if (slice_equals_cstr(name.extension, others[k]))
                return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                               "base file \"%s\" is not in Parquet format", e->path);
        if (slice_equals_cstr(name.extension, "parquet") &&
            !add_file(l, partition, e->path, &name, err))
            return false;
    }
    return true;
}

/* Below a partition there are no others, and a folder that is a Hudi table of its own is none. */
static bool walk(struct lister *l, const char *folder, int depth, struct err *err)
{
    struct objstore_listing files;
    bool is_root = depth == 0;
    if (depth > VIEW_MAX_DEPTH)
        return err_set(err, SQLSTATE_DATA_CORRUPTED, "folders are nested too deep at \"%s\"",
                       folder);
    if (!objstore_list(l->table->store, l->arena, folder, &files, err))
        return false;
    struct folder_marks marks = find_marks(&files);
    if (!is_root && marks.is_table)
        return true;
    if ((marks.is_partition || is_root) && !add_files(l, folder, &files, err))
        return false;
    if (marks.is_partition && !is_root)
        return true;
    for (size_t i = 0; i < files.count; i++)
        if (files.items[i].is_folder && strcmp(files.items[i].path, ".hoodie") != 0 &&
            !walk(l, files.items[i].path, depth + 1, err))
            return false;
    return true;
}

/* ---- groups ---- */

static int compare_names(const char *partition, const char *file_id, const char *partition2,
                         const char *file_id2)
{
    int c = strcmp(partition, partition2);
    return c != 0 ? c : strcmp(file_id, file_id2);
}

static int compare_files(const void *a, const void *b)
{
    const struct view_file *x = a, *y = b;
    int c = compare_names(x->slice.partition_path, x->slice.file_id, y->slice.partition_path,
                          y->slice.file_id);
    if (c == 0)
        c = strcmp(x->key, y->key);
    return c != 0 ? c : strcmp(x->slice.path, y->slice.path);
}

static int compare_logs(const void *a, const void *b)
{
    const struct view_log *x = a, *y = b;
    int c = compare_names(x->partition, x->file_id, y->partition, y->file_id);
    if (c == 0)
        c = strcmp(x->key, y->key);
    if (c == 0)
        c = strcmp(x->instant, y->instant);
    if (c == 0)
        c = (x->version > y->version) - (x->version < y->version);
    return c != 0 ? c : strcmp(x->token, y->token);
}

static struct view_group *next_group(struct view *v, const char *partition, const char *file_id)
{
    struct view_group *last = v->ngroups == 0 ? NULL : &v->groups[v->ngroups - 1];
    if (last != NULL && compare_names(last->partition, last->file_id, partition, file_id) == 0)
        return last;
    last = &v->groups[v->ngroups++];
    *last = (struct view_group){.partition = partition, .file_id = file_id};
    return last;
}

/* Both lists are sorted by group: they are merged. */
static bool make_groups(struct lister *l, struct view *out, struct err *err)
{
    if (l->count > 1)
        qsort(l->files, l->count, sizeof *l->files, compare_files);
    if (l->nlogs > 1)
        qsort(l->logs, l->nlogs, sizeof *l->logs, compare_logs);
    out->groups = arena_alloc_array(l->arena, l->count + l->nlogs + 1, sizeof *out->groups);
    if (out->groups == NULL)
        return err_no_memory(err);
    for (size_t i = 0, k = 0; i < l->count || k < l->nlogs;) {
        const struct hudi_slice *s = i < l->count ? &l->files[i].slice : NULL;
        struct view_log *log = k < l->nlogs ? &l->logs[k] : NULL;
        if (log == NULL || (s != NULL && compare_names(s->partition_path, s->file_id,
                                                       log->partition, log->file_id) <= 0)) {
            struct view_group *g = next_group(out, s->partition_path, s->file_id);
            g->files = g->nfiles == 0 ? &l->files[i] : g->files;
            g->nfiles++;
            i++;
            continue;
        }
        struct view_group *g = next_group(out, log->partition, log->file_id);
        g->logs = g->nlogs == 0 ? log : g->logs;
        g->nlogs++;
        k++;
    }
    return true;
}

static struct view_group *find_group(const struct view *v, const char *partition,
                                     const char *file_id)
{
    size_t low = 0, high = v->ngroups;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        struct view_group *g = &v->groups[mid];
        int c = compare_names(g->partition, g->file_id, partition, file_id);
        if (c == 0)
            return g;
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const struct view_group *view_find(const struct view *v, const char *partition, const char *file_id)
{
    return find_group(v, partition, file_id);
}

static bool mark_replaced(struct arena *a, struct view *v, const struct replaced_group *r,
                          int commit, struct err *err)
{
    struct view_group *g = find_group(v, r->partition, r->file_id);
    if (g == NULL)
        return true; /* cleaned already */
    int *grown = arena_alloc_array(a, g->nreplaced + 1, sizeof *grown);
    if (grown == NULL)
        return err_no_memory(err);
    if (g->nreplaced > 0)
        memcpy(grown, g->replaced_by, g->nreplaced * sizeof *grown);
    grown[g->nreplaced++] = commit;
    g->replaced_by = grown;
    return true;
}

/* Keeps, of the files that `commit` wrote for the group, the one with this path. */
static void hide_others(struct view_group *g, int commit, const char *path)
{
    bool found = false;
    for (size_t i = 0; i < g->nfiles; i++)
        found |= g->files[i].commit == commit && strcmp(g->files[i].slice.path, path) == 0;
    for (size_t i = 0; found && i < g->nfiles; i++)
        if (g->files[i].commit == commit && strcmp(g->files[i].slice.path, path) != 0)
            g->files[i].commit = VIEW_HIDDEN;
}

/* Of several files of one group and instant the one named by the commit counts. */
static bool hide_retried(struct arena *a, const struct hudi_table *t, struct view_group *g,
                         const struct timeline *timeline, struct err *err)
{
    for (size_t i = 1; i < g->nfiles; i++) {
        struct commit_metadata m;
        int commit = g->files[i].commit;
        if (commit < 0 || g->files[i - 1].commit != commit)
            continue;
        if (!commit_metadata_load(a, t->store, timeline->commits.items[commit].path, &m, err))
            return false;
        for (size_t k = 0; k < m.nstats; k++)
            if (m.stats[k].path != NULL && strcmp(m.stats[k].file_id, g->file_id) == 0 &&
                strcmp(m.stats[k].partition, g->partition) == 0)
                hide_others(g, commit, m.stats[k].path);
    }
    return true;
}

bool view_load(struct arena *a, const struct hudi_table *t, const struct timeline *timeline,
               const struct commit_metadata *metadata, struct view *out, struct err *err)
{
    struct lister l = {.arena = a, .table = t, .timeline = timeline};
    *out = (struct view){.table = t, .timeline = timeline};
    if (!sort_by_request(&l, err) || !walk(&l, "", 0, err) || !make_groups(&l, out, err))
        return false;
    for (size_t i = 0; i < timeline->commits.count; i++)
        for (size_t k = 0; k < metadata[i].nreplaced; k++)
            if (!mark_replaced(a, out, &metadata[i].replaced[k], (int)i, err))
                return false;
    for (size_t i = 0; i < out->ngroups; i++)
        if (!hide_retried(a, t, &out->groups[i], timeline, err))
            return false;
    return true;
}

const struct view_file *view_newest(const struct view_group *g, const bool *in)
{
    for (size_t i = g->nfiles; i > 0; i--) {
        const struct view_file *f = &g->files[i - 1];
        if (f->commit == VIEW_ARCHIVED || (f->commit >= 0 && in[f->commit]))
            return f;
    }
    return NULL;
}

bool view_is_replaced(const struct view_group *g, const bool *in)
{
    for (size_t i = 0; i < g->nreplaced; i++)
        if (in[g->replaced_by[i]])
            return true;
    return false;
}

const struct view_file *view_slice(const struct view_group *g, const bool *in)
{
    return view_is_replaced(g, in) ? NULL : view_newest(g, in);
}

/* ---- log files ---- */

/* Behind the base file? `key`: as in view_log. */
static bool is_behind(const struct view_file *base, const char *key)
{
    return base == NULL || strcmp(key, base->key) >= 0;
}

/* In layout 1 a file may hold blocks of any commit since its name's instant. */
static bool may_hold(const struct view *v, const struct view_log *log, const bool *in)
{
    if (v->timeline->layout == 1)
        return true;
    return log->commit == VIEW_ARCHIVED || (log->commit >= 0 && in[log->commit]);
}

/* Without a base file the group begins with the commit that the first log is named after. If that
 * one was rolled back, later ones may have gone on in its files. */
static bool begins(const struct view_log *log, const bool *in)
{
    return log->commit < 0 || in[log->commit];
}

bool view_exists(const struct view *v, const struct view_group *g, const bool *in)
{
    if (view_newest(g, in) != NULL)
        return true;
    for (size_t i = 0; i < g->nlogs; i++)
        if (may_hold(v, &g->logs[i], in) && begins(&g->logs[i], in))
            return true;
    return false;
}

bool view_read(struct arena *a, const struct view *v, const struct view_group *g, const bool *in,
               struct hudi_slice *out, struct err *err)
{
    const struct view_file *base = view_newest(g, in);
    *out = (struct hudi_slice){.partition_path = g->partition, .file_id = g->file_id};
    if (base != NULL)
        *out = base->slice;
    out->logs = arena_alloc_array(a, g->nlogs + 1, sizeof *out->logs);
    if (out->logs == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < g->nlogs; i++) {
        if (!may_hold(v, &g->logs[i], in) || !is_behind(base, g->logs[i].key))
            continue;
        if (out->instant == NULL)
            out->instant = g->logs[i].instant;
        out->logs[out->nlogs++] = g->logs[i].path;
    }
    return true;
}

bool view_needs_log(const struct view *v, const struct view_group *g, const bool *in,
                    const struct log_file_name *name, size_t index)
{
    char key[INSTANT_KEY_SIZE] = "", time[INSTANT_KEY_SIZE];
    const struct view_file *base = view_newest(g, in);
    if (v->timeline->layout == 2)
        return is_behind(base, v->timeline->commits.items[index].order_key);
    if (name->instant.len >= sizeof time)
        return false;
    memcpy(time, name->instant.data, name->instant.len);
    time[name->instant.len] = '\0';
    return instant_key_read(time, key) && is_behind(base, key);
}

bool view_has_log(const struct view_group *g, const char *path)
{
    for (size_t i = 0; i < g->nlogs; i++)
        if (strcmp(g->logs[i].path, path) == 0)
            return true;
    return false;
}
