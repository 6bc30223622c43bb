/* Which parallel retrieve cursors the session has.
 *
 * The server knows it best. A cursor goes with CLOSE, with its transaction, or with a ROLLBACK TO a
 * savepoint that is older than it; a failed transaction has lost it unless there is a savepoint to
 * return to. So:
 *
 *   ReadyForQuery I    all are gone
 *   ReadyForQuery E    all are gone, unless there may be a savepoint: then we look again later
 *   tag CLOSE CURSOR or ROLLBACK, and ReadyForQuery T
 *                      pg_cursors is asked, and only then the client gets that ReadyForQuery: whoever
 *                      it tells about the CLOSE finds no endpoint any more
 *
 * Savepoints. That one may exist is noted from the texts, since the tags of sessions without cursors
 * are not looked at. Any text with the word counts. A session that has prepared such a statement
 * under a name may execute it at any time. */
#include "cursor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "protocol/server_msg.h"

#include "dispatch.h"
#include "session.h"

struct cursors *cursor_need(struct session *s)
{
    struct cursors *c = s->vendor->cursors;
    if (c != NULL)
        return c;
    c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    list_init(&c->open);
    inject_init(&c->inject);
    cursor_fetch_init(&c->fetches);
    s->vendor->cursors = c;
    return c;
}

static void close_one(struct session *s, struct cursor_open *o)
{
    struct cursors *c = s->vendor->cursors;
    log_debug(s->who, "parallel retrieve cursor \"%s\" is closed", o->shared->name);
    endpoint_withdraw(s->group->shared->endpoints, c->declarer, o->shared);
    list_remove(&o->link);
    endpoint_cursor_unref(o->shared);
    free(o);
}

#define EACH_OPEN(c, link, next)                                                                   \
    struct list *link = (c)->open.next, *next = link->next;                                        \
    link != &(c)->open;                                                                            \
    link = next, next = link->next

static void close_all(struct session *s)
{
    struct cursors *c = s->vendor->cursors;
    for (EACH_OPEN(c, link, next))
        close_one(s, LIST_ENTRY(link, struct cursor_open, link));
    c->must_reconcile = false;
}

void cursor_forget(struct session *s, struct cursors *c)
{
    if (c == NULL)
        return;
    cursor_watch_stop(c);
    cursor_age_stop(c);
    cursor_fetch_forget(s);
    cursor_run_end(c);
    close_all(s);
    if (c->declarer != NULL)
        endpoint_declarer_close(s->group->shared->endpoints, c->declarer);
    c->declarer = NULL;
}

void cursor_free(struct cursors *c)
{
    if (c == NULL)
        return;
    timer_free(c->timer);
    timer_free(c->watch);
    timer_free(c->age);
    inject_fini(&c->inject);
    free(c);
}

bool cursor_has_open(const struct vendor *v)
{
    return v != NULL && v->cursors != NULL && !list_is_empty(&v->cursors->open);
}

struct cursor_open *cursor_find(const struct cursors *c, const char *name)
{
    for (EACH_OPEN(c, link, next)) {
        struct cursor_open *o = LIST_ENTRY(link, struct cursor_open, link);
        if (strcmp(o->shared->name, name) == 0)
            return o;
    }
    return NULL;
}

bool cursor_add(struct session *s, struct endpoint_cursor *shared, const char *created,
                unsigned endpoints, struct err *err)
{
    struct cursors *c = s->vendor->cursors;
    struct cursor_open *o = calloc(1, sizeof *o);
    struct cursor_open *old = cursor_find(c, shared->name);
    if (old != NULL) /* closed by the text that declares it again */
        close_one(s, old);
    if (o == NULL || !cursor_age_start(s, o) ||
        (shared->workers != NULL && !cursor_watch_start(s))) {
        free(o);
        endpoint_cursor_unref(shared);
        return err_no_memory(err);
    }
    o->shared = shared;
    snprintf(o->created, sizeof o->created, "%s", created);
    if (!endpoint_publish(s->group->shared->endpoints, c->declarer, shared, endpoints, err)) {
        endpoint_cursor_unref(shared);
        free(o);
        return false;
    }
    list_append(&c->open, &o->link);
    log_debug(s->who, "parallel retrieve cursor \"%s\" has %u endpoints", shared->name, endpoints);
    return true;
}

/* ---- savepoints ---- */

static bool has_word(struct slice text, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.len; i++)
        if (strncasecmp(text.data + i, word, n) == 0)
            return true;
    return false;
}

bool cursor_note_savepoint(struct session *s, char type, struct slice name, struct slice text)
{
    if (!has_word(text, "savepoint"))
        return false;
    s->may_have_savepoint = true;
    if (type == 'P' && name.len > 0)
        s->prepares_savepoints = true;
    struct slice trimmed = slice_trim(text);
    bool alone = slice_find_byte(trimmed, ';') + 1 >= trimmed.len;
    return alone && (slice_equals_nocase(slice_part(trimmed, 0, 9), "savepoint") ||
                     slice_equals_nocase(slice_part(trimmed, 0, 8), "release ") ||
                     slice_equals_nocase(slice_part(trimmed, 0, 9), "rollback "));
}

/* ---- what the server tells ---- */

void cursor_on_tag(struct cursors *c, struct slice tag)
{
    if (slice_starts_with(tag, "CLOSE CURSOR") || slice_equals_cstr(tag, "ROLLBACK"))
        c->must_reconcile = true;
}

static void reconcile(struct session *s)
{
    struct cursors *c = s->vendor->cursors;
    c->must_reconcile = false;
    c->is_reconciling = true;
    inject_query(s, &c->inject,
                 "SELECT pg_catalog.string_agg(pg_catalog.date_part('epoch', creation_time)"
                 "::pg_catalog.text OPERATOR(pg_catalog.||) ' ' OPERATOR(pg_catalog.||) name, "
                 "E'\\n') FROM pg_catalog.pg_cursors",
                 INJECT_SYNC);
}

/* Is there a line "created name"? */
static bool is_listed(struct slice lines, const struct cursor_open *o)
{
    size_t n = strlen(o->created);
    while (lines.len > 0) {
        size_t end = slice_find_byte(lines, '\n');
        struct slice line = slice_part(lines, 0, end);
        if (line.len > n && line.data[n] == ' ' && slice_starts_with(line, o->created) &&
            slice_equals_cstr(slice_part(line, n + 1, line.len), o->shared->name))
            return true;
        lines = slice_part(lines, end < lines.len ? end + 1 : end, lines.len);
    }
    return false;
}

static void on_reconciled(struct session *s)
{
    struct cursors *c = s->vendor->cursors;
    struct slice lines = {NULL, 0};
    c->is_reconciling = false;
    (void)inject_find_value(&c->inject, 0, &lines);
    for (EACH_OPEN(c, link, next)) {
        struct cursor_open *o = LIST_ENTRY(link, struct cursor_open, link);
        if (!is_listed(lines, o))
            close_one(s, o);
    }
    if (!c->holds_ready)
        return;
    c->holds_ready = false;
    struct buf out;
    buf_init(&out, 64);
    if (wire_write_ready(&out, s->owed.status))
        session_reply(s, buf_data(&out), buf_length(&out));
    buf_fini(&out);
}

static bool can_reconcile(const struct session *s)
{
    return s->vendor->cursors->must_reconcile && s->owed.status == 'T' &&
           response_queue_is_empty(&s->owed) && !cursor_fetch_is_active(s) &&
           s->state != SESSION_CLOSING;
}

bool cursor_on_ready(struct session *s)
{
    struct cursors *c = s->vendor->cursors;
    bool more = false;
    if (cursor_fetch_is_active(s) || c->is_reconciling)
        return false; /* of ours: the queue says SKIP, and a failed fetch is taken back */
    if (s->owed.status == 'I' || (s->owed.status == 'E' && !s->may_have_savepoint))
        close_all(s);
    if (s->vendor->dispatch.step == DISPATCH_CURSOR && c->run.step == CURSOR_PIECE)
        more = cursor_run_on_ready(s);
    if (!more && can_reconcile(s) && s->vendor->dispatch.step != DISPATCH_CURSOR) {
        c->holds_ready = true;
        reconcile(s);
        return true;
    }
    return more;
}

bool cursor_on_advance(struct session *s)
{
    struct cursors *c = s->vendor->cursors;
    if (c->is_reconciling && inject_is_done(s, &c->inject)) {
        on_reconciled(s);
    } else {
        cursor_fetch_on_advance(s);
    }
    return cursor_blocks(s);
}

bool cursor_blocks(const struct session *s)
{
    const struct cursors *c = s->vendor == NULL ? NULL : s->vendor->cursors;
    return c != NULL && (c->is_reconciling || cursor_fetch_is_active(s));
}

bool cursor_wants_answer(const struct session *s, char type)
{
    const struct cursors *c = s->vendor->cursors;
    if (c == NULL || !cursor_fetch_is_active(s))
        return false;
    return type == 'E' || type == 'C';
}

bool cursor_takes_answer(struct session *s, char type, struct slice body)
{
    struct cursors *c = s->vendor->cursors;
    if (c == NULL)
        return false;
    if (cursor_fetch_is_active(s))
        cursor_fetch_on_answer(s, type, body);
    else if (c->is_reconciling)
        inject_on_answer(&c->inject, type, body);
    else
        return false;
    return true;
}

bool cursor_may_take_long(const struct session *s)
{
    return cursor_blocks(s) || (s->vendor != NULL && s->vendor->cursors != NULL &&
                                s->vendor->dispatch.step == DISPATCH_CURSOR);
}
