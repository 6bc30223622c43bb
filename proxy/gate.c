/* The gate: finds what is ours in a text and says what goes to the server instead.
 *
 *   text ── lexer ── context ──► names of objects in a place that reads them   REWRITE: an edit
 *                 └─ statements that start with a handler's words ─► claim()   ANSWER: an edit
 *                                                                              over the statement;
 *                                                                              ORCHESTRATE: noted
 *
 * One pass over the tokens. A statement ends at a semicolon outside parentheses and atomic bodies; at
 * its end the handlers whose leading words it has are asked, and the edits found inside give way to
 * the CALL that one of them answers with. A bare relation whose name the statement defines as a common
 * table expression is taken back there too.
 *
 * Anything unreadable (a literal without end) means that the server will refuse the whole text: it
 * goes there as it is, unless it holds secrets. */
#include "proxy/gate.h"

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "context.h"
#include "prefilter.h"
#include "proxy/lexer.h"
#include "splice.h"

/* A quoted identifier can spell any name without its letters, in Unicode escapes. */
#define ANCHOR_UNICODE "u&\""

struct gate {
    const struct handler *const *handlers; /* owns the array */
    size_t handler_count;
    const struct handler_object *objects[GATE_MAX_OBJECTS];
    size_t object_count;
    uint64_t by_first[256];    /* objects whose name starts so */
    uint64_t endpoint_objects; /* objects that show endpoints */
    struct prefilter *prefilter;
};

/* --- compiling ------------------------------------------------------------------------------------ */

static bool add_objects(struct gate *g, const struct handler *h, struct err *err)
{
    for (size_t i = 0; i < h->object_count; i++) {
        if (g->object_count == GATE_MAX_OBJECTS)
            return err_set(err, SQLSTATE_INTERNAL_ERROR, "more than %d vendor objects",
                           GATE_MAX_OBJECTS);
        g->by_first[(unsigned char)h->objects[i].name[0]] |= (uint64_t)1 << g->object_count;
        if (h->reads_endpoints)
            g->endpoint_objects |= (uint64_t)1 << g->object_count;
        g->objects[g->object_count++] = &h->objects[i];
    }
    return true;
}

static bool compile_prefilter(struct gate *g, struct err *err)
{
    size_t count = 1;
    for (size_t i = 0; i < g->handler_count; i++)
        count += g->handlers[i]->anchor_count;
    const char **words = calloc(count, sizeof *words);
    if (words == NULL)
        return err_no_memory(err);
    size_t n = 0;
    words[n++] = ANCHOR_UNICODE;
    for (size_t i = 0; i < g->handler_count; i++)
        for (size_t k = 0; k < g->handlers[i]->anchor_count; k++)
            words[n++] = g->handlers[i]->anchors[k];
    bool made = prefilter_new(words, n, &g->prefilter, err);
    free(words);
    return made;
}

bool gate_new(const struct handler *const *handlers, size_t count, struct gate **out,
              struct err *err)
{
    struct gate *g = calloc(1, sizeof *g);
    const struct handler **copy = calloc(count + 1, sizeof(struct handler *));
    if (g == NULL || copy == NULL) {
        free(g);
        free(copy);
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++)
        copy[i] = handlers[i];
    g->handlers = copy;
    g->handler_count = count;
    bool good = compile_prefilter(g, err);
    for (size_t i = 0; good && i < count; i++)
        good = add_objects(g, handlers[i], err);
    if (!good) {
        gate_free(g);
        return false;
    }
    *out = g;
    return true;
}

void gate_free(struct gate *g)
{
    if (g == NULL)
        return;
    prefilter_free(g->prefilter);
    free((void *)g->handlers);
    free(g);
}

size_t gate_object_count(const struct gate *g)
{
    return g->object_count;
}

const struct handler_object *gate_object(const struct gate *g, size_t number)
{
    return g->objects[number];
}

bool gate_may_hold(const struct gate *g, struct slice text)
{
    return prefilter_may_hold(g->prefilter, text);
}

/* --- one inspection ------------------------------------------------------------------------------- */

/* An edit, and the object whose name it qualifies. */
struct found {
    struct gate_edit edit;
    uint64_t object; /* its bit; 0: a CALL in place of a statement */
    bool bare;       /* not behind pg_catalog: search_path and CTEs matter */
};

/* A CALL whose question waits for its answer. */
struct question {
    const char *ask;   /* boolean expression */
    const char *makes; /* or NULL */
};

#define LEAD_WORDS 4

struct inspection {
    const struct gate *gate;
    const struct gate_session *session;
    struct arena *arena;
    struct slice text;
    struct lexer_dialect dialect;
    struct gate_result *result;
    struct err *err;
    bool memory; /* false: an allocation failed, all else is void */
    bool refused;

    struct found *found;
    size_t found_count, found_capacity;
    struct question *questions;
    size_t question_count, question_capacity;
    size_t tag_capacity;
    size_t cursor_capacity;

    /* the current statement */
    size_t first_found;
    size_t start, end; /* of its first and last token; equal: no token yet */
    size_t second;     /* start of its second token; that of the first: no second yet */
    char lead[LEAD_WORDS][TOKEN_NAME_BYTES];
    size_t lead_count;
    bool lead_over;
    uint64_t cte_names; /* objects whose name it gives to a common table expression */
};

/* Makes room for one more; the array moves inside the arena. NULL: no memory. */
static void *grow(struct inspection *in, void *items, size_t count, size_t *capacity, size_t size)
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

static void add_found(struct inspection *in, struct found f)
{
    struct found *all = grow(in, in->found, in->found_count, &in->found_capacity, sizeof *all);
    if (all == NULL)
        return;
    in->found = all;
    in->found[in->found_count++] = f;
}

/* The tag of the current statement; those before it without one keep the server's. */
static void add_tag(struct inspection *in, const char *tag)
{
    struct gate_result *r = in->result;
    while (in->memory && r->tag_count < r->statement_count) {
        const char **all = grow(in, (void *)r->tags, r->tag_count, &in->tag_capacity, sizeof *all);
        if (all == NULL)
            return;
        r->tags = all;
        r->tags[r->tag_count] = r->tag_count + 1 == r->statement_count ? tag : NULL;
        r->tag_count++;
    }
}

/* The object of this name and kind, as its bit; 0: none. */
static uint64_t find_object(const struct gate *g, const char *name, enum handler_object_kind kind,
                            const struct handler_object **object)
{
    for (uint64_t set = g->by_first[(unsigned char)name[0]]; set != 0; set &= set - 1) {
        const struct handler_object *o = g->objects[__builtin_ctzll(set)];
        if (o->kind == kind && strcmp(o->name, name) == 0) {
            *object = o;
            return set & (~set + 1);
        }
    }
    return 0;
}

/* CALL name(…): the name of the procedure takes the place of the whole name. */
static bool find_procedure(struct inspection *in, const struct token *t, const struct spot *spot,
                           const struct handler_object *o, struct gate_edit *edit)
{
    size_t start = spot->behind_catalog ? spot->catalog_start : t->start;
    if (o->call == NULL || start != in->second || strcmp(in->lead[0], "call") != 0)
        return false;
    const char *with = arena_printf(in->arena, "%s.%s", o->schema, o->call);
    in->memory = in->memory && with != NULL;
    *edit = (struct gate_edit){start, t->end - start, slice_cstr(with == NULL ? "" : with)};
    return true;
}

/* Is the word a token of the text? */
static bool mentions(const struct inspection *in, const char *word)
{
    struct lexer x;
    struct token t;
    lexer_init(&x, in->text, &in->dialect);
    while (lexer_next(&x, &t))
        if ((t.kind == TOKEN_WORD || t.kind == TOKEN_QUOTED) && strcmp(t.name, word) == 0)
            return true;
    return false;
}

/* The schema of the object, which may depend on what else the text says. */
static const char *schema_of(const struct inspection *in, const struct handler_object *o)
{
    const struct gate *g = in->gate;
    for (size_t i = 0; i < g->handler_count; i++)
        for (size_t k = 0; k < g->handlers[i]->variant_count; k++) {
            const struct handler_variant *v = &g->handlers[i]->variants[k];
            if (strcmp(v->object, o->name) != 0)
                continue;
            for (const char *const *word = v->words; *word != NULL; word++)
                if (mentions(in, *word))
                    return v->schema;
        }
    return o->schema;
}

/* Qualifies the name at `t`: puts the schema before it, or in the place of pg_catalog. */
static void add_name(struct inspection *in, const struct token *t, const struct spot *spot)
{
    const struct handler_object *o;
    enum handler_object_kind kind = spot->kind == SPOT_CALL ? HANDLER_FUNCTION : HANDLER_RELATION;
    uint64_t bit = find_object(in->gate, t->name, kind, &o);
    bool bare = !spot->behind_catalog;
    if (bit == 0)
        return;
    if (bare)
        in->result->objects |= bit;
    if (bare && (in->session->shadowed & bit) != 0)
        return;
    struct found f = {.object = bit, .bare = bare};
    if (find_procedure(in, t, spot, o, &f.edit)) {
        add_found(in, f);
        return;
    }
    const char *schema = schema_of(in, o);
    const char *with = bare ? arena_printf(in->arena, "%s.", schema) : schema;
    if (with == NULL) {
        in->memory = false;
        return;
    }
    f.edit.start = bare ? t->start : spot->catalog_start;
    f.edit.length = bare ? 0 : spot->catalog_end - spot->catalog_start;
    f.edit.with = slice_cstr(with);
    add_found(in, f);
}

static void note_cte(struct inspection *in, const struct token *t)
{
    const struct handler_object *o;
    in->cte_names |= find_object(in->gate, t->name, HANDLER_RELATION, &o);
}

static void note_lead(struct inspection *in, const struct token *t)
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

/* --- statements ----------------------------------------------------------------------------------- */

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
        grow(in, in->questions, in->question_count, &in->question_capacity, sizeof *all);
    if (all == NULL)
        return false;
    in->questions = all;
    in->questions[in->question_count++] = (struct question){ask, answer->makes};
    return true;
}

static void refuse(struct inspection *in)
{
    in->refused = true;
    if (in->err->position > 0) {
        struct slice before = slice_part(in->text, 0, in->err->position - 1);
        in->err->position = (uint32_t)encoding_count(in->dialect.encoding, before) + 1;
    }
}

/* Each CALL may ask, and a question may repeat those of the statements before. */
#define MAX_CALLS 200

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
        refuse(in);
    if (full || in->refused)
        return;
    in->result->needs_support_schema = true;
    if (answer->secrets != NULL)
        in->result->secrets = answer->secrets;
    in->result->wakes_workers = in->result->wakes_workers || answer->wakes_workers;
    if (answer->makes != NULL && answer->about == NULL)
        in->result->makes_objects = true;
    in->found_count = in->first_found;
    add_found(in,
              (struct found){.edit = {in->start, in->end - in->start, slice_cstr(answer->call)}});
    add_tag(in, answer->tag);
}

/* Its edits come before those already found in the statement, which lie in the query behind. */
static void take_cursor(struct inspection *in, const struct handler_cursor *c)
{
    struct gate_result *r = in->result;
    size_t names = in->found_count - in->first_found;
    struct gate_cursor *all =
        grow(in, r->cursors, r->cursor_count, &in->cursor_capacity, sizeof *all);
    if (all == NULL)
        return;
    r->cursors = all;
    r->cursors[r->cursor_count++] = (struct gate_cursor){in->start, in->end, c};
    if (c->kind == HANDLER_CURSOR_FETCH || c->kind == HANDLER_CURSOR_MOVE)
        return;
    for (size_t i = 0; i < c->edit_count; i++) {
        const struct handler_edit *e = &c->edits[i];
        add_found(in, (struct found){.edit = {e->start, e->length, slice_cstr(e->with)}});
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
            refuse(in);
        if (claim == HANDLER_NO_MEMORY)
            in->memory = false;
    }
}

/* Takes back the bare relations that are common table expressions of the statement. */
static void drop_cte_names(struct inspection *in)
{
    size_t kept = in->first_found;
    for (size_t i = kept; i < in->found_count; i++)
        if (!in->found[i].bare || (in->found[i].object & in->cte_names) == 0)
            in->found[kept++] = in->found[i];
    in->found_count = kept;
}

static void count_statement(struct inspection *in)
{
    struct gate_result *r = in->result;
    if (in->start == in->end)
        return;
    r->statement_count++;
    r->begins = r->begins || has_lead(in, "begin") || has_lead(in, "start");
    r->copies = r->copies || has_lead(in, "copy");
}

static void end_statement(struct inspection *in)
{
    bool decided = false;
    drop_cte_names(in);
    count_statement(in);
    for (size_t i = 0; i < in->gate->handler_count && !decided && in->memory; i++)
        ask_handlers(in, in->gate->handlers[i], &decided);
    in->first_found = in->found_count;
    in->start = in->end;
    in->lead_count = 0;
    in->lead_over = false;
    in->cte_names = 0;
}

/* --- the pass ------------------------------------------------------------------------------------- */

static void take_token(struct inspection *in, struct context *c, const struct token *t,
                       const struct token *next)
{
    struct spot spot;
    if (context_is_top(c) && token_is_symbol(t, ';')) {
        end_statement(in);
        context_start(c);
        return;
    }
    note_lead(in, t);
    in->memory = context_feed(c, t, next, &spot);
    if (spot.kind == SPOT_CTE)
        note_cte(in, t);
    else if (spot.kind != SPOT_NONE && in->memory)
        add_name(in, t, &spot);
}

/* The server would refuse the text, and its log would show it. If the statement is certainly ours, or an
 * earlier one has secrets, the text is refused here. */
static void end_broken(struct inspection *in, const struct token *t)
{
    note_lead(in, t);
    end_statement(in);
    if (in->refused || in->result->secrets == NULL)
        return;
    err_set(in->err, SQLSTATE_SYNTAX_ERROR, "unterminated string, quoted identifier or comment");
    in->err->position = (uint32_t)t->start + 1;
    refuse(in);
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
        end_statement(in);
    return true;
}

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
