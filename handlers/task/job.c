/* Transactions of a job. The check of the fencing number and the COMMIT go to the server in one
 * message: a job that is stopped between the two (SIGSTOP, a laptop's lid) would otherwise hold the
 * row's lock with a verdict that grows old, and no worker could claim the row meanwhile.
 *
 * The check locks the row, so a claim either came before (then the number differs, and the DO block
 * raises, and COMMIT is not reached) or waits for our commit. What user text may have left behind in
 * the transaction (role, search_path, deferred constraints) is settled before. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/log.h"
#include "lease.h"

#define LOST "the lease of the task was lost"

static const char sql_look[] =
    "SELECT FROM pgveneer.task"
    " WHERE task_id = $1 AND fencing = $2::bigint AND state = 'active' AND lease_until IS NOT NULL";
static const char sql_settle[] =
    "RESET ROLE; SET LOCAL search_path = ''; SET CONSTRAINTS ALL IMMEDIATE";
static const char sql_late[] = "SET LOCAL synchronous_commit = off; ";
/* The sums of the task's row are part of the effect; the row is locked for the check that follows anyway. */
static const char sql_history[] =
    "WITH counted AS ("
    "  UPDATE pgveneer.task"
    "     SET row_count = row_count + $4::bigint,"
    "         rows_per_second = $4::bigint / nullif(extract(epoch FROM"
    "             pg_catalog.clock_timestamp() - $3::timestamptz)::float8, 0)"
    "   WHERE task_id = $1 AND fencing = $2::bigint RETURNING task_id, category, owner)"
    "INSERT INTO pgveneer.task_history"
    "       (task_id, category, owner, run_start, run_end, outcome, row_count, detail)"
    " SELECT task_id, category, owner, $3::timestamptz, pg_catalog.clock_timestamp(), 'done',"
    "        $4::bigint, $5::jsonb FROM counted";
static const char sql_progress[] =
    "UPDATE pgveneer.task SET crash_times = 0, last_crash = ''"
    " WHERE task_id = $1 AND fencing = $2::bigint AND crash_times > 0";
static const char sql_commit[] =
    "DO $pgveneer_commit$ BEGIN"
    " PERFORM FROM pgveneer.task WHERE task_id = %s AND fencing = %s AND state = 'active'"
    "    AND lease_until IS NOT NULL FOR NO KEY UPDATE;"
    " IF NOT FOUND THEN"
    "   RAISE EXCEPTION '" LOST "' USING ERRCODE = '55000';"
    " END IF; END $pgveneer_commit$; COMMIT";

static bool lost(struct err *err)
{
    return err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE, "%s", LOST);
}

static bool stopped(const struct job *j, struct err *err)
{
    return err_set(err, SQLSTATE_QUERY_CANCELED, "the run stops: %s",
                   lease_stop_text(lease_stop_of(j->lease)));
}

bool job_begin(struct job *j, struct err *err)
{
    const char *const values[] = {j->task_id, j->lease->fencing};
    struct pgresult *r;
    if (job_must_stop(j))
        return stopped(j, err);
    if (!pgclient_run(j->db, "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL search_path = ''",
                      err))
        return false;
    if (!pgclient_query(j->db, sql_look, 2, values, &r, err))
        return false;
    bool ours = pgresult_rows(r) == 1;
    pgresult_free(r);
    if (ours)
        return true;
    job_rollback(j);
    lease_request_stop(j->lease, LEASE_STOP_LOST);
    return lost(err);
}

/* before: statements that go with the commit, or an empty text. */
static bool commit(struct job *j, const char *before, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    const char *id = pgclient_quote_text(&a, j->task_id);
    const char *check = id == NULL ? NULL : arena_printf(&a, sql_commit, id, j->lease->fencing);
    const char *sql = check == NULL ? NULL
                                    : arena_printf(&a, "%s%s; %s%s", before, sql_settle,
                                                   j->commits_late ? sql_late : "", check);
    bool ok = sql == NULL ? err_no_memory(err) : pgclient_run(j->db, sql, err);
    arena_fini(&a);
    return ok;
}

bool job_commit_step(struct job *j, struct err *err)
{
    if (!job_must_stop(j) && commit(j, "", err))
        return true;
    if (job_must_stop(j))
        stopped(j, err);
    else if (strcmp(err->message, LOST) == 0)
        lease_request_stop(j->lease, LEASE_STOP_LOST);
    job_rollback(j);
    return false;
}

bool job_record(struct job *j, int64_t rows, const char *detail, struct err *err)
{
    char count[24];
    const char *const values[] = {j->task_id, j->lease->fencing, j->lease->run_start, count,
                                  detail == NULL || detail[0] == '\0' ? "{}" : detail};
    snprintf(count, sizeof count, "%" PRId64, rows);
    return pgclient_query(j->db, sql_history, ARRAY_LEN(values), values, NULL, err);
}

bool job_note_progress(struct job *j, struct err *err)
{
    const char *const values[] = {j->task_id, j->lease->fencing};
    atomic_store(&j->lease->progressed, true);
    return pgclient_query(j->db, sql_progress, ARRAY_LEN(values), values, NULL, err);
}

bool job_run_and_commit(struct job *j, const char *sql, struct err *err)
{
    return job_must_stop(j) ? stopped(j, err) : commit(j, sql, err);
}

bool job_commit(struct job *j, int64_t rows, const char *detail, struct err *err)
{
    if (!pgclient_run(j->db, sql_settle, err) || !job_record(j, rows, detail, err)) {
        job_rollback(j);
        return false;
    }
    return job_commit_step(j, err);
}

void job_rollback(struct job *j)
{
    struct err err;
    if (j->db == NULL || !pgclient_is_alive(j->db) || !pgclient_is_in_transaction(j->db))
        return;
    if (!pgclient_run(j->db, "ROLLBACK", &err))
        log_err(LOG_LEVEL_WARNING, j->lease->who, "rollback failed", &err);
}

bool job_must_stop(const struct job *j)
{
    return lease_stop_of(j->lease) != LEASE_STOP_NONE;
}

void job_phase(struct job *j, const char *phase)
{
    char name[16];
    snprintf(name, sizeof name, "pgv:%s", phase);
    prctl(PR_SET_NAME, name);
    log_debug(j->lease->who, "phase %s", phase);
}
