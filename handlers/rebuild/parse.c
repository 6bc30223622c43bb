/* Reading the tokens of a statement and writing its CALL, shared by the parsers of this folder.
 *
 * Expressions, types and constraints are not understood here: their text is cut out by counting
 * brackets, and the server reads it when the task is submitted. What is cut out has balanced brackets
 * and no open literal, so it stays one operand wherever it is put in brackets.
 *
 * JSON arguments are written as calls of pg_catalog.jsonb_build_… over string literals, not as JSON
 * text: so values in any client encoding pass, and there is one kind of quoting. */
#include "parse.h"

#include <string.h>

#define CALL_BYTES ((size_t)1 << 24)
#define MAX_NAMES 1600 /* columns of a table */

struct reader reader_begin(struct arena *a, const struct handler_text *statement, struct buf *call,
                           struct err *err)
{
    buf_init(call, CALL_BYTES);
    return (struct reader){.arena = a, .statement = statement, .call = call, .err = err};
}

enum handler_claim reader_end(struct reader *r, bool ours, struct handler_answer *answer)
{
    if (!r->failed && !reader_is_end(r))
        reader_mistake(r);
    if (!r->failed) {
        answer->call = r->call->failed ? NULL : arena_copy(r->arena, buf_slice(r->call));
        r->no_memory = r->no_memory || answer->call == NULL;
    }
    buf_fini(r->call);
    if (r->no_memory)
        return HANDLER_NO_MEMORY;
    if (!r->failed)
        return HANDLER_ANSWER;
    if (ours)
        return HANDLER_REFUSE;
    err_clear(r->err);
    return HANDLER_PASS;
}

const struct token *reader_peek(const struct reader *r, size_t ahead)
{
    size_t at = r->at + ahead;
    return at < r->statement->count ? &r->statement->tokens[at] : NULL;
}

bool reader_is_end(const struct reader *r)
{
    return r->at == r->statement->count;
}

bool reader_accept(struct reader *r, const char *words)
{
    size_t n = 0;
    if (r->failed)
        return false;
    for (;;) {
        size_t length = strcspn(words, " ");
        const struct token *t = reader_peek(r, n);
        if (t == NULL || t->kind != TOKEN_WORD || strlen(t->name) != length ||
            memcmp(t->name, words, length) != 0)
            return false;
        n++;
        if (words[length] == '\0')
            break;
        words += length + 1;
    }
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
    return reader_accept(r, words) || reader_mistake(r);
}

bool reader_expect_symbol(struct reader *r, char symbol)
{
    return reader_accept_symbol(r, symbol) || reader_mistake(r);
}

/* --- mistakes ----------------------------------------------------------------------------------- */

static bool set_position(struct reader *r)
{
    const struct handler_text *s = r->statement;
    const struct token *t = reader_peek(r, 0);
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
    } else {
        size_t n = t->end - t->start < 200 ? t->end - t->start : 200;
        err_set(r->err, SQLSTATE_SYNTAX_ERROR, "syntax error at or near \"%.*s\"", (int)n,
                r->statement->text.data + t->start);
    }
    return set_position(r);
}

bool reader_refuse(struct reader *r, const char *sqlstate, const char *message)
{
    if (r->failed)
        return false;
    err_set(r->err, sqlstate, "%s", message);
    return set_position(r);
}

static bool no_memory(struct reader *r)
{
    r->failed = r->no_memory = true;
    return false;
}

/* --- values --------------------------------------------------------------------------------------- */

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
    if (!token_value(r->arena, r->statement->text, t, r->statement->dialect, value))
        return reader_refuse(r, SQLSTATE_FEATURE_NOT_SUPPORTED,
                             "escapes of this string literal cannot be read");
    r->at++;
    return true;
}

static bool opens(const struct token *t)
{
    return token_is_symbol(t, '(') || token_is_symbol(t, '[');
}

static bool closes(const struct token *t)
{
    return token_is_symbol(t, ')') || token_is_symbol(t, ']');
}

bool reader_text(struct reader *r, const char *stop, struct slice *text)
{
    size_t first = r->at, depth = 0;
    const struct token *t;
    for (; !r->failed && (t = reader_peek(r, 0)) != NULL; r->at++) {
        if (t->kind == TOKEN_BAD || token_is_symbol(t, ';') || t->kind == TOKEN_PARAMETER)
            return reader_mistake(r);
        if (depth == 0 &&
            (token_is_symbol(t, ',') || closes(t) || (stop != NULL && token_is_word(t, stop))))
            break;
        depth += opens(t);
        depth -= closes(t);
    }
    if (r->failed || r->at == first || depth > 0)
        return reader_mistake(r);
    *text = slice_part(r->statement->text, r->statement->tokens[first].start,
                       r->statement->tokens[r->at - 1].end);
    return true;
}

bool reader_value(struct reader *r, struct slice *value)
{
    const struct token *t = reader_peek(r, 0);
    if (t != NULL && t->kind == TOKEN_STRING)
        return reader_string(r, value);
    if (t == NULL || (!token_is_name(t) && t->kind != TOKEN_NUMBER && t->kind != TOKEN_OPERATOR))
        return reader_mistake(r);
    return reader_text(r, NULL, value);
}

const char *reader_parameter_name(struct reader *r)
{
    const char *name = reader_name(r);
    while (name != NULL && reader_accept_symbol(r, '.')) {
        const char *more = reader_name(r);
        name = more == NULL ? NULL : arena_printf(r->arena, "%s.%s", name, more);
        if (more != NULL && name == NULL)
            no_memory(r);
    }
    return name;
}

/* --- writing ---------------------------------------------------------------------------------------- */

void reader_put(struct reader *r, const char *sql)
{
    buf_append_cstr(r->call, sql);
}

void reader_put_text(struct reader *r, struct slice value)
{
    const char *literal = lexer_quote(r->arena, value, r->statement->dialect->encoding);
    if (literal == NULL)
        no_memory(r);
    else
        reader_put(r, literal);
}

void reader_put_name(struct reader *r, const char *value)
{
    if (value == NULL)
        reader_put(r, "NULL");
    else
        reader_put_text(r, slice_cstr(value));
}

bool reader_copy_qualified(struct reader *r)
{
    reader_put(r, "ARRAY[");
    for (size_t n = 0; n == 0 || reader_accept_symbol(r, '.'); n++) {
        reader_put(r, n == 0 ? "" : ", ");
        reader_put_name(r, reader_name(r));
        if (r->failed)
            return false;
    }
    reader_put(r, "]::pg_catalog.text[]");
    return true;
}

bool reader_copy_columns(struct reader *r)
{
    reader_put(r, "pg_catalog.to_jsonb(ARRAY[");
    reader_expect_symbol(r, '(');
    for (size_t n = 0; !r->failed && (n == 0 || reader_accept_symbol(r, ',')); n++) {
        if (n == MAX_NAMES)
            return reader_refuse(r, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "too many columns");
        reader_put(r, n == 0 ? "" : ", ");
        reader_put_name(r, reader_name(r));
    }
    reader_put(r, "]::pg_catalog.text[])");
    return reader_expect_symbol(r, ')');
}

bool reader_copy_parameters(struct reader *r)
{
    reader_put(r, "pg_catalog.jsonb_build_array(VARIADIC ARRAY[");
    for (size_t n = 0; !r->failed && (n == 0 || reader_accept_symbol(r, ',')); n++) {
        struct slice value;
        reader_put(r, n == 0 ? "" : ", ");
        reader_put(r, "pg_catalog.jsonb_build_object('name', ");
        reader_put_name(r, reader_parameter_name(r));
        reader_put(r, ", 'value', ");
        const struct token *t = reader_peek(r, 0);
        if (!r->failed && t != NULL && t->kind == TOKEN_OPERATOR && t->end - t->start == 1 &&
            r->statement->text.data[t->start] == '=') {
            r->at++;
            if (reader_value(r, &value))
                reader_put_text(r, value);
        } else {
            reader_put(r, "NULL");
        }
        reader_put(r, ")");
    }
    reader_put(r, "]::pg_catalog.jsonb[])");
    return !r->failed;
}
