/* Statements of a text: those that start with a handler's words are shown to it. The first handler that
 * does not pass decides: the statement becomes the CALL that it answers with (edits found inside give way
 * to it), or is noted for the proxy to carry out, or the whole text is refused.
 *
 * A CALL may have a question to the server first ("is this server one of ours?"). All questions of a text
 * are asked at once; the next inspection has the answers. */
#include "gate_inspection.h"

#include <string.h>

/* Each CALL may ask, and a question may repeat those of the statements before. */
#define MAX_CALLS 200

void gate_statement_note(struct inspection *in, const struct token *t)
{
    if (in->start == in->end)
        in->start = in->second = t->start;
    else if (in->second == in->start)
        in->second = t->start;
    in->end = t->end;
    if (in->lead_over)
        return;
    if (t->kind == TOKEN_WORD && in->lead_count < LEAD_WORDS)
        memcpy(in->lead[in->lead_count++], t->name, sizeof t->name);
    else
        in->lead_over = true;
}

/* Does the statement start with these words? */
static bool has_lead(const struct inspection *in, const char *lead)
{
    for (size_t i = 0; i < in->lead_count; i++) {
        size_t n = strlen(in->lead[i]);
        if (strncmp(lead, in->lead[i], n) != 0)
            return false;
        if (lead[n] == '\0')
            return true;
        if (lead[n] != ' ')
            return false;
        lead += n + 1;
    }
    return false;
}

/* The tag of the current statement; those before it without one keep the server's. */
static void add_tag(struct inspection *in, const char *tag)
{
    struct gate_result *r = in->result;
    while (in->memory && r->tag_count < r->statement_count) {
        const char **all =
            gate_grow(in, (void *)r->tags, r->tag_count, &in->tag_capacity, sizeof *all);
        if (all == NULL)
            return;
        r->tags = all;
        r->tags[r->tag_count] = r->tag_count + 1 == r->statement_count ? tag : NULL;
        r->tag_count++;
    }
}

/* ---- questions ---- */

/* The whole condition for the statement; NULL: none. If an earlier statement of the text makes what it
 * is about, that one's condition will do too. Only the last that does: its condition holds the former
 * ones already. */
static const char *build_question(struct inspection *in, const struct handler_answer *answer)
{
    if (answer->about == NULL || answer->ask == NULL)
        return answer->ask;
    for (size_t i = in->question_count; i > 0; i--) {
        const struct question *q = &in->questions[i - 1];
        if (q->makes == NULL || strcmp(q->makes, answer->about) != 0)
            continue;
        if (q->ask == NULL)
            return NULL;
        const char *ask = arena_printf(in->arena, "(%s) OR (%s)", answer->ask, q->ask);
        in->memory = in->memory && ask != NULL;
        return ask;
    }
    return answer->ask;
}

/* Keeps what later statements may need. False: the answer to its question is known to be no. */
static bool pass_question(struct inspection *in, const struct handler_answer *answer)
{
    const char *ask = build_question(in, answer);
    if (ask != NULL && in->session->answers != NULL) {
        size_t number = in->result->ask_count++;
        if (number >= in->session->answer_count || !in->session->answers[number])
            return false;
    } else if (ask != NULL) {
        in->result->ask_count++;
    }
    struct question *all =
        gate_grow(in, in->questions, in->question_count, &in->question_capacity, sizeof *all);
    if (all == NULL)
        return false;
    in->questions = all;
    in->questions[in->question_count++] = (struct question){ask, answer->makes};
    return true;
}

/* ---- what a handler says ---- */

/* Is there more in the text than can be carried out, so that its secrets would reach the server's log?
 * What is in doubt is not refused: the next inspection has the answers. */
static bool is_too_much(struct inspection *in, const struct handler_answer *answer, bool full)
{
    bool doubt = in->session->answers == NULL && in->result->ask_count > 0;
    if (full && answer->secrets != NULL && answer->about == NULL) {
        err_set(in->err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                "more than %d statements on servers and foreign tables in one query string",
                MAX_CALLS);
        return true;
    }
    if (full || answer->secrets == NULL || in->result->secrets == NULL || doubt)
        return false;
    err_set(in->err, SQLSTATE_FEATURE_NOT_SUPPORTED,
            "only one statement with secret options can be sent in one query string");
    err_hint(in->err, "Send the statements one by one.");
    return true;
}

static void take_answer(struct inspection *in, const struct handler_answer *answer)
{
    bool full = in->question_count == MAX_CALLS;
    if (!full && !pass_question(in, answer))
        return;
    if (is_too_much(in, answer, full))
        gate_refuse(in);
    if (full || in->refused)
        return;
    in->result->needs_support_schema = true;
    if (answer->secrets != NULL)
        in->result->secrets = answer->secrets;
    in->result->wakes_workers = in->result->wakes_workers || answer->wakes_workers;
    if (answer->makes != NULL && answer->about == NULL)
        in->result->makes_objects = true;
    in->found_count = in->first_found;
    gate_add_found(
        in, (struct found){.edit = {in->start, in->end - in->start, slice_cstr(answer->call)}});
    add_tag(in, answer->tag);
}

/* Its edits come before those already found in the statement, which lie in the query behind. */
static void take_cursor(struct inspection *in, const struct handler_cursor *c)
{
    struct gate_result *r = in->result;
    size_t names = in->found_count - in->first_found;
    struct gate_cursor *all =
        gate_grow(in, r->cursors, r->cursor_count, &in->cursor_capacity, sizeof *all);
    if (all == NULL)
        return;
    r->cursors = all;
    r->cursors[r->cursor_count++] = (struct gate_cursor){in->start, in->end, c};
    if (c->kind == HANDLER_CURSOR_FETCH || c->kind == HANDLER_CURSOR_MOVE)
        return;
    for (size_t i = 0; i < c->edit_count; i++) {
        const struct handler_edit *e = &c->edits[i];
        gate_add_found(in, (struct found){.edit = {e->start, e->length, slice_cstr(e->with)}});
    }
    if (!in->memory)
        return;
    for (size_t i = 0; i < c->edit_count; i++) { /* rotate: the new ones to the front */
        struct found f = in->found[in->found_count - 1];
        memmove(&in->found[in->first_found + 1], &in->found[in->first_found],
                (names + c->edit_count - 1) * sizeof f);
        in->found[in->first_found] = f;
    }
}

/* Asks the handlers whose words the statement starts with; the first that does not pass decides. */
static void ask_handlers(struct inspection *in, const struct handler *h, bool *decided)
{
    for (size_t i = 0; i < h->statement_count && !*decided && in->memory; i++) {
        if (!has_lead(in, h->statements[i].lead))
            continue;
        struct token *tokens;
        struct handler_text statement = {
            .text = in->text, .dialect = &in->dialect, .has_cursors = in->session->has_cursors};
        in->memory = lexer_read(in->arena, in->text, in->start, in->end, &in->dialect, &tokens,
                                &statement.count);
        if (!in->memory)
            return;
        statement.tokens = tokens;
        struct handler_answer answer = {.call = NULL};
        enum handler_claim claim = h->statements[i].claim(in->arena, &statement, &answer, in->err);
        *decided = claim != HANDLER_PASS;
        if (claim == HANDLER_ANSWER)
            take_answer(in, &answer);
        if (claim == HANDLER_ORCHESTRATE)
            take_cursor(in, answer.cursor);
        if (claim == HANDLER_REFUSE)
            gate_refuse(in);
        if (claim == HANDLER_NO_MEMORY)
            in->memory = false;
    }
}

/* ---- the end of a statement ---- */

static void count_statement(struct inspection *in)
{
    struct gate_result *r = in->result;
    if (in->start == in->end)
        return;
    r->statement_count++;
    r->begins = r->begins || has_lead(in, "begin") || has_lead(in, "start");
    r->copies = r->copies || has_lead(in, "copy");
}

void gate_statement_end(struct inspection *in)
{
    bool decided = false;
    gate_name_drop_ctes(in);
    count_statement(in);
    for (size_t i = 0; i < in->gate->handler_count && !decided && in->memory; i++)
        ask_handlers(in, in->gate->handlers[i], &decided);
    in->first_found = in->found_count;
    in->start = in->end;
    in->lead_count = 0;
    in->lead_over = false;
    in->cte_names = 0;
}
