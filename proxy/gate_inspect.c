/* One inspection: finds what is ours in a text and says what goes to the server instead.
 *
 *   text ── lexer ── context ──► names of objects in a place that reads them   REWRITE: an edit
 *                 └─ statements that start with a handler's words ─► claim()   ANSWER: an edit
 *                                                                              over the statement;
 *                                                                              ORCHESTRATE: noted
 *
 * One pass over the tokens. A statement ends at a semicolon outside parentheses and atomic bodies.
 * Names are gate_name.c's, statements gate_statement.c's.
 *
 * Anything unreadable (a literal without end) means that the server will refuse the whole text: it
 * goes there as it is, unless it holds secrets. */
#include "gate_inspection.h"

#include <string.h>

#include "base/attr.h"

#include "splice.h"

/* ---- for all files of the gate ---- */

void *gate_grow(struct inspection *in, void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    size_t more = *capacity == 0 ? 8 : *capacity * 2;
    void *moved = arena_alloc_array(in->arena, more, size);
    if (moved == NULL) {
        in->memory = false;
        return NULL;
    }
    if (count > 0)
        memcpy(moved, items, count * size);
    *capacity = more;
    return moved;
}

void gate_add_found(struct inspection *in, struct found f)
{
    struct found *all = gate_grow(in, in->found, in->found_count, &in->found_capacity, sizeof *all);
    if (all == NULL)
        return;
    in->found = all;
    in->found[in->found_count++] = f;
}

void gate_refuse(struct inspection *in)
{
    in->refused = true;
    if (in->err->position > 0) {
        struct slice before = slice_part(in->text, 0, in->err->position - 1);
        in->err->position = (uint32_t)encoding_count(in->dialect.encoding, before) + 1;
    }
}

/* ---- the pass ---- */

static void take_token(struct inspection *in, struct context *c, const struct token *t,
                       const struct token *next)
{
    struct spot spot;
    if (context_is_top(c) && token_is_symbol(t, ';')) {
        gate_statement_end(in);
        context_start(c);
        return;
    }
    gate_statement_note(in, t);
    in->memory = context_feed(c, t, next, &spot);
    if (spot.kind == SPOT_CTE)
        gate_name_note_cte(in, t);
    else if (spot.kind != SPOT_NONE && in->memory)
        gate_name_add(in, t, &spot);
}

/* The server would refuse the text, and its log would show it. If the statement is certainly ours, or an
 * earlier one has secrets, the text is refused here. */
static void end_broken(struct inspection *in, const struct token *t)
{
    gate_statement_note(in, t);
    gate_statement_end(in);
    if (in->refused || in->result->secrets == NULL)
        return;
    err_set(in->err, SQLSTATE_SYNTAX_ERROR, "unterminated string, quoted identifier or comment");
    in->err->position = (uint32_t)t->start + 1;
    gate_refuse(in);
}

/* Reads the whole text. False: a token is broken. Four tokens are kept: the one at hand, the one behind
 * it, and the two before that the context looks back to. */
static bool read_text(struct inspection *in)
{
    struct lexer x;
    struct context c;
    struct token ring[4];
    size_t current = 0;
    in->memory = context_init(&c, in->arena);
    lexer_init(&x, in->text, &in->dialect);
    bool more = lexer_next(&x, &ring[current]);
    while (more && in->memory && !in->refused) {
        const struct token *t = &ring[current];
        struct token *next = &ring[(current + 1) % ARRAY_LEN(ring)];
        if (t->kind == TOKEN_BAD) {
            end_broken(in, t);
            return false;
        }
        more = lexer_next(&x, next);
        take_token(in, &c, t, more ? next : NULL);
        current = (current + 1) % ARRAY_LEN(ring);
    }
    if (in->memory && !in->refused)
        gate_statement_end(in);
    return true;
}

/* ---- the result ---- */

static void write_question(struct inspection *in)
{
    struct gate_result *r = in->result;
    const char *text = NULL;
    if (in->session->answers != NULL || r->ask_count == 0)
        return;
    for (size_t i = 0; i < in->question_count; i++) {
        if (in->questions[i].ask == NULL)
            continue;
        text = text == NULL ? arena_printf(in->arena, "SELECT (%s)", in->questions[i].ask)
                            : arena_printf(in->arena, "%s, (%s)", text, in->questions[i].ask);
        if (text == NULL) {
            in->memory = false;
            return;
        }
    }
    r->ask = text;
}

static void write_result(struct inspection *in)
{
    struct gate_result *r = in->result;
    r->edits = arena_alloc_array(in->arena, in->found_count, sizeof *r->edits);
    if (r->edits == NULL) {
        in->memory = false;
        return;
    }
    r->edit_count = in->found_count;
    for (size_t i = 0; i < in->found_count; i++) {
        r->edits[i] = in->found[i].edit;
        if ((in->found[i].object & in->gate->endpoint_objects) != 0)
            r->reads_endpoints = true;
        if (in->found[i].object != 0)
            r->needs_support_schema = true;
        for (uint64_t bit = in->found[i].object; bit != 0; bit &= bit - 1)
            if (in->gate->objects[__builtin_ctzll(bit)]->wakes_workers)
                r->wakes_workers = true;
    }
    if (!splice_text(in->arena, in->text, r->edits, r->edit_count, &r->text))
        in->memory = false;
    r->verdict = GATE_REWRITE;
    write_question(in);
}

bool gate_inspect(const struct gate *g, const struct gate_session *s, struct slice text,
                  struct arena *a, struct gate_result *out, struct err *err)
{
    *out = (struct gate_result){.verdict = GATE_PASS};
    struct inspection in = {.gate = g,
                            .session = s,
                            .arena = a,
                            .text = text,
                            .result = out,
                            .err = err,
                            .memory = true};
    in.dialect.standard_conforming_strings = s->standard_conforming_strings;
    in.dialect.encoding = encoding_find(s->client_encoding);
    bool readable = read_text(&in);
    if (in.memory && readable && !in.refused && (in.found_count > 0 || out->cursor_count > 0))
        write_result(&in);
    if (s->answers != NULL)
        out->ask_count = 0;
    if (!in.memory || (!readable && !in.refused))
        *out = (struct gate_result){.verdict = GATE_PASS};
    if (in.memory && in.refused)
        *out = (struct gate_result){.verdict = GATE_REFUSE};
    return in.memory;
}
