/* Strong locks without a stall. A request that waits for ACCESS EXCLUSIVE keeps everybody behind it
 * waiting, so no request waits long, and none is made while it has no chance: after an attempt that
 * failed, those who held the table then have to be gone before the next one. Somebody who reads it for
 * seconds costs the writers nothing, and the first moment without him is used.
 *
 *   attempt failed ── who holds it? ── all of them gone ── next attempt, a little more patient
 *                                   └─ somebody stays for a minute: an attempt each second
 *
 *   lock_timeout: 1, 2, 4, 8 … ms up to the cap, 30 ms (rebuild_guc_hg_rebuild_lock_timeout_ms);
 *   after a minute up to 200 ms. After rebuild_guc_hg_rebuild_max_lock_wait_s the step fails.
 *
 * Nobody's statement is ever cancelled; the step's message tells whose lock it is. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rebuild.h"

#define LOOK_MS 10
#define TELL_MS 300
#define PATIENCE_MS 60000
#define PATIENT_CAP_MS 200
#define DESPERATE_PAUSE_MS 1000

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static bool is_patience_over(const struct lock_attempts *l)
{
    return clock_ms() - l->start_ms >= PATIENCE_MS;
}

unsigned lock_timeout_ms(const struct rebuild *r, struct lock_attempts *l)
{
    unsigned cap = r->lock_timeout_ms;
    if (l->count++ == 0)
        l->start_ms = clock_ms();
    if (is_patience_over(l) && cap < PATIENT_CAP_MS)
        cap = PATIENT_CAP_MS;
    unsigned doublings = l->count - 1;
    unsigned wait = doublings < 16 ? 1u << doublings : cap;
    return wait < cap ? wait : cap;
}

bool lock_attempt(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    char sql[64];
    snprintf(sql, sizeof sql, "SET LOCAL lock_timeout = %u", lock_timeout_ms(r, l));
    return pgclient_run(r->job->db, sql, err);
}

bool lock_is_busy(const struct err *err)
{
    return strcmp(err->sqlstate, SQLSTATE_LOCK_NOT_AVAILABLE) == 0 ||
           strcmp(err->sqlstate, SQLSTATE_DEADLOCK_DETECTED) == 0;
}

/* Those of `before` (an array as text, NULL: all) who hold locks in our way now, in the arena. */
static bool find_holders(struct rebuild *r, const struct lock_attempts *l, const char *before,
                         const char **still, struct err *err)
{
    struct pgresult *res;
    const char *const values[] = {r->relid, l->beside_readers ? "false" : "true", before};
    if (!pgclient_query(
            r->job->db,
            "SELECT array_agg(h) FROM unnest(hologres.lock_holders($1::oid, $2::boolean)) h"
            " WHERE $3::text[] IS NULL OR h = ANY ($3::text[])",
            3, values, &res, err))
        return false;
    const char *text = pgresult_value(res, 0, 0);
    *still = text == NULL ? "" : arena_copy_cstr(&r->a, text);
    pgresult_free(res);
    return *still != NULL || err_no_memory(err);
}

bool lock_gap(struct rebuild *r, struct lock_attempts *l, int wait_ms, bool *gap, struct err *err)
{
    int64_t deadline = clock_ms() + wait_ms;
    do {
        const char *still;
        if (job_must_stop(r->job))
            return err_set(err, SQLSTATE_QUERY_CANCELED, "the run stops");
        if (!find_holders(r, l, l->holders, &still, err))
            return false;
        *gap = still[0] == '\0';
        l->holders = *gap ? NULL : still;
        if (*gap)
            return true;
        poll(NULL, 0, LOOK_MS);
    } while (clock_ms() < deadline);
    return true;
}

bool lock_tell(struct rebuild *r, struct err *err)
{
    struct pgresult *res;
    char holders[200];
    const char *const values[] = {r->relid};
    if (!pgclient_query(r->job->db,
                        "SELECT pg_catalog.string_agg(DISTINCT pid::text, ', ')"
                        "  FROM pg_catalog.pg_locks WHERE relation = $1::oid AND granted"
                        "   AND pid <> pg_catalog.pg_backend_pid()",
                        1, values, &res, err))
        return false;
    const char *pids = pgresult_value(res, 0, 0);
    snprintf(holders, sizeof holders, "%s", pids == NULL ? "" : pids);
    pgresult_free(res);
    return holders[0] == '\0' ||
           step_tell(r, err, "waits for a lock that process %s holds", holders);
}

static bool is_wait_over(const struct rebuild *r, const struct lock_attempts *l)
{
    return r->max_lock_wait_s > 0 && clock_ms() - l->start_ms >= (int64_t)r->max_lock_wait_s * 1000;
}

static bool give_up(const struct rebuild *r, struct err *err)
{
    err_set(err, SQLSTATE_OBJECT_IN_USE, "table %s was in use for %u seconds", r->name,
            r->max_lock_wait_s);
    return err_hint(err, "RESUME tries again.");
}

bool lock_is_worth_it(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    job_rollback(r->job);
    if (!lock_is_busy(err) || job_must_stop(r->job))
        return false;
    return is_wait_over(r, l) ? give_up(r, err) : true;
}

/* Nobody who held the table is left, or nothing else helps than to queue. */
static bool wait_for_gap(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    bool gap = false;
    if (!lock_gap(r, l, TELL_MS, &gap, err) || (!gap && !lock_tell(r, err)))
        return false;
    while (!gap && !is_wait_over(r, l)) {
        if (!lock_gap(r, l, DESPERATE_PAUSE_MS, &gap, err))
            return false;
        if (is_patience_over(l))
            break;
    }
    return true;
}

bool lock_again(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    return lock_is_worth_it(r, l, err) && wait_for_gap(r, l, err);
}
