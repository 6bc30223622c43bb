/* A statement of the declaring session may wait for one of its own workers: an ALTER of the table that the
 * worker reads, say. PostgreSQL sees no deadlock there, since the worker waits for its reader outside of the
 * database. So while workers read, a look is taken every second: a statement that has run since the last
 * look may be waiting, and then the service login asks by whom the session's server process is blocked.
 * Workers among those lose their endpoints. The statement goes on, and the server says what is wrong with
 * it (55006: the cursor still uses the table). */
#include "cursor.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"

#include "control.h"
#include "dispatch.h"
#include "session.h"

#define LOOK_EVERY_MS 1000
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
    if (gone > 0)
        log_info(s->who, "%zu endpoints blocked a statement of their own session", gone);
}

static void ask(struct session *s)
{
    struct cursors *c = s->vendor->cursors;
    char pid[16];
    const char *const params[] = {pid};
    snprintf(pid, sizeof pid, "%u", s->server_pid);
    c->watch_ask = control_query(
        s->group->shared->control, s->group->loop, slice_cstr(s->dbname),
        "SELECT pg_catalog.array_to_string(pg_catalog.pg_blocking_pids($1::pg_catalog.int4), ',')",
        params, 1, on_blockers, s);
}

static void on_look(void *arg)
{
    struct session *s = arg;
    struct cursors *c = s->vendor->cursors;
    bool is_busy = !response_queue_is_empty(&s->owed) && !cursor_fetch_is_active(s);
    if (!cursor_has_open(s->vendor))
        return;
    if (is_busy && c->was_busy && c->watch_ask == NULL &&
        endpoint_has_workers(s->group->shared->endpoints, c->declarer))
        ask(s);
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
