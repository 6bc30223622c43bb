#include "proxy/statement_reader.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NEAR_BYTES 200 /* of the text that a mistake shows */

struct reader reader_begin(struct arena *a, const struct handler_text *statement, struct err *err)
{
    return (struct reader){.arena = a, .statement = statement, .err = err};
}

enum handler_claim reader_end(struct reader *r)
{
    if (!r->failed && !reader_is_end(r))
        reader_mistake(r);
    if (r->no_memory)
        return HANDLER_NO_MEMORY;
    if (!r->failed)
        return HANDLER_ANSWER;
    if (r->ours)
        return HANDLER_REFUSE;
    err_clear(r->err);
    return HANDLER_PASS;
}

/* --- reading ---------------------------------------------------------------------------------------- */

const struct token *reader_peek(const struct reader *r, size_t ahead)
{
    size_t at = r->at + ahead;
    return at < r->statement->count ? &r->statement->tokens[at] : NULL;
}

bool reader_is_end(const struct reader *r)
{
    return r->at >= r->statement->count;
}

bool reader_is_word(const struct reader *r, size_t ahead, const char *word)
{
    const struct token *t = reader_peek(r, ahead);
    return t != NULL && token_is_word(t, word);
}

/* How many of the words are at hand, from the first on; *all: every one. */
static size_t count_words(const struct reader *r, const char *words, bool *all)
{
    for (size_t n = 0;; n++) {
        size_t length = strcspn(words, " ");
        const struct token *t = reader_peek(r, n);
        *all = t != NULL && t->kind == TOKEN_WORD && strlen(t->name) == length &&
               memcmp(t->name, words, length) == 0;
        if (!*all)
            return n;
        if (words[length] == '\0')
            return n + 1;
        words += length + 1;
    }
}

bool reader_accept(struct reader *r, const char *words)
{
    bool all;
    size_t n = count_words(r, words, &all);
    if (r->failed || !all)
        return false;
    r->at += n;
    return true;
}

bool reader_accept_symbol(struct reader *r, char symbol)
{
    const struct token *t = reader_peek(r, 0);
    if (r->failed || t == NULL || !token_is_symbol(t, symbol))
        return false;
    r->at++;
    return true;
}

bool reader_expect(struct reader *r, const char *words)
{
    bool all;
    if (r->failed)
        return false;
    r->at += count_words(r, words, &all);
    return all || reader_mistake(r);
}

bool reader_expect_symbol(struct reader *r, char symbol)
{
    return reader_accept_symbol(r, symbol) || reader_mistake(r);
}

const char *reader_name(struct reader *r)
{
    const struct token *t = reader_peek(r, 0);
    if (r->failed || t == NULL || !token_is_name(t)) {
        reader_mistake(r);
        return NULL;
    }
    r->at++;
    return t->name;
}

bool reader_string(struct reader *r, struct slice *value)
{
    const struct token *t = reader_peek(r, 0);
    if (r->failed || t == NULL || t->kind != TOKEN_STRING)
        return reader_mistake(r);
    if (!token_value(r->arena, r->statement->text, t, r->statement->dialect, value)) {
        if (value->data == NULL)
            return reader_no_memory(r);
        reader_mistake_at(r, t, SQLSTATE_FEATURE_NOT_SUPPORTED,
                          "escapes of this string literal cannot be read");
        err_hint(r->err, "Write the characters themselves.");
        return false;
    }
    r->at++;
    return true;
}

/* --- mistakes --------------------------------------------------------------------------------------- */

static bool fail_at(struct reader *r, const struct token *t)
{
    const struct handler_text *s = r->statement;
    size_t at = t != NULL ? t->start : s->count > 0 ? s->tokens[s->count - 1].end : 0;
    r->err->position = (uint32_t)at + 1;
    r->failed = true;
    return false;
}

bool reader_mistake(struct reader *r)
{
    const struct token *t = reader_peek(r, 0);
    if (r->failed)
        return false;
    if (t == NULL) {
        err_set(r->err, SQLSTATE_SYNTAX_ERROR, "syntax error at end of input");
    } else if (t->kind == TOKEN_BAD) {
        err_set(r->err, SQLSTATE_SYNTAX_ERROR, "unterminated string, quoted identifier or comment");
    } else if (r->hides_strings && (t->kind == TOKEN_STRING || t->kind == TOKEN_BITS)) {
        err_set(r->err, SQLSTATE_SYNTAX_ERROR, "syntax error at or near a string literal");
    } else {
        size_t n = t->end - t->start < NEAR_BYTES ? t->end - t->start : NEAR_BYTES;
        err_set(r->err, SQLSTATE_SYNTAX_ERROR, "syntax error at or near \"%.*s\"", (int)n,
                r->statement->text.data + t->start);
    }
    return fail_at(r, t);
}

bool reader_mistake_at(struct reader *r, const struct token *t, const char *sqlstate,
                       const char *fmt, ...)
{
    char message[300];
    va_list args;
    if (r->failed)
        return false;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    err_set(r->err, sqlstate, "%s", message);
    return fail_at(r, t);
}

bool reader_no_memory(struct reader *r)
{
    r->failed = r->no_memory = true;
    return false;
}

/* --- writing ---------------------------------------------------------------------------------------- */

void reader_put_text(struct reader *r, struct buf *b, struct slice value)
{
    const char *literal = lexer_quote(r->arena, value, r->statement->dialect->encoding);
    if (literal == NULL)
        reader_no_memory(r);
    else
        buf_append_cstr(b, literal);
}

void reader_put_cstr(struct reader *r, struct buf *b, const char *value)
{
    if (value == NULL)
        buf_append_cstr(b, "NULL");
    else
        reader_put_text(r, b, slice_cstr(value));
}

const char *reader_take(struct reader *r, struct buf *b)
{
    char *text = b->failed ? NULL : arena_copy(r->arena, buf_slice(b));
    if (text == NULL)
        reader_no_memory(r);
    buf_fini(b);
    return text;
}
