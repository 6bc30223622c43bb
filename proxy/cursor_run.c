/* Statements on parallel retrieve cursors, and statements that show their endpoints, in a declaring
 * session. dispatch.c has drained the server and made all other preparations.
 *
 * A Query is cut into items: each statement on cursors is one, and what stands between two of them is
 * one, sent as a Query of its own. The client sees one answer: the ReadyForQuery of all but the last
 * are kept back.
 *
 *     plain      [WAIT] [FEED] PIECE
 *     DECLARE    DECLARE FACTS DESCRIBE        the client gets its tag when the endpoints are there
 *     CHECK      [NAME | LIMIT WAIT]           its tag is the status
 *
 * Cutting changes nothing in a transaction block. Outside of one, the statements of a Query are one
 * implicit transaction; a cursor could not outlive it, so a Query with such a statement and without a
 * BEGIN is refused as a whole.
 *
 * In the extended protocol DECLARE and CHECK are prepared as statements that the server knows (a plain
 * DECLARE, and a SET that has no effect), so names, parameters and errors are the server's. The work is
 * done at Execute; lists of endpoints are handed over at Bind.
 */
#include "cursor_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "protocol/client_msg.h"
#include "protocol/server_msg.h"
#include "proxy/lexer.h"

#include "dispatch.h"
#include "session.h"
#include "splice.h"
#include "vendor.h"

#define MESSAGE_MAX_BYTES ((size_t)1024 * 1024 * 1024)
#define LIST_MAX_BYTES ((size_t)16 * 1024 * 1024)

#define SQLSTATE_NO_ACTIVE_TRANSACTION "25P01"

static const char *const step_names[] = {
#define X(name, text) #name,
    CURSOR_STEPS(X)
#undef X
};

static struct cursors *cursors_of(struct session *s)
{
    return s->vendor->cursors;
}

void cursor_run_enter(struct session *s, enum cursor_step step)
{
    log_debug(s->who, "parallel retrieve cursor: %s", step_names[step]);
    cursors_of(s)->run.step = step;
}

void cursor_run_refuse_no_memory(struct session *s)
{
    struct err err;
    err_no_memory(&err);
    dispatch_refuse(s, &err);
}

void cursor_run_reply_tag(struct session *s, const char *tag)
{
    struct buf out;
    buf_init(&out, 256);
    if (wire_write_command_complete(&out, slice_cstr(tag)))
        session_reply(s, buf_data(&out), buf_length(&out));
    buf_fini(&out);
}

/* ---- items of a Query ---- */

static bool is_item(struct session *s, const struct handler_cursor *c)
{
    switch (c->kind) {
    case HANDLER_CURSOR_FETCH:
    case HANDLER_CURSOR_MOVE: return cursor_find(cursors_of(s), c->name) != NULL;
    default: return true;
    }
}

/* Does the text hold anything to be executed? */
static bool is_blank(const struct session *s, size_t start, size_t end)
{
    const struct dispatch *d = &s->vendor->dispatch;
    struct lexer_dialect dialect = {s->standard_conforming_strings,
                                    encoding_find(s->client_encoding)};
    struct lexer x;
    struct token t;
    lexer_init_at(&x, slice_part(d->text, 0, end), &dialect, start);
    while (lexer_next(&x, &t))
        if (!token_is_symbol(&t, ';'))
            return false;
    return true;
}

static void add_item(struct session *s, size_t start, size_t end, const struct handler_cursor *c)
{
    struct cursor_run *run = &cursors_of(s)->run;
    if (c != NULL || !is_blank(s, start, end))
        run->items[run->item_count++] = (struct cursor_item){start, end, c};
}

static bool cut(struct session *s)
{
    struct dispatch *d = &s->vendor->dispatch;
    struct cursor_run *run = &cursors_of(s)->run;
    const struct gate_result *r = &d->result;
    size_t at = 0;
    run->items = arena_alloc_array(&d->arena, 2 * r->cursor_count + 1, sizeof *run->items);
    if (run->items == NULL)
        return false;
    for (size_t i = 0; i < r->cursor_count; i++) {
        const struct gate_cursor *c = &r->cursors[i];
        if (!is_item(s, c->what))
            continue;
        add_item(s, at, c->start, NULL);
        add_item(s, c->start, c->end, c->what);
        at = c->end;
    }
    add_item(s, at, d->text.len, NULL);
    return true;
}

/* The item as a text of its own, as the server gets it. */
bool cursor_run_write_item(struct session *s, const struct cursor_item *item, struct slice *text)
{
    struct dispatch *d = &s->vendor->dispatch;
    struct cursor_run *run = &cursors_of(s)->run;
    const struct gate_result *r = &d->result;
    struct gate_result piece = {.wakes_workers = r->wakes_workers};
    struct slice part = slice_part(d->text, item->start, item->end);
    piece.edits = arena_alloc_array(&d->arena, r->edit_count + 1, sizeof *piece.edits);
    if (piece.edits == NULL)
        return false;
    for (size_t i = 0; i < r->edit_count; i++) {
        if (r->edits[i].start < item->start || r->edits[i].start >= item->end)
            continue;
        piece.edits[piece.edit_count] = r->edits[i];
        piece.edits[piece.edit_count++].start -= item->start;
    }
    statement_unref(run->statement);
    run->statement = statement_new(part, &piece);
    if (run->statement == NULL)
        return false;
    run->statement->position_offset =
        encoding_count(encoding_find(s->client_encoding), slice_part(d->text, 0, item->start));
    return splice_text(&d->arena, part, piece.edits, piece.edit_count, text);
}

/* ---- plain pieces ---- */

void cursor_run_send_piece(struct session *s, const char *line)
{
    struct cursor_run *run = &cursors_of(s)->run;
    struct slice text;
    struct buf out;
    buf_init(&out, MESSAGE_MAX_BYTES);
    struct rq_note *note = NULL;
    if (cursor_run_write_item(s, &run->items[run->at], &text))
        note = statement_note(run->statement);
    if (note == NULL || !wire_write_query(&out, text)) {
        vendor_free_note(note);
        cursor_run_refuse_no_memory(s);
    } else {
        if (line != NULL)
            snprintf(note->row, sizeof note->row, "%s", line);
        cursor_run_enter(s, CURSOR_PIECE);
        run->piece_failed = false;
        session_request(s, buf_data(&out), buf_length(&out), RQ_QUERY, RQ_FORWARD, note);
    }
    buf_fini(&out);
}

/* The list is the session's: what its user may see, at this moment. */
void cursor_run_feed(struct session *s)
{
    struct cursors *c = cursors_of(s);
    const struct dispatch *d = &s->vendor->dispatch;
    struct buf list;
    buf_init(&list, LIST_MAX_BYTES);
    cursor_run_enter(s, CURSOR_FEED);
    bool good = endpoint_list(s->group->shared->endpoints, s->dbname, s->session_user,
                              s->is_superuser, c->declarer, &list);
    const char *text = good ? buf_cstr(&list) : NULL;
    if (text == NULL)
        cursor_run_refuse_no_memory(s);
    else if (d->needs_flush &&
             s->owed.status == 'I') /* a function call would end what is under way */
        inject_query_with(s, &s->vendor->inject,
                          "SELECT pg_catalog.set_config('pgveneer.endpoints', $1, false)", text,
                          INJECT_FLUSH);
    else
        inject_setting(s, &s->vendor->inject, "pgveneer.endpoints", text);
    buf_fini(&list);
}

/* ---- the walk ---- */

static void refuse_other(struct session *s, const struct handler_cursor *c)
{
    struct err err;
    switch (c->kind) {
    case HANDLER_CURSOR_FETCH:
        err_set(&err, SQLSTATE_SYNTAX_ERROR, "cannot specify 'FETCH' for PARALLEL RETRIEVE CURSOR");
        err_hint(&err, "Use 'RETRIEVE' statement on endpoint instead.");
        break;
    case HANDLER_CURSOR_MOVE:
        err_set(&err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                "the 'MOVE' statement for PARALLEL RETRIEVE CURSOR is not supported");
        break;
    default:
        err_set(&err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                "This is not a retrieve connection, but the query is a RETRIEVE.");
        break;
    }
    dispatch_refuse(s, &err);
}

static void start_item(struct session *s, const struct cursor_item *item)
{
    const struct gate_result *r = &s->vendor->dispatch.result;
    if (item->cursor == NULL && r->reads_endpoints && s->owed.status != 'E')
        cursor_wait_prepare_lists(s, slice_part(s->vendor->dispatch.text, item->start, item->end));
    else if (item->cursor == NULL)
        cursor_run_send_piece(s, NULL);
    else if (item->cursor->kind == HANDLER_CURSOR_EXPLAIN)
        cursor_explain_start(s);
    else if (item->cursor->kind == HANDLER_CURSOR_DECLARE)
        cursor_declare_start(s);
    else if (item->cursor->kind == HANDLER_CURSOR_CHECK)
        cursor_wait_start_check(s, item->cursor);
    else
        refuse_other(s, item->cursor);
}

/* Behind a statement of ours the client is still owed its ReadyForQuery: the server makes it. */
void cursor_run_next(struct session *s)
{
    struct cursor_run *run = &cursors_of(s)->run;
    if (run->at < run->item_count) {
        start_item(s, &run->items[run->at]);
        return;
    }
    session_request(s, "S\0\0\0\4", 5, RQ_SYNC, RQ_FORWARD, NULL);
    dispatch_decide(s, RELAY_DROP);
}

static bool may_cut(const struct session *s, struct err *err)
{
    const struct cursor_run *run = &s->vendor->cursors->run;
    const struct gate_result *r = &s->vendor->dispatch.result;
    bool declares = false;
    for (size_t i = 0; i < run->item_count; i++)
        declares = declares || (run->items[i].cursor != NULL &&
                                run->items[i].cursor->kind == HANDLER_CURSOR_DECLARE);
    if (run->item_count > 1 && r->copies)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "COPY and parallel retrieve cursors cannot be sent in one query string");
    if (run->item_count > 1 && declares && s->owed.status == 'I' && !r->begins)
        return err_set(err, SQLSTATE_NO_ACTIVE_TRANSACTION,
                       "DECLARE CURSOR can only be used in transaction blocks");
    return true;
}

static void start_query(struct session *s)
{
    const struct gate_result *r = &s->vendor->dispatch.result;
    struct err err;
    if (!cut(s))
        cursor_run_refuse_no_memory(s);
    else if (cursors_of(s)->run.item_count == 1 && cursors_of(s)->run.items[0].cursor == NULL &&
             !r->reads_endpoints && r->edit_count == 0)
        dispatch_decide(s, RELAY_PASS);
    else if (!may_cut(s, &err))
        dispatch_refuse(s, &err);
    else
        cursor_run_next(s);
}

static void start_parse(struct session *s)
{
    const struct gate_result *r = &s->vendor->dispatch.result;
    const struct handler_cursor *c = r->cursor_count == 0 ? NULL : r->cursors[0].what;
    bool refused = c != NULL && c->kind != HANDLER_CURSOR_DECLARE &&
                   c->kind != HANDLER_CURSOR_CHECK && c->kind != HANDLER_CURSOR_EXPLAIN &&
                   is_item(s, c);
    if (refused && r->statement_count == 1)
        refuse_other(s, c);
    else if (r->edit_count == 0)
        dispatch_decide(s, RELAY_PASS);
    else
        dispatch_send_spliced(s);
}

static void start_execute(struct session *s)
{
    struct dispatch *d = &s->vendor->dispatch;
    struct buf message;
    if (d->statement->cursor->kind == HANDLER_CURSOR_CHECK) {
        cursor_wait_start_check(s, d->statement->cursor);
        return;
    }
    if (d->statement->cursor->kind == HANDLER_CURSOR_EXPLAIN) {
        cursor_explain_start(s);
        return;
    }
    cursor_run_enter(s, CURSOR_DECLARE);
    buf_init(&message, d->body.len + WIRE_HEADER_BYTES);
    struct wire_reader r;
    struct wire_execute m;
    wire_reader_init(&r, d->body);
    if (!wire_read_execute(&r, &m) || !wire_write_execute(&message, m.portal, m.max_rows))
        dispatch_decide(s, RELAY_PASS); /* the server will say what is wrong */
    else
        inject_execute(s, &s->vendor->inject, buf_slice(&message));
    buf_fini(&message);
}

void cursor_run_start(struct session *s)
{
    struct dispatch *d = &s->vendor->dispatch;
    if (cursor_need(s) == NULL) {
        cursor_run_refuse_no_memory(s);
        return;
    }
    switch (d->type) {
    case 'Q': start_query(s); return;
    case 'P': start_parse(s); return;
    case 'B': cursor_wait_prepare_lists(s, d->statement->text); return;
    default: start_execute(s); return;
    }
}

void cursor_run_on_injected(struct session *s)
{
    switch (cursors_of(s)->run.step) {
    case CURSOR_DECLARE: cursor_declare_ask_facts(s); return;
    case CURSOR_FACTS:
        if (cursors_of(s)->run.explains)
            cursor_explain_on_facts(s);
        else
            cursor_declare_on_facts(s);
        return;
    case CURSOR_DESCRIBE: cursor_declare_on_described(s); return;
    case CURSOR_PLAN: cursor_parallel_on_injected(s); return;
    case CURSOR_NAME: cursor_wait_on_name(s); return;
    case CURSOR_LIMIT: cursor_wait_on_limit(s); return;
    case CURSOR_FEED:
        if (s->vendor->dispatch.type == 'Q')
            cursor_run_send_piece(s, NULL);
        else
            dispatch_decide(s, RELAY_PASS);
        return;
    default: return;
    }
}

bool cursor_run_on_ready(struct session *s)
{
    struct cursor_run *run = &cursors_of(s)->run;
    if (!run->piece_failed && run->at + 1 < run->item_count)
        return true;
    dispatch_decide(s, RELAY_DROP);
    return false;
}

void cursor_run_go_on(struct session *s)
{
    struct cursor_run *run = &cursors_of(s)->run;
    if (run->step == CURSOR_WAIT)
        cursor_wait_look(s);
    if (run->step != CURSOR_PIECE || !response_queue_is_empty(&s->owed))
        return;
    run->at++;
    cursor_run_next(s);
}

void cursor_run_end(struct cursors *c)
{
    statement_unref(c->run.statement);
    endpoint_cursor_unref(c->run.declared);
    if (c->timer != NULL)
        timer_stop(c->timer);
    c->run = (struct cursor_run){.step = CURSOR_NONE};
}
