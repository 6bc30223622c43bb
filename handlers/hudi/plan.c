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
 * `to` is not the newest commit, the run goes on to the newest, whose files no cleaner takes; with a
 * pending commit in the way it waits. */
#include "plan.h"

#include <string.h>

#include "changes.h"
#include "grow.h"
#include "planner.h"
#include "schema_change.h"

/* ---- slices ---- */

static bool add_slice(struct planner *p, struct hudi_slices *list, size_t *capacity,
                      const struct hudi_slice *slice, struct err *err)
{
    list->items = grow_array(p->arena, list->items, list->count, capacity, sizeof *list->items);
    if (list->items == NULL)
        return err_no_memory(err);
    list->items[list->count++] = *slice;
    return true;
}

/* The group's slice of the newest state, if it has one. */
static bool add_new_slice(struct planner *p, struct hudi_slices *list, size_t *capacity,
                          const struct view_group *g, struct err *err)
{
    struct hudi_slice slice;
    if (view_is_replaced(g, p->in_to) || !view_exists(&p->view, g, p->in_to))
        return true;
    return view_read(p->arena, &p->view, g, p->in_to, &slice, err) &&
           add_slice(p, list, capacity, &slice, err);
}

/* The base file that the window's last write to the group left must be there. */
static bool check_new_slice(const struct planner *p, const struct change *c, struct err *err)
{
    const struct view_file *f = c->group == NULL ? NULL : view_slice(c->group, p->in_to);
    if (c->replaced || c->last_commit < 0 || (f != NULL && f->commit == c->last_commit))
        return true;
    return err_set(err, SQLSTATE_UNDEFINED_FILE,
                   "the file of file group \"%s\" that commit %s wrote is missing", c->file_id,
                   planner_commit_at(p, (size_t)c->last_commit)->requested);
}

static bool check_logs(const struct planner *p, struct err *err)
{
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        if (p->window[i] && !planner_check_logs(p, i, err))
            return false;
    return true;
}

/* Every group that a commit of the window wrote last must be there as it wrote it: a file that is
 * missing from the listing would be missing from the target without a word. */
static bool check_snapshot(struct planner *p, struct err *err)
{
    struct changes changes;
    if (!changes_collect(p->arena, &p->view, p->window, p->in_after, p->metadata, true, &changes,
                         err))
        return false;
    for (size_t i = 0; i < changes.count; i++)
        if (!check_new_slice(p, &changes.items[i], err))
            return false;
    return check_logs(p, err);
}

static bool read_snapshot(struct planner *p, struct hudi_plan *out, struct err *err)
{
    size_t room = 0;
    if (!check_snapshot(p, err) || !planner_keep_state(p, p->in_to, &out->read.state, err))
        return false;
    for (size_t i = 0; i < p->view.ngroups; i++)
        if (!add_new_slice(p, &out->read, &room, &p->view.groups[i], err))
            return false;
    return true;
}

static bool begins_with(const struct view_group *g, const struct hudi_slice *s, const char *instant)
{
    if (s->path != NULL)
        return strcmp(s->instant, instant) == 0;
    for (size_t i = 0; i < g->nlogs; i++)
        if (strcmp(g->logs[i].instant, instant) == 0)
            return true;
    return false;
}

/* The slice before the window; *reason is set when it was cleaned. */
static bool find_old_slice(struct planner *p, const struct change *c, struct hudi_slice *out,
                           const char **reason, struct err *err)
{
    bool found = c->group != NULL && view_exists(&p->view, c->group, p->in_after);
    if (found && !view_read(p->arena, &p->view, c->group, p->in_after, out, err))
        return false;
    if (found && (c->old_instant == NULL || begins_with(c->group, out, c->old_instant)))
        return true;
    *reason = arena_printf(p->arena, "files that commit %s needs were cleaned", p->plan->to);
    return *reason != NULL || err_no_memory(err);
}

/* Slices of touched groups and of groups that may have lost keys; *reason: the way is lost. */
static bool read_changes(struct planner *p, const struct changes *changes, struct hudi_plan *out,
                         const char **reason, struct err *err)
{
    size_t read_room = 0, before_room = 0;
    if (!check_logs(p, err) || !planner_keep_state(p, p->in_to, &out->read.state, err) ||
        !planner_keep_state(p, p->in_after, &out->before.state, err))
        return false;
    out->rest.state = out->read.state;
    for (size_t i = 0; i < changes->count; i++) {
        struct hudi_slice old;
        const struct change *c = &changes->items[i];
        if (c->touched &&
            (!check_new_slice(p, c, err) ||
             (c->group != NULL && !add_new_slice(p, &out->read, &read_room, c->group, err))))
            return false;
        if (!c->may_lose || !c->existed)
            continue;
        if (!find_old_slice(p, c, &old, reason, err))
            return false;
        if (*reason != NULL)
            return true;
        if (!add_slice(p, &out->before, &before_room, &old, err))
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
        const struct view_group *g = &p->view.groups[i];
        struct hudi_slice s = {.partition_path = g->partition, .file_id = g->file_id};
        if (!is_read(out, &s) && !add_new_slice(p, &out->rest, &room, g, err))
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
            out->commit_times.items[out->commit_times.count++] = planner_commit_at(p, i)->requested;
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
        if (!planner_load_metadata(p, i, err))
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
            last = planner_commit_at(p, i);
    if (last == NULL)
        return;
    out->commits = commits;
    out->to = last->requested;
    out->to_completed = last->completed == NULL ? last->requested : last->completed;
    out->flushed_ms = instant_flushed_ms(last, p->table->timeline_is_utc);
}

/* A cleaner that starts between the reading of the timeline and of the folders knows commits that we
 * do not, and may take files that our newest state needs. Then the listing cannot be trusted. */
static bool load_view(struct planner *p, bool all_metadata, struct err *err)
{
    size_t cleans;
    if (!planner_load_needed(p, all_metadata, err) ||
        !view_load(p->arena, p->table, &p->timeline, p->metadata, &p->view, err) ||
        !timeline_count_cleans(p->arena, p->table->store, &p->timeline, &cleans, err))
        return false;
    if (cleans != p->timeline.cleans)
        return err_set(err, SQLSTATE_IO_ERROR,
                       "files of the Hudi table were cleaned while it was being read");
    return true;
}

/* No state before the pending commit can be read any more, and none behind it may be taken yet. */
static bool wait_for_pending(const struct planner *p, struct hudi_plan *out)
{
    *out = (struct hudi_plan){.kind = HUDI_PLAN_NOTHING, .waits_for = p->waits_for};
    return true;
}

static bool plan_snapshot(struct planner *p, enum hudi_plan_kind kind, const char *reason,
                          size_t limit, struct hudi_plan *out, struct err *err)
{
    memset(p->in_after, 0, p->timeline.commits.count * sizeof *p->in_after);
    size_t commits = planner_open_window(p, limit);
    *out = (struct hudi_plan){.kind = commits == 0 ? HUDI_PLAN_NOTHING : kind,
                              .waits_for = p->waits_for};
    if (commits == 0)
        return true;
    if (!load_view(p, true, err))
        return false;
    if (!planner_widen_until_complete(p, &commits))
        return wait_for_pending(p, out);
    name_target(p, commits, out);
    out->reason = reason;
    return read_snapshot(p, out, err);
}

static bool plan_changes(struct planner *p, size_t limit, struct hudi_plan *out, struct err *err)
{
    struct changes changes;
    const char *reason = NULL;
    bool columns_changed;
    size_t commits = planner_open_window(p, limit);
    out->waits_for = p->waits_for;
    if (commits == 0)
        return true;
    if (!load_view(p, false, err))
        return false;
    if (!planner_widen_until_complete(p, &commits))
        return wait_for_pending(p, out);
    if (!find_schema_change(p, &columns_changed, err))
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
    if (!planner_locate(p, at, &reason, err))
        return false;
    if (reason != NULL)
        return plan_snapshot(p, HUDI_PLAN_RECONCILE, reason, SIZE_MAX, out, err);
    if (strcmp(at->key, planner_newest_key(p)) > 0 &&
        timeline_find(&p->timeline, at->after) == NULL) {
        out->after_is_ahead = true;
        return true;
    }
    return plan_changes(p, limit, out, err);
}

static bool make_plan(struct planner *p, struct position *at, const char *upto, bool waits,
                      size_t limit, struct err *err)
{
    struct hudi_plan *out = p->plan;
    bool first = at->after == NULL || at->after[0] == '\0';
    *out = (struct hudi_plan){.kind = HUDI_PLAN_NOTHING};
    if (!first && !instant_key_read(at->after, at->key))
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                       "\"%.64s\" is not a commit time of 14 or 17 digits", at->after);
    if (!planner_start(p, err))
        return false;
    out->restoring = p->timeline.restoring;
    if (out->restoring)
        return true; /* commits vanish one by one until the restore is complete */
    if (upto != NULL && !planner_stop_at(p, upto, err))
        return false;
    if (waits && !planner_stop_before_pending(p, first ? NULL : at->key, err))
        return false;
    if (first)
        return plan_snapshot(p, HUDI_PLAN_FULL, NULL, limit, out, err);
    return plan_after(p, at, limit, out, err);
}

/* For statistics: what the run will not have taken. */
static void count_left(const struct planner *p, struct hudi_plan *out)
{
    if (out->after_is_ahead || p->timeline.restoring)
        return;
    for (size_t i = 0; i < p->timeline.commits.count; i++) {
        if (out->kind == HUDI_PLAN_NOTHING ? p->in_after[i] : p->in_to[i])
            continue;
        if (out->left++ == 0)
            out->left_since_ms =
                instant_flushed_ms(planner_commit_at(p, i), p->table->timeline_is_utc);
    }
}

bool hudi_plan_make(struct arena *a, const struct hudi_table *t, const char *after,
                    const char *after_completed, int64_t max_commits, struct hudi_plan *out,
                    struct err *err)
{
    struct planner p = {.arena = a, .table = t, .plan = out};
    struct position at = {.after = after, .after_completed = after_completed};
    size_t limit = max_commits <= 0 ? SIZE_MAX : (size_t)max_commits;
    if (!make_plan(&p, &at, NULL, true, limit, err))
        return false;
    count_left(&p, out);
    return true;
}

bool hudi_plan_between(struct arena *a, const struct hudi_table *t, const char *after,
                       const char *upto, struct hudi_plan *out, struct err *err)
{
    struct planner p = {.arena = a, .table = t, .plan = out};
    struct position at = {.after = after};
    return make_plan(&p, &at, upto, false, SIZE_MAX, err);
}

bool hudi_instants_list(struct arena *a, const struct hudi_table *t, struct hudi_names *out,
                        struct err *err)
{
    struct timeline timeline;
    *out = (struct hudi_names){0};
    if (!planner_load_timeline(a, t, &timeline, err))
        return false;
    out->items = arena_alloc_array(a, timeline.commits.count + 1, sizeof *out->items);
    if (out->items == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < timeline.commits.count; i++)
        out->items[out->count++] = timeline.commits.items[i].requested;
    return true;
}
