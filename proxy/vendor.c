/* The door between the relay and vendor statements.
 *
 * A session has no struct vendor until the prefilter hits for the first time. Where a rewritten text is
 * prepared, Bind, Describe, Execute and Close are looked at as well, so that answers can be matched to
 * it. The server's command tags tell when the lookup of the user's own objects is stale.
 *
 *   client    Query, Parse            --> gate_may_hold --> dispatch.c
 *             Bind, Describe, …       --> statement map --> a note for the queue entry
 *   server    answer of an injected   --> inject.c, dispatch.c
 *             answer with a note      --> reply.c
 *             ReadyForQuery           --> portals are gone; workers are told of what was committed */
#include "vendor.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include "control.h"
#include "cursor.h"
#include "dispatch.h"
#include "session.h"

static struct vendor *vendor_new(void)
{
    struct vendor *v = calloc(1, sizeof *v);
    if (v != NULL)
        inject_init(&v->inject);
    return v;
}

void vendor_forget(struct session *s)
{
    struct vendor *v = s->vendor;
    if (v == NULL)
        return;
    dispatch_forget(v);
    cursor_forget(s, v->cursors);
}

void vendor_free(struct vendor *v)
{
    if (v == NULL)
        return;
    inject_fini(&v->inject);
    cursor_free(v->cursors);
    statement_map_clear(&v->map, 'S');
    statement_map_clear(&v->map, 'P');
    free(v);
}

void vendor_free_note(struct rq_note *note)
{
    if (note == NULL)
        return;
    statement_unref(note->statement);
    free(note);
}

/* ---- requests ---- */

/* The text of a Query or Parse. False: it has no end; the server will say so. */
static bool find_text(char type, struct slice body, struct slice *text)
{
    struct wire_reader r;
    wire_reader_init(&r, body);
    if (type == 'P')
        wire_get_cstr(&r); /* name */
    *text = wire_get_cstr(&r);
    return !wire_is_bad(&r);
}

/* A text that is the client's own takes its name from whatever had it. */
static void forget_name(struct session *s, char type, struct slice body)
{
    struct wire_reader r;
    if (s->vendor == NULL || s->vendor->map.names == NULL)
        return;
    wire_reader_init(&r, body);
    struct slice name = type == 'P' ? wire_get_cstr(&r) : slice_of("", 0);
    if (!wire_is_bad(&r))
        statement_map_remove(&s->vendor->map, 'S', name);
}

/* Must dispatch.c look at the text? Where cursors are open, it sees every one: FETCH is not an anchor. */
static bool may_concern_us(struct session *s, char type, struct slice body, struct slice text)
{
    if (gate_may_hold(s->group->shared->gate, text)) {
        struct slice name = type == 'P' ? slice_cstr(body.data) : slice_of("", 0);
        return !cursor_note_savepoint(s, type, name, text);
    }
    return cursor_has_open(s->vendor);
}

static enum relay_verdict on_text(struct session *s, char type, struct slice body)
{
    struct slice text;
    enum relay_verdict v = RELAY_PASS;
    if (s->vendor != NULL && dispatch_is_active(s->vendor))
        v = dispatch_take_verdict(s);
    else if (find_text(type, body, &text) && may_concern_us(s, type, body, text)) {
        if (s->vendor == NULL)
            s->vendor = vendor_new();
        s->down.attentive = true;
        v = s->vendor == NULL ? RELAY_PASS : dispatch_start(s, type, body, text);
    }
    if (v == RELAY_PASS)
        forget_name(s, type, body);
    return v;
}

/* Bind of what shows endpoints, Execute of a statement on cursors: prepared by dispatch.c first. */
static enum relay_verdict on_prepared(struct session *s, char type, struct slice body,
                                      struct statement *st)
{
    if (dispatch_is_active(s->vendor))
        return dispatch_take_verdict(s);
    bool concerns = st != NULL && (type == 'B' ? st->reads_endpoints : st->cursor != NULL);
    if (!concerns || s->owed.status == 'E')
        return RELAY_PASS;
    return dispatch_start_prepared(s, type, body, st);
}

static struct statement *find_bound(const struct vendor *v, struct slice body)
{
    struct wire_reader r;
    wire_reader_init(&r, body);
    wire_get_cstr(&r); /* portal */
    struct slice name = wire_get_cstr(&r);
    return wire_is_bad(&r) ? NULL : statement_map_find(&v->map, 'S', name);
}

static struct statement *find_executed(const struct vendor *v, struct slice body)
{
    struct wire_reader r;
    wire_reader_init(&r, body);
    return statement_map_find(&v->map, 'P', wire_get_cstr(&r));
}

static struct rq_note *on_bind(struct vendor *v, struct slice body)
{
    struct wire_reader r;
    wire_reader_init(&r, body);
    struct slice portal = wire_get_cstr(&r);
    struct slice name = wire_get_cstr(&r);
    if (wire_is_bad(&r))
        return NULL;
    struct statement *st = statement_map_find(&v->map, 'S', name);
    if (st == NULL)
        statement_map_remove(&v->map, 'P', portal);
    else
        statement_map_put(&v->map, 'P', portal, st);
    if (st != NULL && st->cursor != NULL)
        statement_map_keep_bind(&v->map, portal, body);
    return statement_note(st);
}

static struct rq_note *on_execute(struct vendor *v, struct slice body)
{
    struct statement *st = find_executed(v, body);
    struct rq_note *note = statement_note(st);
    if (note != NULL && st->cursor != NULL && st->cursor->kind == HANDLER_CURSOR_CHECK &&
        v->cursors != NULL)
        note->tag = v->cursors->tag;
    if (note != NULL && st->cursor != NULL && st->cursor->kind == HANDLER_CURSOR_EXPLAIN &&
        v->cursors != NULL)
        memcpy(note->row, v->cursors->line, sizeof note->row);
    return note;
}

/* Describe and Close. */
static struct rq_note *on_target(struct vendor *v, char type, struct slice body)
{
    struct wire_reader r;
    struct wire_target m;
    wire_reader_init(&r, body);
    if (!wire_read_target(&r, &m))
        return NULL;
    if (type == 'D')
        return statement_note(statement_map_find(&v->map, m.kind, m.name));
    statement_map_remove(&v->map, m.kind, m.name);
    return NULL;
}

enum relay_verdict vendor_on_request(struct session *s, char type, struct slice body,
                                     struct rq_note **note)
{
    enum relay_verdict v = RELAY_PASS;
    switch (type) {
    case 'Q':
    case 'P': return on_text(s, type, body);
    case 'B':
        v = on_prepared(s, type, body, find_bound(s->vendor, body));
        if (v == RELAY_PASS)
            *note = on_bind(s->vendor, body);
        break;
    case 'E':
        v = on_prepared(s, type, body, find_executed(s->vendor, body));
        if (v == RELAY_PASS)
            *note = on_execute(s->vendor, body);
        break;
    case 'D':
    case 'C': *note = on_target(s->vendor, type, body); break;
    default: break;
    }
    return v;
}

bool vendor_has_names(const struct vendor *v)
{
    return v->map.names != NULL;
}

bool vendor_is_busy(const struct session *s)
{
    return dispatch_is_active(s->vendor);
}

/* ---- answers ---- */

bool vendor_wants_answer(const struct session *s, char type)
{
    struct rq_note *note;
    if (type != 'E' && type != 'N' && type != 'C' && type != 'D' && type != 'T')
        return false;
    enum rq_fate fate = response_queue_peek(&s->owed, type, &note);
    if (fate == RQ_SKIP && cursor_wants_answer(s, type))
        return true;
    switch (type) {
    case 'D':
    case 'T': return fate == RQ_SKIP;
    case 'E': return fate == RQ_SKIP || note != NULL;
    case 'C':
        return fate == RQ_FORWARD &&
               (note != NULL || s->vendor->shadows_known || cursor_has_open(s->vendor));
    default: return fate == RQ_FORWARD && note != NULL;
    }
}

/* After these an object may have come or gone, or another be found by its name. */
static bool may_change_names(struct slice tag)
{
    static const char *const words[] = {"CREATE",  "ALTER",    "DROP", "SET",   "RESET",
                                        "DISCARD", "ROLLBACK", "DO",   "IMPORT"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (slice_starts_with(tag, words[i]))
            return true;
    return false;
}

static void on_tag(struct vendor *v, struct slice tag, const struct rq_note *note)
{
    if (may_change_names(tag))
        v->shadows_known = false;
    if (cursor_has_open(v))
        cursor_on_tag(v->cursors, tag);
    if (slice_equals_cstr(tag, "DISCARD ALL")) {
        statement_map_clear(&v->map, 'S');
        statement_map_clear(&v->map, 'P');
    }
    if (note != NULL && note->statement->wakes_workers)
        v->wakes_workers = true;
}

static bool is_fatal(struct slice body)
{
    struct slice severity;
    return wire_error_find(body, 'V', &severity) && !slice_equals_cstr(severity, "ERROR");
}

/* Our own statement's answer. Its error becomes the client's, unless the server is not where the
 * client's message would have left it: then dispatch.c raises it again. */
static void on_injected_answer(struct session *s, char type, struct slice body)
{
    struct vendor *v = s->vendor;
    struct dispatch *d = &v->dispatch;
    if (cursor_takes_answer(s, type, body))
        return;
    inject_on_answer(&v->inject, type, body);
    if (type != 'E' || (d->type != 'Q' && v->inject.form != INJECT_FLUSH && !is_fatal(body)))
        return;
    if (d->step == DISPATCH_CURSOR && v->cursors->run.step == CURSOR_DECLARE &&
        v->cursors->run.statement != NULL)
        reply_statement_error(s, 'E', body, v->cursors->run.statement);
    else
        reply_injected_error(s, body, d->step == DISPATCH_REFUSE ? &d->err : NULL);
    d->is_answered = true;
}

enum relay_verdict vendor_on_answer(struct session *s, char type, struct slice body,
                                    enum rq_fate fate, struct rq_note *note)
{
    struct wire_reader r;
    struct wire_command_complete m;
    if (fate == RQ_SKIP) {
        on_injected_answer(s, type, body);
        return RELAY_DROP;
    }
    wire_reader_init(&r, body);
    if (type == 'C' && wire_read_command_complete(&r, &m))
        on_tag(s->vendor, m.tag, note);
    if (type == 'E' && s->vendor->cursors != NULL)
        s->vendor->cursors->run.piece_failed = true;
    return note == NULL ? RELAY_PASS : reply_edited(s, type, body, note);
}

enum relay_verdict vendor_on_skipped_notice(struct session *s, struct slice body)
{
    struct vendor *v = s->vendor;
    if (v->dispatch.step != DISPATCH_CURSOR || v->cursors->run.step != CURSOR_DECLARE)
        return RELAY_DROP;
    if (v->cursors->run.statement == NULL)
        return RELAY_PASS;
    reply_statement_error(s, 'N', body, v->cursors->run.statement);
    return RELAY_DROP;
}

void vendor_on_parameter(struct session *s, struct slice name)
{
    if (slice_equals_cstr(name, "search_path"))
        s->vendor->shadows_known = false;
}

static void on_idle(struct session *s)
{
    struct vendor *v = s->vendor;
    if (response_queue_is_empty(&s->owed))
        statement_map_clear(&v->map, 'P'); /* portals end with their transaction */
    if (!v->wakes_workers)
        return;
    v->wakes_workers = false;
    control_notify(s->group->shared->control, s->group->loop, slice_cstr(s->dbname));
}

bool vendor_on_ready(struct session *s)
{
    if (s->owed.status == 'I')
        on_idle(s);
    return s->vendor->cursors != NULL && cursor_on_ready(s);
}

void vendor_on_advance(struct session *s)
{
    struct vendor *v = s->vendor;
    if (s->state == SESSION_CLOSING || (v->cursors != NULL && cursor_on_advance(s)))
        return;
    if (dispatch_is_active(v))
        dispatch_on_advance(s);
    else if (relay_is_waiting(&s->up) && s->owed.count < RQ_MAX_ENTRIES / 2)
        session_resume_client(s);
    if (v->cursors != NULL && s->state != SESSION_CLOSING)
        cursor_fetch_pump(s);
}
