/* Strong locks without a stall. A request that waits for ACCESS EXCLUSIVE keeps everybody behind it
 * waiting, so no request waits long: the first attempts give up after a millisecond, later ones after
 * the cap, and between two of them there is a pause in which the queue behind us runs empty. Nobody's
 * statement is ever cancelled; the step's message tells whose lock it is.
 *
 *   attempts   lock_timeout   pause
 *   1 to 20    1 ms           20 to 60 ms
 *   later      30 ms          100 ms, growing to 1 s
 *   after 60 s 200 ms         1 s */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "rebuild.h"

#define QUICK_ATTEMPTS 20
#define PATIENCE_MS 60000

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static int timeout_ms(const struct lock_attempts *l)
{
    if (l->count <= QUICK_ATTEMPTS)
        return 1;
    return clock_ms() - l->start_ms < PATIENCE_MS ? 30 : 200;
}

static int pause_ms(const struct lock_attempts *l)
{
    if (l->count <= QUICK_ATTEMPTS)
        return 20 + (int)(random() % 40);
    unsigned wait = 100 * (l->count - QUICK_ATTEMPTS);
    return (int)(wait > 1000 ? 1000 : wait) + (int)(random() % 50);
}

bool lock_attempt(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    char sql[64];
    if (l->count++ == 0)
        l->start_ms = clock_ms();
    snprintf(sql, sizeof sql, "SET LOCAL lock_timeout = %d", timeout_ms(l));
    return pgclient_run(r->job->db, sql, err);
}

/* Who holds a lock on the table, for the message. */
static void tell_holders(struct rebuild *r, struct err *err)
{
    struct pgresult *res;
    char holders[200];
    const char *const values[] = {r->relid};
    if (!pgclient_query(r->job->db,
                        "SELECT pg_catalog.string_agg(DISTINCT pid::text, ', ')"
                        "  FROM pg_catalog.pg_locks WHERE relation = $1::oid AND granted"
                        "   AND pid <> pg_catalog.pg_backend_pid()",
                        1, values, &res, err))
        return;
    const char *pids = pgresult_value(res, 0, 0);
    snprintf(holders, sizeof holders, "%s", pids == NULL ? "" : pids);
    pgresult_free(res);
    if (holders[0] != '\0' && !step_tell(r, err, "waits for a lock that process %s holds", holders))
        return;
}

bool lock_again(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    struct err ignored;
    bool busy = strcmp(err->sqlstate, SQLSTATE_LOCK_NOT_AVAILABLE) == 0 ||
                strcmp(err->sqlstate, SQLSTATE_DEADLOCK_DETECTED) == 0;
    job_rollback(r->job);
    if (!busy || job_must_stop(r->job))
        return false;
    if (l->count % 10 == QUICK_ATTEMPTS % 10)
        tell_holders(r, &ignored);
    poll(NULL, 0, pause_ms(l));
    return !job_must_stop(r->job);
}
