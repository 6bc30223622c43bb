/* A run of a SQLonHudi task: bring the target from the commit that it stands at to the newest one.
 *
 *   open ──► position ──► plan ─┬─ nothing new: done, nothing written
 *                               ├─ full, changes or reconcile: one transaction
 *                               └─ error: nothing moved
 *
 * Everything that the run writes (rows, deletes, position, history) is in that one transaction, so a
 * run that dies at any moment has done nothing, and the next one starts from the same position. */
#include "hudi/job.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "sync.h"

#define LOG_BYTES ((size_t)64 << 10)

void sync_note(struct sync *s, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    buf_printf(&s->log, "%s%s", buf_length(&s->log) == 0 ? "" : "\n", line);
}

static bool dispatch(struct sync *s, struct err *err)
{
    switch (s->plan.kind) {
    case HUDI_PLAN_NOTHING: return true;
    case HUDI_PLAN_FULL: return sync_start(s, err) && sync_full(s, err);
    case HUDI_PLAN_CHANGES: return sync_start(s, err) && sync_changes(s, err);
    case HUDI_PLAN_RECONCILE: return sync_start(s, err) && sync_reconcile(s, err);
    }
    return true;
}

bool sync_run(struct sync *s, struct err *err)
{
    job_phase(s->job, "plan");
    if (!sync_open(s, err) || !sync_read_position(s, err))
        return false;
    if (!hudi_plan_make(&s->a, &s->table, s->position.commit, s->position.completed,
                        s->job->settings->hudi_sync_max_commits, &s->plan, err)) {
        s->misconfigured = strcmp(err->sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED) == 0;
        return false;
    }
    if (s->plan.after_is_ahead)
        sync_note(s, "WARNING: position %s is later than the newest commit of the Hudi table",
                  s->position.commit);
    if (s->plan.waits_for != NULL)
        sync_note(s, "NOTICE: commit %s of the Hudi table is pending, later ones wait for it",
                  s->plan.waits_for);
    if (dispatch(s, err))
        return true;
    /* A column that cannot be stored is the definition's fault, whatever the rows are; what is refused
     * in a log file stays refused. */
    s->misconfigured = s->misconfigured || strcmp(err->sqlstate, SQLSTATE_DATATYPE_MISMATCH) == 0 ||
                       strcmp(err->sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED) == 0;
    return false;
}

/* For tests: a run opens only the files that its window touched. */
static void tell_files(const struct sync *s)
{
    char who[80];
    snprintf(who, sizeof who, "task %s", s->job->task_id);
    if (s->store != NULL)
        log_debug(who, "opened %zu data files", objstore_fetch_count(s->store));
}

void sync_init(struct sync *s, struct job *j)
{
    *s = (struct sync){.job = j, .db = j->db};
    arena_init(&s->a, 0);
    buf_init(&s->log, LOG_BYTES);
}

static enum job_outcome run(struct job *j, struct job_result *result, struct err *err)
{
    struct sync s;
    sync_init(&s, j);
    bool ok = sync_run(&s, err);
    bool misconfigured = s.misconfigured;
    if (!ok)
        job_rollback(j);
    result->changed = ok && s.plan.kind != HUDI_PLAN_NOTHING;
    if (ok)
        snprintf(result->stats, sizeof result->stats,
                 "{\"lag_commits\": %zu, \"behind_since_ms\": %lld}", s.plan.left,
                 (long long)s.plan.left_since_ms);
    tell_files(&s);
    const char *log = buf_cstr(&s.log);
    snprintf(result->log, sizeof result->log, "%s", log == NULL ? "" : log);
    sync_close(&s);
    if (ok)
        return JOB_DONE;
    return misconfigured && !err_is_transient(err) ? JOB_MISCONFIGURED : JOB_FAILED;
}

static const char *name_in(const struct job *j, const char *key)
{
    const char *text = json_as_text(json_find(j->params, key));
    return text == NULL ? "" : text;
}

static void describe_failure(struct job *j, char *detail, size_t size)
{
    struct buf b;
    buf_init(&b, size);
    buf_append_cstr(&b, "{\"target_tbl\":");
    json_write_string(&b, slice_cstr(name_in(j, "target")));
    buf_append_cstr(&b, ",\"source_ftbl\":");
    json_write_string(&b, slice_cstr(name_in(j, "source")));
    buf_append_cstr(&b, "}");
    const char *text = buf_cstr(&b);
    snprintf(detail, size, "%s", text == NULL ? "{}" : text);
    buf_fini(&b);
}

const struct task_kind hudi_task_kind = {
    .category = "SQLonHudi", .run = run, .describe_failure = describe_failure};
