/* The proxy's part is small: it carries a sealed text from the function to take_request, which knows
 * whether it is genuine, and says whether the session is in a transaction block. Who raises such a
 * message by hand reaches take_request, where the seal tells who asks, and no more.
 *
 *   NoticeResponse PV001 ──► `sent`: one query at a time on the control connection
 *                            `last`: the latest message; one that comes while a query is under way
 *                                    waits here, so a flood of them costs one query at a time
 *
 * When the session ends while a function waits, its server process would not notice before it writes
 * to the client: withdraw_request makes it end. */
#include "asking.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "protocol/server_msg.h"

#include "control.h"
#include "session.h"

#define ASKING_SQLSTATE "PV001"
#define ASKING_MAX_BYTES ((size_t)32768)

struct asking {
    struct session *session; /* borrows */
    struct control_ask *sent;
    char *last;    /* owns; what was asked last, as long as somebody may wait for it */
    bool in_block; /* of `last` */
    bool has_next; /* `last` is still to be sent */
};

static bool is_plain(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/' || c == '=' || c == '.';
}

bool asking_read(struct slice body, struct slice *message)
{
    struct slice state;
    if (!wire_error_find(body, 'C', &state) || !slice_equals_cstr(state, ASKING_SQLSTATE) ||
        !wire_error_find(body, 'D', message) || message->len == 0 ||
        message->len > ASKING_MAX_BYTES)
        return false;
    for (size_t i = 0; i < message->len; i++)
        if (!is_plain(message->data[i]))
            return false;
    return true;
}

/* ---- the control connection ---- */

static void on_taken(void *arg, const struct control_result *result, const struct err *err);

static void send_last(struct asking *a)
{
    struct session *s = a->session;
    const char *params[] = {a->last, a->in_block ? "true" : "false"};
    a->has_next = false;
    a->sent = control_query(s->group->shared->control, s->group->loop, slice_cstr(s->dbname),
                            "SELECT pgveneer.take_request($1, $2::pg_catalog.bool)", params, 2,
                            on_taken, a);
}

/* What somebody made up is nothing to worry about. */
static bool is_refusal(const struct err *err)
{
    return strncmp(err->sqlstate, "22", 2) == 0 || strcmp(err->sqlstate, "28000") == 0;
}

static void on_taken(void *arg, const struct control_result *result, const struct err *err)
{
    struct asking *a = arg;
    (void)result;
    a->sent = NULL;
    if (err != NULL)
        log_err(is_refusal(err) ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, a->session->who,
                "a request cannot be taken", err);
    if (a->has_next && a->last != NULL)
        send_last(a);
}

static struct asking *find_or_make(struct session *s)
{
    if (s->asking == NULL)
        s->asking = calloc(1, sizeof *s->asking);
    if (s->asking != NULL)
        s->asking->session = s;
    return s->asking;
}

bool asking_on_notice(struct session *s, struct slice body)
{
    struct slice message;
    if (s->group->shared->control == NULL || !asking_read(body, &message))
        return false;
    struct asking *a = find_or_make(s);
    char *text = a == NULL ? NULL : strndup(message.data, message.len);
    if (text == NULL)
        return true; /* nobody answers: the function says so */
    log_debug(s->who, "a function asks, %zu bytes", message.len);
    free(a->last);
    a->last = text;
    a->in_block = s->owed.status != 'I' || s->owed.completed;
    a->has_next = true;
    if (a->sent == NULL)
        send_last(a);
    return true;
}

void asking_on_ready(struct session *s)
{
    if (s->asking == NULL)
        return;
    free(s->asking->last);
    s->asking->last = NULL;
}

static void withdraw(struct session *s, const char *message)
{
    const char *params[] = {message};
    struct control_ask *ask =
        control_query(s->group->shared->control, s->group->loop, slice_cstr(s->dbname),
                      "SELECT pgveneer.withdraw_request($1)", params, 1, on_taken, NULL);
    if (ask != NULL)
        control_forget(ask);
}

void asking_end(struct session *s)
{
    struct asking *a = s->asking;
    if (a == NULL)
        return;
    if (a->sent != NULL)
        control_forget(a->sent);
    if (a->last != NULL)
        withdraw(s, a->last);
    free(a->last);
    free(a);
    s->asking = NULL;
}
