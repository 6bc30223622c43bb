/* The way that copies the rows, up to the swap.
 *
 *   create_tmp_table         an empty table LIKE the source, with the actions applied
 *   get_src_table_snapshot   triggers that log the keys of changed rows; the table is cut into slices
 *   insert                   slices ── first pass ── indexes ── rounds, until few keys are left
 *                            (slices.c)              (indexes.c)
 *
 * There is no common snapshot. Each slice is a transaction of its own and reads what is there; a row
 * that was changed since the triggers exist is in the log, whatever became of it. A round takes all
 * logged keys that are visible, deletes them from the copy and reads them from the source again, in one
 * statement. After the first one the copy is the source as of a moment, so unique indexes can be built;
 * before, a row that moved between two slices may be there twice.
 *
 * So everything here can be repeated: a slice is done with its transaction, a round takes its keys from
 * the log in the transaction that applies them. A table that was written anew meanwhile (TRUNCATE, VACUUM
 * FULL) has another file and other row addresses: the slices are cut again.
 *
 * A table without key cannot be followed: it is read-only until the swap. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "children.h"
#include "copy.h"
#include "pool.h"

#define SMALL_ROUND 20000
#define MAX_ROUNDS 50
#define MAX_NEW_PARTITIONS 20 /* in one run, by surprise */

/* Runs each row of a query, whose first column is a statement. */
bool copy_run_each(struct rebuild *r, const char *query, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query(r, query, &res, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < pgresult_rows(res); i++)
        ok = pgclient_run(r->job->db, pgresult_value(res, i, 0), err);
    pgresult_free(res);
    return ok;
}

static bool finish_alone(struct rebuild *r, enum rebuild_step step, struct err *err)
{
    return job_begin(r->job, err) && step_finish(r, step, "", err) && job_commit_step(r->job, err);
}

/* --- create_tmp_table ------------------------------------------------------------------------------- */

bool copy_create(struct rebuild *r, struct err *err)
{
    const char *body, *plan;
    bool done;
    if (!step_is_done(r, STEP_CREATE_TMP_TABLE, &done, err) || done)
        return done;
    job_phase(r->job, "create");
    return step_start(r, STEP_CREATE_TMP_TABLE, "", err) && job_begin(r->job, err) &&
           rebuild_fetch(r, "SELECT hologres.create_copy_body($1)", &body, err) &&
           owner_prepare(r, 0, r->owner, body, err) && owner_run(r, 0, err) &&
           owner_take(r, &plan, err) && owner_drop(r, 0, err) &&
           rebuild_query2(r, "SELECT hologres.take_copy($1, $2::jsonb)", plan, NULL, err) &&
           step_finish(r, STEP_CREATE_TMP_TABLE, "", err) && job_commit_step(r->job, err);
}

/* --- get_src_table_snapshot -------------------------------------------------------------------------- */

static bool try_capture(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    char *lock = arena_printf(&r->a, "LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE", r->name);
    bool log = strcmp(r->capture, "key") == 0;
    if (lock == NULL)
        return err_no_memory(err);
    if (!job_begin(r->job, err) ||
        (log && !copy_run_each(r, "SELECT hologres.log_statements($1)", err)) ||
        !lock_attempt(r, l, err) || !pgclient_run(r->job->db, lock, err))
        return false;
    if (log ? !copy_run_each(r, "SELECT hologres.capture_statements($1)", err)
            : !copy_run_each(r,
                             "SELECT s FROM hologres.rebuild r, hologres.mark_statements("
                             "r.relid, $1) s"
                             " WHERE r.query_id = $1 AND NOT hologres.is_readonly(r.relid)",
                             err))
        return false;
    return job_commit_step(r->job, err);
}

bool copy_has_capture(struct rebuild *r, bool *has, struct err *err)
{
    const char *text;
    if (!rebuild_fetch(r, "SELECT hologres.is_followed($1)", &text, err))
        return false;
    *has = text[0] == 't';
    return true;
}

/* Those of a partitioned source, or one for each value that is in the table now; nothing for a plain copy. */
static bool make_partitions(struct rebuild *r, struct err *err)
{
    const char *parted, *body;
    if (!children_sync(r, err) ||
        !rebuild_fetch(r, "SELECT hologres.partition_list($1) IS NOT NULL", &parted, err))
        return false;
    if (parted[0] != 't')
        return true;
    return step_tell(r, err, "makes partitions") && job_begin(r->job, err) &&
           rebuild_fetch(r, "SELECT hologres.partitions_body($1)", &body, err) &&
           owner_prepare(r, 0, r->owner, body, err) && owner_run(r, 0, err) &&
           owner_drop(r, 0, err) && job_commit_step(r->job, err);
}

bool copy_add_partition(struct rebuild *r, unsigned *times, struct err *err)
{
    if (strcmp(err->sqlstate, "23514") != 0 || strstr(err->message, "no partition of") == NULL ||
        ++*times > MAX_NEW_PARTITIONS)
        return false;
    job_rollback(r->job);
    return make_partitions(r, err);
}

bool copy_snapshot(struct rebuild *r, struct err *err)
{
    struct lock_attempts l = {.beside_readers = true};
    bool done, has;
    if (!step_is_done(r, STEP_GET_SRC_TABLE_SNAPSHOT, &done, err) || done)
        return done;
    job_phase(r->job, "capture");
    if (!step_start(r, STEP_GET_SRC_TABLE_SNAPSHOT,
                    strcmp(r->capture, "key") == 0
                        ? ""
                        : "the table has no key: it is read-only until the end",
                    err) ||
        !copy_has_capture(r, &has, err))
        return false;
    while (!has) {
        has = try_capture(r, &l, err);
        if (!has && !lock_again(r, &l, err))
            return false;
    }
    return make_partitions(r, err) && job_begin(r->job, err) &&
           rebuild_query(r, "SELECT hologres.cut_slices($1)", NULL, err) &&
           step_finish(r, STEP_GET_SRC_TABLE_SNAPSHOT, "", err) && job_commit_step(r->job, err);
}

/* --- rounds ---------------------------------------------------------------------------------------------- */

static bool reload(struct rebuild *r, struct err *err)
{
    const char *body;
    return step_tell(r, err, "the table was truncated: it is read again") &&
           job_begin(r->job, err) && children_hold(r, err) &&
           rebuild_fetch(r, "SELECT hologres.reload_body($1)", &body, err) &&
           owner_prepare(r, 0, r->owner, body, err) && owner_run(r, 0, err) &&
           owner_drop(r, 0, err) && job_commit_step(r->job, err);
}

static bool count_log(struct rebuild *r, int64_t *rows, struct err *err)
{
    struct pgresult *res;
    char *count =
        arena_printf(&r->a, "SELECT count(*) FROM hologres.rebuild_log_%s", r->job->task_id);
    if (count == NULL)
        return err_no_memory(err);
    if (!pgclient_query(r->job->db, count, 0, NULL, &res, err))
        return false;
    *rows = pgresult_int(res, 0, 0, 0);
    pgresult_free(res);
    return true;
}

static bool round_once(struct rebuild *r, bool small, int64_t *keys, struct err *err)
{
    const char *body, *value;
    char *vacuum = arena_printf(&r->a, "VACUUM hologres.rebuild_log_%s", r->job->task_id);
    if (vacuum == NULL)
        return err_no_memory(err);
    if (!job_begin(r->job, err) || !children_hold(r, err) ||
        !rebuild_fetch(r,
                       small ? "SELECT hologres.round_body($1, true)"
                             : "SELECT hologres.round_body($1, false)",
                       &body, err) ||
        !owner_prepare(r, 0, r->owner, body, err) || !owner_run(r, 0, err) ||
        !owner_take(r, &value, err) || !owner_drop(r, 0, err))
        return false;
    *keys = strtoll(value, NULL, 10);
    if (*keys < 0) { /* TRUNCATE: the log keeps everything, and all is read again */
        job_rollback(r->job);
        return reload(r, err);
    }
    return job_note_progress(r->job, err) && job_commit_step(r->job, err) &&
           pgclient_run(r->job->db, vacuum, err);
}

bool copy_catch_up(struct rebuild *r, struct err *err)
{
    int64_t rows = 0, keys = 0;
    unsigned surprises = 0;
    for (unsigned round = 0; round < MAX_ROUNDS; round++) {
        if (job_must_stop(r->job))
            return err_set(err, SQLSTATE_QUERY_CANCELED, "the run stops");
        if (!throttle_wait(r, err) || !children_sync(r, err) || !count_log(r, &rows, err))
            return false;
        if (rows == 0)
            return true;
        if (!round_once(r, rows < SMALL_ROUND, &keys, err)) {
            if (!copy_add_partition(r, &surprises, err))
                return false;
            continue;
        }
        if (keys >= 0 && rows < r->switch_rows)
            return true;
        if (!step_tell(r, err, "round %u brought %" PRId64 " keys", round + 1, keys))
            return false;
    }
    return true;
}

/* --- insert ---------------------------------------------------------------------------------------------- */

static bool first_pass(struct rebuild *r, struct err *err)
{
    const char *passed;
    int64_t keys = 0;
    if (!rebuild_fetch(r, "SELECT plan ? 'passed' FROM hologres.rebuild WHERE query_id = $1",
                       &passed, err))
        return false;
    if (passed[0] == 't' || strcmp(r->capture, "key") != 0)
        return true;
    job_phase(r->job, "pass");
    if (!step_tell(r, err, "brings changed rows") || !children_sync(r, err))
        return false;
    unsigned surprises = 0;
    while (!round_once(r, false, &keys, err))
        if (!copy_add_partition(r, &surprises, err))
            return false;
    return job_begin(r->job, err) &&
           rebuild_query(r,
                         "UPDATE hologres.rebuild SET plan = plan || '{\"passed\": true}'"
                         " WHERE query_id = $1",
                         NULL, err) &&
           job_commit_step(r->job, err);
}

/* Of an expression there are statistics only once it has its index. */
static bool analyze(struct rebuild *r, bool early, struct err *err)
{
    const char *due;
    char *sql = arena_printf(&r->a, "ANALYZE %s", r->new_name);
    if (sql == NULL)
        return err_no_memory(err);
    if (!rebuild_fetch(r,
                       early ? "SELECT hologres.can_be_analyzed($1, true)"
                             : "SELECT hologres.can_be_analyzed($1, false)",
                       &due, err))
        return false;
    return due[0] != 't' ||
           (step_tell(r, err, "collects statistics") && job_begin(r->job, err) &&
            pgclient_run(r->job->db, sql, err) &&
            rebuild_query(r,
                          "UPDATE hologres.rebuild SET plan = plan || '{\"analyzed\": true}'"
                          " WHERE query_id = $1",
                          NULL, err) &&
            job_commit_step(r->job, err));
}

/* The first pass and the statistics do not keep each other waiting. */
static bool pass_and_analyze(struct rebuild *r, struct pool *p, void *arg, struct err *err)
{
    atomic_int *next = arg;
    while (!pool_is_ending(p)) {
        switch (atomic_fetch_add(next, 1)) {
        case 0:
            if (!first_pass(r, err))
                return false;
            break;
        case 1:
            if (!analyze(r, true, err))
                return false;
            break;
        default: return true;
        }
    }
    return true;
}

static bool fill_copy(struct rebuild *r, struct pool *p, struct err *err)
{
    atomic_int next = 0;
    return slices_copy(r, p, err) && pool_run(p, 2, pass_and_analyze, &next, err) &&
           indexes_build(r, p, err) && analyze(r, false, err);
}

bool copy_insert(struct rebuild *r, struct err *err)
{
    bool done;
    if (!step_is_done(r, STEP_INSERT, &done, err) || done)
        return done;
    if (!step_start(r, STEP_INSERT, "", err))
        return false;
    struct pool *p = pool_new(r);
    bool ok = p == NULL ? err_no_memory(err) : fill_copy(r, p, err);
    pool_free(p);
    if (!ok)
        return false;
    job_phase(r->job, "rounds");
    if (strcmp(r->capture, "key") == 0 && !copy_catch_up(r, err))
        return false;
    return finish_alone(r, STEP_INSERT, err);
}
