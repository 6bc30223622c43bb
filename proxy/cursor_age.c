/* The age limit of parallel retrieve cursors (setting parallel_cursor_max_age).
 *
 * A cursor's snapshot keeps VACUUM from removing rows, and it lives as long as the declaring transaction:
 * to close the cursor would not free it. So, as with PostgreSQL's own limits on transactions, the session
 * ends. Its endpoints go with it, and their readers are told.
 *
 * The oldest cursor is the first in the list, so one timer does. */
#include "cursor.h"

#include "base/log.h"
#include "protocol/client_msg.h"

#include "cancel.h"
#include "dispatch.h"
#include "session.h"

#define SQLSTATE_TRANSACTION_TIMEOUT "25P04"

static void on_sent(void *arg)
{
    (void)arg;
}

/* A statement that runs would go on without its client. */
static void stop_server(struct session *s)
{
    struct wire_cancel m = {s->server_pid, slice_of(s->server_key, s->server_key_bytes)};
    if (!response_queue_is_empty(&s->owed) &&
        !cancel_send(s->group->loop, &s->group->shared->backend, &m, on_sent, NULL))
        log_warning(s->who, "out of memory: the request to cancel a statement was not sent");
}

static void on_age(void *arg)
{
    struct session *s = arg;
    struct cursors *c = s->vendor->cursors;
    uint64_t now = loop_now_ms();
    struct err err;
    if (list_is_empty(&c->open))
        return;
    const struct cursor_open *oldest = LIST_ENTRY(list_first(&c->open), struct cursor_open, link);
    if (oldest->ends_ms > now) {
        timer_start(c->age, oldest->ends_ms - now);
        return;
    }
    log_info(s->who, "parallel retrieve cursor \"%s\" is older than parallel_cursor_max_age",
             oldest->shared->name);
    stop_server(s);
    err_set(&err, SQLSTATE_TRANSACTION_TIMEOUT,
            "terminating connection because a parallel retrieve cursor is too old");
    session_refuse(s, &err);
}

bool cursor_age_start(struct session *s, struct cursor_open *o)
{
    struct cursors *c = s->vendor->cursors;
    uint64_t max_ms = s->group->shared->config->parallel_cursor_max_age_ms;
    if (max_ms == 0)
        return true;
    if (c->age == NULL)
        c->age = timer_new(s->group->loop, on_age, s);
    if (c->age == NULL)
        return false;
    o->ends_ms = loop_now_ms() + max_ms;
    if (list_is_empty(&c->open))
        timer_start(c->age, max_ms);
    return true;
}

void cursor_age_stop(struct cursors *c)
{
    if (c->age != NULL)
        timer_stop(c->age);
}
