/* Answers of rewritten texts, in the client's terms.
 *
 *   CommandComplete   of a call that stands for a statement of the vendor gets that statement's tag
 *   Error, Notice     P (position) is carried back to the client's text. W (context) loses the frames
 *                     inside our functions: contexts are listed from the innermost to the outermost,
 *                     so that is everything up to the last frame of ours. p and q (position and text
 *                     of an internal query) are lost with them. */
#include "dispatch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/server_msg.h"

#include "session.h"

#define REPLY_MAX_BYTES ((size_t)4 * 1024 * 1024)

static void send_buffer(struct session *s, struct buf *out, bool is_written)
{
    if (is_written)
        session_reply(s, buf_data(out), buf_length(out));
    buf_fini(out);
}

static enum relay_verdict edit_tag(struct session *s, struct rq_note *note)
{
    const struct statement *st = note->statement;
    struct buf out;
    if (note->row[0] != '\0') {
        struct wire_value line = {.bytes = slice_cstr(note->row)};
        buf_init(&out, REPLY_MAX_BYTES);
        send_buffer(s, &out, wire_write_data_row(&out, &line, 1));
    }
    if (note->tag != NULL) {
        buf_init(&out, REPLY_MAX_BYTES);
        send_buffer(s, &out, wire_write_command_complete(&out, slice_cstr(note->tag)));
        return RELAY_DROP;
    }
    size_t number = note->completed++;
    if (number >= st->tag_count || st->tags[number] == NULL)
        return RELAY_PASS;
    buf_init(&out, REPLY_MAX_BYTES);
    send_buffer(s, &out, wire_write_command_complete(&out, slice_cstr(st->tags[number])));
    return RELAY_DROP;
}

/* ---- contexts ---- */

/* PL/pgSQL function pgveneer.f(text) line 3 at RAISE;  SQL function "pg_task_show" statement 1 */
static bool is_our_frame(const struct gate *g, struct slice line)
{
    static const char sql_function[] = "SQL function \"";
    if (memmem(line.data, line.len, "PL/pgSQL", 8) != NULL)
        return memmem(line.data, line.len, " pgveneer.", 10) != NULL ||
               memmem(line.data, line.len, " hologres.", 10) != NULL;
    if (!slice_starts_with(line, sql_function))
        return false;
    struct slice name = slice_part(line, sizeof sql_function - 1, line.len);
    name = slice_part(name, 0, slice_find_byte(name, '"'));
    for (size_t i = 0; i < gate_object_count(g); i++)
        if (slice_equals_cstr(name, gate_object(g, i)->name))
            return true;
    return false;
}

/* What lies outside our functions. */
static struct slice outer_context(const struct gate *g, struct slice context)
{
    struct slice rest = context;
    size_t from = 0;
    while (from < context.len) {
        struct slice tail = slice_part(context, from, context.len);
        size_t end = slice_find_byte(tail, '\n');
        size_t next = end < tail.len ? from + end + 1 : context.len;
        if (is_our_frame(g, slice_part(tail, 0, end)))
            rest = slice_part(context, next, context.len);
        from = next;
    }
    return rest;
}

/* ---- errors and notices ---- */

static bool find_position(struct slice body, uint32_t *position)
{
    struct slice text;
    char digits[16];
    if (!wire_error_find(body, 'P', &text) || text.len >= sizeof digits)
        return false;
    memcpy(digits, text.data, text.len);
    digits[text.len] = '\0';
    *position = (uint32_t)strtoul(digits, NULL, 10);
    return *position > 0;
}

/* always: sends it also when nothing is to be changed */
static enum relay_verdict edit_error(struct session *s, char type, struct slice body,
                                     const struct statement *st, bool always)
{
    struct wire_field_edit edits[4];
    size_t count = 0;
    char position_text[16];
    char *rest = NULL;
    uint32_t position;
    struct slice context;
    struct buf out;
    if (find_position(body, &position)) {
        position =
            (uint32_t)st->position_offset +
            gate_map_position(st->text, st->edits, st->edit_count, s->client_encoding, position);
        snprintf(position_text, sizeof position_text, "%u", position);
        edits[count++] = (struct wire_field_edit){'P', position_text};
    }
    if (wire_error_find(body, 'W', &context)) {
        struct slice outer = outer_context(s->group->shared->gate, context);
        if (outer.len < context.len) {
            rest = outer.len == 0 ? NULL : strndup(outer.data, outer.len);
            edits[count++] = (struct wire_field_edit){'W', rest};
            edits[count++] = (struct wire_field_edit){'p', NULL};
            edits[count++] = (struct wire_field_edit){'q', NULL};
        }
    }
    if (count == 0 && !always)
        return RELAY_PASS;
    buf_init(&out, REPLY_MAX_BYTES);
    send_buffer(s, &out, wire_write_error_edited(&out, type, body, edits, count));
    free(rest);
    return RELAY_DROP;
}

enum relay_verdict reply_edited(struct session *s, char type, struct slice body,
                                struct rq_note *note)
{
    if (type == 'C')
        return edit_tag(s, note);
    return edit_error(s, type, body, note->statement, false);
}

void reply_statement_error(struct session *s, char type, struct slice body,
                           const struct statement *st)
{
    (void)edit_error(s, type, body, st, true);
}

void reply_injected_error(struct session *s, struct slice body, const struct err *ours)
{
    struct wire_field_edit edits[] = {{'W', NULL}, {'p', NULL}, {'q', NULL}, {'P', NULL},
                                      {'F', NULL}, {'L', NULL}, {'R', NULL}};
    size_t count =
        ours == NULL ? 4 : ARRAY_LEN(edits); /* the server's own keep where they came from */
    char position_text[16];
    struct buf out;
    if (ours != NULL && ours->position > 0) {
        snprintf(position_text, sizeof position_text, "%u", ours->position);
        edits[3].with = position_text;
    }
    buf_init(&out, REPLY_MAX_BYTES);
    send_buffer(s, &out, wire_write_error_edited(&out, 'E', body, edits, count));
}
