/* Reading and writing, shared by the parsers of this folder.
 *
 * Secrets shape it. A value of a secret option leaves the option list only through parse_secrets. Error
 * texts never show a string literal of the statement; a mistake in a statement of ours is refused here,
 * so its text does not reach the server, whose log would show the secrets in it.
 *
 * JSON arguments are written as calls of pg_catalog.jsonb_object and its like over string literals,
 * not as JSON text: so values in any client encoding pass, and there is one kind of quoting. */
#include "parse.h"

#include <stdio.h>
#include <string.h>

struct reader parse_begin(struct arena *a, const struct handler_text *statement, struct err *err)
{
    struct reader r = reader_begin(a, statement, err);
    r.hides_strings = true;
    return r;
}

/* --- names --------------------------------------------------------------------------------------------- */

/* Names with a symbol between them. They live in the tokens, which the arena keeps. */
static const char *const *read_names(struct reader *p, char between)
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
            reader_no_memory(p);
            return NULL;
        }
        names[count] = reader_name(p);
        if (names[count++] == NULL)
            return NULL;
    } while (reader_accept_symbol(p, between));
    names[count] = NULL;
    return names;
}

const char *const *parse_qualified_name(struct reader *p)
{
    return read_names(p, '.');
}

const char *const *parse_name_list(struct reader *p)
{
    return read_names(p, ',');
}

const char *parse_role(struct reader *p)
{
    static const char *const special[][2] = {
        {"current_user", "CURRENT_USER"},
        {"current_role", "CURRENT_USER"},
        {"user", "CURRENT_USER"},
        {"session_user", "SESSION_USER"},
        {"public", "PUBLIC"},
    };
    for (size_t i = 0; i < ARRAY_LEN(special); i++)
        if (reader_accept(p, special[i][0]))
            return special[i][1];
    return reader_name(p);
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

bool parse_options_add(struct reader *p, struct parse_options *o, struct parse_option item)
{
    if (o->count == o->capacity) {
        size_t more = o->capacity == 0 ? 16 : o->capacity * 2;
        struct parse_option *items = arena_alloc_array(p->arena, more, sizeof *items);
        if (items == NULL)
            return reader_no_memory(p);
        if (o->count > 0)
            memcpy(items, o->items, o->count * sizeof *items);
        o->items = items;
        o->capacity = more;
    }
    o->items[o->count++] = item;
    return true;
}

/* ADD, SET or DROP, unless it is the name of the option: a string follows a name. */
static const char *read_action(struct reader *p)
{
    static const char *const actions[] = {"add", "set", "drop"};
    const struct token *next = reader_peek(p, 1);
    if (next != NULL && token_is_name(next))
        for (size_t i = 0; i < ARRAY_LEN(actions); i++)
            if (reader_accept(p, actions[i]))
                return actions[i];
    return "add";
}

static bool read_option(struct reader *p, bool changes, struct parse_options *o)
{
    struct parse_option item = {.action = changes ? read_action(p) : "add"};
    const struct token *t = reader_peek(p, 0);
    item.name = reader_name(p);
    if (item.name == NULL)
        return false;
    item.is_secret = is_secret(item.name);
    item.value = slice_cstr("");
    if (strcmp(item.action, "drop") != 0 && !reader_string(p, &item.value))
        return false;
    if (parse_options_have(o, item.name))
        return reader_mistake_at(p, t, SQLSTATE_DUPLICATE_OBJECT,
                                 "option \"%s\" provided more than once", item.name);
    if (o->count == MAX_OPTIONS)
        return reader_mistake_at(p, t, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "more than %d options",
                                 MAX_OPTIONS);
    return parse_options_add(p, o, item);
}

bool parse_options(struct reader *p, bool changes, struct parse_options *o)
{
    *o = (struct parse_options){.count = 0};
    reader_expect(p, "options");
    reader_expect_symbol(p, '(');
    do {
        if (!read_option(p, changes, o))
            return false;
    } while (reader_accept_symbol(p, ','));
    return reader_expect_symbol(p, ')');
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

const char *parse_secrets(struct reader *p, const struct parse_options *o)
{
    enum encoding e = p->statement->dialect->encoding;
    size_t bytes = 3, count = 0;
    for (size_t i = 0; i < o->count; i++)
        bytes += 6 * (strlen(o->items[i].name) + o->items[i].value.len) + 6;
    char *out = arena_alloc(p->arena, bytes);
    if (out == NULL) {
        reader_no_memory(p);
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

void parse_put_bool(struct buf *b, bool value)
{
    buf_append_cstr(b, value ? "true" : "false");
}

void parse_put_list(struct reader *p, struct buf *b, const char *const *names)
{
    buf_append_cstr(b, "ARRAY[");
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        if (i > 0)
            buf_append_cstr(b, ", ");
        reader_put_cstr(p, b, names[i]);
    }
    buf_append_cstr(b, "]::pg_catalog.text[]");
}

void parse_put_options(struct reader *p, struct buf *b, const struct parse_options *o)
{
    size_t count = 0;
    for (size_t i = 0; i < o->count; i++) {
        const struct parse_option *item = &o->items[i];
        buf_append_cstr(b, count++ == 0 ? "pg_catalog.jsonb_object(ARRAY[" : ", ");
        reader_put_cstr(p, b, item->name);
        buf_append_cstr(b, ", ");
        reader_put_text(p, b, item->is_secret ? slice_cstr("********") : item->value);
    }
    buf_append_cstr(b, count == 0 ? "'{}'::pg_catalog.jsonb" : "]::pg_catalog.text[])");
}

void parse_put_changes(struct reader *p, struct buf *b, const struct parse_options *o)
{
    buf_append_cstr(b, "pg_catalog.jsonb_build_array(VARIADIC ARRAY[");
    for (size_t i = 0; i < o->count; i++) {
        const struct parse_option *item = &o->items[i];
        bool hidden = item->is_secret || strcmp(item->action, "drop") == 0;
        buf_printf(b, "%spg_catalog.jsonb_build_object('action', '%s', 'name', ", i > 0 ? ", " : "",
                   item->action);
        reader_put_cstr(p, b, item->name);
        buf_append_cstr(b, ", 'value', ");
        if (hidden)
            buf_append_cstr(b, "NULL");
        else
            reader_put_text(p, b, item->value);
        buf_append_cstr(b, ")");
    }
    buf_append_cstr(b, "]::pg_catalog.jsonb[])");
}

const char *parse_ask(struct reader *p, const char *question, const char *const *names)
{
    struct buf b;
    buf_init(&b, (size_t)1 << 26);
    for (size_t i = 0; names != NULL && names[i] != NULL; i++) {
        buf_printf(&b, "%spgveneer.%s(", i > 0 ? " AND " : "", question);
        reader_put_cstr(p, &b, names[i]);
        buf_append_cstr(&b, ")");
    }
    return reader_take(p, &b);
}
