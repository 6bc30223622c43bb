/* Further connections of a run. Each stands in pgveneer.task_process before it runs anything, as the work
 * connection stands in the task's row: a server process runs its statement on after its client died, and
 * the successor ends it before he begins. Its rows go with the connection, or when the task is taken over. */
#include <stdio.h>

#include "base/log.h"
#include "lease.h"

static const char sql_enter[] =
    "INSERT INTO pgveneer.task_process (task_id, pid, backend_start)"
    " SELECT t.task_id, a.pid, a.backend_start FROM pgveneer.task t, pg_catalog.pg_stat_activity a"
    "  WHERE a.pid = pg_catalog.pg_backend_pid() AND t.task_id = $1 AND t.fencing = $2::bigint"
    "    AND t.lease_until IS NOT NULL"
    " ON CONFLICT (task_id, pid) DO UPDATE SET backend_start = excluded.backend_start";
static const char sql_leave[] =
    "DELETE FROM pgveneer.task_process WHERE task_id = $1 AND pid = pg_catalog.pg_backend_pid()";

static bool enter(struct job *j, struct err *err)
{
    const char *const values[] = {j->task_id, j->lease->fencing};
    struct pgresult *r;
    if (!pgclient_query(j->db, sql_enter, 2, values, &r, err))
        return false;
    bool ours = pgresult_affected(r) == 1;
    pgresult_free(r);
    return ours || err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                           "the lease of the task was lost");
}

bool job_open_beside(const struct job *j, struct job *beside, struct err *err)
{
    char purpose[64];
    *beside = *j;
    beside->db = NULL;
    snprintf(purpose, sizeof purpose, "pgveneer job %.48s", j->task_id);
    if (!pgclient_open(j->lease->service, j->lease->dbname, purpose, &beside->db, err))
        return false;
    bool ok = lease_aim(j->lease, beside->db)
                  ? enter(beside, err)
                  : err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                            "a job has at most %d connections", LEASE_TARGETS);
    if (!ok)
        job_close_beside(beside);
    return ok;
}

void job_close_beside(struct job *beside)
{
    struct err err;
    if (beside->db == NULL)
        return;
    job_rollback(beside);
    lease_unaim(beside->lease, beside->db);
    if (pgclient_is_alive(beside->db) &&
        !pgclient_query(beside->db, sql_leave, 1, &beside->task_id, NULL, &err))
        log_err(LOG_LEVEL_DEBUG, beside->lease->who, "a connection stays in the list", &err);
    pgclient_close(beside->db);
    beside->db = NULL;
}
