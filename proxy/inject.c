/* An injected statement is
 *
 *     Close S n   Parse n   Bind n   Execute n   Close P n   Close S n   Sync | Flush
 *
 * under a name that no client uses: never the unnamed statement or portal, which are the client's. The
 * first Close takes away what a failed one left. Each message has a SKIP entry in the response queue,
 * so the client sees nothing of it. The queue was empty before, so the statement is done when no SKIP
 * entry is left.
 *
 * Why Flush inside a cycle: a Sync would end the client's implicit transaction in the middle, and
 * would end a skip-until-Sync that the client has not ended. Where nothing was executed in the cycle Sync
 * is better: with Flush PostgreSQL 18 would report a transaction where the client has none.
 *
 * The FunctionCall form exists for secrets: with log_statement = all the server logs bound parameters,
 * but not the arguments of a function call. */
#include "inject.h"

#include <string.h>

#include "base/err.h"
#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include "session.h"

#define INJECT_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define STATEMENT "pgveneer_injected"
#define OID_SET_CONFIG 2078u /* pg_catalog.set_config(text, text, boolean), in every version */

void inject_init(struct inject *i)
{
    *i = (struct inject){0};
    buf_init(&i->row, INJECT_MAX_BYTES);
    buf_init(&i->description, INJECT_MAX_BYTES);
    buf_init(&i->error, INJECT_MAX_BYTES);
}

void inject_fini(struct inject *i)
{
    buf_fini(&i->row);
    buf_fini(&i->description);
    buf_fini(&i->error);
}

static void start(struct inject *i, enum inject_form form)
{
    i->is_active = true;
    i->has_failed = false;
    i->form = form;
    buf_release(&i->row);
    buf_release(&i->description);
    buf_release(&i->error);
}

/* Sends what stands in `out` as one message and empties it. */
static void send_skipped(struct session *s, struct buf *out, enum rq_kind kind)
{
    if (out->failed) {
        struct err err;
        err_no_memory(&err);
        session_refuse(s, &err);
    }
    if (s->state != SESSION_CLOSING)
        session_request(s, buf_data(out), buf_length(out), kind, RQ_SKIP, NULL);
    buf_clear(out);
}

static void send_end(struct session *s, struct buf *out, enum inject_form form)
{
    if (form == INJECT_SYNC && wire_write_empty(out, 'S'))
        send_skipped(s, out, RQ_SYNC);
    if (form == INJECT_FLUSH && wire_write_empty(out, 'H') && s->state != SESSION_CLOSING)
        conn_send(s->server, buf_data(out), buf_length(out));
    buf_fini(out);
}

/* bind: a whole Bind message of that name; emptied */
static void query(struct session *s, struct inject *i, const struct wire_parse *parse,
                  struct buf *bind, enum inject_form form)
{
    struct slice name = parse->name;
    struct buf out;
    start(i, form);
    buf_init(&out, INJECT_MAX_BYTES);
    out.failed = !wire_write_close(&out, 'S', name);
    send_skipped(s, &out, RQ_CLOSE);
    out.failed = !wire_write_parse(&out, parse);
    send_skipped(s, &out, RQ_PARSE);
    send_skipped(s, bind, RQ_BIND);
    out.failed = !wire_write_execute(&out, name, 0);
    send_skipped(s, &out, RQ_EXECUTE);
    out.failed = !wire_write_close(&out, 'P', name);
    send_skipped(s, &out, RQ_CLOSE);
    out.failed = !wire_write_close(&out, 'S', name);
    send_skipped(s, &out, RQ_CLOSE);
    send_end(s, &out, form);
    buf_fini(bind);
}

static void query_text(struct session *s, struct inject *i, const char *sql,
                       const char *const *values, uint16_t count, enum inject_form form)
{
    struct wire_parse parse = {.name = slice_cstr(STATEMENT), .query = slice_cstr(sql)};
    struct buf bind;
    buf_init(&bind, INJECT_MAX_BYTES);
    bind.failed = !wire_write_bind_text(&bind, parse.name, parse.name, values, count);
    query(s, i, &parse, &bind, form);
}

void inject_query(struct session *s, struct inject *i, const char *sql, enum inject_form form)
{
    query_text(s, i, sql, NULL, 0, form);
}

void inject_query_with(struct session *s, struct inject *i, const char *sql, const char *value,
                       enum inject_form form)
{
    query_text(s, i, sql, &value, 1, form);
}

void inject_query_bound(struct session *s, struct inject *i, const struct wire_parse *parse,
                        const struct wire_bind *bind, enum inject_form form)
{
    struct wire_parse ours = *parse;
    struct wire_bind values = *bind;
    struct buf message;
    ours.name = values.statement = values.portal = slice_cstr(INJECT_PREPARED);
    values.nresult_formats = 0;
    values.result_formats = slice_of("", 0);
    buf_init(&message, INJECT_MAX_BYTES);
    message.failed = !wire_write_bind(&message, &values);
    query(s, i, &ours, &message, form);
}

void inject_prepare(struct session *s, struct inject *i, const struct wire_parse *parse,
                    enum inject_form form)
{
    struct wire_parse ours = *parse;
    struct buf out;
    ours.name = slice_cstr(INJECT_PREPARED);
    start(i, form);
    buf_init(&out, INJECT_MAX_BYTES);
    out.failed = !wire_write_close(&out, 'S', ours.name);
    send_skipped(s, &out, RQ_CLOSE);
    out.failed = !wire_write_parse(&out, &ours);
    send_skipped(s, &out, RQ_PARSE);
    send_end(s, &out, form);
}

void inject_describe(struct session *s, struct inject *i, const char *portal, enum inject_form form)
{
    struct buf out;
    start(i, form);
    buf_init(&out, INJECT_MAX_BYTES);
    out.failed = !wire_write_describe(&out, 'P', slice_cstr(portal));
    send_skipped(s, &out, RQ_DESCRIBE);
    send_end(s, &out, form);
}

void inject_execute(struct session *s, struct inject *i, struct slice message)
{
    struct buf out;
    start(i, INJECT_FLUSH);
    buf_init(&out, INJECT_MAX_BYTES);
    out.failed = !buf_append_slice(&out, message);
    send_skipped(s, &out, RQ_EXECUTE);
    send_end(s, &out, INJECT_FLUSH);
}

static void put_text_argument(struct wire_writer *w, const char *text)
{
    wire_put_value(w, (struct wire_value){.bytes = slice_cstr(text)});
}

void inject_setting(struct session *s, struct inject *i, const char *name, const char *value)
{
    struct buf out;
    struct wire_writer w;
    start(i, INJECT_FUNCTION);
    buf_init(&out, INJECT_MAX_BYTES);
    wire_writer_init(&w, &out);
    wire_begin(&w, 'F');
    wire_put_u32(&w, OID_SET_CONFIG);
    wire_put_u16(&w, 0); /* all arguments are text */
    wire_put_u16(&w, 3);
    put_text_argument(&w, name);
    put_text_argument(&w, value);
    put_text_argument(&w, "false");
    wire_put_u16(&w, 0); /* so is the result */
    out.failed = !wire_finish(&w);
    size_t bytes = buf_length(&out);
    send_skipped(s, &out, RQ_FUNCTION);
    explicit_bzero(out.data, bytes);
    buf_fini(&out);
}

/* ---- errors ---- */

/* A literal that reads the same whatever standard_conforming_strings and client_encoding are: bytes
 * that are not ASCII stay only in UTF-8, where none of them is a backslash in disguise; a dollar sign
 * could end the body. */
static void put_literal(struct buf *out, const char *text, bool is_utf8)
{
    buf_append_cstr(out, "E'");
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if (c == '\'' || c == '\\' || c == '$' || c < ' ')
            buf_printf(out, "\\x%02x", c);
        else
            buf_append_byte(out, c < 0x80 || is_utf8 ? *at : '?');
    }
    buf_append_byte(out, '\'');
}

static void put_option(struct buf *out, const char *option, const char *text, bool is_utf8)
{
    if (text[0] == '\0')
        return;
    buf_printf(out, ", %s = ", option);
    put_literal(out, text, is_utf8);
}

void inject_error(struct session *s, struct inject *i, const struct err *err, enum inject_form form)
{
    struct buf sql;
    bool is_utf8 = strcmp(s->client_encoding, "UTF8") == 0;
    buf_init(&sql, INJECT_MAX_BYTES);
    buf_append_cstr(&sql, "DO $pgveneer$BEGIN RAISE EXCEPTION USING MESSAGE = ");
    put_literal(&sql, err->message, is_utf8);
    put_option(&sql, "ERRCODE", err->sqlstate, is_utf8);
    put_option(&sql, "DETAIL", err->detail, is_utf8);
    put_option(&sql, "HINT", err->hint, is_utf8);
    buf_append_cstr(&sql, "; END$pgveneer$");
    const char *text = buf_cstr(&sql);
    inject_query(s, i, text == NULL ? "DO ''" : text, form);
    buf_fini(&sql);
}

/* ---- answers ---- */

void inject_on_answer(struct inject *i, char type, struct slice body)
{
    if (type == 'E') {
        i->has_failed = true;
        buf_append_slice(&i->error, body);
    }
    if (type == 'D' && buf_length(&i->row) == 0)
        buf_append_slice(&i->row, body);
    if (type == 'T')
        buf_append_slice(&i->description, body);
}

bool inject_is_done(struct session *s, struct inject *i)
{
    if (!i->is_active || s->owed.skip_count > 0)
        return false;
    i->is_active = false;
    return true;
}

bool inject_find_value(const struct inject *i, size_t column, struct slice *value)
{
    struct wire_reader r;
    struct wire_data_row row;
    struct wire_value v = {.is_null = true};
    if (buf_length(&i->row) == 0)
        return false;
    wire_reader_init(&r, buf_slice(&i->row));
    if (!wire_read_data_row(&r, &row) || column >= row.nvalues)
        return false;
    wire_reader_init(&r, row.values);
    for (size_t n = 0; n <= column; n++)
        v = wire_get_value(&r);
    *value = v.bytes;
    return !v.is_null;
}
