/* Reading and writing, shared by the parsers of this folder.
 *
 * Two things shape it. First, whose statement is it? A CREATE FOREIGN TABLE may belong to postgres_fdw,
 * and then a construct unknown to us is no mistake: the server shall judge. Only once the statement is
 * certainly ours (p->ours) is a mistake refused here, and then its text does not reach the server,
 * whose log would show the secrets in it.
 *
 * Second, secrets. A value of a secret option leaves the option list only through parse_secrets. Error
 * texts never show a string literal of the statement.
 *
 * JSON arguments are written as calls of pg_catalog.jsonb_object and its like over string literals,
 * not as JSON text: so values in any client encoding pass, and there is one kind of quoting. */
#include "parse.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct parse parse_begin(struct arena *a, const struct handler_text *statement, struct err *err)
{
    return (struct parse){.arena = a, .statement = statement, .err = err};
}

enum handler_claim parse_end(struct parse *p)
{
    if (!p->failed && !parse_is_end(p))
        parse_mistake(p);
    if (p->no_memory)
        return HANDLER_NO_MEMORY;
    if (!p->failed)
        return HANDLER_ANSWER;
    if (p->ours)
        return HANDLER_REFUSE;
    err_clear(p->err);
    return HANDLER_PASS;
}

static const struct token *token_at(const struct parse *p, size_t at)
{
    return at < p->statement->count ? &p->statement->tokens[at] : NULL;
}

const struct token *parse_peek(const struct parse *p)
{
    return token_at(p, p->at);
}

bool parse_is_end(const struct parse *p)
{
    return p->at == p->statement->count;
}

bool parse_is_word(const struct parse *p, size_t ahead, const char *word)
{
    const struct token *t = token_at(p, p->at + ahead);
    return t != NULL && token_is_word(t, word);
}

/* How many tokens spell the words; 0 when they are not at hand. */
static size_t count_words(const struct parse *p, const char *words)
{
    size_t n = 0;
    for (;;) {
        size_t length = strcspn(words, " ");
        const struct token *t = token_at(p, p->at + n);
        if (t == NULL || t->kind != TOKEN_WORD || strlen(t->name) != length ||
            memcmp(t->name, words, length) != 0)
            return 0;
        n++;
        if (words[length] == '\0')
            return n;
        words += length + 1;
    }
}

bool parse_accept(struct parse *p, const char *words)
{
    size_t n = p->failed ? 0 : count_words(p, words);
    p->at += n;
    return n > 0;
}

bool parse_accept_symbol(struct parse *p, char symbol)
{
    const struct token *t = parse_peek(p);
    if (p->failed || t == NULL || !token_is_symbol(t, symbol))
        return false;
    p->at++;
    return true;
}

/* Of several words some may be at hand: the mistake is at the first that is not. */
bool parse_expect(struct parse *p, const char *words)
{
    if (parse_accept(p, words))
        return true;
    while (!p->failed) {
        size_t length = strcspn(words, " ");
        const struct token *t = parse_peek(p);
        if (t == NULL || t->kind != TOKEN_WORD || strncmp(t->name, words, length) != 0 ||
            words[length] == '\0')
            break;
        p->at++;
        words += length + 1;
    }
    return parse_mistake(p);
}

bool parse_expect_symbol(struct parse *p, char symbol)
{
    return parse_accept_symbol(p, symbol) || parse_mistake(p);
}

bool parse_no_memory(struct parse *p)
{
    p->failed = p->no_memory = true;
    return false;
}

static void set_position(struct parse *p, const struct token *t)
{
    const struct handler_text *s = p->statement;
    size_t at = t != NULL ? t->start : s->count > 0 ? s->tokens[s->count - 1].end : 0;
    p->err->position = (uint32_t)at + 1;
    p->failed = true;
}

bool parse_mistake(struct parse *p)
{
    const struct token *t = parse_peek(p);
    if (p->failed)
        return false;
    if (t == NULL) {
        err_set(p->err, SQLSTATE_SYNTAX_ERROR, "syntax error at end of input");
    } else if (t->kind == TOKEN_BAD) {
        err_set(p->err, SQLSTATE_SYNTAX_ERROR, "unterminated string, quoted identifier or comment");
    } else if (t->kind == TOKEN_STRING || t->kind == TOKEN_BITS) {
        err_set(p->err, SQLSTATE_SYNTAX_ERROR, "syntax error at or near a string literal");
    } else {
        size_t n = t->end - t->start < 200 ? t->end - t->start : 200;
        err_set(p->err, SQLSTATE_SYNTAX_ERROR, "syntax error at or near \"%.*s\"", (int)n,
                p->statement->text.data + t->start);
    }
    set_position(p, t);
    return false;
}

bool parse_mistake_at(struct parse *p, const struct token *t, const char *sqlstate, const char *fmt,
                      ...)
{
    char message[300];
    va_list args;
    if (p->failed)
        return false;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    err_set(p->err, sqlstate, "%s", message);
    set_position(p, t);
    return false;
}

/* --- names and values -------------------------------------------------------------------------------- */

const char *parse_name(struct parse *p)
{
    const struct token *t = parse_peek(p);
    if (p->failed || t == NULL || !token_is_name(t)) {
        parse_mistake(p);
        return NULL;
    }
    p->at++;
    return t->name;
}

/* Names with a symbol between them. They live in the tokens, which the arena keeps. */
static const char *const *read_names(struct parse *p, char between)
{
    size_t capacity = 4, count = 0;
    const char **names = arena_alloc_array(p->arena, capacity, sizeof *names);
    do {
        if (names != NULL && count + 2 > capacity) {
            const char **more = arena_alloc_array(p->arena, capacity * 2, sizeof *more);
            if (more != NULL)
                memcpy(more, names, count * sizeof *more);
            names = more;
            capacity *= 2;
        }
        if (names == NULL) {
            parse_no_memory(p);
            return NULL;
        }
        names[count] = parse_name(p);
        if (names[count++] == NULL)
            return NULL;
    } while (parse_accept_symbol(p, between));
    names[count] = NULL;
    return names;
}

const char *const *parse_qualified_name(struct parse *p)
{
    return read_names(p, '.');
}

const char *const *parse_name_list(struct parse *p)
{
    return read_names(p, ',');
}

const char *parse_role(struct parse *p)
{
    static const char *const special[][2] = {
        {"current_user", "CURRENT_USER"},
        {"current_role", "CURRENT_USER"},
        {"user", "CURRENT_USER"},
        {"session_user", "SESSION_USER"},
        {"public", "PUBLIC"},
    };
    for (size_t i = 0; i < ARRAY_LEN(special); i++)
        if (parse_accept(p, special[i][0]))
            return special[i][1];
    return parse_name(p);
}

bool parse_string(struct parse *p, struct slice *value)
{
    const struct token *t = parse_peek(p);
    if (p->failed || t == NULL || t->kind != TOKEN_STRING)
        return parse_mistake(p);
    if (!token_value(p->arena, p->statement->text, t, p->statement->dialect, value)) {
        if (value->data == NULL)
            return parse_no_memory(p);
        parse_mistake_at(p, t, SQLSTATE_FEATURE_NOT_SUPPORTED,
                         "escapes of this string literal cannot be read");
        err_hint(p->err, "Write the characters themselves.");
        return false;
    }
    p->at++;
    return true;
}

/* --- options ------------------------------------------------------------------------------------------ */

#define MAX_OPTIONS 100

/* Has the name one of these words between underscores? "secret_access_key" has two. */
static bool is_secret(const char *name)
{
    static const char *const words[] = {"key",    "secret",     "token",      "password",
                                        "passwd", "passphrase", "credential", "credentials"};
    for (;;) {
        size_t n = strcspn(name, "_");
        for (size_t i = 0; i < ARRAY_LEN(words); i++)
            if (slice_equals_nocase(slice_of(name, n), words[i]))
                return true;
        if (name[n] == '\0')
            return false;
        name += n + 1;
    }
}

bool parse_options_have(const struct parse_options *o, const char *name)
{
    for (size_t i = 0; i < o->count; i++)
        if (strcmp(o->items[i].name, name) == 0)
            return true;
    return false;
}

bool parse_options_add(struct parse *p, struct parse_options *o, struct parse_option item)
{
    if (o->count == o->capacity) {
        size_t more = o->capacity == 0 ? 16 : o->capacity * 2;
        struct parse_option *items = arena_alloc_array(p->arena, more, sizeof *items);
        if (items == NULL)
            return parse_no_memory(p);
        if (o->count > 0)
            memcpy(items, o->items, o->count * sizeof *items);
        o->items = items;
        o->capacity = more;
    }
    o->items[o->count++] = item;
    return true;
}

/* ADD, SET or DROP, unless it is the name of the option: a string follows a name. */
static const char *read_action(struct parse *p)
{
    static const char *const actions[] = {"add", "set", "drop"};
    const struct token *next = token_at(p, p->at + 1);
    if (next != NULL && token_is_name(next))
        for (size_t i = 0; i < ARRAY_LEN(actions); i++)
            if (parse_accept(p, actions[i]))
                return actions[i];
    return "add";
}

static bool read_option(struct parse *p, bool changes, struct parse_options *o)
{
    struct parse_option item = {.action = changes ? read_action(p) : "add"};
    const struct token *t = parse_peek(p);
    item.name = parse_name(p);
    if (item.name == NULL)
        return false;
    item.is_secret = is_secret(item.name);
    item.value = slice_cstr("");
    if (strcmp(item.action, "drop") != 0 && !parse_string(p, &item.value))
        return false;
    if (parse_options_have(o, item.name))
        return parse_mistake_at(p, t, SQLSTATE_DUPLICATE_OBJECT,
                                "option \"%s\" provided more than once", item.name);
    if (o->count == MAX_OPTIONS)
        return parse_mistake_at(p, t, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "more than %d options",
                                MAX_OPTIONS);
    return parse_options_add(p, o, item);
}

bool parse_options(struct parse *p, bool changes, struct parse_options *o)
{
    *o = (struct parse_options){.count = 0};
    parse_expect(p, "options");
    parse_expect_symbol(p, '(');
    do {
        if (!read_option(p, changes, o))
            return false;
    } while (parse_accept_symbol(p, ','));
    return parse_expect_symbol(p, ')');
}

/* Appends a JSON string: quotes and control characters escaped, characters in the client's encoding
 * as they are. Returns what it wrote. */
static size_t write_json(char *out, struct slice value, enum encoding e)
{
    size_t n = 0;
    out[n++] = '"';
    for (size_t at = 0; at < value.len;) {
        size_t step = encoding_step(e, value, at);
        unsigned char c = (unsigned char)value.data[at];
        if (c < 0x20) {
            snprintf(out + n, 7, "\\u%04x", c);
            n += 6;
        } else {
            if (c == '"' || c == '\\')
                out[n++] = '\\';
            memcpy(out + n, value.data + at, step);
            n += step;
        }
        at += step;
    }
    out[n++] = '"';
    return n;
}

const char *parse_secrets(struct parse *p, const struct parse_options *o)
{
    enum encoding e = p->statement->dialect->encoding;
    size_t bytes = 3, count = 0;
    for (size_t i = 0; i < o->count; i++)
        bytes += 6 * (strlen(o->items[i].name) + o->items[i].value.len) + 6;
    char *out = arena_alloc(p->arena, bytes);
    if (out == NULL) {
        parse_no_memory(p);
        return NULL;
    }
    size_t n = 0;
    out[n++] = '{';
    for (size_t i = 0; i < o->count; i++) {
        const struct parse_option *item = &o->items[i];
        if (!item->is_secret || strcmp(item->action, "drop") == 0)
            continue;
        if (count++ > 0)
            out[n++] = ',';
        n += write_json(out + n, slice_cstr(item->name), e);
        out[n++] = ':';
        n += write_json(out + n, item->value, e);
    }
    out[n++] = '}';
    return count > 0 ? out : NULL;
}

/* --- writing ----------------------------------------------------------------------------------------- */

void parse_put_text(struct parse *p, struct buf *b, struct slice value)
{
    const char *literal = lexer_quote(p->arena, value, p->statement->dialect->encoding);
    if (literal == NULL)
        parse_no_memory(p);
    else
        buf_append_cstr(b, literal);
}

void parse_put_cstr(struct parse *p, struct buf *b, const char *value)
{
    if (value == NULL)
        buf_append_cstr(b, "NULL");
    else
        parse_put_text(p, b, slice_cstr(value));
}

void parse_put_bool(struct buf *b, bool value)
{
    buf_append_cstr(b, value ? "true" : "false");
}

void parse_put_list(struct parse *p, struct buf *b, const char *const *names)
{
    buf_append_cstr(b, "ARRAY[");
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        if (i > 0)
            buf_append_cstr(b, ", ");
        parse_put_cstr(p, b, names[i]);
    }
    buf_append_cstr(b, "]::pg_catalog.text[]");
}

void parse_put_options(struct parse *p, struct buf *b, const struct parse_options *o)
{
    size_t count = 0;
    for (size_t i = 0; i < o->count; i++) {
        const struct parse_option *item = &o->items[i];
        buf_append_cstr(b, count++ == 0 ? "pg_catalog.jsonb_object(ARRAY[" : ", ");
        parse_put_cstr(p, b, item->name);
        buf_append_cstr(b, ", ");
        parse_put_text(p, b, item->is_secret ? slice_cstr("********") : item->value);
    }
    buf_append_cstr(b, count == 0 ? "'{}'::pg_catalog.jsonb" : "]::pg_catalog.text[])");
}

void parse_put_changes(struct parse *p, struct buf *b, const struct parse_options *o)
{
    buf_append_cstr(b, "pg_catalog.jsonb_build_array(VARIADIC ARRAY[");
    for (size_t i = 0; i < o->count; i++) {
        const struct parse_option *item = &o->items[i];
        bool hidden = item->is_secret || strcmp(item->action, "drop") == 0;
        buf_printf(b, "%spg_catalog.jsonb_build_object('action', '%s', 'name', ", i > 0 ? ", " : "",
                   item->action);
        parse_put_cstr(p, b, item->name);
        buf_append_cstr(b, ", 'value', ");
        if (hidden)
            buf_append_cstr(b, "NULL");
        else
            parse_put_text(p, b, item->value);
        buf_append_cstr(b, ")");
    }
    buf_append_cstr(b, "]::pg_catalog.jsonb[])");
}

const char *parse_ask(struct parse *p, const char *question, const char *const *names)
{
    struct buf b;
    buf_init(&b, (size_t)1 << 26);
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        buf_printf(&b, "%spgveneer.%s(", i > 0 ? " AND " : "", question);
        parse_put_cstr(p, &b, names[i]);
        buf_append_cstr(&b, ")");
    }
    return parse_take(p, &b);
}

const char *parse_take(struct parse *p, struct buf *b)
{
    char *text = b->failed ? NULL : arena_copy(p->arena, buf_slice(b));
    if (text == NULL)
        parse_no_memory(p);
    buf_fini(b);
    return text;
}
