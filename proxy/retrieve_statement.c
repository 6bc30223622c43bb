/* Texts of retrieve sessions. RETRIEVE is read by its handler, through the gate. Drivers send more than
 * that without being told to: SET, SHOW, BEGIN, COMMIT, DISCARD, empty statements. They are answered as
 * a server would, so that programs written for the feature run with any driver; but nothing except
 * client_encoding has an effect, since rows have the form that the declaring session gives them.
 * Everything else is refused: a retrieve session reaches nothing but its endpoints. */
#include "retrieve.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "protocol/server_msg.h"
#include "proxy/gate.h"
#include "proxy/lexer.h"

#include "session.h"

/* ---- reading ---- */

struct word {
    const char *text;
    enum retrieve_kind kind;
    const char *tag;
};

static const struct word words[] = {
    {"set", RETRIEVE_SET, "SET"},
    {"reset", RETRIEVE_SET, "RESET"},
    {"show", RETRIEVE_SHOW, "SHOW"},
    {"begin", RETRIEVE_BEGIN, "BEGIN"},
    {"start", RETRIEVE_BEGIN, "START TRANSACTION"},
    {"commit", RETRIEVE_COMMIT, "COMMIT"},
    {"end", RETRIEVE_COMMIT, "COMMIT"},
    {"rollback", RETRIEVE_ROLLBACK, "ROLLBACK"},
    {"abort", RETRIEVE_ROLLBACK, "ROLLBACK"},
    {"savepoint", RETRIEVE_OTHER, "SAVEPOINT"},
    {"release", RETRIEVE_OTHER, "RELEASE"},
    {"discard", RETRIEVE_OTHER, "DISCARD ALL"},
    {"deallocate", RETRIEVE_OTHER, "DEALLOCATE"},
};

struct reading {
    struct arena *arena;
    struct slice text;
    struct lexer_dialect dialect;
    const struct token *tokens;
    size_t count;
    struct buf *notices;
};

static bool is_word(const struct reading *in, size_t at, const char *word)
{
    return at < in->count && token_is_word(&in->tokens[at], word);
}

static void refuse(struct retrieve_statement *st)
{
    st->kind = RETRIEVE_REFUSED;
    err_set(&st->err, SQLSTATE_FEATURE_NOT_SUPPORTED,
            "This is a retrieve connection, but the query is not a RETRIEVE.");
}

static const char *text_of(const struct reading *in, size_t at)
{
    struct slice value;
    const struct token *t = &in->tokens[at];
    if (t->kind == TOKEN_WORD || t->kind == TOKEN_QUOTED)
        return t->name;
    if (t->kind == TOKEN_STRING && token_value(in->arena, in->text, t, &in->dialect, &value))
        return value.data;
    return arena_copy(in->arena, slice_part(in->text, t->start, t->end));
}

static bool is_fixed(const char *name)
{
    return strcmp(name, "gp_session_role") == 0 || strcmp(name, "gp_retrieve_conn") == 0;
}

/* SET [SESSION | LOCAL] name { TO | = } value, SET NAMES value, RESET name; the rest as it may be. */
static void read_set(const struct reading *in, size_t at, struct retrieve_statement *st)
{
    at++;
    if (is_word(in, at, "role") ||
        (is_word(in, at, "session") && is_word(in, at + 1, "authorization"))) {
        refuse(st);
        return;
    }
    if (is_word(in, at, "session") || is_word(in, at, "local"))
        at++;
    if (at >= in->count || !token_is_name(&in->tokens[at])) {
        st->name = "";
        return;
    }
    st->name = in->tokens[at].name;
    bool names = strcmp(st->name, "names") == 0;
    at += names ? 1 : 2;
    if (names)
        st->name = "client_encoding";
    if (at < in->count && !is_word(in, at, "default"))
        st->value = text_of(in, at);
    if (!is_fixed(st->name))
        return;
    st->kind = RETRIEVE_REFUSED;
    err_set(&st->err, "55P02", "parameter \"%s\" cannot be set after connection start", st->name);
}

static void read_show(const struct reading *in, size_t at, struct retrieve_statement *st)
{
    st->name = at + 1 < in->count ? in->tokens[at + 1].name : "";
    if (is_word(in, at + 1, "transaction") && is_word(in, at + 2, "isolation"))
        st->name = "transaction_isolation";
    if (is_word(in, at + 1, "time") && is_word(in, at + 2, "zone"))
        st->name = "TimeZone";
}

/* As the server says it of a name that is too long. out: where notices go */
static void note_cut(const struct reading *in, const struct token *t, struct buf *out)
{
    char full[4 * TOKEN_NAME_BYTES];
    size_t n = 0;
    bool is_quoted = t->kind == TOKEN_QUOTED;
    struct err err;
    if (t->form != TOKEN_PLAIN || t->end - t->start < TOKEN_NAME_BYTES)
        return;
    for (size_t i = t->start + is_quoted; i < t->end - is_quoted && n + 1 < sizeof full; i++) {
        char c = in->text.data[i];
        full[n++] = !is_quoted && c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
        i += is_quoted && c == '"';
    }
    full[n] = '\0';
    if (strlen(t->name) == n)
        return;
    err_set(&err, "42622", "identifier \"%s\" will be truncated to \"%s\"", full, t->name);
    if (!wire_write_error(out, 'N', "NOTICE", &err))
        out->failed = true;
}

static void read_rows(const struct reading *in, size_t at, const struct gate_result *gate,
                      struct retrieve_statement *st)
{
    for (size_t i = 0; i < gate->cursor_count; i++) {
        const struct handler_cursor *c = gate->cursors[i].what;
        if (gate->cursors[i].start != in->tokens[at].start || c->kind != HANDLER_CURSOR_RETRIEVE)
            continue;
        st->kind = RETRIEVE_ROWS;
        st->name = c->name;
        st->count = c->all ? UINT64_MAX : (uint64_t)c->count;
        st->tag = "RETRIEVE";
        while (at + 1 < in->count && !token_is_symbol(&in->tokens[at + 1], ';'))
            at++;
        note_cut(in, &in->tokens[at], in->notices);
    }
}

static void read_one(const struct reading *in, size_t at, const struct gate_result *gate,
                     struct retrieve_statement *st)
{
    refuse(st);
    if (is_word(in, at, "retrieve"))
        read_rows(in, at, gate, st);
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (!is_word(in, at, words[i].text))
            continue;
        st->kind = words[i].kind;
        st->tag = words[i].tag;
    }
    if (is_word(in, at, "rollback") && is_word(in, at + 1, "to"))
        st->kind = RETRIEVE_OTHER;
    if (st->kind == RETRIEVE_SET)
        read_set(in, at, st);
    if (st->kind == RETRIEVE_SHOW)
        read_show(in, at, st);
}

static size_t count_statements(const struct reading *in)
{
    size_t n = 1;
    for (size_t i = 0; i < in->count; i++)
        n += token_is_symbol(&in->tokens[i], ';');
    return n;
}

static void read_all(const struct reading *in, const struct gate_result *gate,
                     struct retrieve_statement *out, size_t *count)
{
    bool begins = true;
    for (size_t i = 0; i < in->count; i++) {
        if (begins && !token_is_symbol(&in->tokens[i], ';'))
            read_one(in, i, gate, &out[(*count)++]);
        begins = token_is_symbol(&in->tokens[i], ';');
    }
}

bool retrieve_read(struct retrieve *r, struct arena *a, struct slice text,
                   struct retrieve_statement **out, size_t *count, struct err *err)
{
    struct gate_session how = {.standard_conforming_strings = true, .client_encoding = r->encoding};
    struct gate_result gate;
    struct reading in = {.arena = a, .text = text, .notices = &r->out};
    struct token *tokens;
    in.dialect = (struct lexer_dialect){true, encoding_find(r->encoding)};
    *count = 0;
    if (!gate_inspect(r->group->shared->gate, &how, text, a, &gate, err))
        return err_no_memory(err);
    if (gate.verdict == GATE_REFUSE)
        return false;
    if (!lexer_read(a, text, 0, text.len, &in.dialect, &tokens, &in.count))
        return err_no_memory(err);
    in.tokens = tokens;
    *out = arena_alloc_array(a, count_statements(&in), sizeof **out);
    if (*out == NULL)
        return err_no_memory(err);
    read_all(&in, &gate, *out, count);
    return true;
}

/* ---- parameters ---- */

bool retrieve_name_encoding(const char *name, char *out, size_t size)
{
    char plain[32] = "";
    size_t n = 0;
    for (const char *at = name; *at != '\0'; at++) {
        if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-')
            return false;
        if (n + 1 >= sizeof plain)
            return false;
        plain[n++] = (char)toupper((unsigned char)*at);
    }
    if (strcmp(plain, "UNICODE") == 0 || strcmp(plain, "UTF-8") == 0)
        snprintf(plain, sizeof plain, "UTF8");
    if (n > 0)
        snprintf(out, size, "%s", plain);
    return n > 0;
}

bool retrieve_set(struct retrieve *r, const struct retrieve_statement *st, struct err *err)
{
    struct wire_parameter_status m = {.name = slice_cstr("client_encoding")};
    if (strcmp(st->name, "client_encoding") != 0 || st->value == NULL)
        return true;
    if (!retrieve_name_encoding(st->value, r->encoding, sizeof r->encoding))
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                       "invalid value for parameter \"client_encoding\": \"%s\"", st->value);
    m.value = slice_cstr(r->encoding);
    return wire_write_parameter_status(&r->out, &m) || err_no_memory(err);
}

/* In the ParameterStatus messages that the declarer left. */
static bool find_parameter(struct slice messages, const char *name, struct slice *value)
{
    struct wire_header h;
    struct wire_reader r;
    struct wire_parameter_status m;
    while (messages.len >= WIRE_HEADER_BYTES && wire_read_header(messages.data, &h)) {
        size_t bytes = WIRE_HEADER_BYTES + (size_t)h.body_bytes;
        wire_reader_init(&r, slice_part(messages, WIRE_HEADER_BYTES, bytes));
        if (!wire_read_parameter_status(&r, &m))
            return false;
        if (slice_equals_nocase(m.name, name)) {
            *value = m.value;
            return true;
        }
        messages = slice_part(messages, bytes, messages.len);
    }
    return false;
}

bool retrieve_show(struct retrieve *r, const char *name, struct buf *value)
{
    struct buf parameters;
    struct slice found;
    buf_init(&parameters, 65536);
    bool good = false;
    if (strcmp(name, "client_encoding") == 0 && r->encoding[0] != '\0')
        good = buf_append_cstr(value, r->encoding);
    else if (strcmp(name, "transaction_isolation") == 0)
        good = buf_append_cstr(value, "read committed");
    else if (strcmp(name, "gp_session_role") == 0)
        good = buf_append_cstr(value, "retrieve");
    else if (strcmp(name, "gp_retrieve_conn") == 0)
        good = buf_append_cstr(value, "on");
    else if (endpoint_copy_parameters(r->group->shared->endpoints, r->declarer, &parameters) &&
             find_parameter(buf_slice(&parameters), name, &found))
        good = buf_append_slice(value, found);
    buf_fini(&parameters);
    return good;
}
