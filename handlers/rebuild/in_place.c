/* The way that copies nothing: PostgreSQL changes the catalog, and what has to be proved about the rows
 * first is proved beside the writers.
 *
 *   step insert   SET NOT NULL    a check NOT VALID (a lock for an instant), then VALIDATE
 *                 PRIMARY KEY     CREATE UNIQUE INDEX CONCURRENTLY
 *   step swap     one transaction with all ALTERs, under a lock that nobody waits for (lock.c)
 *
 * Each part can be repeated: a check or index that is there and valid is taken as it is, one that is not
 * valid is dropped and made again. After an error both are dropped at once, since a check that is not
 * validated would already refuse rows. */
#include <string.h>

#include "base/log.h"

#include "copy.h"

static bool in_transaction(struct rebuild *r, const char *sql, struct err *err)
{
    return job_begin(r->job, err) && pgclient_run(r->job->db, sql, err) &&
           job_commit_step(r->job, err);
}

static bool under_lock(struct rebuild *r, const char *sql, struct err *err)
{
    struct lock_attempts l = {0};
    do {
        if (job_begin(r->job, err) && lock_attempt(r, &l, err) &&
            pgclient_run(r->job->db, sql, err) && job_commit_step(r->job, err))
            return true;
    } while (lock_again(r, &l, err));
    return false;
}

/* The words that ALTER TABLE has for it. */
static void blame_null(struct err *err, const char *column)
{
    if (strcmp(err->sqlstate, "23514") == 0)
        err_set(err, SQLSTATE_NOT_NULL_VIOLATION, "column \"%s\" contains null values", column);
}

static bool prove_not_null(struct rebuild *r, const char *column, const char *constraint,
                           bool exists, bool is_valid, struct err *err)
{
    char *col = pgclient_quote_name(&r->a, column);
    char *name = pgclient_quote_name(&r->a, constraint);
    char *add =
        arena_printf(&r->a, "ALTER TABLE %s ADD CONSTRAINT %s CHECK (%s IS NOT NULL) NOT VALID",
                     r->name, name == NULL ? "" : name, col == NULL ? "" : col);
    char *validate = arena_printf(&r->a, "ALTER TABLE %s VALIDATE CONSTRAINT %s", r->name,
                                  name == NULL ? "" : name);
    if (col == NULL || name == NULL || add == NULL || validate == NULL)
        return err_no_memory(err);
    if (is_valid)
        return true;
    if (!step_tell(r, err, "looks for nulls in column \"%s\"", column) ||
        (!exists && !under_lock(r, add, err)))
        return false;
    if (in_transaction(r, validate, err))
        return true;
    blame_null(err, column);
    return false;
}

static bool prove_all(struct rebuild *r, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query(r, "SELECT * FROM hologres.not_null_checks($1)", &res, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < pgresult_rows(res); i++)
        ok = prove_not_null(r, pgresult_value(res, i, 0), pgresult_value(res, i, 1),
                            pgresult_value(res, i, 2) != NULL, pgresult_bool(res, i, 2), err);
    pgresult_free(res);
    return ok;
}

/* Outside a transaction: CREATE INDEX CONCURRENTLY. Nothing depends on it before the swap. */
static bool build_index(struct rebuild *r, const char *name, bool exists, const char *statement,
                        struct err *err)
{
    char *drop = arena_printf(&r->a, "DROP INDEX CONCURRENTLY %s", name);
    if (drop == NULL)
        return err_no_memory(err);
    if (!step_tell(r, err, "builds index %s", name) || job_must_stop(r->job))
        return false;
    return (!exists || pgclient_run(r->job->db, drop, err)) &&
           copy_run_each(r, "SELECT hologres.setting_statements($1, false)", err) &&
           pgclient_run(r->job->db, statement, err) && pgclient_reset(r->job->db, err);
}

static bool build_all(struct rebuild *r, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query(r, "SELECT * FROM hologres.concurrent_indexes($1)", &res, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < pgresult_rows(res); i++)
        if (!pgresult_bool(res, i, 1))
            ok = build_index(r, pgresult_value(res, i, 0), pgresult_value(res, i, 1) != NULL,
                             pgresult_value(res, i, 2), err);
    pgresult_free(res);
    return ok;
}

/* What the proofs left behind, after an error. */
static void drop_proofs(struct rebuild *r)
{
    struct pgresult *res;
    struct err err;
    if (!rebuild_query(r, "SELECT * FROM hologres.cleanup_statements($1)", &res, &err))
        return;
    for (size_t i = 0; i < pgresult_rows(res); i++)
        if (!under_lock(r, pgresult_value(res, i, 0), &err))
            log_err(LOG_LEVEL_WARNING, r->job->task_id, "could not clean up", &err);
    pgresult_free(res);
}

bool in_place_prepare(struct rebuild *r, struct err *err)
{
    const char *needed;
    if (!rebuild_fetch(r,
                       "SELECT EXISTS (SELECT FROM hologres.not_null_checks($1)) OR"
                       "       EXISTS (SELECT FROM hologres.concurrent_indexes($1))",
                       &needed, err))
        return false;
    if (needed[0] != 't')
        return true;
    job_phase(r->job, "prove");
    if (!step_start(r, STEP_INSERT, "", err))
        return false;
    if (prove_all(r, err) && build_all(r, err))
        return job_begin(r->job, err) && step_finish(r, STEP_INSERT, "", err) &&
               job_commit_step(r->job, err);
    if (!job_must_stop(r->job) && !err_is_transient(err)) {
        job_rollback(r->job);
        drop_proofs(r);
    }
    return false;
}

/* Functions: 0 changes the table, those up to `before` come first, the others behind. */
static bool prepare_functions(struct rebuild *r, const char *body, unsigned *before,
                              unsigned *count, struct err *err)
{
    *count = 0;
    if (!owner_prepare(r, 0, r->owner, body, err) ||
        !owner_prepare_each(r, "SELECT role, statement FROM hologres.in_place_before($1)", count,
                            err))
        return false;
    *before = *count;
    return owner_prepare_each(r, "SELECT role, statement FROM hologres.in_place_behind($1)", count,
                              err);
}

static bool run_functions(struct rebuild *r, unsigned before, unsigned count, struct err *err)
{
    for (unsigned i = 1; i <= before; i++)
        if (!owner_run(r, i, err))
            return false;
    if (!owner_run(r, 0, err))
        return false;
    for (unsigned i = before + 1; i <= count; i++)
        if (!owner_run(r, i, err))
            return false;
    for (unsigned i = 0; i <= count; i++)
        if (!owner_drop(r, i, err))
            return false;
    return true;
}

static bool try_swap(struct rebuild *r, struct lock_attempts *l, const char *body, struct err *err)
{
    unsigned before, count;
    return job_begin(r->job, err) && prepare_functions(r, body, &before, &count, err) &&
           lock_attempt(r, l, err) &&
           copy_run_each(r, "SELECT hologres.in_place_locks($1)", err) &&
           run_functions(r, before, count, err) &&
           pgclient_run(r->job->db, "SET LOCAL lock_timeout = 100", err) &&
           rebuild_query(r, "SELECT hologres.finish($1)", NULL, err) &&
           step_finish(r, STEP_SET_READONLY, "", err) && step_finish(r, STEP_SWAP, "", err) &&
           job_commit(r->job, 0, "{}", err);
}

bool in_place_swap(struct rebuild *r, struct err *err)
{
    const char *body;
    struct lock_attempts l = {0};
    job_phase(r->job, "swap");
    if (!step_start(r, STEP_SWAP, "", err) ||
        !rebuild_fetch(r, "SELECT hologres.in_place_body($1)", &body, err))
        return false;
    do {
        if (try_swap(r, &l, body, err))
            return true;
    } while (lock_again(r, &l, err));
    return false;
}
