/* Waits that PostgreSQL does not see as deadlocks, since one of those who wait does so outside of the database.
 *
 * A statement of the declaring session may wait for one of its own workers: an ALTER of the table that the
 * worker reads, say. While workers read, a look is taken every second: a statement that has run since the
 * last look may be waiting, and then the service login asks by whom the session's server process is
 * blocked. Workers among those lose their endpoints. The statement goes on, and the server says what is
 * wrong with it (55006: the cursor still uses the table).
 *
 * A worker that is about to declare its cursor may wait for the declaring session: for a LOCK TABLE of its,
 * or in the queue behind somebody's ALTER TABLE that waits for it. That ends with the declaring
 * transaction, whose client may wait for the endpoint. A worker that has not come through after
 * STUCK_LOOKS, and waits so, loses its endpoint too. */
#include "cursor.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#include "control.h"
#include "dispatch.h"
#include "session.h"
#include "vendor.h"

#define LOOK_EVERY_MS 1000
#define STUCK_LOOKS 5u
#define MAX_BLOCKERS 256

static void on_blockers(void *arg, const struct control_result *result, const struct err *err)
{
    struct session *s = arg;
    struct cursors *c = s->vendor->cursors;
    uint32_t pids[MAX_BLOCKERS];
    size_t count = 0;
    c->watch_ask = NULL;
    if (err != NULL || result->nrows != 1 || result->values[0].is_null) {
        if (err != NULL)
            log_err(LOG_LEVEL_WARNING, s->who, "could not ask who blocks the session", err);
        return;
    }
    struct slice list = result->values[0].bytes;
    while (list.len > 0 && count < MAX_BLOCKERS) {
        size_t end = slice_find_byte(list, ',');
        uint32_t pid = 0;
        for (size_t i = 0; i < end; i++)
            pid = pid * 10 + (uint32_t)(list.data[i] - '0');
        pids[count++] = pid;
        list = slice_part(list, end < list.len ? end + 1 : end, list.len);
    }
    size_t gone = endpoint_expel(s->group->shared->endpoints, c->declarer, pids, count);
    if (gone == 0)
        return;
    log_info(s->who, "%zu endpoints waited for their own session, or it for them", gone);
    vendor_on_advance(s); /* it may wait for them in a CHECK */
}

/* Who blocks the session's process, $1, and which of $2 wait for it, in the end. */
static const char blockers[] =
    "WITH stuck (pid, by) AS (SELECT p, pg_catalog.pg_blocking_pids(p) "
    "FROM pg_catalog.unnest($2::pg_catalog.int4[]) p) "
    "SELECT pg_catalog.array_to_string(pg_catalog.pg_blocking_pids($1::pg_catalog.int4) || "
    "ARRAY(SELECT pid FROM stuck WHERE $1::pg_catalog.int4 = ANY (by) OR EXISTS (SELECT FROM "
    "pg_catalog.unnest(by) b WHERE $1::pg_catalog.int4 = ANY (pg_catalog.pg_blocking_pids(b)))), "
    "',')";

static void ask(struct session *s, const uint32_t *stuck, size_t count)
{
    struct cursors *c = s->vendor->cursors;
    char pid[16], list[MAX_BLOCKERS * 12 + 3];
    const char *const params[] = {pid, list};
    size_t n = 0;
    snprintf(pid, sizeof pid, "%u", s->server_pid);
    list[n++] = '{';
    for (size_t i = 0; i < count; i++)
        n += (size_t)snprintf(list + n, sizeof list - n, i == 0 ? "%u" : ",%u", stuck[i]);
    snprintf(list + n, sizeof list - n, "}");
    c->watch_ask = control_query(s->group->shared->control, s->group->loop, slice_cstr(s->dbname),
                                 blockers, params, ARRAY_LEN(params), on_blockers, s);
}

static void on_look(void *arg)
{
    struct session *s = arg;
    struct cursors *c = s->vendor->cursors;
    struct endpoint_registry *r = s->group->shared->endpoints;
    uint32_t stuck[MAX_BLOCKERS];
    bool is_busy = !response_queue_is_empty(&s->owed) && !cursor_fetch_is_active(s);
    if (!cursor_has_open(s->vendor))
        return;
    size_t count = endpoint_find_stuck(r, c->declarer, STUCK_LOOKS, stuck, MAX_BLOCKERS);
    bool may_wait = is_busy && c->was_busy && endpoint_has_workers(r, c->declarer);
    if ((may_wait || count > 0) && c->watch_ask == NULL)
        ask(s, stuck, count);
    c->was_busy = is_busy;
    timer_start(c->watch, LOOK_EVERY_MS);
}

bool cursor_watch_start(struct session *s)
{
    struct cursors *c = s->vendor->cursors;
    if (c->watch == NULL)
        c->watch = timer_new(s->group->loop, on_look, s);
    if (c->watch != NULL)
        timer_start(c->watch, LOOK_EVERY_MS);
    return c->watch != NULL;
}

void cursor_watch_stop(struct cursors *c)
{
    if (c->watch != NULL)
        timer_stop(c->watch);
    if (c->watch_ask != NULL)
        control_forget(c->watch_ask);
    c->watch_ask = NULL;
}
