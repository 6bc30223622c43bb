/* The end of a run is one statement, and its condition is the fencing number.
 *
 * The next start is the first multiple of the interval, counted from the start of this run, that lies
 * ahead: the period is from start to start, and a run that took longer than its interval, or a worker
 * that was away for a day, does not make up for what was missed. A failed task that has no interval is
 * tried again after ten seconds. A task that was paused meanwhile stays so (its guard trigger keeps
 * next_start_time NULL). */
#include "record.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"

#define RELEASED                                                                                   \
    "lease_until = NULL, worker = NULL, lease_pid = NULL, lease_start = NULL,"                     \
    " work_pid = NULL, work_start = NULL"
#define FORGIVEN "crash_times = 0, last_crash = ''"
/* $3: start of the run */
#define NEXT_START                                                                                 \
    "$3::timestamptz + run_every * (pg_catalog.floor("                                             \
    "  extract(epoch FROM pg_catalog.clock_timestamp() - $3::timestamptz)"                         \
    "  / extract(epoch FROM run_every))::float8 + 1)"

static const char sql_done[] =
    "UPDATE pgveneer.task SET failure_times = 0, " FORGIVEN ", " RELEASED ","
    "       last_log = CASE state WHEN 'active' THEN $4 ELSE last_log END,"
    "       start_time = $3::timestamptz, end_time = pg_catalog.clock_timestamp(),"
    "       success_start = $3::timestamptz, stats = $5::jsonb,"
    "       state = CASE WHEN state = 'active' AND run_every IS NULL THEN 'done' ELSE state END,"
    "       next_start_time = " NEXT_START " WHERE task_id = $1 AND fencing = $2::bigint";
/* $4 log, $5 suspend at once, $6 failures that suspend, $7 detail */
static const char sql_failed[] =
    "WITH ended AS ("
    "  UPDATE pgveneer.task SET failure_times = failure_times + 1,"
    "         failure_count = failure_count + 1, last_error = $4,"
    "         last_error_time = pg_catalog.clock_timestamp(), " FORGIVEN ", " RELEASED ","
    "         last_log = $4, start_time = $3::timestamptz,"
    "         end_time = pg_catalog.clock_timestamp(),"
    "         state = CASE WHEN $5::boolean OR failure_times + 1 >= $6::integer"
    "                      THEN 'suspended' ELSE state END,"
    "         next_start_time = coalesce(" NEXT_START ","
    "                                    pg_catalog.clock_timestamp() + interval '10 seconds')"
    "   WHERE task_id = $1 AND fencing = $2::bigint AND state = 'active'"
    "   RETURNING task_id, category, owner, start_time, end_time)"
    "INSERT INTO pgveneer.task_history"
    "       (task_id, category, owner, run_start, run_end, outcome, log, detail)"
    "SELECT task_id, category, owner, start_time, end_time, 'failed', $4, $7::jsonb FROM ended";
static const char sql_released[] =
    "UPDATE pgveneer.task SET " RELEASED
    " WHERE task_id = $1 AND fencing = $2::bigint AND lease_until IS NOT NULL";

static const char sql_removed[] =
    "DELETE FROM pgveneer.task WHERE task_id = $1 AND fencing = $2::bigint";

static bool write_end(struct job_lease *l, const char *sql, size_t count, const char *const *values,
                      bool *ours, struct err *err)
{
    struct pgresult *r;
    if (l->conn == NULL || !pgclient_is_alive(l->conn)) {
        pgclient_close(l->conn);
        l->conn = NULL;
        if (!pgclient_open(l->service, l->dbname, l->purpose, &l->conn, err))
            return false;
    }
    pgclient_set_timeout(l->conn,
                         0); /* a locked row is worth waiting for: the end must not be lost */
    if (!pgclient_run(l->conn, "SET lock_timeout = 0", err) ||
        !pgclient_query(l->conn, sql, count, values, &r, err))
        return false;
    *ours = pgresult_affected(r) > 0;
    pgresult_free(r);
    return true;
}

bool record_done(struct job_lease *l, const struct job_result *result, bool *ours, struct err *err)
{
    const char *stats = result->stats[0] == '\0' ? "{}" : result->stats;
    const char *const values[] = {l->task_id, l->fencing, l->run_start, result->log, stats};
    return write_end(l, sql_done, ARRAY_LEN(values), values, ours, err);
}

static bool is_object(const char *detail)
{
    struct json *doc;
    struct err err;
    if (!json_read(slice_cstr(detail), &doc, &err))
        return false;
    bool is = json_kind_of(json_root(doc)) == JSON_KIND_OBJECT;
    json_free(doc);
    return is;
}

bool record_failed(struct job_lease *l, const struct err *why, bool suspend, const char *detail,
                   bool *ours, struct err *err)
{
    char log[sizeof why->message + sizeof why->detail + sizeof why->hint + 64];
    char limit[16];
    const char *const values[] = {l->task_id,
                                  l->fencing,
                                  l->run_start,
                                  log,
                                  suspend ? "true" : "false",
                                  limit,
                                  is_object(detail) ? detail : "{}"};
    record_log_text(why, log, sizeof log);
    snprintf(limit, sizeof limit, "%d", JOB_MAX_FAILURES);
    return write_end(l, sql_failed, ARRAY_LEN(values), values, ours, err);
}

bool record_released(struct job_lease *l, bool *ours, struct err *err)
{
    const char *const values[] = {l->task_id, l->fencing};
    return write_end(l, sql_released, ARRAY_LEN(values), values, ours, err);
}

bool record_removed(struct job_lease *l, bool *ours, struct err *err)
{
    const char *const values[] = {l->task_id, l->fencing};
    return write_end(l, sql_removed, ARRAY_LEN(values), values, ours, err);
}

void record_log_text(const struct err *why, char *out, size_t size)
{
    snprintf(out, size, "%s (%s)%s%s%s%s", why->message, why->sqlstate,
             why->detail[0] == '\0' ? "" : "; detail: ", why->detail,
             why->hint[0] == '\0' ? "" : "; hint: ", why->hint);
}
