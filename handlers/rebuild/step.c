/* The rows that hologres.rebuild_progress shows. A step is `done` in the transaction of its effect; in
 * between, messages have transactions of their own, so that who polls sees them.
 *
 * A suspended step is not written: the function shows it from the state of the task, since a job that
 * was told to stop may not commit any more. */
#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"

#include "rebuild.h"

bool rebuild_query2(struct rebuild *r, const char *sql, const char *value, struct pgresult **out,
                    struct err *err)
{
    const char *const values[] = {r->job->task_id, value};
    return pgclient_query(r->job->db, sql, value == NULL ? 1 : 2, values, out, err);
}

bool rebuild_query(struct rebuild *r, const char *sql, struct pgresult **out, struct err *err)
{
    return rebuild_query2(r, sql, NULL, out, err);
}

bool rebuild_fetch(struct rebuild *r, const char *sql, const char **text, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query(r, sql, &res, err))
        return false;
    const char *value = pgresult_value(res, 0, 0);
    *text = arena_copy_cstr(&r->a, value == NULL ? "" : value);
    pgresult_free(res);
    return *text != NULL || err_no_memory(err);
}

bool step_is_done(struct rebuild *r, enum rebuild_step step, bool *done, struct err *err)
{
    char id[16];
    struct pgresult *res;
    snprintf(id, sizeof id, "%d", (int)step);
    if (!rebuild_query2(r,
                        "SELECT status = 'done' FROM hologres.rebuild_step"
                        " WHERE query_id = $1 AND step_id = $2::integer",
                        id, &res, err))
        return false;
    *done = pgresult_bool(res, 0, 0);
    pgresult_free(res);
    return true;
}

bool step_start(struct rebuild *r, enum rebuild_step step, const char *message, struct err *err)
{
    char id[16];
    const char *const values[] = {r->job->task_id, id, message};
    snprintf(id, sizeof id, "%d", (int)step);
    r->step = step;
    return job_begin(r->job, err) &&
           pgclient_query(r->job->db,
                          "UPDATE hologres.rebuild_step SET status = 'doing', message = $3,"
                          "       attempt = attempt + 1, pid = pg_catalog.pg_backend_pid(),"
                          "       start_time = pg_catalog.clock_timestamp(), end_time = NULL,"
                          "       progress = CASE progress WHEN '-' THEN '0/1' ELSE progress END"
                          " WHERE query_id = $1 AND step_id = $2::integer",
                          3, values, NULL, err) &&
           job_commit_step(r->job, err);
}

static bool write_message(struct rebuild *r, const char *message, struct err *err)
{
    char id[16];
    const char *const values[] = {r->job->task_id, id, message};
    snprintf(id, sizeof id, "%d", (int)r->step);
    return pgclient_query(r->job->db,
                          "UPDATE hologres.rebuild_step SET message = $3"
                          " WHERE query_id = $1 AND step_id = $2::integer",
                          3, values, NULL, err);
}

bool step_tell(struct rebuild *r, struct err *err, const char *fmt, ...)
{
    char message[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    return job_begin(r->job, err) && write_message(r, message, err) && job_commit_step(r->job, err);
}

bool step_finish(struct rebuild *r, enum rebuild_step step, const char *message, struct err *err)
{
    char id[16];
    const char *const values[] = {r->job->task_id, id, message};
    snprintf(id, sizeof id, "%d", (int)step);
    return pgclient_query(
        r->job->db,
        "UPDATE hologres.rebuild_step SET status = 'done', message = $3,"
        "       start_time = coalesce(start_time, pg_catalog.clock_timestamp()),"
        "       end_time = pg_catalog.clock_timestamp(),"
        "       progress = CASE WHEN progress IN ('-', '0/1') THEN '1/1'"
        "                  ELSE pg_catalog.regexp_replace(progress, '^.*/(.*)$', '\\1/\\1') END"
        " WHERE query_id = $1 AND step_id = $2::integer",
        3, values, NULL, err);
}

/* In a transaction of its own; what fails here is only logged. */
static void tell_error(struct rebuild *r, enum rebuild_step step, const char *update,
                       const struct err *why)
{
    char id[16], message[sizeof why->message + sizeof why->detail + 16];
    const char *const values[] = {r->job->task_id, id, message};
    struct err err;
    snprintf(id, sizeof id, "%d", (int)step);
    snprintf(message, sizeof message, "%s (%s)%s%s", why->message, why->sqlstate,
             why->detail[0] == '\0' ? "" : ": ", why->detail);
    bool ok = job_begin(r->job, &err) &&
              pgclient_query(r->job->db, update, 3, values, NULL, &err) &&
              job_commit_step(r->job, &err);
    if (!ok)
        log_err(LOG_LEVEL_WARNING, r->job->task_id, "the step's error could not be written", &err);
}

void step_fail(struct rebuild *r, const struct err *why)
{
    tell_error(r, r->step,
               "UPDATE hologres.rebuild_step SET status = 'error', message = $3,"
               "       end_time = pg_catalog.clock_timestamp()"
               " WHERE query_id = $1 AND step_id = $2::integer",
               why);
}

void step_warn(struct rebuild *r, enum rebuild_step step, const struct err *why)
{
    tell_error(r, step,
               "UPDATE hologres.rebuild_step SET message = $3"
               " WHERE query_id = $1 AND step_id = $2::integer",
               why);
}
