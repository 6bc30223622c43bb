/* The life of a job process:
 *
 *   claim taken over ── task read ── run, again while errors are transient ── end recorded
 *        │                                  │
 *        │ not ours any more: exit          │ told to stop (pause, remove, lease, SIGTERM): roll back,
 *        ▼                                  ▼ give the lease back, record nothing
 *
 * A process that dies here leaves a claimed row behind. Its worker counts the crash and frees the
 * row; the next process ends what the server still runs for us and starts the run again, which is safe
 * because every step committed with its effect. A run that kills its process each time would go on
 * for ever; so the process that finds JOB_MAX_CRASHES of them does not run the task but records a
 * failure, with how the last one ended.
 *
 * If the server is away at the end, recording is tried for ten seconds; after that the row stays
 * claimed until the lease is over, the run is repeated, and nothing is counted. */
#include "task/job_main.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "lease.h"
#include "record.h"

/* Short: a task comes again after its interval anyway. */
static const struct retry_policy run_policy = {
    .attempts = 4, .base_ms = 250, .cap_ms = 2000, .jitter_percent = 25};

#define JOB_SERVER_AWAY_MS 250
#define JOB_SERVER_AWAY_TIMES 80 /* then the lease is lost anyway */

/* A server that was restarted answers again within seconds. */
static const struct retry_policy record_policy = {.attempts = 21, .base_ms = 500, .cap_ms = 500};

struct run {
    struct job job;
    struct job_lease lease;
    const struct task_kind *kind;
    struct arena texts;  /* of struct job */
    struct json *params; /* owns */
    int64_t crash_times;
    const char *last_crash;
    enum job_outcome outcome;
    bool opened; /* the last try had a work connection */
    struct job_result result;
    struct err err; /* unless outcome is JOB_DONE */
};

static const char sql_read_task[] =
    "SELECT t.category, pg_catalog.pg_get_userbyid(t.owner), t.params, t.crash_times, t.last_crash"
    "  FROM pgveneer.task t WHERE t.task_id = $1 AND t.fencing = $2::bigint AND t.state = 'active'";
static const char sql_work_pid[] =
    "UPDATE pgveneer.task t SET work_pid = a.pid, work_start = a.backend_start"
    "  FROM pg_catalog.pg_stat_activity a"
    " WHERE a.pid = pg_catalog.pg_backend_pid() AND t.task_id = $1 AND t.fencing = $2::bigint";

/* ---- what is to be done ---------------------------------------------------------------------- */

static bool read_row(struct run *run, const struct pgresult *r, struct err *err)
{
    struct job *j = &run->job;
    j->category = arena_copy_cstr(&run->texts, pgresult_value(r, 0, 0));
    j->owner = arena_copy_cstr(&run->texts, pgresult_value(r, 0, 1));
    run->crash_times = pgresult_int(r, 0, 3, 0);
    run->last_crash = arena_copy_cstr(&run->texts, pgresult_value(r, 0, 4));
    if (j->category == NULL || j->owner == NULL || run->last_crash == NULL)
        return err_no_memory(err);
    if (!json_read(slice_cstr(pgresult_value(r, 0, 2)), &run->params, err))
        return err_context(err, "params of the task");
    j->params = json_root(run->params);
    return true;
}

/* *found false: paused or removed since the claim. */
static bool read_task(struct run *run, bool *found, struct err *err)
{
    const char *const values[] = {run->lease.task_id, run->lease.fencing};
    struct pgresult *r;
    if (!pgclient_query(run->lease.conn, sql_read_task, 2, values, &r, err))
        return false;
    *found = pgresult_rows(r) == 1;
    bool ok = !*found || read_row(run, r, err);
    pgresult_free(r);
    return ok;
}

static const struct task_kind *find_kind(const struct task_kind *const *kinds, size_t count,
                                         const char *category)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(kinds[i]->category, category) == 0)
            return kinds[i];
    return NULL;
}

/* ---- doing it -------------------------------------------------------------------------------- */

static void close_work(struct run *run)
{
    lease_unaim(&run->lease, run->job.db);
    pgclient_close(run->job.db);
    run->job.db = NULL;
}

/* The work connection, made known in the row before it runs anything. */
static bool open_work(struct run *run, struct err *err)
{
    struct job_lease *l = &run->lease;
    const char *const values[] = {l->task_id, l->fencing};
    char purpose[64];
    struct pgresult *r;
    if (run->job.db != NULL && pgclient_is_alive(run->job.db))
        return true;
    close_work(run);
    snprintf(purpose, sizeof purpose, "pgveneer job %.48s", l->task_id);
    if (!pgclient_open(l->service, l->dbname, purpose, &run->job.db, err))
        return false;
    if (!pgclient_query(run->job.db, sql_work_pid, 2, values, &r, err))
        return false;
    bool ours = pgresult_affected(r) == 1;
    pgresult_free(r);
    return ours || err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                           "the lease of the task was lost");
}

static void run_once(struct run *run)
{
    err_clear(&run->err);
    memset(&run->result, 0, sizeof run->result);
    run->outcome = JOB_FAILED;
    run->opened = open_work(run, &run->err);
    if (!run->opened)
        return;
    (void)lease_aim(&run->lease, run->job.db); /* the first one */
    run->outcome = run->kind->run(&run->job, &run->result, &run->err);
    lease_unaim(&run->lease, run->job.db);
    if ((run->outcome == JOB_FAILED || run->outcome == JOB_MISCONFIGURED) && !err_is_set(&run->err))
        err_set(&run->err, SQLSTATE_INTERNAL_ERROR, "the run failed without telling why");
    job_rollback(&run->job);
}

/* To wait for a server that starts is no attempt; to make it fall is one. */
static int next_wait_ms(struct run *run, unsigned *away, unsigned *attempt)
{
    if (run->outcome != JOB_FAILED)
        return -1;
    if (atomic_exchange(&run->lease.progressed, false)) {
        *away = 0;
        *attempt = 2;
    }
    if (!run->opened && err_is_transient(&run->err) && (*away)++ < JOB_SERVER_AWAY_TIMES)
        return JOB_SERVER_AWAY_MS;
    return retry_wait_ms(&run_policy, (*attempt)++, &run->err);
}

static void run_until_settled(struct run *run)
{
    unsigned away = 0, attempt = 2;
    for (;;) {
        run_once(run);
        int wait_ms = next_wait_ms(run, &away, &attempt);
        if (wait_ms < 0 || lease_stop_of(&run->lease) != LEASE_STOP_NONE)
            return;
        log_err(away > 1 && !run->opened ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, run->lease.who,
                "failed, is tried again", &run->err);
        if (!lease_sleep(&run->lease, wait_ms))
            return;
    }
}

/* The failure that the crashes of former processes amount to. */
static void fail_for_crashes(struct run *run)
{
    run->outcome = JOB_FAILED;
    err_set(&run->err, SQLSTATE_INTERNAL_ERROR, "%s",
            run->last_crash[0] == '\0' ? "the job process ended" : run->last_crash);
    err_detail(&run->err, "That happened %d times in one run.", (int)run->crash_times);
}

/* ---- telling how it ended -------------------------------------------------------------------- */

static void describe(struct run *run, char *detail, size_t size)
{
    struct err ignored;
    detail[0] = '\0';
    if (run->kind == NULL || run->kind->describe_failure == NULL)
        return;
    if (run->crash_times >= 2 * JOB_MAX_CRASHES) /* it may be what crashes */
        return;
    if (open_work(run, &ignored))
        run->kind->describe_failure(&run->job, detail, size);
}

static bool record(struct run *run, const char *detail, bool *ours, struct err *err)
{
    enum lease_stop stop = lease_stop_of(&run->lease);
    bool stops = stop != LEASE_STOP_NONE;
    *ours = false;
    if (run->outcome == JOB_POSTPONED)
        return record_released(&run->lease, ours, err);
    if (run->outcome == JOB_DONE)
        return record_done(&run->lease, &run->result, ours, err);
    if (stop == LEASE_STOP_UNASKED)
        return record_removed(&run->lease, ours, err);
    if (!stops && !record_failed(&run->lease, &run->err, run->outcome == JOB_MISCONFIGURED, detail,
                                 ours, err))
        return false;
    return *ours || record_released(&run->lease, ours, err);
}

static bool record_patiently(struct run *run, const char *detail, bool *ours, struct err *err)
{
    for (unsigned attempt = 2; !record(run, detail, ours, err); attempt++) {
        int wait_ms = retry_wait_ms(&record_policy, attempt, err);
        if (wait_ms < 0)
            return false;
        poll(NULL, 0, wait_ms);
    }
    return true;
}

static int settle(struct run *run)
{
    char detail[4096];
    struct err err;
    bool ours = false;
    detail[0] = '\0';
    bool failed = run->outcome == JOB_FAILED || run->outcome == JOB_MISCONFIGURED;
    if (failed && lease_stop_of(&run->lease) == LEASE_STOP_NONE) {
        log_err(LOG_LEVEL_WARNING, run->lease.who, "the run failed", &run->err);
        describe(run, detail, sizeof detail);
    }
    close_work(run);
    job_phase(&run->job, "record");
    if (!record_patiently(run, detail, &ours, &err)) {
        log_err(LOG_LEVEL_ERROR, run->lease.who, "the end of the run could not be recorded", &err);
        return JOB_EXIT_NO_DATABASE;
    }
    if (!ours)
        log_info(run->lease.who, "the lease is somebody else's; nothing recorded");
    return JOB_EXIT_SETTLED;
}

static int work(struct run *run, const struct task_kind *const *kinds, size_t kind_count)
{
    bool found = false;
    bool ours;
    struct err err;
    run->outcome = JOB_FAILED;
    if (!read_task(run, &found, &run->err))
        return settle(run);
    if (!found)
        return record_released(&run->lease, &ours, &err) ? JOB_EXIT_SETTLED : JOB_EXIT_NO_DATABASE;
    run->kind = find_kind(kinds, kind_count, run->job.category);
    if (run->kind == NULL) {
        err_set(&run->err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                "tasks of category \"%s\" are not known here", run->job.category);
        return settle(run);
    }
    if (!lease_guard(&run->lease, &run->err))
        return settle(run);
    if (run->crash_times >= JOB_MAX_CRASHES)
        fail_for_crashes(run);
    else
        run_until_settled(run);
    lease_unguard(&run->lease);
    return settle(run);
}

static void run_fini(struct run *run)
{
    close_work(run);
    json_free(run->params);
    arena_fini(&run->texts);
    lease_close(&run->lease);
    free(run);
}

int job_main(const struct job_settings *settings, const struct task_kind *const *kinds,
             size_t kind_count, const struct job_call *call)
{
    struct run *run = calloc(1, sizeof *run);
    int code = JOB_EXIT_NO_DATABASE;
    bool held;
    if (run == NULL)
        return code;
    arena_init(&run->texts, 0);
    run->job = (struct job){.task_id = call->task_id,
                            .dbname = call->dbname,
                            .fencing = call->fencing,
                            .settings = settings,
                            .lease = &run->lease};
    if (!lease_open(&run->lease, settings->service, call, &held, &run->err))
        log_err(LOG_LEVEL_ERROR, run->lease.who, "could not take the lease", &run->err);
    else if (!held)
        code = record_released(&run->lease, &held, &run->err) ? JOB_EXIT_SETTLED : code;
    else
        code = work(run, kinds, kind_count);
    run_fini(run);
    return code;
}
