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

struct reader rebuild_begin(struct arena *a, const struct handler_text *statement, struct buf *call,
                            struct err *err)
{
    struct reader r = reader_begin(a, statement, err);
    buf_init(call, CALL_BYTES);
    r.call = call;
    return r;
}

enum handler_claim rebuild_end(struct reader *r, struct handler_answer *answer)
{
    answer->call = reader_take(r, r->call);
    return reader_end(r);
}

/* --- reading -------------------------------------------------------------------------------------- */

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
            reader_no_memory(r);
    }
    return name;
}

/* --- writing ---------------------------------------------------------------------------------------- */

void call_put(struct reader *r, const char *sql)
{
    buf_append_cstr(r->call, sql);
}

void call_put_text(struct reader *r, struct slice value)
{
    reader_put_text(r, r->call, value);
}

void call_put_name(struct reader *r, const char *value)
{
    reader_put_cstr(r, r->call, value);
}

bool call_copy_qualified(struct reader *r)
{
    call_put(r, "ARRAY[");
    for (size_t n = 0; n == 0 || reader_accept_symbol(r, '.'); n++) {
        call_put(r, n == 0 ? "" : ", ");
        call_put_name(r, reader_name(r));
        if (r->failed)
            return false;
    }
    call_put(r, "]::pg_catalog.text[]");
    return true;
}

bool call_copy_columns(struct reader *r)
{
    call_put(r, "pg_catalog.to_jsonb(ARRAY[");
    reader_expect_symbol(r, '(');
    for (size_t n = 0; !r->failed && (n == 0 || reader_accept_symbol(r, ',')); n++) {
        if (n == MAX_NAMES)
            return reader_mistake_at(r, reader_peek(r, 0), SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                                     "too many columns");
        call_put(r, n == 0 ? "" : ", ");
        call_put_name(r, reader_name(r));
    }
    call_put(r, "]::pg_catalog.text[])");
    return reader_expect_symbol(r, ')');
}

bool call_copy_parameters(struct reader *r)
{
    call_put(r, "pg_catalog.jsonb_build_array(VARIADIC ARRAY[");
    for (size_t n = 0; !r->failed && (n == 0 || reader_accept_symbol(r, ',')); n++) {
        struct slice value;
        call_put(r, n == 0 ? "" : ", ");
        call_put(r, "pg_catalog.jsonb_build_object('name', ");
        call_put_name(r, reader_parameter_name(r));
        call_put(r, ", 'value', ");
        const struct token *t = reader_peek(r, 0);
        if (!r->failed && t != NULL && t->kind == TOKEN_OPERATOR && t->end - t->start == 1 &&
            r->statement->text.data[t->start] == '=') {
            r->at++;
            if (reader_value(r, &value))
                call_put_text(r, value);
        } else {
            call_put(r, "NULL");
        }
        call_put(r, ")");
    }
    call_put(r, "]::pg_catalog.jsonb[])");
    return !r->failed;
}
