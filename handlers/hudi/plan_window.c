/* Which commits a run takes, as sets of commits of the timeline: those done at its position, those of
 * its window, and both together, the state that it reaches. The rules stand in plan.c. */
#include "planner.h"

#include <string.h>

/* ---- states ---- */

struct hudi_state {
    const struct timeline *timeline;
    const bool *in;
};

bool hudi_state_has(const struct hudi_state *s, struct slice requested)
{
    char text[INSTANT_KEY_SIZE], key[INSTANT_KEY_SIZE];
    if (requested.len >= sizeof text)
        return false;
    memcpy(text, requested.data, requested.len);
    text[requested.len] = '\0';
    const struct instant *found = timeline_find(s->timeline, text);
    if (found != NULL)
        return s->in[found - s->timeline->commits.items];
    return instant_key_read(text, key) && s->timeline->oldest_key != NULL &&
           strcmp(key, s->timeline->oldest_key) < 0 && !timeline_is_pending(s->timeline, text);
}

bool planner_keep_state(struct planner *p, const bool *in, const struct hudi_state **out,
                        struct err *err)
{
    size_t n = p->timeline.commits.count;
    struct hudi_state *s = arena_alloc(p->arena, sizeof *s);
    struct timeline *t = arena_alloc(p->arena, sizeof *t);
    bool *copy = arena_alloc_array(p->arena, n + 1, sizeof *copy);
    if (s == NULL || t == NULL || copy == NULL)
        return err_no_memory(err);
    *t = p->timeline;
    memcpy(copy, in, n * sizeof *copy);
    *s = (struct hudi_state){t, copy};
    *out = s;
    return true;
}

/* ---- timeline and position ---- */

bool planner_load_timeline(struct arena *a, const struct hudi_table *t, struct timeline *out,
                           struct err *err)
{
    return timeline_load(a, t->store, t->layout, t->timeline_folder, t->archive_folder, out, err);
}

bool planner_start(struct planner *p, struct err *err)
{
    if (!planner_load_timeline(p->arena, p->table, &p->timeline, err))
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
bool planner_stop_before_pending(struct planner *p, const char *after_key, struct err *err)
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
               strcmp(planner_commit_at(p, p->usable - 1)->requested_key, it->requested_key) > 0)
            p->usable--;
        if (p->usable < p->timeline.commits.count)
            p->waits_for = it->requested;
        return true; /* pending ones are sorted: the first one decides */
    }
    return true;
}

/* Did a rollback or restore take this commit back? */
static bool was_rolled_back(const struct planner *p, const char *commit, bool *out, struct err *err)
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

const char *planner_newest_key(const struct planner *p)
{
    const char *key = "";
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        if (strcmp(planner_commit_at(p, i)->requested_key, key) > 0)
            key = planner_commit_at(p, i)->requested_key;
    return key;
}

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
            p->in_after[i] = strcmp(planner_commit_at(p, i)->requested_key, at->key) <= 0;
    return true;
}

bool planner_locate(struct planner *p, const struct position *at, const char **reason,
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

bool planner_stop_at(struct planner *p, const char *upto, struct err *err)
{
    char key[INSTANT_KEY_SIZE];
    size_t n = p->timeline.commits.count;
    const struct instant *found = timeline_find(&p->timeline, upto);
    bool *until = arena_alloc_array(p->arena, n + 1, sizeof *until);
    if (!instant_key_read(upto, key))
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                       "\"%.64s\" is not a commit time of 14 or 17 digits", upto);
    if (until == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < n; i++)
        until[i] = found != NULL ? planner_commit_at(p, i) <= found
                                 : strcmp(planner_commit_at(p, i)->requested_key, key) <= 0;
    p->until = until;
    return true;
}

size_t planner_open_window(struct planner *p, size_t limit)
{
    size_t n = 0;
    for (size_t i = 0; i < p->timeline.commits.count; i++) {
        p->window[i] =
            i < p->usable && !p->in_after[i] && n < limit && (p->until == NULL || p->until[i]);
        p->in_to[i] = p->in_after[i] || p->window[i];
        n += p->window[i] ? 1 : 0;
    }
    return n;
}

static struct slice base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slice_cstr(slash == NULL ? path : slash + 1);
}

static bool is_hudi_name(const struct planner *p, const char *path)
{
    struct base_file_name base;
    struct log_file_name log;
    return base_file_name_read(base_name(path), &base) ||
           (p->table->merge_on_read && log_file_name_read(base_name(path), &log));
}

/* Files must have Hudi's own names: others (written by converters) would be overlooked. */
static bool check_names(const struct planner *p, const struct commit_metadata *m, struct err *err)
{
    for (size_t i = 0; i < m->nstats; i++) {
        const char *path = m->stats[i].path;
        if (path != NULL && !is_hudi_name(p, path))
            return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                           "data file \"%s\" does not have a name in Hudi's form", path);
    }
    return true;
}

bool planner_load_metadata(struct planner *p, size_t i, struct err *err)
{
    if (p->loaded[i])
        return true;
    if (!commit_metadata_load(p->arena, p->table->store, planner_commit_at(p, i)->path,
                              &p->metadata[i], err))
        return false;
    p->loaded[i] = true;
    return check_names(p, &p->metadata[i], err);
}

bool planner_load_needed(struct planner *p, bool all, struct err *err)
{
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        all |= p->table->merge_on_read && !p->in_to[i];
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        if (all || !p->in_after[i] || planner_commit_at(p, i)->action == INSTANT_REPLACECOMMIT)
            if (!planner_load_metadata(p, i, err))
                return false;
    return true;
}

/* ---- is the state at `to` still complete on disk? ---- */

/* Does a commit of the state replace the group, whose files are all gone? */
static bool is_replaced_somewhere(const struct planner *p, const struct write_stat *s)
{
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        for (size_t k = 0; p->in_to[i] && k < p->metadata[i].nreplaced; k++)
            if (strcmp(p->metadata[i].replaced[k].file_id, s->file_id) == 0 &&
                strcmp(p->metadata[i].replaced[k].partition, s->partition) == 0)
                return true;
    return false;
}

static bool holds_group(const struct planner *p, const char *partition, const char *file_id)
{
    const struct view_group *g = view_find(&p->view, partition, file_id);
    return g != NULL && view_exists(&p->view, g, p->in_to);
}

static bool is_replaced(const struct planner *p, const char *partition, const char *file_id)
{
    const struct view_group *g = view_find(&p->view, partition, file_id);
    return g != NULL && view_exists(&p->view, g, p->in_to) && view_is_replaced(g, p->in_to);
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

/* Is the slice that began with `instant` there, as the state sees it? */
static bool holds_slice(const struct planner *p, const struct view_group *g, const char *instant)
{
    const struct view_file *f = g == NULL ? NULL : view_newest(g, p->in_to);
    if (f != NULL)
        return strcmp(f->slice.instant, instant) == 0;
    for (size_t i = 0; g != NULL && i < g->nlogs; i++)
        if (strcmp(g->logs[i].instant, instant) == 0)
            return true;
    return false;
}

/* A later commit rewrote the slice of `prev_commit`: if the state needs it, it must lie there. */
static bool has_source(const struct planner *p, const struct write_stat *s)
{
    if (s->is_log || s->prev_commit == NULL || !is_in_state(p, s->prev_commit) ||
        is_replaced(p, s->partition, s->file_id))
        return true;
    return holds_slice(p, view_find(&p->view, s->partition, s->file_id), s->prev_commit);
}

bool planner_check_logs(const struct planner *p, size_t commit, struct err *err)
{
    const struct commit_metadata *m = &p->metadata[commit];
    for (size_t i = 0; i < m->nstats; i++) {
        struct log_file_name name;
        const struct write_stat *s = &m->stats[i];
        const struct view_group *g = view_find(&p->view, s->partition, s->file_id);
        if (!s->is_log || !log_file_name_read(base_name(s->path), &name))
            continue;
        if (g != NULL && (view_has_log(g, s->path) || view_is_replaced(g, p->in_to) ||
                          !view_needs_log(&p->view, g, p->in_to, &name, commit)))
            continue;
        if (g == NULL && is_replaced_somewhere(p, s))
            continue;
        return err_set(err, SQLSTATE_UNDEFINED_FILE,
                       "log file \"%s\" that commit %s wrote is missing", s->path,
                       planner_commit_at(p, commit)->requested);
    }
    return true;
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
    bool is_newest = true;
    struct err missing;
    for (size_t i = 0; i < p->timeline.commits.count; i++)
        is_newest &= p->in_to[i];
    for (size_t i = 0; i < p->timeline.commits.count; i++) {
        const struct commit_metadata *m = &p->metadata[i];
        if (p->in_to[i] && !is_newest && !planner_check_logs(p, i, &missing))
            return false;
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

bool planner_widen_until_complete(struct planner *p, size_t *commits)
{
    if (is_complete(p))
        return true;
    p->until = NULL;
    *commits = planner_open_window(p, SIZE_MAX);
    return is_complete(p);
}
