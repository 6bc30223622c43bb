/* The swap: the copy takes the table's name and all that hangs on it, in one transaction.
 *
 *   read what hangs on the table, make the functions      no lock
 *   lock views, table, foreign keys' other tables         each for a millisecond at a time (lock.c)
 *   is everything still as it was read?
 *   last round: what was logged since                     now nobody writes
 *   owners' statements; our rows                          commit
 *
 * A failed attempt leaves nothing, and the log is worked off before the next one. Statements that wait
 * for the table look its name up again when they get their lock, and find the new one. A transaction
 * that took its snapshot before would not see the new rows: a trigger refuses its writes (40001) until
 * the last such transaction has ended.
 *
 * What takes long and need not be seen with the swap comes after it: validating foreign keys, dropping
 * the former table. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/log.h"

#include "copy.h"

#define BODY_BYTES ((size_t)64 << 20)
#define GUARD_WAIT_MS 600000
#define GUARD_LOOK_MS 200

/* Statements of one role in a row are one function. Number 0 is the last round. */
static bool prepare_groups(struct rebuild *r, const struct pgresult *res, unsigned *groups,
                           struct err *err)
{
    struct arena a;
    struct buf body;
    bool ok = true;
    size_t rows = pgresult_rows(res);
    arena_init(&a, 0);
    buf_init(&body, BODY_BYTES);
    *groups = 0;
    for (size_t i = 0; ok && i < rows; i++) {
        const char *role = pgresult_value(res, i, 0);
        const char *quoted = pgclient_quote_text(&a, pgresult_value(res, i, 1));
        buf_printf(&body, "EXECUTE %s;\n", quoted == NULL ? "" : quoted);
        if (i + 1 < rows && strcmp(role, pgresult_value(res, i + 1, 0)) == 0)
            continue;
        const char *text = quoted == NULL ? NULL : buf_cstr(&body);
        ok = text == NULL ? err_no_memory(err) : owner_prepare(r, ++*groups, role, text, err);
        buf_clear(&body);
    }
    buf_fini(&body);
    arena_fini(&a);
    return ok;
}

static bool prepare_swap(struct rebuild *r, unsigned *groups, struct err *err)
{
    struct pgresult *res;
    const char *body = "";
    if (strcmp(r->capture, "key") == 0 &&
        !rebuild_fetch(r, "SELECT hologres.round_body($1, true)", &body, err))
        return false;
    if (!owner_prepare(r, 0, r->owner, body, err) ||
        !rebuild_query(r, "SELECT hologres.note_unproved($1)", NULL, err) ||
        !rebuild_query(r, "SELECT role, statement FROM hologres.swap_statements($1)", &res, err))
        return false;
    bool ok = prepare_groups(r, res, groups, err);
    pgresult_free(res);
    return ok;
}

/* One lock at a time, each with a short wait. */
static bool lock_all(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    return lock_attempt(r, l, err) && copy_run_each(r, "SELECT hologres.lock_statements($1)", err);
}

static bool read_surroundings(struct rebuild *r, const char **value, struct err *err)
{
    return rebuild_fetch(r, "SELECT hologres.surroundings_of($1)", value, err);
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

/* What we do between the owners' statements must not wait long either: everybody waits for us. */
static bool limit_waits(struct rebuild *r, struct err *err)
{
    return pgclient_run(r->job->db, "SET LOCAL lock_timeout = 100", err);
}

/* The last round and everything else, under the locks. *again: not now, but it may succeed. */
static bool work_under_lock(struct rebuild *r, unsigned groups, const char *before, bool *again,
                            struct err *err)
{
    const char *after, *keys;
    if (!read_surroundings(r, &after, err))
        return false;
    *again = strcmp(before, after) != 0;
    if (*again)
        return err_set(err, SQLSTATE_LOCK_NOT_AVAILABLE, "the table was altered meanwhile");
    if (!limit_waits(r, err) || !owner_run(r, 0, err) || !owner_take(r, &keys, err))
        return false;
    *again = keys[0] == '-';
    if (*again)
        return err_set(err, SQLSTATE_LOCK_NOT_AVAILABLE, "the table was truncated meanwhile");
    for (unsigned i = 1; i <= groups; i++)
        if (!limit_waits(r, err) || !owner_run(r, i, err))
            return false;
    for (unsigned i = 0; i <= groups; i++)
        if (!owner_drop(r, i, err))
            return false;
    return limit_waits(r, err);
}

static bool finish_steps(struct rebuild *r, struct err *err)
{
    return rebuild_query(r, "SELECT hologres.take_swap($1)", NULL, err) &&
           step_finish(r, STEP_SET_READONLY, "", err) &&
           step_finish(r, STEP_CHECK_SNAPSHOT, "", err) &&
           (strcmp(r->capture, "key") != 0 || step_finish(r, STEP_RE_INSERT, "", err)) &&
           step_finish(r, STEP_SWAP, "", err);
}

static bool try_swap(struct rebuild *r, struct lock_attempts *l, bool *again, struct err *err)
{
    const char *before;
    unsigned groups;
    return job_begin(r->job, err) && check_source(r, err) && read_surroundings(r, &before, err) &&
           prepare_swap(r, &groups, err) && lock_all(r, l, err) &&
           work_under_lock(r, groups, before, again, err) && finish_steps(r, err) &&
           job_commit(r->job, 0, "{}", err);
}

bool swap_tables(struct rebuild *r, struct err *err)
{
    struct lock_attempts l = {0};
    bool key = strcmp(r->capture, "key") == 0;
    job_phase(r->job, "swap");
    if (!step_start(r, r->waits ? STEP_SWAP : STEP_SET_READONLY, "", err))
        return false;
    for (;;) {
        bool again = false;
        if (try_swap(r, &l, &again, err))
            return true;
        if (!lock_again(r, &l, err) || (key && !copy_catch_up(r, err)))
            return false;
    }
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
