/* Decides what a run reads.
 *
 *   timeline ──► usable commits ──► window (after, to] ──► changes of file groups ──► slices
 *
 * Usable are the commits that no earlier one can still slip in front of. Layout 2 orders commits by
 * completion time, so all are. Layout 1 orders them by requested time, and one that is still pending
 * may complete later at its old place: the run stops before it. A pending clustering does not count,
 * since it will move rows and change none.
 *
 * States of the table are sets of commits (bool by index), not times: a position set by hand is any
 * time and may lie between commits.
 *
 * The way is lost when `after` left the timeline (archived, rolled back) or when a file that only
 * the old state needs was cleaned: RECONCILE. When files of the state at `to` were cleaned, because
 * `to` is not the newest commit, the run goes on to the newest, whose files no cleaner takes. */
#include "plan.h"

#include <string.h>

#include "changes.h"
#include "commit_metadata.h"
#include "file_view.h"
#include "grow.h"
#include "schema_change.h"
#include "timeline.h"

struct planner {
    struct arena *arena;
    const struct hudi_table *table;
    struct timeline timeline;
    struct view view;
    struct commit_metadata *metadata; /* by index of commit */
    bool *loaded;                     /* metadata[i] is filled */
    bool *in_after;                   /* state at `after` */
    bool *window;                     /* (after, to] */
    bool *in_to;                      /* state at `to` */
    size_t usable;                    /* commits[0 .. usable) */
    const struct hudi_plan *plan;
};

static struct instant *commit_at(const struct planner *p, size_t i)
{
    return &p->timeline.commits.items[i];
}

/* ---- timeline and position ---- */

static bool load_timeline(struct arena *a, const struct hudi_table *t, struct timeline *out,
                          struct err *err)
{
    return timeline_load(a, t->store, t->layout, t->timeline_folder, t->archive_folder, out, err);
}

static bool start(struct planner *p, struct err *err)
{
    if (!load_timeline(p->arena, p->table, &p->timeline, err))
        return false;
    size_t n = p->timeline.commits.count + 1;
    p->metadata = arena_alloc_array(p->arena, n, sizeof *p->metadata);
    p->loaded = arena_alloc_array(p->arena, n, sizeof *p->loaded);
    p->in_after = arena_alloc_array(p->arena, n, sizeof *p->in_after);
    p->window = arena_alloc_array(p->arena, n, sizeof *p->window);
    p->in_to = arena_alloc_array(p->arena, n, sizeof *p->in_to);
    if (p->metadata == NULL || p->loaded == NULL || p->in_after == NULL || p->window == NULL ||
        p->in_to == NULL)
        return err_no_memory(err);
    p->usable = p->timeline.commits.count;
    return true;
}

/* A pending commit that is no newer than `after` was passed already: waiting would not help. */
static bool stop_before_pending(struct planner *p, const char *after_key, struct err *err)
{
    if (p->timeline.layout != 1)
        return true;
    for (size_t i = 0; i < p->timeline.pending.count; i++) {
        const struct instant *it = &p->timeline.pending.items[i];
        bool clusters = false;
        if (after_key != NULL && strcmp(it->requested_key, after_key) <= 0)
            continue;
        if (it->action == INSTANT_REPLACECOMMIT &&
            !requested_replace_is_clustering(p->table->store, it->path, &clusters, err))
            return false;
        if (clusters)
            continue;
        while (p->usable > 0 &&
               strcmp(commit_at(p, p->usable - 1)->requested_key, it->requested_key) > 0)
            p->usable--;
        return true; /* pending ones are sorted: the first one decides */
    }
    return true;
}

/* Did a rollback or restore take this commit back? */
static bool was_rolled_back(const struct planner *p, const char *commit, bool *out,
                            struct err *err)
{
    *out = false;
    for (size_t i = 0; i < p->timeline.rollbacks.count && !*out; i++) {
        const char **commits;
        size_t count;
        const struct instant *it = &p->timeline.rollbacks.items[i];
        if (strcmp(it->requested, commit) < 0)
            continue;
        if (!rollback_metadata_load(p->arena, p->table->store, it->path, &commits, &count, err))
            return false;
        for (size_t k = 0; k < count; k++)
            *out |= strcmp(commits[k], commit) == 0;
    }
    return true;
}

static const char *newest_key(const struct planner *p)
{
    const char *key = "";
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        if (strcmp(commit_at(p, i)->requested_key, key) > 0)
            key = commit_at(p, i)->requested_key;
    return key;
}

struct position {
    const char *after;
    const char *after_completed;
    char key[INSTANT_KEY_SIZE];
};

/* `after` is on the timeline: everything up to it in the timeline's order is done. */
static void take_commits_up_to(struct planner *p, const struct instant *found)
{
    size_t last = (size_t)(found - p->timeline.commits.items);
    for (size_t i = 0; i <= last; i++)
        p->in_after[i] = true;
}

/* It is not: a time set by hand, or a commit that is gone. *reason is set when the way is lost. */
static bool locate_missing(struct planner *p, const struct position *at, const char **reason,
                           struct err *err)
{
    bool rolled_back = false;
    const char *oldest = p->timeline.oldest_key;
    bool is_older = oldest == NULL || strcmp(at->key, oldest) < 0;
    if (is_older && p->timeline.has_archive)
        *reason = arena_printf(p->arena, "commit %s was archived", at->after);
    else if (!was_rolled_back(p, at->after, &rolled_back, err))
        return false;
    else if (rolled_back)
        *reason = arena_printf(p->arena, "commit %s was rolled back", at->after);
    else if (at->after_completed != NULL)
        *reason = arena_printf(p->arena, "commit %s is no longer on the timeline", at->after);
    else
        for (size_t i = 0; i < p->timeline.commits.count; i++)
            p->in_after[i] = strcmp(commit_at(p, i)->requested_key, at->key) <= 0;
    return true;
}

static bool locate(struct planner *p, const struct position *at, const char **reason,
                   struct err *err)
{
    const struct instant *found = timeline_find(&p->timeline, at->after);
    *reason = NULL;
    if (found == NULL)
        return locate_missing(p, at, reason, err);
    take_commits_up_to(p, found);
    return true;
}

/* ---- window ---- */

/* The first `limit` usable commits that are not done yet. Returns how many. */
static size_t open_window(struct planner *p, size_t limit)
{
    size_t n = 0;
    for (size_t i = 0; i < p->timeline.commits.count; i++) {
        p->window[i] = i < p->usable && !p->in_after[i] && n < limit;
        p->in_to[i] = p->in_after[i] || p->window[i];
        n += p->window[i] ? 1 : 0;
    }
    return n;
}

/* Base files must have Hudi's own names: others (written by converters) would be overlooked. */
static bool check_names(const struct commit_metadata *m, struct err *err)
{
    for (size_t i = 0; i < m->nstats; i++) {
        struct base_file_name name;
        const char *path = m->stats[i].path;
        const char *slash = path == NULL ? NULL : strrchr(path, '/');
        if (path != NULL &&
            !base_file_name_read(slice_cstr(slash == NULL ? path : slash + 1), &name))
            return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                           "data file \"%s\" does not have a name in Hudi's form", path);
    }
    return true;
}

static bool load_metadata(struct planner *p, size_t i, struct err *err)
{
    if (p->loaded[i])
        return true;
    if (!commit_metadata_load(p->arena, p->table->store, commit_at(p, i)->path, &p->metadata[i],
                              err))
        return false;
    p->loaded[i] = true;
    return check_names(&p->metadata[i], err);
}

/* Of all commits, or of those that the window needs: its own, later ones, replacements. */
static bool load_needed(struct planner *p, bool all, struct err *err)
{
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        if (all || !p->in_after[i] || commit_at(p, i)->action == INSTANT_REPLACECOMMIT)
            if (!load_metadata(p, i, err))
                return false;
    return true;
}

/* ---- is the state at `to` still complete on disk? ---- */

static bool holds_group(const struct planner *p, const char *partition, const char *file_id)
{
    const struct view_group *g = view_find(&p->view, partition, file_id);
    return g != NULL && view_newest(g, p->in_to) != NULL;
}

static bool is_replaced(const struct planner *p, const char *partition, const char *file_id)
{
    const struct view_group *g = view_find(&p->view, partition, file_id);
    return g != NULL && view_newest(g, p->in_to) != NULL && view_slice(g, p->in_to) == NULL;
}

/* Is `instant` one of the commits of the state, or older than the timeline? */
static bool is_in_state(const struct planner *p, const char *instant)
{
    const struct instant *found = timeline_find(&p->timeline, instant);
    if (found != NULL)
        return p->in_to[found - p->timeline.commits.items];
    char key[INSTANT_KEY_SIZE];
    return instant_key_read(instant, key) && p->timeline.oldest_key != NULL &&
           strcmp(key, p->timeline.oldest_key) < 0;
}

/* A later commit rewrote the slice of `prev_commit`: if the state needs it, it must lie there. */
static bool has_source(const struct planner *p, const struct write_stat *s)
{
    if (s->prev_commit == NULL || !is_in_state(p, s->prev_commit) ||
        is_replaced(p, s->partition, s->file_id))
        return true;
    const struct view_group *g = view_find(&p->view, s->partition, s->file_id);
    const struct view_file *f = g == NULL ? NULL : view_newest(g, p->in_to);
    return f != NULL && strcmp(f->slice.instant, s->prev_commit) == 0;
}

static bool is_made_later(const struct planner *p, const struct replaced_group *r)
{
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        for (size_t k = 0; !p->in_to[i] && k < p->metadata[i].nstats; k++) {
            const struct write_stat *s = &p->metadata[i].stats[k];
            if (strcmp(s->file_id, r->file_id) == 0 && strcmp(s->partition, r->partition) == 0)
                return s->prev_commit == NULL || !is_in_state(p, s->prev_commit);
        }
    return false;
}

static bool is_complete(const struct planner *p)
{
    for (size_t i = 0; i < p->timeline.commits.count; i++) {
        const struct commit_metadata *m = &p->metadata[i];
        for (size_t k = 0; !p->in_to[i] && k < m->nstats; k++)
            if (!has_source(p, &m->stats[k]))
                return false;
        for (size_t k = 0; !p->in_to[i] && k < m->nreplaced; k++)
            if (!holds_group(p, m->replaced[k].partition, m->replaced[k].file_id) &&
                !is_made_later(p, &m->replaced[k]))
                return false;
    }
    return true;
}

static bool widen_until_complete(struct planner *p, size_t *commits, struct err *err)
{
    if (is_complete(p))
        return true;
    *commits = open_window(p, SIZE_MAX);
    if (is_complete(p))
        return true;
    err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "files of the Hudi table were cleaned while an earlier commit is pending");
    return err_hint(err, "Let the pending commit finish, or roll it back.");
}

/* ---- slices ---- */

static bool add_slice(struct planner *p, struct hudi_slices *list, size_t *capacity,
                      const struct view_file *f, struct err *err)
{
    list->items = grow_array(p->arena, list->items, list->count, capacity, sizeof *list->items);
    if (list->items == NULL)
        return err_no_memory(err);
    list->items[list->count++] = f->slice;
    return true;
}

/* The slice that the window's last write to the group left. */
static bool find_new_slice(const struct planner *p, const struct change *c,
                           const struct view_file **out, struct err *err)
{
    *out = c->group == NULL ? NULL : view_slice(c->group, p->in_to);
    if (c->replaced || c->last_commit < 0 || (*out != NULL && (*out)->commit == c->last_commit))
        return true;
    return err_set(err, SQLSTATE_UNDEFINED_FILE,
                   "the file of file group \"%s\" that commit %s wrote is missing", c->file_id,
                   commit_at(p, (size_t)c->last_commit)->requested);
}

/* Every group that a commit of the window wrote last must be there as it wrote it: a file that is
 * missing from the listing would be missing from the target without a word. */
static bool check_snapshot(struct planner *p, struct err *err)
{
    struct changes changes;
    const struct view_file *f;
    if (!changes_collect(p->arena, &p->view, p->window, p->in_after, p->metadata, true, &changes,
                         err))
        return false;
    for (size_t i = 0; i < changes.count; i++)
        if (!find_new_slice(p, &changes.items[i], &f, err))
            return false;
    return true;
}

static bool read_snapshot(struct planner *p, struct hudi_plan *out, struct err *err)
{
    size_t room = 0;
    if (!check_snapshot(p, err))
        return false;
    for (size_t i = 0; i < p->view.ngroups; i++) {
        const struct view_file *f = view_slice(&p->view.groups[i], p->in_to);
        if (f != NULL && !add_slice(p, &out->read, &room, f, err))
            return false;
    }
    return true;
}

/* The slice before the window; *out stays NULL with *reason set when it was cleaned. */
static bool find_old_slice(struct planner *p, const struct change *c, const struct view_file **out,
                           const char **reason, struct err *err)
{
    *out = c->group == NULL ? NULL : view_newest(c->group, p->in_after);
    if (*out != NULL &&
        (c->old_instant == NULL || strcmp((*out)->slice.instant, c->old_instant) == 0))
        return true;
    *out = NULL;
    *reason = arena_printf(p->arena, "files that commit %s needs were cleaned", p->plan->to);
    return *reason != NULL || err_no_memory(err);
}

/* Slices of touched groups and of groups that may have lost keys; *reason: the way is lost. */
static bool read_changes(struct planner *p, const struct changes *changes, struct hudi_plan *out,
                         const char **reason, struct err *err)
{
    size_t read_room = 0, before_room = 0;
    for (size_t i = 0; i < changes->count; i++) {
        const struct view_file *f = NULL;
        const struct change *c = &changes->items[i];
        if (c->touched && !find_new_slice(p, c, &f, err))
            return false;
        if (f != NULL && !add_slice(p, &out->read, &read_room, f, err))
            return false;
        if (!c->may_lose || !c->existed)
            continue;
        if (!find_old_slice(p, c, &f, reason, err))
            return false;
        if (f == NULL)
            return true;
        if (!add_slice(p, &out->before, &before_room, f, err))
            return false;
    }
    return true;
}

static bool is_read(const struct hudi_plan *plan, const struct hudi_slice *s)
{
    size_t low = 0, high = plan->read.count; /* sorted as the view is */
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        const struct hudi_slice *m = &plan->read.items[mid];
        int c = strcmp(m->partition_path, s->partition_path);
        if (c == 0)
            c = strcmp(m->file_id, s->file_id);
        if (c == 0)
            return true;
        if (c < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return false;
}

static bool read_rest(struct planner *p, struct hudi_plan *out, struct err *err)
{
    size_t room = 0;
    for (size_t i = 0; i < p->view.ngroups; i++) {
        const struct view_file *f = view_slice(&p->view.groups[i], p->in_to);
        if (f != NULL && !is_read(out, &f->slice) && !add_slice(p, &out->rest, &room, f, err))
            return false;
    }
    return true;
}

static bool name_commit_times(struct planner *p, struct hudi_plan *out, struct err *err)
{
    out->commit_times.items =
        arena_alloc_array(p->arena, out->commits + 1, sizeof *out->commit_times.items);
    if (out->commit_times.items == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        if (p->window[i])
            out->commit_times.items[out->commit_times.count++] = commit_at(p, i)->requested;
    return true;
}

/* Do commits of the window change columns that were there before? Then rows that keep their commit
 * time may have other values (schema_change.c). */
static bool find_schema_change(struct planner *p, bool *changed, struct err *err)
{
    const char *older = NULL;
    *changed = false;
    for (size_t i = p->timeline.commits.count; i-- > 0 && older == NULL;) {
        if (!p->in_after[i])
            continue;
        if (!load_metadata(p, i, err))
            return false;
        older = p->metadata[i].schema;
    }
    for (size_t i = 0; i < p->timeline.commits.count && older != NULL && !*changed; i++) {
        if (!p->window[i] || p->metadata[i].schema == NULL)
            continue;
        if (!schema_change_find(older, p->metadata[i].schema, changed, err))
            return false;
        older = p->metadata[i].schema;
    }
    return true;
}

/* ---- plans ---- */

static void name_target(const struct planner *p, size_t commits, struct hudi_plan *out)
{
    const struct instant *last = NULL;
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        if (p->window[i])
            last = commit_at(p, i);
    if (last == NULL)
        return;
    out->commits = commits;
    out->to = last->requested;
    out->to_completed = last->completed == NULL ? last->requested : last->completed;
    out->flushed_ms = last->completed != NULL && p->table->timeline_is_utc
                          ? instant_time_ms(last->completed)
                          : last->modified_ms;
}

/* A cleaner that starts between the reading of the timeline and of the folders knows commits that we
 * do not, and may take files that our newest state needs. Then the listing cannot be trusted. */
static bool load_view(struct planner *p, bool all_metadata, struct err *err)
{
    size_t cleans;
    if (!load_needed(p, all_metadata, err) ||
        !view_load(p->arena, p->table, &p->timeline, p->metadata, &p->view, err) ||
        !timeline_count_cleans(p->arena, p->table->store, &p->timeline, &cleans, err))
        return false;
    if (cleans != p->timeline.cleans)
        return err_set(err, SQLSTATE_IO_ERROR,
                       "files of the Hudi table were cleaned while it was being read");
    return true;
}

static bool plan_snapshot(struct planner *p, enum hudi_plan_kind kind, const char *reason,
                          size_t limit, struct hudi_plan *out, struct err *err)
{
    memset(p->in_after, 0, p->timeline.commits.count * sizeof *p->in_after);
    size_t commits = open_window(p, limit);
    *out = (struct hudi_plan){.kind = commits == 0 ? HUDI_PLAN_NOTHING : kind};
    if (commits == 0)
        return true;
    if (!load_view(p, true, err) || !widen_until_complete(p, &commits, err))
        return false;
    name_target(p, commits, out);
    out->reason = reason;
    return read_snapshot(p, out, err);
}

static bool plan_changes(struct planner *p, size_t limit, struct hudi_plan *out, struct err *err)
{
    struct changes changes;
    const char *reason = NULL;
    bool columns_changed;
    size_t commits = open_window(p, limit);
    if (commits == 0)
        return true;
    if (!load_view(p, false, err) || !widen_until_complete(p, &commits, err) ||
        !find_schema_change(p, &columns_changed, err))
        return false;
    bool times_tell = p->table->has_meta_fields && !columns_changed;
    if (!changes_collect(p->arena, &p->view, p->window, p->in_after, p->metadata, times_tell,
                         &changes, err))
        return false;
    out->kind = HUDI_PLAN_CHANGES;
    name_target(p, commits, out);
    if (!read_changes(p, &changes, out, &reason, err))
        return false;
    if (reason != NULL)
        return plan_snapshot(p, HUDI_PLAN_RECONCILE, reason, SIZE_MAX, out, err);
    return read_rest(p, out, err) && (!times_tell || name_commit_times(p, out, err));
}

static bool plan_after(struct planner *p, const struct position *at, size_t limit,
                       struct hudi_plan *out, struct err *err)
{
    const char *reason;
    if (p->timeline.commits.count == 0)
        return true;
    if (!locate(p, at, &reason, err))
        return false;
    if (reason != NULL)
        return plan_snapshot(p, HUDI_PLAN_RECONCILE, reason, SIZE_MAX, out, err);
    if (strcmp(at->key, newest_key(p)) > 0 && timeline_find(&p->timeline, at->after) == NULL) {
        out->after_is_ahead = true;
        return true;
    }
    return plan_changes(p, limit, out, err);
}

bool hudi_plan_make(struct arena *a, const struct hudi_table *t, const char *after,
                    const char *after_completed, int64_t max_commits, struct hudi_plan *out,
                    struct err *err)
{
    struct planner p = {.arena = a, .table = t, .plan = out};
    struct position at = {.after = after, .after_completed = after_completed};
    size_t limit = max_commits <= 0 ? SIZE_MAX : (size_t)max_commits;
    bool first = after == NULL || after[0] == '\0';
    *out = (struct hudi_plan){.kind = HUDI_PLAN_NOTHING};
    if (!first && !instant_key_read(after, at.key))
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                       "\"%.64s\" is not a commit time of 14 or 17 digits", after);
    if (!start(&p, err))
        return false;
    if (p.timeline.restoring)
        return true; /* commits vanish one by one until the restore is complete */
    if (!stop_before_pending(&p, first ? NULL : at.key, err))
        return false;
    if (first)
        return plan_snapshot(&p, HUDI_PLAN_FULL, NULL, limit, out, err);
    return plan_after(&p, &at, limit, out, err);
}

bool hudi_instants_list(struct arena *a, const struct hudi_table *t, struct hudi_names *out,
                        struct err *err)
{
    struct timeline timeline;
    *out = (struct hudi_names){0};
    if (!load_timeline(a, t, &timeline, err))
        return false;
    out->items = arena_alloc_array(a, timeline.commits.count + 1, sizeof *out->items);
    if (out->items == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < timeline.commits.count; i++)
        out->items[out->count++] = timeline.commits.items[i].requested;
    return true;
}
