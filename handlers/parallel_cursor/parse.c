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
#include "proxy/statement_reader.h"

/* The reader, and what it has found. */
struct walk {
    struct reader r;
    struct handler_cursor *cursor; /* NULL: no memory */
};

/* `syntax error at or near "…"` at the token at hand. */
static enum handler_claim refuse_here(struct walk *w)
{
    reader_mistake(&w->r);
    return HANDLER_REFUSE;
}

static struct walk begin(struct arena *a, const struct handler_text *text, struct err *err,
                         enum handler_cursor_kind kind)
{
    struct walk w = {.r = reader_begin(a, text, err)};
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
    const struct token *t = reader_peek(&w->r, 0);
    if (t == NULL || !token_is_name(t))
        return false;
    w->r.at++;
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

/* Is the token, `ahead` tokens further on, an option of DECLARE? */
static bool is_option(const struct walk *w, size_t ahead)
{
    static const char *const words[] = {"binary", "insensitive", "asensitive", "no",
                                        "scroll", "parallel",    "retrieve"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (reader_is_word(&w->r, ahead, words[i]))
            return true;
    return false;
}

/* Do the options of the DECLARE, which stand before CURSOR, hold PARALLEL RETRIEVE? */
static bool is_parallel(const struct walk *w)
{
    size_t ahead = 0;
    bool found = false;
    for (; is_option(w, ahead); ahead++)
        found = found || (reader_is_word(&w->r, ahead, "parallel") &&
                          reader_is_word(&w->r, ahead + 1, "retrieve"));
    return found && reader_is_word(&w->r, ahead, "cursor");
}

static enum handler_claim refuse_scroll(struct walk *w, const struct token *t)
{
    err_set(w->r.err, "42P11", "SCROLL is not allowed for the PARALLEL RETRIEVE CURSORs");
    err_detail(w->r.err, "Scrollable cursors can not be parallel");
    w->r.err->position = (uint32_t)t->start + 1;
    return HANDLER_REFUSE;
}

static enum handler_claim refuse_hold(struct walk *w, const struct token *t)
{
    err_set(w->r.err, "42P11", "DECLARE PARALLEL RETRIEVE CURSOR WITH HOLD ... is not supported");
    err_detail(w->r.err, "Holdable cursors can not be parallel");
    w->r.err->position = (uint32_t)t->start + 1;
    return HANDLER_REFUSE;
}

/* The options up to CURSOR. More than fit into the edits are repetitions. */
static enum handler_claim read_options(struct walk *w)
{
    bool no_scroll = false;
    for (; !reader_is_word(&w->r, 0, "cursor"); w->r.at++)
        if (reader_accept(&w->r, "no"))
            no_scroll = true;
        else if (reader_is_word(&w->r, 0, "scroll"))
            return refuse_scroll(w, reader_peek(&w->r, 0));
        else if (reader_is_word(&w->r, 0, "binary"))
            add_edit(w, reader_peek(&w->r, 0), reader_peek(&w->r, 0), "");
        else if (reader_accept(&w->r, "parallel"))
            add_edit(w, &w->r.statement->tokens[w->r.at - 1], reader_peek(&w->r, 0),
                     no_scroll ? "" : "NO SCROLL");
    if (w->cursor != NULL && w->cursor->edit_count == HANDLER_CURSOR_EDITS)
        return refuse_here(w);
    return HANDLER_ORCHESTRATE;
}

/* From the word DECLARE on. PASS: not a parallel one. */
static enum handler_claim read_declare(struct walk *w)
{
    if (!reader_accept(&w->r, "declare") || !read_name(w) || !is_parallel(w))
        return HANDLER_PASS;
    enum handler_claim claim = read_options(w);
    if (claim != HANDLER_ORCHESTRATE)
        return claim;
    w->r.at++; /* CURSOR */
    if (reader_is_word(&w->r, 0, "with") && reader_is_word(&w->r, 1, "hold"))
        return refuse_hold(w, reader_peek(&w->r, 0));
    if (reader_is_word(&w->r, 0, "without") && reader_is_word(&w->r, 1, "hold"))
        w->r.at += 2;
    if (!reader_accept(&w->r, "for"))
        return refuse_here(w);
    const struct token *first = reader_peek(&w->r, 0);
    if (first != NULL && w->cursor != NULL)
        w->cursor->query = slice_part(w->r.statement->text, first->start,
                                      w->r.statement->tokens[w->r.statement->count - 1].end);
    return HANDLER_ORCHESTRATE;
}

enum handler_claim parse_declare(struct arena *a, const struct handler_text *statement,
                                 struct handler_answer *answer, struct err *err)
{
    struct walk w = begin(a, statement, err, HANDLER_CURSOR_DECLARE);
    enum handler_claim claim = read_declare(&w);
    return claim == HANDLER_ORCHESTRATE ? end(&w, answer) : claim;
}

/* EXPLAIN (options) or EXPLAIN ANALYZE VERBOSE, then DECLARE. FORMAT JSON and the like are documents. */
enum handler_claim parse_explain(struct arena *a, const struct handler_text *statement,
                                 struct handler_answer *answer, struct err *err)
{
    struct walk w = begin(a, statement, err, HANDLER_CURSOR_EXPLAIN);
    w.r.at = 1;
    const struct token *t = reader_peek(&w.r, 0);
    bool is_document = false;
    if (t != NULL && token_is_symbol(t, '('))
        for (; t != NULL && !token_is_symbol(t, ')'); t = reader_peek(&w.r, 0)) {
            w.r.at++;
            const struct token *next = reader_peek(&w.r, 0);
            is_document = is_document || (token_is_word(t, "format") && next != NULL &&
                                          !token_is_word(next, "text"));
        }
    if (w.cursor != NULL)
        w.cursor->in_lines = !is_document;
    w.r.at += t != NULL && token_is_symbol(t, ')');
    while (reader_accept(&w.r, "analyze") || reader_accept(&w.r, "verbose"))
        ;
    enum handler_claim claim = read_declare(&w);
    return claim == HANDLER_ORCHESTRATE ? end(&w, answer) : claim;
}

/* ---- CHECK ---- */

enum handler_claim parse_check(struct arena *a, const struct handler_text *statement,
                               struct handler_answer *answer, struct err *err)
{
    struct walk w = begin(a, statement, err, HANDLER_CURSOR_CHECK);
    w.r.at = 2;
    if (!reader_accept(&w.r, "retrieve") || !reader_accept(&w.r, "cursor") || !read_name(&w))
        return refuse_here(&w);
    bool nowait = reader_accept(&w.r, "nowait");
    if (!reader_is_end(&w.r))
        return refuse_here(&w);
    if (w.cursor != NULL)
        w.cursor->nowait = nowait;
    /* What the server executes in its place: it answers 25P02 where the transaction has failed. */
    add_edit(&w, &statement->tokens[0], &statement->tokens[statement->count - 1],
             "SET pgveneer.checked TO ''");
    return end(&w, answer);
}

/* ---- RETRIEVE ---- */

/* [-] digits; false: no number, or too large for the grammar's integers. */
static bool read_count(struct walk *w, int64_t *count)
{
    const struct token *t = reader_peek(&w->r, 0);
    int64_t sign = 1;
    if (t != NULL && t->kind == TOKEN_OPERATOR && t->end - t->start == 1 &&
        (w->r.statement->text.data[t->start] == '-' ||
         w->r.statement->text.data[t->start] == '+')) {
        sign = w->r.statement->text.data[t->start] == '-' ? -1 : 1;
        w->r.at++;
        t = reader_peek(&w->r, 0);
    }
    char digits[20];
    if (t == NULL || t->kind != TOKEN_NUMBER || t->end - t->start >= sizeof digits)
        return false;
    memcpy(digits, w->r.statement->text.data + t->start, t->end - t->start);
    digits[t->end - t->start] = '\0';
    char *rest;
    errno = 0;
    int64_t value = strtoll(digits, &rest, 10);
    if (*rest != '\0' || errno != 0 || value > INT32_MAX)
        return false;
    w->r.at++;
    *count = sign * value;
    return true;
}

enum handler_claim parse_retrieve(struct arena *a, const struct handler_text *statement,
                                  struct handler_answer *answer, struct err *err)
{
    struct walk w = begin(a, statement, err, HANDLER_CURSOR_RETRIEVE);
    int64_t count = 0;
    w.r.at = 1;
    bool all = reader_accept(&w.r, "all");
    if (!all && !read_count(&w, &count))
        return refuse_here(&w);
    if (!reader_accept(&w.r, "from") || !reader_accept(&w.r, "endpoint") || !read_name(&w) ||
        !reader_is_end(&w.r))
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
    w.r.at = statement->count - 1;
    if (!statement->has_cursors || statement->count < 2 || !read_name(&w))
        return HANDLER_PASS;
    return end(&w, answer);
}
