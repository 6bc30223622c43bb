/* A run of a rebuild: goes on at the first step that is not done, and stops after the last or at the
 * first error.
 *
 *   another rebuild of the table is ahead: later
 *   prepare ──┬─ in place:  prove ── set_readonly ── swap                        (in_place.c)
 *             └─ copy:      create ── snapshot ── insert ── set_readonly ── swap   (copy.c, swap.c)
 *
 * Which way it goes is decided in `prepare`, by trying the actions on an empty copy of the table. An
 * error that is not transient suspends the task, and its step shows it, until RESUME. With binlog_mode
 * the task pauses itself after set_readonly. */
#include "rebuild/job.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

#include "copy.h"

enum verdict { GO_ON, LATER, FAILED };

static bool read_state(struct rebuild *r, const char **predecessor, bool *may, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query(r, "SELECT * FROM hologres.job_state($1)", &res, err))
        return false;
    const char *name = pgresult_value(res, 0, 1);
    if (name == NULL) {
        pgresult_free(res);
        return err_set(err, SQLSTATE_UNDEFINED_TABLE, "the table does not exist any more");
    }
    const char *strategy = pgresult_value(res, 0, 3), *capture = pgresult_value(res, 0, 4);
    const char *ahead = pgresult_value(res, 0, 8), *copy = pgresult_value(res, 0, 11);
    r->relid = arena_copy_cstr(&r->a, pgresult_value(res, 0, 0));
    r->name = arena_copy_cstr(&r->a, name);
    r->owner = arena_copy_cstr(&r->a, pgresult_value(res, 0, 2));
    r->strategy = strategy == NULL ? NULL : arena_copy_cstr(&r->a, strategy);
    r->capture = capture == NULL ? NULL : arena_copy_cstr(&r->a, capture);
    r->new_name = copy == NULL ? NULL : arena_copy_cstr(&r->a, copy);
    *predecessor = ahead == NULL ? NULL : arena_copy_cstr(&r->a, ahead);
    r->waits = pgresult_bool(res, 0, 5);
    r->resumed = pgresult_bool(res, 0, 6);
    *may = pgresult_bool(res, 0, 7);
    r->binlog = pgresult_bool(res, 0, 9);
    r->lock_timeout_ms = (unsigned)pgresult_int(res, 0, 13, 30);
    r->max_lock_wait_s = (unsigned)pgresult_int(res, 0, 14, 0);
    r->workers = (unsigned)pgresult_int(res, 0, 15, 1);
    r->switch_rows = (unsigned)pgresult_int(res, 0, 16, 0);
    r->job->commits_late = pgresult_bool(res, 0, 17);
    r->throttles = pgresult_bool(res, 0, 18);
    pgresult_free(res);
    return true;
}

/* The task is due again in a moment. */
static bool postpone(struct rebuild *r, const char *predecessor, struct err *err)
{
    log_debug(r->job->task_id, "waits for %s", predecessor);
    return rebuild_query(r,
                         "UPDATE pgveneer.task SET next_start_time ="
                         " pg_catalog.clock_timestamp() + interval '1 second'"
                         " WHERE task_id = $1 AND state = 'active'",
                         NULL, err);
}

static bool prepare(struct rebuild *r, struct err *err)
{
    const char *body, *verdict;
    struct pgresult *res = NULL;
    bool done;
    if (!step_is_done(r, STEP_PREPARE, &done, err) || (done && r->strategy != NULL))
        return done;
    job_phase(r->job, "prepare");
    if (!step_start(r, STEP_PREPARE, "", err) || !job_begin(r->job, err) ||
        !rebuild_fetch(r, "SELECT hologres.prepare_body($1)", &body, err) ||
        !owner_prepare(r, 0, r->owner, body, err) || !owner_run(r, 0, err) ||
        !owner_take(r, &verdict, err) || !owner_drop(r, 0, err) ||
        !rebuild_query2(r, "SELECT hologres.take_verdict($1, $2::jsonb)", verdict, &res, err))
        return false;
    r->strategy = arena_copy_cstr(&r->a, pgresult_value(res, 0, 0));
    pgresult_free(res);
    return step_finish(r, STEP_PREPARE, r->strategy == NULL ? "" : r->strategy, err) &&
           job_commit_step(r->job, err) && (r->strategy != NULL || err_no_memory(err));
}

/* The pause of binlog_mode. The flag and the end of the step come before it: who dies in between
 * pauses again. */
static bool pause_for_consumer(struct rebuild *r, struct err *err)
{
    return rebuild_query(
        r, "UPDATE pgveneer.task SET state = 'paused' WHERE task_id = $1 AND state = 'active'",
        NULL, err);
}

/* The table becomes read-only, and the task knows that it has to wait. */
static bool try_mark(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    char *lock = arena_printf(&r->a, "LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", r->name);
    if (lock == NULL)
        return err_no_memory(err);
    return job_begin(r->job, err) && lock_attempt(r, l, err) &&
           pgclient_run(r->job->db, lock, err) &&
           copy_run_each(r,
                         "SELECT s FROM hologres.rebuild r, hologres.mark_statements("
                         "r.relid, $1) s"
                         " WHERE r.query_id = $1 AND NOT hologres.is_readonly(r.relid)",
                         err) &&
           rebuild_query(r, "UPDATE hologres.rebuild SET waits = true WHERE query_id = $1", NULL,
                         err) &&
           step_finish(r, STEP_SET_READONLY, "", err) && job_commit_step(r->job, err);
}

static bool mark(struct rebuild *r, struct err *err)
{
    struct lock_attempts l = {.beside_readers = true};
    if (!step_start(r, STEP_SET_READONLY, "", err))
        return false;
    do {
        if (try_mark(r, &l, err))
            return r->waits = true;
    } while (lock_again(r, &l, err));
    return false;
}

/* With binlog_mode the table is read-only from here on, and the consumer of its changes has time to
 * read them all. */
static enum verdict wait_for_consumer(struct rebuild *r, struct err *err)
{
    if (!r->waits && !mark(r, err))
        return FAILED;
    if (r->resumed)
        return GO_ON;
    return pause_for_consumer(r, err) ? LATER : FAILED;
}

static enum verdict in_place(struct rebuild *r, struct err *err)
{
    enum verdict v = in_place_prepare(r, err) ? GO_ON : FAILED;
    if (v == GO_ON && r->binlog)
        v = wait_for_consumer(r, err);
    if (v == GO_ON)
        v = in_place_swap(r, err) ? GO_ON : FAILED;
    return v;
}

static bool try_start_again(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    return job_begin(r->job, err) && lock_attempt(r, l, err) &&
           rebuild_query(r, "SELECT hologres.start_again($1)", NULL, err) &&
           job_commit_step(r->job, err);
}

/* Somebody took the triggers or the read-only mark away, or the log became too large: what was copied is
 * worth nothing. */
static bool check_capture(struct rebuild *r, struct err *err)
{
    struct lock_attempts l = {0};
    const char *text, *predecessor;
    bool may;
    if (!rebuild_fetch(r, "SELECT hologres.must_start_again($1)", &text, err))
        return false;
    if (text[0] != 't')
        return true;
    log_warning(r->job->task_id, "changes were not captured: starts again");
    while (!try_start_again(r, &l, err))
        if (!lock_again(r, &l, err))
            return false;
    return read_state(r, &predecessor, &may, err);
}

static enum verdict copy(struct rebuild *r, struct err *err)
{
    const char *predecessor;
    bool may;
    if (!check_capture(r, err) || !copy_create(r, err) || !read_state(r, &predecessor, &may, err) ||
        !copy_snapshot(r, err) || !copy_insert(r, err))
        return FAILED;
    enum verdict v = r->binlog ? wait_for_consumer(r, err) : GO_ON;
    if (v == GO_ON)
        v = swap_tables(r, err) ? GO_ON : FAILED;
    return v;
}

static enum verdict dispatch(struct rebuild *r, struct err *err)
{
    const char *predecessor = NULL;
    bool may = false, done;
    if (!read_state(r, &predecessor, &may, err) || !step_is_done(r, STEP_SWAP, &done, err))
        return FAILED;
    if (done)
        return swap_clean_up(r, err) ? GO_ON : FAILED;
    if (predecessor != NULL)
        return postpone(r, predecessor, err) ? LATER : FAILED;
    if (!may) {
        err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE, "role \"%s\" does not own the table any more",
                r->job->owner);
        return FAILED;
    }
    if (!prepare(r, err))
        return FAILED;
    enum verdict v = strcmp(r->strategy, "in place") == 0 ? in_place(r, err) : copy(r, err);
    return v == GO_ON && !swap_clean_up(r, err) ? FAILED : v;
}

static enum job_outcome run(struct job *j, struct job_result *result, struct err *err)
{
    struct rebuild r = {.job = j};
    arena_init(&r.a, 0);
    enum verdict v = dispatch(&r, err);
    bool final = v == FAILED && !err_is_transient(err) && !job_must_stop(j);
    if (v == FAILED)
        job_rollback(j);
    if (final && r.step != 0)
        step_fail(&r, err);
    result->changed = v == GO_ON;
    arena_fini(&r.a);
    switch (v) {
    case GO_ON: return JOB_DONE;
    case LATER: return JOB_POSTPONED;
    case FAILED: break;
    }
    return final ? JOB_MISCONFIGURED : JOB_FAILED;
}

static void describe_failure(struct job *j, char *detail, size_t size)
{
    (void)j;
    snprintf(detail, size, "{}");
}

const struct task_kind rebuild_task_kind = {.category = "REBUILD",
                                            .run = run,
                                            .describe_failure = describe_failure,
                                            .care = "SELECT hologres.shed_logs()"};
