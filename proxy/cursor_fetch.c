/* A portion of rows out of the declaring session's cursor:
 *
 *     SAVEPOINT pgveneer_fetch
 *     [SET LOCAL client_encoding TO the receiver's]
 *     FETCH FORWARD n FROM cursor          in the receiver's formats
 *     [SET LOCAL client_encoding TO the session's own]
 *     RELEASE SAVEPOINT pgveneer_fetch
 *     Sync
 *
 * in one go, each with a SKIP entry in the response queue, so that the session's client sees nothing
 * of it. It runs when the session is in a transaction and owes its client nothing; the client's next
 * message waits for its end, and goes before the next portion. Portions are small (the receiver sees
 * to that), so neither waits long.
 *
 * An error leaves the client's transaction as it was: the savepoint is rolled back. The cursor itself
 * is lost then, as after any error inside a cursor's query.
 *
 * The FETCH is prepared before the encoding changes, since the cursor's name is in the client's.
 *
 * Rows do not pass through memory of ours but the blocks under way to the receiver. A receiver that
 * does not read stops the server's socket when CURSOR_FETCH_WINDOW bytes are unread.
 *
 * A receiver may cancel. The cancel request goes to the server on a connection of its own, and the
 * client's next message waits until the server has closed that, so that the cancel never hits it. */
#include "cursor_fetch.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include "cancel.h"
#include "cursor.h"
#include "dispatch.h"
#include "session.h"
#include "vendor.h"

#define NAME "pgveneer_fetch"
#define MESSAGE_MAX_BYTES ((size_t)256 * 1024)

void (*cursor_block_receive)(void *who, struct cursor_block *b);

/* ---- made, moved, freed ---- */

struct cursor_fetch *cursor_fetch_new(struct endpoint *e, struct endpoint_party *receiver)
{
    struct cursor_fetch *f = calloc(1, sizeof *f);
    if (f == NULL)
        return NULL;
    list_init(&f->link);
    buf_init(&f->formats, MESSAGE_MAX_BYTES);
    buf_init(&f->error, (size_t)1024 * 1024);
    atomic_fetch_add(&e->refs, 1);
    f->endpoint = e;
    f->receiver = endpoint_party_ref(receiver);
    return f;
}

void cursor_fetch_free(struct cursor_fetch *f)
{
    buf_fini(&f->formats);
    buf_fini(&f->error);
    endpoint_unref(f->endpoint);
    endpoint_party_unref(f->receiver);
    free(f);
}

static void on_reply(struct mail *m)
{
    struct cursor_fetch *f = MAIL_ENTRY(m, struct cursor_fetch, mail);
    if (f->receiver->who == NULL)
        cursor_fetch_free(f);
    else
        f->on_done(f->receiver->who, f);
}

static void reply(struct cursor_fetch *f)
{
    list_remove(&f->link);
    f->mail.on_receive = on_reply;
    loop_post(f->receiver->loop, &f->mail);
}

static void on_fetch(struct mail *m)
{
    struct cursor_fetch *f = MAIL_ENTRY(m, struct cursor_fetch, mail);
    struct session *s = f->endpoint->declarer->party.who;
    if (s == NULL || s->vendor == NULL || s->vendor->cursors == NULL) {
        endpoint_refuse_gone(&f->err);
        reply(f);
        return;
    }
    list_append(&s->vendor->cursors->fetches.waiting, &f->link);
    cursor_fetch_pump(s);
}

void cursor_fetch_send(struct cursor_fetch *f)
{
    f->mail.on_receive = on_fetch;
    loop_post(f->endpoint->declarer->party.loop, &f->mail);
}

void cursor_fetch_init(struct cursor_fetches *f)
{
    *f = (struct cursor_fetches){.current = NULL};
    list_init(&f->waiting);
}

static struct cursor_fetches *fetches_of(const struct session *s)
{
    return s->vendor == NULL || s->vendor->cursors == NULL ? NULL : &s->vendor->cursors->fetches;
}

bool cursor_fetch_is_active(const struct session *s)
{
    const struct cursor_fetches *f = fetches_of(s);
    return f != NULL && (f->current != NULL || f->cancels > 0);
}

void cursor_fetch_forget(struct session *s)
{
    struct cursor_fetches *fs = fetches_of(s);
    if (fs->current != NULL)
        list_append(&fs->waiting, &fs->current->link);
    fs->current = NULL;
    while (!list_is_empty(&fs->waiting)) {
        struct cursor_fetch *f = LIST_ENTRY(list_first(&fs->waiting), struct cursor_fetch, link);
        endpoint_refuse_gone(&f->err);
        reply(f);
    }
}

/* ---- blocks of rows ---- */

static void on_block_returned(struct mail *m)
{
    struct cursor_block *b = MAIL_ENTRY(m, struct cursor_block, mail);
    struct session *s = b->declarer->party.who;
    struct cursor_fetches *fs = s == NULL ? NULL : fetches_of(s);
    if (fs != NULL) {
        fs->unread_bytes -= b->bytes;
        session_update_reading(s);
    }
    endpoint_party_unref(b->receiver);
    endpoint_party_unref(&b->declarer->party);
    free(b);
}

void cursor_block_return(struct cursor_block *b)
{
    list_remove(&b->link);
    b->mail.on_receive = on_block_returned;
    loop_post(b->declarer->party.loop, &b->mail);
}

static void on_block(struct mail *m)
{
    struct cursor_block *b = MAIL_ENTRY(m, struct cursor_block, mail);
    if (b->receiver->who == NULL)
        cursor_block_return(b);
    else
        cursor_block_receive(b->receiver->who, b);
}

void cursor_fetch_on_rows(struct session *s, const char *data, size_t bytes)
{
    struct cursor_fetches *fs = fetches_of(s);
    struct cursor_fetch *f = fs->current;
    struct cursor_block *b = f == NULL ? NULL : malloc(sizeof *b + bytes);
    if (b == NULL) {
        if (f != NULL)
            err_no_memory(&f->err);
        return;
    }
    *b = (struct cursor_block){.fetch = f, .bytes = bytes, .mail.on_receive = on_block};
    list_init(&b->link);
    b->receiver = endpoint_party_ref(f->receiver);
    b->declarer = f->endpoint->declarer;
    endpoint_party_ref(&b->declarer->party);
    memcpy(b->data, data, bytes);
    fs->unread_bytes += bytes;
    loop_post(b->receiver->loop, &b->mail);
}

bool cursor_fetch_is_full(const struct session *s)
{
    const struct cursor_fetches *fs = fetches_of(s);
    return fs != NULL && fs->unread_bytes > CURSOR_FETCH_WINDOW;
}

bool cursor_fetch_diverts(struct session *s, char type)
{
    struct cursor_fetches *fs = fetches_of(s);
    if (fs == NULL)
        return false;
    bool is_row = fs->current != NULL && type == 'D';
    if (is_row != fs->is_diverting)
        relay_flush(&s->down);
    fs->is_diverting = is_row;
    return is_row;
}

/* ---- the statements ---- */

static void send_one(struct session *s, struct buf *out, bool written, enum rq_kind kind)
{
    if (!written) {
        struct err err;
        err_no_memory(&err);
        session_refuse(s, &err);
    }
    if (s->state != SESSION_CLOSING)
        session_request(s, buf_data(out), buf_length(out), kind, RQ_SKIP, NULL);
    buf_clear(out);
}

static void send_parse(struct session *s, struct buf *out, const char *name, const char *sql)
{
    struct wire_parse parse = {.name = slice_cstr(name), .query = slice_cstr(sql)};
    send_one(s, out, wire_write_close(out, 'S', parse.name), RQ_CLOSE);
    send_one(s, out, sql != NULL && wire_write_parse(out, &parse), RQ_PARSE);
}

/* Binds, executes, closes portal and statement: clients see prepared statements. f: NULL, or whose formats the rows have */
static void send_execute(struct session *s, struct buf *out, const char *name,
                         const struct cursor_fetch *f)
{
    struct wire_bind bind = {.portal = slice_cstr(name), .statement = slice_cstr(name)};
    if (f != NULL) {
        bind.nresult_formats = f->nformats;
        bind.result_formats = buf_slice(&f->formats);
    }
    send_one(s, out, wire_write_bind(out, &bind), RQ_BIND);
    send_one(s, out, wire_write_execute(out, bind.portal, 0), RQ_EXECUTE);
    send_one(s, out, wire_write_close(out, 'P', bind.portal), RQ_CLOSE);
    send_one(s, out, wire_write_close(out, 'S', bind.statement), RQ_CLOSE);
}

static void send_statement(struct session *s, struct buf *out, const char *sql)
{
    send_parse(s, out, NAME, sql);
    send_execute(s, out, NAME, NULL);
}

static void send_encoding(struct session *s, struct buf *out, const char *encoding)
{
    struct buf sql;
    buf_init(&sql, 256);
    buf_printf(&sql, "SET LOCAL client_encoding TO '%s'", encoding);
    const char *text = buf_cstr(&sql);
    send_statement(s, out, text == NULL ? "" : text);
    buf_fini(&sql);
}

/* FETCH FORWARD n FROM "name" */
static const char *write_fetch(struct buf *sql, const struct cursor_fetch *f)
{
    buf_printf(sql, "FETCH FORWARD %u FROM \"", f->rows);
    for (const char *at = f->endpoint->cursor->name; *at != '\0'; at++) {
        if (*at == '"')
            buf_append_byte(sql, '"');
        buf_append_byte(sql, *at);
    }
    buf_append_byte(sql, '"');
    return buf_cstr(sql);
}

static void start(struct session *s, struct cursor_fetch *f)
{
    struct cursor_fetches *fs = fetches_of(s);
    struct buf out, sql;
    char own[sizeof s->client_encoding];
    memcpy(own, s->client_encoding, sizeof own);
    buf_init(&out, MESSAGE_MAX_BYTES);
    buf_init(&sql, 1024);
    fs->current = f;
    fs->is_undoing = false;
    fs->changes_encoding = f->encoding[0] != '\0' && strcmp(f->encoding, own) != 0;
    send_statement(s, &out, "SAVEPOINT " NAME);
    send_parse(s, &out, NAME "_rows", write_fetch(&sql, f));
    if (fs->changes_encoding)
        send_encoding(s, &out, f->encoding);
    send_execute(s, &out, NAME "_rows", f);
    if (fs->changes_encoding)
        send_encoding(s, &out, own);
    send_statement(s, &out, "RELEASE SAVEPOINT " NAME);
    send_one(s, &out, wire_write_empty(&out, 'S'), RQ_SYNC);
    buf_fini(&out);
    buf_fini(&sql);
}

static void undo(struct session *s)
{
    struct buf out;
    buf_init(&out, MESSAGE_MAX_BYTES);
    fetches_of(s)->is_undoing = true;
    send_one(s, &out, wire_write_close(&out, 'S', slice_cstr(NAME "_rows")), RQ_CLOSE);
    send_statement(s, &out, "ROLLBACK TO SAVEPOINT " NAME);
    send_statement(s, &out, "RELEASE SAVEPOINT " NAME);
    send_one(s, &out, wire_write_empty(&out, 'S'), RQ_SYNC);
    buf_fini(&out);
}

/* ---- when ---- */

/* Is the session between two statements of its client, or waiting for the receivers? */
static bool is_free(const struct session *s)
{
    const struct vendor *v = s->vendor;
    bool dispatching = v->dispatch.step != DISPATCH_NONE && !(v->dispatch.step == DISPATCH_CURSOR &&
                                                              v->cursors->run.step == CURSOR_WAIT);
    return (s->state == SESSION_READY || s->state == SESSION_DRAINING) && !dispatching &&
           !v->cursors->is_reconciling && response_queue_is_empty(&s->owed) &&
           (!s->owed.in_cycle || v->dispatch.step == DISPATCH_CURSOR) && !s->owed.skipping &&
           relay_is_between(&s->up) && !s->client_ended;
}

void cursor_fetch_pump(struct session *s)
{
    struct cursor_fetches *fs = fetches_of(s);
    while (fs != NULL && fs->current == NULL && fs->cancels == 0 && !list_is_empty(&fs->waiting) &&
           is_free(s)) {
        struct cursor_fetch *f = LIST_ENTRY(list_first(&fs->waiting), struct cursor_fetch, link);
        list_remove(&f->link);
        if (s->owed.status == 'T' && !endpoint_is_withdrawn(f->endpoint)) {
            start(s, f);
            return;
        }
        endpoint_refuse_gone(&f->err);
        reply(f);
    }
}

void cursor_fetch_on_answer(struct session *s, char type, struct slice body)
{
    struct cursor_fetches *fs = fetches_of(s);
    struct cursor_fetch *f = fs->current;
    struct wire_reader r;
    struct wire_command_complete m;
    if (f == NULL || fs->is_undoing)
        return;
    if (type == 'E' && buf_length(&f->error) == 0)
        buf_append_slice(&f->error, body);
    wire_reader_init(&r, body);
    if (type == 'C' && wire_read_command_complete(&r, &m) && slice_starts_with(m.tag, "FETCH "))
        f->count = strtoull(m.tag.data + strlen("FETCH "), NULL, 10);
}

bool cursor_fetch_hides(const struct session *s, struct slice body)
{
    return fetches_of(s)->changes_encoding && slice_starts_with(body, "client_encoding");
}

void cursor_fetch_on_advance(struct session *s)
{
    struct cursor_fetches *fs = fetches_of(s);
    struct cursor_fetch *f = fs->current;
    if (f == NULL || s->owed.skip_count > 0 || s->state == SESSION_CLOSING)
        return;
    if (buf_length(&f->error) > 0 && !fs->is_undoing && s->owed.status == 'E') {
        undo(s);
        return;
    }
    if (fs->cancels > 0)
        return;
    fs->current = NULL;
    reply(f);
}

/* ---- cancel ---- */

struct stop {
    struct mail mail;
    struct endpoint *endpoint;       /* a reference */
    struct endpoint_party *receiver; /* a reference */
};

static void free_stop(struct stop *c)
{
    endpoint_unref(c->endpoint);
    endpoint_party_unref(c->receiver);
    free(c);
}

/* The server has closed the cancel connection. */
static void on_cancel_sent(void *arg)
{
    struct stop *c = arg;
    struct session *s = c->endpoint->declarer->party.who;
    struct cursor_fetches *fs = s == NULL ? NULL : fetches_of(s);
    free_stop(c);
    if (fs == NULL)
        return;
    fs->cancels--;
    vendor_on_advance(s);
}

/* Takes c. */
static void cancel_current(struct session *s, struct stop *c)
{
    struct cursor_fetches *fs = fetches_of(s);
    struct wire_cancel m = {s->server_pid, slice_of(s->server_key, s->server_key_bytes)};
    fs->current->is_canceled = true;
    fs->cancels++;
    if (!cancel_send(s->group->loop, &s->group->shared->backend, &m, on_cancel_sent, c)) {
        fs->cancels--;
        free_stop(c);
    }
}

static void on_stop(struct mail *m)
{
    struct stop *c = MAIL_ENTRY(m, struct stop, mail);
    struct session *s = c->endpoint->declarer->party.who;
    struct cursor_fetches *fs = s == NULL ? NULL : fetches_of(s);
    if (fs != NULL && fs->current != NULL && fs->current->receiver == c->receiver &&
        !fs->current->is_canceled && !fs->is_undoing) {
        cancel_current(s, c);
        return;
    }
    for (struct list *l = fs == NULL ? NULL : fs->waiting.next; l != NULL && l != &fs->waiting;) {
        struct cursor_fetch *f = LIST_ENTRY(l, struct cursor_fetch, link);
        l = l->next;
        if (f->receiver != c->receiver)
            continue;
        err_set(&f->err, SQLSTATE_QUERY_CANCELED, "canceling statement due to user request");
        reply(f);
    }
    free_stop(c);
}

void cursor_fetch_cancel(struct endpoint *e, struct endpoint_party *receiver)
{
    struct stop *c = calloc(1, sizeof *c);
    if (c == NULL)
        return;
    atomic_fetch_add(&e->refs, 1);
    c->endpoint = e;
    c->receiver = endpoint_party_ref(receiver);
    c->mail.on_receive = on_stop;
    loop_post(e->declarer->party.loop, &c->mail);
}
