/* Waiting for retrieve sessions: CHECK, and gp_wait_parallel_retrieve_cursor(cursor, seconds).
 *
 * The wait watches the endpoints: it goes on when the declarer is woken (endpoint.h), at a deadline, or
 * when a CancelRequest with the session's key came by. The server is idle meanwhile and may serve
 * fetches (cursor_fetch.c), which is why the function does not wait in the server: the wait is done
 * before the statement is sent, and the function looks at the list that was handed over. Its arguments
 * are literals, or parameters of the Bind at hand; in any other form it does not wait. */
#include "cursor_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/client_msg.h"
#include "proxy/lexer.h"

#include "dispatch.h"
#include "session.h"
#include "vendor.h"

static struct cursors *cursors_of(struct session *s)
{
    return s->vendor->cursors;
}

/* ---- waiting ---- */

static void on_timer(void *arg);

static void arm(struct session *s)
{
    struct cursors *c = cursors_of(s);
    uint64_t now = loop_now_ms();
    if (c->run.deadline_ms == 0)
        return;
    if (c->timer == NULL)
        c->timer = timer_new(s->group->loop, on_timer, s);
    if (c->timer != NULL)
        timer_start(c->timer, c->run.deadline_ms > now ? c->run.deadline_ms - now : 0);
}

/* The loop's clock is coarser than ours: it may be some milliseconds early. */
static void on_timer(void *arg)
{
    struct session *s = arg;
    vendor_on_advance(s);
    if (s->state != SESSION_CLOSING && cursors_of(s)->run.step == CURSOR_WAIT)
        arm(s);
}

static void begin_wait(struct session *s)
{
    struct cursors *c = cursors_of(s);
    cursor_run_enter(s, CURSOR_WAIT);
    if (c->declarer != NULL)
        atomic_store(&c->declarer->party.is_canceled, false);
    arm(s);
    cursor_wait_look(s);
    if (c->run.step != CURSOR_WAIT)
        return;
    cursor_fetch_pump(s);
    session_update_reading(s);
}

/* What statement_timeout says of the wait; a value of 0 means none. */
static void ask_limit(struct session *s)
{
    cursor_run_enter(s, CURSOR_LIMIT);
    inject_query(s, &s->vendor->inject,
                 "SELECT setting FROM pg_catalog.pg_settings WHERE name "
                 "OPERATOR(pg_catalog.=) 'statement_timeout'",
                 dispatch_question_form(&s->vendor->dispatch));
}

void cursor_wait_on_limit(struct session *s)
{
    struct cursor_run *run = &cursors_of(s)->run;
    struct slice value;
    uint64_t limit_ms = 0;
    if (inject_find_value(&s->vendor->inject, 0, &value))
        limit_ms = strtoull(value.data, NULL, 10);
    uint64_t deadline = limit_ms == 0 ? 0 : loop_now_ms() + limit_ms;
    if (deadline != 0 && (run->deadline_ms == 0 || deadline < run->deadline_ms)) {
        run->deadline_ms = deadline;
        run->ends_in_error = true;
    }
    begin_wait(s);
}

/* Has a wait come to an end by itself or by force? */
static bool is_over(struct session *s, struct err *err)
{
    struct cursors *c = cursors_of(s);
    if (c->declarer != NULL && atomic_exchange(&c->declarer->party.is_canceled, false))
        return !err_set(err, SQLSTATE_QUERY_CANCELED, "canceling statement due to user request");
    if (c->run.deadline_ms == 0 || loop_now_ms() < c->run.deadline_ms)
        return false;
    if (c->run.ends_in_error)
        err_set(err, SQLSTATE_QUERY_CANCELED, "canceling statement due to statement timeout");
    return true;
}

static void end_plain_wait(struct session *s)
{
    cursors_of(s)->run.wait_for = NULL;
    cursor_run_feed(s);
}

static void check_done(struct session *s, const char *tag);

/* Looks at the endpoints of the cursor that is waited for. */
void cursor_wait_look(struct session *s)
{
    struct cursors *c = cursors_of(s);
    struct cursor_run *run = &c->run;
    bool exists = false, finished = false;
    struct err failure = {.sqlstate = ""}, err = {.sqlstate = ""};
    bool good = c->declarer == NULL || endpoint_check(s->group->shared->endpoints, c->declarer,
                                                      run->wait_for, &exists, &finished, &failure);
    bool ends = !good || !exists || finished;
    if (!ends && !is_over(s, &err))
        return;
    if (c->timer != NULL)
        timer_stop(c->timer);
    if (err_is_set(&err))
        dispatch_refuse(s, &err);
    else if (!run->is_check)
        end_plain_wait(s);
    else if (!good)
        dispatch_refuse(s, &failure);
    else if (!exists)
        dispatch_refuse(s, (endpoint_refuse_gone(&err), &err));
    else
        check_done(s, "FINISHED");
}

/* ---- gp_wait_parallel_retrieve_cursor in a text ---- */

/* The value of an argument: a literal, or a parameter of the Bind at hand. */
static bool read_argument(struct session *s, struct slice text, const struct token *t,
                          struct slice *value)
{
    struct dispatch *d = &s->vendor->dispatch;
    struct lexer_dialect dialect = {s->standard_conforming_strings,
                                    encoding_find(s->client_encoding)};
    struct slice word = slice_part(text, t->start, t->end);
    struct wire_reader r;
    struct wire_bind bind;
    if (t->kind == TOKEN_STRING)
        return token_value(&d->arena, text, t, &dialect, value);
    *value = word;
    if (t->kind != TOKEN_PARAMETER)
        return t->kind == TOKEN_NUMBER;
    unsigned long number = strtoul(word.data + 1, NULL, 10);
    wire_reader_init(&r, d->body);
    if (d->type != 'B' || !wire_read_bind(&r, &bind) || number == 0 || number > bind.nparams)
        return false;
    struct wire_value v = {.is_null = true};
    wire_reader_init(&r, bind.params);
    for (unsigned long i = 0; i < number; i++)
        v = wire_get_value(&r);
    *value = v.bytes;
    return !v.is_null;
}

/* Text, or four or two bytes in network order. */
static int64_t read_timeout(struct slice value)
{
    char digits[16] = "";
    if ((value.len == 2 || value.len == 4) && (value.data[0] == 0 || (value.data[0] & 0x80) != 0)) {
        int64_t n = (int8_t)value.data[0];
        for (size_t i = 1; i < value.len; i++)
            n = n * 256 + (uint8_t)value.data[i];
        return n;
    }
    if (value.len < sizeof digits)
        memcpy(digits, value.data, value.len);
    return strtoll(digits, NULL, 10);
}

/* name ( 'cursor' , [-] seconds ) from the parenthesis on. Returns the seconds; 0: no wait. */
static int64_t read_wait_call(struct session *s, struct slice text, struct lexer *x,
                              const char **cursor)
{
    struct token t[5];
    struct slice name, seconds = {NULL, 0};
    size_t n = 0;
    while (n < 5 && lexer_next(x, &t[n]))
        n++;
    if (n < 4 || !token_is_symbol(&t[0], '(') || !token_is_symbol(&t[2], ',') ||
        !read_argument(s, text, &t[1], &name))
        return 0;
    bool minus = t[3].kind == TOKEN_OPERATOR && text.data[t[3].start] == '-';
    if ((minus && n < 5) || !read_argument(s, text, &t[minus ? 4 : 3], &seconds))
        return 0;
    *cursor = arena_copy(&s->vendor->dispatch.arena, name);
    return *cursor == NULL ? 0 : (minus ? -1 : 1) * read_timeout(seconds);
}

/* Does the text call the function with a time to wait? Then the wait is prepared. */
static bool find_wait(struct session *s, struct slice text)
{
    struct cursor_run *run = &cursors_of(s)->run;
    struct lexer_dialect dialect = {s->standard_conforming_strings,
                                    encoding_find(s->client_encoding)};
    struct lexer x;
    struct token t;
    lexer_init(&x, text, &dialect);
    while (lexer_next(&x, &t)) {
        if (t.kind != TOKEN_WORD || strcmp(t.name, "gp_wait_parallel_retrieve_cursor") != 0)
            continue;
        int64_t seconds = read_wait_call(s, text, &x, &run->wait_for);
        run->is_check = false;
        run->deadline_ms = seconds > 0 ? loop_now_ms() + (uint64_t)seconds * 1000 : 0;
        return seconds > 0 || seconds == -1;
    }
    return false;
}

/* Before statements that show endpoints. */
void cursor_wait_prepare_lists(struct session *s, struct slice text)
{
    if (find_wait(s, text))
        ask_limit(s);
    else
        cursor_run_feed(s);
}

/* ---- CHECK ---- */

static void check_done(struct session *s, const char *tag)
{
    cursors_of(s)->tag = tag;
    if (s->vendor->dispatch.type == 'E') {
        dispatch_decide(s, RELAY_PASS); /* the Execute goes on; vendor.c puts the tag in */
        return;
    }
    cursor_run_reply_tag(s, tag);
    cursors_of(s)->run.at++;
    cursor_run_next(s);
}

/* There is no parallel cursor of this name: is there a plain one? */
static void ask_name(struct session *s)
{
    cursor_run_enter(s, CURSOR_NAME);
    inject_query_with(s, &s->vendor->inject,
                      "SELECT true FROM pg_catalog.pg_cursors WHERE name OPERATOR(pg_catalog.=) $1",
                      cursors_of(s)->run.wait_for, dispatch_question_form(&s->vendor->dispatch));
}

void cursor_wait_on_name(struct session *s)
{
    struct slice value;
    struct err err;
    if (inject_find_value(&s->vendor->inject, 0, &value)) {
        err_set(
            &err, SQLSTATE_SYNTAX_ERROR,
            "Cannot specify 'CHECK PARALLEL RETRIEVE CURSOR' for non-PARALLEL RETRIEVE CURSOR.");
        err_hint(&err, "Using 'FETCH' statement instead.");
    } else {
        err_set(&err, SQLSTATE_INVALID_CURSOR_NAME, "cursor \"%s\" does not exist",
                cursors_of(s)->run.wait_for);
    }
    dispatch_refuse(s, &err);
}

void cursor_wait_start_check(struct session *s, const struct handler_cursor *what)
{
    struct cursors *c = cursors_of(s);
    bool exists = false, finished = false;
    struct err err;
    c->run.wait_for = what->name;
    c->run.is_check = true;
    c->run.deadline_ms = 0;
    if (c->declarer != NULL && !endpoint_check(s->group->shared->endpoints, c->declarer, what->name,
                                               &exists, &finished, &err))
        dispatch_refuse(s, &err);
    else if (s->owed.status == 'E')
        cursor_run_refuse_no_memory(s); /* whatever it is, the server says 25P02 */
    else if (!exists)
        ask_name(s);
    else if (finished)
        check_done(s, "FINISHED");
    else if (what->nowait)
        check_done(s, "RUNNING");
    else
        ask_limit(s);
}
