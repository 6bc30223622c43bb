/* Reads
 *
 *   DECLARE name option… [PARALLEL RETRIEVE among them] CURSOR [WITH | WITHOUT HOLD] FOR query
 *   EXPLAIN [(…)] [ANALYZE] [VERBOSE] DECLARE …
 *   CHECK PARALLEL RETRIEVE CURSOR name [NOWAIT]
 *   RETRIEVE { n | ALL } FROM ENDPOINT name
 *   FETCH | MOVE … name
 *
 * A DECLARE is ours when the words PARALLEL RETRIEVE stand before CURSOR. The server gets the client's
 * own text without them: PARALLEL RETRIEVE and BINARY (which has no effect on such cursors) are taken
 * out, NO SCROLL is put in. What is wrong in the query, or in the rest, the server will say.
 *
 * FETCH and MOVE are the server's: only the cursor's name is read, so that the proxy can see whether
 * it is one of its own. */
#include "parse.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "proxy/lexer.h"

/* A walk over the tokens. */
struct walk {
    struct arena *arena;
    const struct handler_text *text;
    size_t at;
    struct handler_cursor *cursor; /* NULL: no memory */
    struct err *err;
};

static const struct token *token_at(const struct walk *w, size_t at)
{
    return at < w->text->count ? &w->text->tokens[at] : NULL;
}

static bool is_word(const struct walk *w, size_t ahead, const char *word)
{
    const struct token *t = token_at(w, w->at + ahead);
    return t != NULL && token_is_word(t, word);
}

static bool accept(struct walk *w, const char *word)
{
    bool is = is_word(w, 0, word);
    w->at += is;
    return is;
}

/* `syntax error at or near "…"` at the token at hand. */
static enum handler_claim refuse_here(struct walk *w)
{
    const struct token *t = token_at(w, w->at);
    if (t == NULL) {
        const struct token *last = token_at(w, w->text->count - 1);
        err_set(w->err, SQLSTATE_SYNTAX_ERROR, "syntax error at end of input");
        w->err->position = (uint32_t)last->end + 1;
        return HANDLER_REFUSE;
    }
    size_t n = t->end - t->start < 200 ? t->end - t->start : 200;
    err_set(w->err, SQLSTATE_SYNTAX_ERROR, "syntax error at or near \"%.*s\"", (int)n,
            w->text->text.data + t->start);
    w->err->position = (uint32_t)t->start + 1;
    return HANDLER_REFUSE;
}

static struct walk begin(struct arena *a, const struct handler_text *text, struct err *err,
                         enum handler_cursor_kind kind)
{
    struct walk w = {.arena = a, .text = text, .err = err};
    w.cursor = arena_alloc(a, sizeof *w.cursor);
    if (w.cursor != NULL)
        w.cursor->kind = kind;
    return w;
}

static enum handler_claim end(struct walk *w, struct handler_answer *answer)
{
    answer->cursor = w->cursor;
    return w->cursor == NULL ? HANDLER_NO_MEMORY : HANDLER_ORCHESTRATE;
}

static bool read_name(struct walk *w)
{
    const struct token *t = token_at(w, w->at);
    if (t == NULL || !token_is_name(t))
        return false;
    w->at++;
    if (w->cursor != NULL)
        w->cursor->name = t->name; /* tokens live in the arena */
    return true;
}

static void add_edit(struct walk *w, const struct token *from, const struct token *to,
                     const char *with)
{
    struct handler_cursor *c = w->cursor;
    if (c != NULL && c->edit_count < HANDLER_CURSOR_EDITS)
        c->edits[c->edit_count++] = (struct handler_edit){from->start, to->end - from->start, with};
}

/* ---- DECLARE ---- */

/* Is the token at `at` an option of DECLARE? */
static bool is_option(const struct walk *w, size_t at)
{
    static const char *const words[] = {"binary", "insensitive", "asensitive", "no",
                                        "scroll", "parallel",    "retrieve"};
    const struct token *t = token_at(w, at);
    for (size_t i = 0; t != NULL && i < ARRAY_LEN(words); i++)
        if (token_is_word(t, words[i]))
            return true;
    return false;
}

/* Do the options of the DECLARE, which stand before CURSOR, hold PARALLEL RETRIEVE? */
static bool is_parallel(const struct walk *w)
{
    size_t at = w->at;
    bool found = false;
    for (; is_option(w, at); at++)
        found = found || (token_is_word(token_at(w, at), "parallel") && token_at(w, at + 1) &&
                          token_is_word(token_at(w, at + 1), "retrieve"));
    const struct token *t = token_at(w, at);
    return found && t != NULL && token_is_word(t, "cursor");
}

static enum handler_claim refuse_scroll(struct walk *w, const struct token *t)
{
    err_set(w->err, "42P11", "SCROLL is not allowed for the PARALLEL RETRIEVE CURSORs");
    err_detail(w->err, "Scrollable cursors can not be parallel");
    w->err->position = (uint32_t)t->start + 1;
    return HANDLER_REFUSE;
}

static enum handler_claim refuse_hold(struct walk *w, const struct token *t)
{
    err_set(w->err, "42P11", "DECLARE PARALLEL RETRIEVE CURSOR WITH HOLD ... is not supported");
    err_detail(w->err, "Holdable cursors can not be parallel");
    w->err->position = (uint32_t)t->start + 1;
    return HANDLER_REFUSE;
}

/* The options up to CURSOR. More than fit into the edits are repetitions. */
static enum handler_claim read_options(struct walk *w)
{
    bool no_scroll = false;
    for (; !is_word(w, 0, "cursor"); w->at++)
        if (accept(w, "no"))
            no_scroll = true;
        else if (is_word(w, 0, "scroll"))
            return refuse_scroll(w, token_at(w, w->at));
        else if (is_word(w, 0, "binary"))
            add_edit(w, token_at(w, w->at), token_at(w, w->at), "");
        else if (accept(w, "parallel"))
            add_edit(w, token_at(w, w->at - 1), token_at(w, w->at), no_scroll ? "" : "NO SCROLL");
    if (w->cursor != NULL && w->cursor->edit_count == HANDLER_CURSOR_EDITS)
        return refuse_here(w);
    return HANDLER_ORCHESTRATE;
}

/* From the word DECLARE on. PASS: not a parallel one. */
static enum handler_claim read_declare(struct walk *w)
{
    if (!accept(w, "declare") || !read_name(w) || !is_parallel(w))
        return HANDLER_PASS;
    enum handler_claim claim = read_options(w);
    if (claim != HANDLER_ORCHESTRATE)
        return claim;
    w->at++; /* CURSOR */
    if (is_word(w, 0, "with") && is_word(w, 1, "hold"))
        return refuse_hold(w, token_at(w, w->at));
    if (is_word(w, 0, "without") && is_word(w, 1, "hold"))
        w->at += 2;
    if (!accept(w, "for"))
        return refuse_here(w);
    const struct token *first = token_at(w, w->at);
    if (first != NULL && w->cursor != NULL)
        w->cursor->query =
            slice_part(w->text->text, first->start, token_at(w, w->text->count - 1)->end);
    return HANDLER_ORCHESTRATE;
}

enum handler_claim parse_declare(struct arena *a, const struct handler_text *statement,
                                 struct handler_answer *answer, struct err *err)
{
    struct walk w = begin(a, statement, err, HANDLER_CURSOR_DECLARE);
    enum handler_claim claim = read_declare(&w);
    return claim == HANDLER_ORCHESTRATE ? end(&w, answer) : claim;
}

/* EXPLAIN (options) or EXPLAIN ANALYZE VERBOSE, then DECLARE. */
enum handler_claim parse_explain(struct arena *a, const struct handler_text *statement,
                                 struct handler_answer *answer, struct err *err)
{
    struct walk w = begin(a, statement, err, HANDLER_CURSOR_EXPLAIN);
    w.at = 1;
    const struct token *t = token_at(&w, w.at);
    if (t != NULL && token_is_symbol(t, '('))
        while (t != NULL && !token_is_symbol(t, ')'))
            t = token_at(&w, ++w.at);
    w.at += t != NULL && token_is_symbol(t, ')');
    while (accept(&w, "analyze") || accept(&w, "verbose"))
        ;
    enum handler_claim claim = read_declare(&w);
    return claim == HANDLER_ORCHESTRATE ? end(&w, answer) : claim;
}

/* ---- CHECK ---- */

enum handler_claim parse_check(struct arena *a, const struct handler_text *statement,
                               struct handler_answer *answer, struct err *err)
{
    struct walk w = begin(a, statement, err, HANDLER_CURSOR_CHECK);
    w.at = 2;
    if (!accept(&w, "retrieve") || !accept(&w, "cursor") || !read_name(&w))
        return refuse_here(&w);
    bool nowait = accept(&w, "nowait");
    if (w.at != statement->count)
        return refuse_here(&w);
    if (w.cursor != NULL)
        w.cursor->nowait = nowait;
    /* What the server executes in its place: it answers 25P02 where the transaction has failed. */
    add_edit(&w, token_at(&w, 0), token_at(&w, statement->count - 1), "SET pgveneer.checked TO ''");
    return end(&w, answer);
}

/* ---- RETRIEVE ---- */

/* [-] digits; false: no number, or too large for the grammar's integers. */
static bool read_count(struct walk *w, int64_t *count)
{
    const struct token *t = token_at(w, w->at);
    int64_t sign = 1;
    if (t != NULL && t->kind == TOKEN_OPERATOR && t->end - t->start == 1 &&
        (w->text->text.data[t->start] == '-' || w->text->text.data[t->start] == '+')) {
        sign = w->text->text.data[t->start] == '-' ? -1 : 1;
        t = token_at(w, ++w->at);
    }
    char digits[20];
    if (t == NULL || t->kind != TOKEN_NUMBER || t->end - t->start >= sizeof digits)
        return false;
    memcpy(digits, w->text->text.data + t->start, t->end - t->start);
    digits[t->end - t->start] = '\0';
    char *rest;
    errno = 0;
    int64_t value = strtoll(digits, &rest, 10);
    if (*rest != '\0' || errno != 0 || value > INT32_MAX)
        return false;
    w->at++;
    *count = sign * value;
    return true;
}

enum handler_claim parse_retrieve(struct arena *a, const struct handler_text *statement,
                                  struct handler_answer *answer, struct err *err)
{
    struct walk w = begin(a, statement, err, HANDLER_CURSOR_RETRIEVE);
    int64_t count = 0;
    w.at = 1;
    bool all = accept(&w, "all");
    if (!all && !read_count(&w, &count))
        return refuse_here(&w);
    if (!accept(&w, "from") || !accept(&w, "endpoint") || !read_name(&w) ||
        w.at != statement->count)
        return refuse_here(&w);
    if (!all && count <= 0) {
        err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                "RETRIEVE statement only supports forward scan, count should not be: %lld",
                (long long)count);
        return HANDLER_REFUSE;
    }
    if (w.cursor != NULL) {
        w.cursor->all = all;
        w.cursor->count = count;
    }
    return end(&w, answer);
}

/* ---- FETCH and MOVE ---- */

/* The cursor's name is the last token in every form of the grammar. */
enum handler_claim parse_fetch(struct arena *a, const struct handler_text *statement,
                               struct handler_answer *answer, struct err *err)
{
    bool is_move = token_is_word(&statement->tokens[0], "move");
    struct walk w = begin(a, statement, err, is_move ? HANDLER_CURSOR_MOVE : HANDLER_CURSOR_FETCH);
    w.at = statement->count - 1;
    if (!statement->has_cursors || statement->count < 2 || !read_name(&w))
        return HANDLER_PASS;
    return end(&w, answer);
}
