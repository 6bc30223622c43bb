/* The swap: the copy takes the table's name and all that hangs on it, in one transaction.
 *
 *   read what hangs on the table, make the functions      no lock
 *   a round: the log is short now                         no lock on the table
 *   our rows, the history                                 behind a savepoint, with all that follows
 *   ── one message to the server ──
 *   lock views, table, foreign keys' other tables         each for a millisecond or a few (lock.c)
 *   is everything still as it was read?
 *   last round: what was logged since                     now nobody writes
 *   owners' statements                                    commit
 *
 * Writers wait from the table's lock to the commit, so in between nobody waits for us: on a busy machine
 * each message would cost as much as all statements together. Nor is the disk waited for: whoever
 * commits later has our commit in the log before his own, so no change is kept that followed a swap
 * which is lost.
 *
 * A failed attempt goes back to the savepoint, and the next one follows a round, in the same transaction;
 * after some seconds it is given up and everything is read again. Statements that wait for the table look
 * its name up again when they get their lock, and find the new one. A transaction that took its snapshot
 * before would not see the new rows: a trigger refuses its writes (40001) until the last such transaction
 * has ended.
 *
 * What takes long and need not be seen with the swap comes after it: validating foreign keys, dropping
 * the former table. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/log.h"

#include "children.h"
#include "copy.h"

#define BODY_BYTES ((size_t)64 << 20)
#define GUARD_WAIT_MS 600000
#define GUARD_LOOK_MS 200
#define ROUND_EVERY_MS 200
#define FIRST_WAIT_S 1 /* so long a transaction waits for its locks; later ones: */
#define LATER_WAIT_S 10
#define AGAIN "HG001" /* hologres.check_versions, hologres.check_round */

struct swap {
    struct lock_attempts locks;
    unsigned transactions;
    /* of the transaction under way, in the arena of the run */
    const char *surroundings, *versions; /* what its statements were made from */
    const char *lock_statements;
    unsigned early,
        functions; /* of owners: up to `early` they have run, the others run under the locks */
};

static bool read_versions(struct rebuild *r, struct swap *w, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query(
            r, "SELECT ids, hologres.versions_of(ids) FROM hologres.surroundings_of($1) ids", &res,
            err))
        return false;
    w->surroundings = arena_copy_cstr(&r->a, pgresult_value(res, 0, 0));
    w->versions = arena_copy_cstr(&r->a, pgresult_value(res, 0, 1));
    pgresult_free(res);
    return (w->surroundings != NULL && w->versions != NULL) || err_no_memory(err);
}

/* Is the table still what the copy was made from, and was every change seen? */
static bool check_source(struct rebuild *r, struct err *err)
{
    const char *same, *captured;
    if (!rebuild_fetch(r,
                       "SELECT hologres.definition_of(relid) = fingerprint"
                       "  FROM hologres.rebuild WHERE query_id = $1",
                       &same, err) ||
        !rebuild_fetch(r,
                       "SELECT CASE capture WHEN 'key' THEN hologres.is_captured($1)"
                       "       ELSE hologres.is_followed($1) END"
                       "  FROM hologres.rebuild WHERE query_id = $1",
                       &captured, err) ||
        !rebuild_query(r, "SELECT hologres.check_swap($1)", NULL, err))
        return false;
    if (captured[0] != 't') /* the next run starts again */
        return err_set(err, SQLSTATE_SERIALIZATION_FAILURE,
                       "changes of the table were not captured all the time");
    if (same[0] == 't')
        return true;
    err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            "the definition of the table was changed during the rebuild");
    return err_hint(err, "Clean up with hg_clean_rebuild_tmp_tables, and submit it again.");
}

/* What the copy can be given before it has the table's name. */
static bool complete_copy(struct rebuild *r, struct swap *w, struct err *err)
{
    w->functions = 0;
    if (!owner_prepare_each(r, "SELECT role, statement FROM hologres.copy_statements($1)",
                            &w->functions, err))
        return false;
    w->early = w->functions;
    for (unsigned i = 1; i <= w->early; i++)
        if (!owner_run(r, i, err))
            return false;
    return true;
}

/* Everything that needs no lock on the table. Function 0 is the round. */
static bool prepare_swap(struct rebuild *r, struct swap *w, struct err *err)
{
    const char *body = "";
    return children_hold(r, err) && check_source(r, err) && read_versions(r, w, err) &&
           (strcmp(r->capture, "key") != 0 ||
            rebuild_fetch(r, "SELECT hologres.round_body($1, true)", &body, err)) &&
           rebuild_fetch(r,
                         "SELECT string_agg(s, '; ' ORDER BY n)"
                         "  FROM hologres.lock_statements($1) WITH ORDINALITY l(s, n)",
                         &w->lock_statements, err) &&
           owner_prepare(r, 0, r->owner, body, err) && complete_copy(r, w, err) &&
           owner_prepare_each(r, "SELECT role, statement FROM hologres.swap_statements($1)",
                              &w->functions, err);
}

/* Shortens the log, so that little is left for the last round. */
static bool round_before(struct rebuild *r, struct err *err)
{
    const char *keys;
    if (strcmp(r->capture, "key") != 0)
        return true;
    if (!owner_run(r, 0, err) || !owner_take(r, &keys, err))
        return false;
    if (keys[0] == '-')
        return err_set(err, AGAIN, "the table was truncated meanwhile");
    return owner_forget(r, 0, err);
}

static bool finish_steps(struct rebuild *r, struct err *err)
{
    return rebuild_query(r, "SELECT hologres.take_swap($1)", NULL, err) &&
           step_finish(r, STEP_SET_READONLY, "", err) &&
           step_finish(r, STEP_CHECK_SNAPSHOT, "", err) &&
           (strcmp(r->capture, "key") != 0 || step_finish(r, STEP_RE_INSERT, "", err)) &&
           step_finish(r, STEP_SWAP, "", err) && job_record(r->job, 0, "{}", err);
}

/* Statements of owners must not wait long for other locks: everybody waits for us. */
static void write_run(struct buf *b, unsigned number)
{
    buf_append_cstr(b, "SET LOCAL lock_timeout = 100; ");
    owner_write_run(b, number);
}

/* What is run from the locks to the commit. */
static bool write_window(struct rebuild *r, struct swap *w, struct buf *b)
{
    buf_printf(b,
               "SET LOCAL lock_timeout = %u; %s; SELECT hologres.end_step('%s', %d);"
               " SELECT hologres.check_versions('%s', '%s'); ",
               lock_timeout_ms(r, &w->locks), w->lock_statements, r->job->task_id,
               STEP_CHECK_SNAPSHOT, w->surroundings, w->versions);
    write_run(b, 0);
    buf_append_cstr(b, "SELECT hologres.check_round(); ");
    for (unsigned i = w->early + 1; i <= w->functions; i++)
        write_run(b, i);
    buf_printf(b,
               "SELECT hologres.end_step('%s', %d); SET LOCAL lock_timeout = 100;"
               " SET LOCAL synchronous_commit = off; ",
               r->job->task_id, STEP_SWAP);
    return !b->failed;
}

static bool attempt(struct rebuild *r, struct swap *w, struct err *err)
{
    struct buf b;
    buf_init(&b, BODY_BYTES);
    const char *sql = write_window(r, w, &b) ? buf_cstr(&b) : NULL;
    bool ok = sql == NULL ? err_no_memory(err)
                          : pgclient_run(r->job->db, "SAVEPOINT attempt", err) &&
                                finish_steps(r, err) && job_run_and_commit(r->job, sql, err);
    buf_fini(&b);
    return ok;
}

static int64_t clock_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Until those who held the locks at the last failure are gone; meanwhile the log is kept short. */
static bool wait_for_gap(struct rebuild *r, struct swap *w, int64_t deadline_s, struct err *err)
{
    bool gap = w->locks.count == 0;
    while (!gap) {
        if (clock_s() >= deadline_s)
            return err_set(err, SQLSTATE_LOCK_NOT_AVAILABLE, "the table is in use");
        if (!lock_gap(r, &w->locks, ROUND_EVERY_MS, &gap, err) || (!gap && !round_before(r, err)))
            return false;
    }
    return true;
}

static bool try_swap(struct rebuild *r, struct swap *w, struct err *err)
{
    int64_t deadline_s = clock_s() + (w->transactions++ == 0 ? FIRST_WAIT_S : LATER_WAIT_S);
    if (!job_begin(r->job, err) || !prepare_swap(r, w, err) || !round_before(r, err))
        return false;
    while (wait_for_gap(r, w, deadline_s, err)) {
        struct err busy;
        if (attempt(r, w, err))
            return true;
        if (!lock_is_busy(err) || !pgclient_is_in_transaction(r->job->db) ||
            !pgclient_run(r->job->db, "ROLLBACK TO SAVEPOINT attempt", &busy))
            return false;
    }
    return false;
}

/* The functions outlive the transaction. */
static bool drop_functions(struct rebuild *r, const struct swap *w, struct err *err)
{
    for (unsigned i = 0; i <= w->functions; i++)
        if (!owner_drop_committed(r, i, err))
            return false;
    return true;
}

bool swap_tables(struct rebuild *r, struct err *err)
{
    struct swap w = {0};
    bool key = strcmp(r->capture, "key") == 0;
    job_phase(r->job, "swap");
    if (!step_start(r, r->waits ? STEP_SWAP : STEP_SET_READONLY, "", err))
        return false;
    while (!try_swap(r, &w, err)) {
        if (strcmp(err->sqlstate, AGAIN) == 0 && !job_must_stop(r->job))
            job_rollback(r->job);
        else if (!lock_is_worth_it(r, &w.locks, err) || !lock_tell(r, err))
            return false;
        if (key && !copy_catch_up(r, err))
            return false;
    }
    return drop_functions(r, &w, err);
}

/* --- behind the swap ------------------------------------------------------------------------------------- */

static bool run_one(struct rebuild *r, const char *role, const char *statement, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    char *quoted = pgclient_quote_text(&a, statement);
    char *body = quoted == NULL ? NULL : arena_printf(&a, "EXECUTE %s;", quoted);
    bool ok = body == NULL   ? err_no_memory(err)
              : role == NULL ? pgclient_run(r->job->db, statement, err)
                             : owner_prepare(r, 0, role, body, err) && owner_run(r, 0, err) &&
                                   owner_drop(r, 0, err);
    arena_fini(&a);
    return ok;
}

static bool run_patiently(struct rebuild *r, const char *role, const char *statement,
                          struct err *err)
{
    struct lock_attempts l = {0};
    do {
        if (job_begin(r->job, err) && lock_attempt(r, &l, err) &&
            run_one(r, role, statement, err) && job_commit_step(r->job, err))
            return true;
    } while (lock_again(r, &l, err));
    return false;
}

/* What fails here (a foreign key that a row violates since before) is told and does no harm. */
static bool run_rest(struct rebuild *r, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query(r, "SELECT role, statement FROM hologres.after_statements($1)", &res, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < pgresult_rows(res); i++) {
        if (run_patiently(r, pgresult_value(res, i, 0), pgresult_value(res, i, 1), err))
            continue;
        ok = !job_must_stop(r->job) && !err_is_transient(err);
        log_err(LOG_LEVEL_WARNING, r->job->task_id, pgresult_value(res, i, 1), err);
        job_rollback(r->job);
        if (ok)
            step_warn(r, STEP_SWAP, err);
    }
    pgresult_free(res);
    return ok;
}

/* Transactions that may have a snapshot from before the swap: all that run now. */
static bool wait_for_old_snapshots(struct rebuild *r, struct err *err)
{
    const char *running;
    if (!rebuild_fetch(r,
                       "SELECT coalesce(array_agg(virtualtransaction), '{}')::text"
                       "  FROM pg_catalog.pg_locks WHERE locktype = 'virtualxid' AND granted"
                       "   AND pid <> pg_catalog.pg_backend_pid() AND $1::text IS NOT NULL",
                       &running, err))
        return false;
    for (int waited = 0; waited < GUARD_WAIT_MS; waited += GUARD_LOOK_MS) {
        struct pgresult *res;
        if (job_must_stop(r->job))
            return err_set(err, SQLSTATE_QUERY_CANCELED, "the run stops");
        if (!pgclient_query(r->job->db,
                            "SELECT count(*) FROM pg_catalog.pg_locks WHERE locktype = 'virtualxid'"
                            " AND granted AND virtualtransaction = ANY ($1::text[])",
                            1, &running, &res, err))
            return false;
        bool gone = pgresult_int(res, 0, 0, 0) == 0;
        pgresult_free(res);
        if (gone)
            return true;
        poll(NULL, 0, GUARD_LOOK_MS);
    }
    return true;
}

static bool drop_guards(struct rebuild *r, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query(r, "SELECT hologres.unguard_statements($1)", &res, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < pgresult_rows(res); i++)
        ok = run_patiently(r, NULL, pgresult_value(res, i, 0), err);
    pgresult_free(res);
    return ok;
}

bool swap_clean_up(struct rebuild *r, struct err *err)
{
    job_phase(r->job, "after");
    r->step = 0;
    return run_rest(r, err) && (strcmp(r->strategy, "in place") == 0 ||
                                (wait_for_old_snapshots(r, err) && drop_guards(r, err)));
}
