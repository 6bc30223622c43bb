/* The commits of the window are walked in their order, and each file group has a small state:
 *
 *   a write           touches the group: its new rows must be read. Rows were deleted, or the commit
 *                     does not say that none were: keys may have been lost.
 *   a replacement     (insert_overwrite, delete_partition) loses all keys of the groups it names.
 *   a log file        touches the group too, and may hold deletes: keys may have been lost.
 *   a compaction      (merge-on-read) puts a base file in the place of a base file and its log files, and
 *                     changes nothing. Before version 4 rows got its commit time: there it counts as a
 *                     write of all of them.
 *   a clustering      moves rows to new groups and changes nothing. Its new groups are touched only
 *                     when one of the old ones was touched before within the window, because the rows
 *                     to be read now lie there; and when one of the new groups loses keys later in
 *                     the window, these are keys of the old groups.
 *
 * Rows of groups that only a compaction or clustering wrote are never read: this is what makes a run cost no more
 * than what changed. */
#include "changes.h"

#include <stdlib.h>
#include <string.h>

#define COMPACTION_KEEPS_TIMES_SINCE 4 /* table version */

struct collector {
    const struct view *view;
    const bool *window;
    const bool *before;
    const struct commit_metadata *metadata;
    bool all_certain;
    struct changes *changes;
};

static int compare_changes(const void *a, const void *b)
{
    const struct change *x = a, *y = b;
    int c = strcmp(x->partition, y->partition);
    return c != 0 ? c : strcmp(x->file_id, y->file_id);
}

static struct change *find_change(const struct changes *list, const char *partition,
                                  const char *file_id)
{
    struct change key = {.partition = partition, .file_id = file_id};
    return bsearch(&key, list->items, list->count, sizeof key, compare_changes);
}

/* One item for every group that a commit of the window names. */
static bool name_groups(struct arena *a, struct collector *c, struct err *err)
{
    struct changes *list = c->changes;
    size_t total = 0, kept = 0;
    for (size_t i = 0; i < c->view->timeline->commits.count; i++)
        if (c->window[i])
            total += c->metadata[i].nstats + c->metadata[i].nreplaced;
    list->items = arena_alloc_array(a, total + 1, sizeof *list->items);
    if (list->items == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < c->view->timeline->commits.count; i++) {
        const struct commit_metadata *m = &c->metadata[i];
        for (size_t k = 0; c->window[i] && k < m->nstats; k++)
            list->items[list->count++] =
                (struct change){.partition = m->stats[k].partition, .file_id = m->stats[k].file_id};
        for (size_t k = 0; c->window[i] && k < m->nreplaced; k++)
            list->items[list->count++] = (struct change){.partition = m->replaced[k].partition,
                                                         .file_id = m->replaced[k].file_id};
    }
    if (list->count > 1)
        qsort(list->items, list->count, sizeof *list->items, compare_changes);
    for (size_t i = 0; i < list->count; i++)
        if (kept == 0 || compare_changes(&list->items[kept - 1], &list->items[i]) != 0)
            list->items[kept++] = list->items[i];
    list->count = kept;
    return true;
}

/* Was a commit with this requested time done before the window? Archived ones were. */
static bool was_done(const struct collector *c, const char *requested)
{
    const struct timeline *t = c->view->timeline;
    const struct instant *found = timeline_find(t, requested);
    if (found != NULL)
        return c->before[found - t->commits.items];
    char key[INSTANT_KEY_SIZE];
    return instant_key_read(requested, key) && t->oldest_key != NULL &&
           strcmp(key, t->oldest_key) < 0;
}

/* The first event of the window tells whether the group was there before. */
static struct change *meet(struct collector *c, const char *partition, const char *file_id,
                           bool existed, const char *old_instant)
{
    struct change *g = find_change(c->changes, partition, file_id);
    if (g->seen)
        return g;
    g->seen = true;
    g->clustered_by = -1;
    g->last_commit = -1;
    g->group = view_find(c->view, partition, file_id);
    g->existed = existed || (g->group != NULL && view_exists(c->view, g->group, c->before));
    g->old_instant = old_instant;
    return g;
}

/* Did a compaction that completed later (layout 2) plan this slice, so that its group was there? */
static bool was_planned(const struct collector *c, int commit, const char *requested)
{
    const struct timeline *t = c->view->timeline;
    const struct instant *found = timeline_find(t, requested);
    return found != NULL && found - t->commits.items > commit;
}

/* A write names the slice that it found. In a log file's case that may be one that a compaction had only
 * planned, or the one that it begins itself. */
static struct change *meet_write(struct collector *c, int commit, const struct write_stat *s)
{
    const char *prev = s->prev_commit;
    bool names_old = prev != NULL && (!s->is_log || was_done(c, prev));
    bool existed = names_old || (prev != NULL && was_planned(c, commit, prev));
    return meet(c, s->partition, s->file_id, existed, names_old ? prev : NULL);
}

static struct change *meet_replaced(struct collector *c, const struct replaced_group *r)
{
    return meet(c, r->partition, r->file_id, true, NULL);
}

static void lose_keys(struct collector *c, struct change *g)
{
    if (g->may_lose)
        return;
    g->may_lose = true;
    if (g->clustered_by < 0)
        return;
    const struct commit_metadata *m = &c->metadata[g->clustered_by];
    for (size_t i = 0; i < m->nreplaced; i++)
        lose_keys(c, find_change(c->changes, m->replaced[i].partition, m->replaced[i].file_id));
}

static bool is_certain_to_keep(const struct collector *c, const struct commit_metadata *m,
                               const struct write_stat *s)
{
    return c->all_certain && s->num_deletes == 0 && strncmp(m->operation, "DELETE", 6) != 0;
}

static void apply_write(struct collector *c, int commit, const struct write_stat *s)
{
    struct change *g = meet_write(c, commit, s);
    g->touched = true;
    if (s->path != NULL && !s->is_log)
        g->last_commit = commit;
    if (s->is_log || !is_certain_to_keep(c, &c->metadata[commit], s))
        lose_keys(c, g);
}

/* What it compacts was there, or was written in the window before. Log files behind its plan did not say
 * which slice the group had. */
static void apply_compaction(struct collector *c, int commit, const struct write_stat *s)
{
    struct change *g = meet(c, s->partition, s->file_id, true, s->prev_commit);
    if (g->existed && g->old_instant == NULL && s->prev_commit != NULL &&
        was_done(c, s->prev_commit))
        g->old_instant = s->prev_commit;
    if (s->path != NULL && !s->is_log)
        g->last_commit = commit;
    if (c->view->table->version < COMPACTION_KEEPS_TIMES_SINCE)
        g->touched = true;
}

static bool has_touched_source(struct collector *c, const struct commit_metadata *m)
{
    bool touched = false;
    for (size_t i = 0; i < m->nreplaced; i++) {
        struct change *g = meet_replaced(c, &m->replaced[i]);
        g->replaced = true;
        touched |= g->touched;
    }
    return touched;
}

static void apply_clustering(struct collector *c, int commit)
{
    const struct commit_metadata *m = &c->metadata[commit];
    bool touched = has_touched_source(c, m);
    for (size_t i = 0; i < m->nstats; i++) {
        struct change *g = meet_write(c, commit, &m->stats[i]);
        g->clustered_by = commit;
        g->touched |= touched;
        if (m->stats[i].path != NULL)
            g->last_commit = commit;
    }
}

static void apply_commit(struct collector *c, int commit)
{
    const struct commit_metadata *m = &c->metadata[commit];
    if (strcmp(m->operation, "CLUSTER") == 0 && m->nreplaced > 0) {
        apply_clustering(c, commit);
        return;
    }
    for (size_t i = 0; i < m->nstats; i++)
        (m->compacted ? apply_compaction : apply_write)(c, commit, &m->stats[i]);
    for (size_t i = 0; i < m->nreplaced; i++) {
        struct change *g = meet_replaced(c, &m->replaced[i]);
        g->replaced = true;
        lose_keys(c, g);
    }
}

bool changes_collect(struct arena *a, const struct view *v, const bool *window, const bool *before,
                     const struct commit_metadata *metadata, bool all_certain, struct changes *out,
                     struct err *err)
{
    struct collector c = {v, window, before, metadata, all_certain, out};
    *out = (struct changes){0};
    if (!name_groups(a, &c, err))
        return false;
    for (size_t i = 0; i < v->timeline->commits.count; i++)
        if (window[i])
            apply_commit(&c, (int)i);
    return true;
}
