/* The way that copies the rows, up to the swap.
 *
 *   create_tmp_table         an empty table LIKE the source, with the actions applied
 *   get_src_table_snapshot   triggers that log the keys of changed rows; the table is cut into slices
 *   insert                   slices ── first pass ── indexes ── rounds, until few keys are left
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
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "children.h"
#include "copy.h"

#define SMALL_ROUND 20000
#define LAST_ROUND 200
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

/* A value came that has no partition yet: true when it has now, and the work can be done again. */
static bool add_partition(struct rebuild *r, unsigned *times, struct err *err)
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

/* --- slices -------------------------------------------------------------------------------------------- */

struct slice_at {
    char number[16];
    bool moved; /* the table has another file than its slices */
    int64_t done, count;
};

/* Locks the table against being written anew, and finds the next slice; "" for none. */
static bool next_slice(struct rebuild *r, struct slice_at *at, struct err *err)
{
    struct pgresult *res;
    char *lock = arena_printf(&r->a, "LOCK TABLE %s IN ACCESS SHARE MODE", r->name);
    if (lock == NULL)
        return err_no_memory(err);
    if (!pgclient_run(r->job->db, lock, err) ||
        !rebuild_query(
            r,
            "SELECT min(s.slice) FILTER (WHERE NOT s.done),"
            "       hologres.is_moved($1), count(*) FILTER (WHERE s.done), count(*)"
            "  FROM hologres.rebuild r LEFT JOIN hologres.rebuild_slice s USING (query_id)"
            " WHERE r.query_id = $1",
            &res, err))
        return false;
    const char *number = pgresult_value(res, 0, 0);
    snprintf(at->number, sizeof at->number, "%s", number == NULL ? "" : number);
    at->moved = pgresult_bool(res, 0, 1);
    at->done = pgresult_int(res, 0, 2, 0);
    at->count = pgresult_int(res, 0, 3, 0);
    pgresult_free(res);
    return true;
}

/* Begins anew with the table as it is now. */
static bool cut_again(struct rebuild *r, struct err *err)
{
    char *empty = arena_printf(&r->a, "TRUNCATE %s", r->new_name);
    if (empty == NULL)
        return err_no_memory(err);
    return pgclient_run(r->job->db, empty, err) &&
           rebuild_query(r, "SELECT hologres.cut_slices($1)", NULL, err) &&
           job_commit_step(r->job, err);
}

static bool copy_slice(struct rebuild *r, const struct slice_at *at, struct err *err)
{
    struct pgresult *res;
    char message[64];
    if (!rebuild_query2(r, "SELECT hologres.slice_body($1, $2::integer)", at->number, &res, err))
        return false;
    bool ok = owner_prepare(r, 0, r->owner, pgresult_value(res, 0, 0), err);
    pgresult_free(res);
    snprintf(message, sizeof message, "copied %" PRId64 " of %" PRId64 " slices", at->done + 1,
             at->count);
    return ok && owner_run(r, 0, err) && owner_drop(r, 0, err) &&
           rebuild_query2(r,
                          "UPDATE hologres.rebuild_slice SET done = true"
                          " WHERE query_id = $1 AND slice = $2::integer",
                          at->number, NULL, err) &&
           rebuild_query2(r,
                          "UPDATE hologres.rebuild_step SET message = $2"
                          " WHERE query_id = $1 AND step = 'insert'",
                          message, NULL, err) &&
           job_commit_step(r->job, err);
}

static bool copy_slices(struct rebuild *r, struct err *err)
{
    unsigned surprises = 0;
    job_phase(r->job, "slices");
    for (;;) {
        struct slice_at at;
        if (!job_begin(r->job, err) || !next_slice(r, &at, err))
            return false;
        if (at.moved) {
            if (!cut_again(r, err))
                return false;
        } else if (at.number[0] == '\0') {
            return job_commit_step(r->job, err);
        } else if (!copy_slice(r, &at, err) && !add_partition(r, &surprises, err)) {
            return false;
        }
    }
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
    return job_commit_step(r->job, err) && pgclient_run(r->job->db, vacuum, err);
}

bool copy_catch_up(struct rebuild *r, struct err *err)
{
    int64_t rows = 0, keys = 0;
    unsigned surprises = 0;
    for (unsigned round = 0; round < MAX_ROUNDS; round++) {
        if (job_must_stop(r->job))
            return err_set(err, SQLSTATE_QUERY_CANCELED, "the run stops");
        if (!children_sync(r, err) || !count_log(r, &rows, err))
            return false;
        if (rows == 0)
            return true;
        if (!round_once(r, rows < SMALL_ROUND, &keys, err)) {
            if (!add_partition(r, &surprises, err))
                return false;
            continue;
        }
        if (keys >= 0 && rows < LAST_ROUND)
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
        if (!add_partition(r, &surprises, err))
            return false;
    return job_begin(r->job, err) &&
           rebuild_query(r,
                         "UPDATE hologres.rebuild SET plan = plan || '{\"passed\": true}'"
                         " WHERE query_id = $1",
                         NULL, err) &&
           job_commit_step(r->job, err);
}

static bool build_index(struct rebuild *r, const char *definition, const char *constraint,
                        struct err *err)
{
    return job_begin(r->job, err) &&
           copy_run_each(r, "SELECT hologres.setting_statements($1, true)", err) &&
           pgclient_run(r->job->db, definition, err) &&
           (constraint == NULL || pgclient_run(r->job->db, constraint, err)) &&
           job_commit_step(r->job, err);
}

static bool build_indexes(struct rebuild *r, struct err *err)
{
    struct pgresult *res;
    job_phase(r->job, "indexes");
    if (!rebuild_query(r, "SELECT * FROM hologres.missing_indexes($1)", &res, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < pgresult_rows(res); i++)
        ok = step_tell(r, err, "builds index %zu of %zu", i + 1, pgresult_rows(res)) &&
             build_index(r, pgresult_value(res, i, 1), pgresult_value(res, i, 2), err);
    pgresult_free(res);
    return ok;
}

bool copy_insert(struct rebuild *r, struct err *err)
{
    bool done;
    if (!step_is_done(r, STEP_INSERT, &done, err) || done)
        return done;
    char *analyze = arena_printf(&r->a, "ANALYZE %s", r->new_name);
    if (analyze == NULL)
        return err_no_memory(err);
    if (!step_start(r, STEP_INSERT, "", err) || !copy_slices(r, err) || !first_pass(r, err) ||
        !build_indexes(r, err) || !step_tell(r, err, "collects statistics") ||
        !pgclient_run(r->job->db, analyze, err))
        return false;
    job_phase(r->job, "rounds");
    if (strcmp(r->capture, "key") == 0 && !copy_catch_up(r, err))
        return false;
    return finish_alone(r, STEP_INSERT, err);
}
