/* Texts to bytes. A line is its first word, which chooses a row of the table, and arguments, which the
 * row's function takes one after the other. What \ stands for is replaced argument by argument, so a
 * value with a space in it needs quotes, and the last argument of Q, P and their like needs none.
 *
 * Nothing here is limited but by memory: the inputs are part of the program. */
#include "probe_script.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/client_msg.h"
#include "protocol/wire_writer.h"

#define MAX_VALUES 64

static bool bad(struct err *err, const char *why, struct slice what)
{
    return err_set(err, SQLSTATE_SYNTAX_ERROR, "%s: \"%.*s\"", why,
                   (int)(what.len < 100 ? what.len : 100), what.data);
}

/* ---- lines -------------------------------------------------------------- */

static bool next_line(struct slice *text, struct slice *line)
{
    if (text->len == 0)
        return false;
    size_t n = slice_find_byte(*text, '\n');
    *line = slice_part(*text, 0, n);
    *text = slice_part(*text, n < text->len ? n + 1 : n, text->len);
    return true;
}

bool probe_next_input(struct slice *text, struct probe_input *out)
{
    struct slice line;
    do
        if (!next_line(text, &line))
            return false;
    while (!slice_starts_with(line, "== "));
    out->name = slice_part(line, 3, line.len);
    const char *first = text->data;
    struct slice rest = *text;
    while (next_line(&rest, &line) && !slice_starts_with(line, "== "))
        *text = rest;
    out->steps = slice_of(first, (size_t)(text->data - first));
    return true;
}

bool probe_next_step(struct slice *steps, struct slice *line)
{
    while (next_line(steps, line)) {
        struct slice words = slice_trim(*line);
        if (words.len > 0 && words.data[0] != '#')
            return true;
    }
    return false;
}

struct slice probe_take_word(struct slice *line)
{
    while (line->len > 0 && line->data[0] == ' ')
        *line = slice_part(*line, 1, line->len);
    size_t n = slice_find_byte(*line, ' ');
    struct slice word = slice_part(*line, 0, n);
    *line = slice_part(*line, n < line->len ? n + 1 : n, line->len);
    return word;
}

/* ---- texts -------------------------------------------------------------- */

static bool read_number(struct slice s, long *out)
{
    char digits[24];
    char *end;
    if (s.len == 0 || s.len >= sizeof digits)
        return false;
    memcpy(digits, s.data, s.len);
    digits[s.len] = '\0';
    *out = strtol(digits, &end, 0);
    return *end == '\0';
}

static void put_integer(struct buf *out, unsigned bytes, long value)
{
    for (unsigned shift = bytes * 8; shift > 0; shift -= 8)
        buf_append_byte(out, (char)((unsigned long)value >> (shift - 8)));
}

static bool put_repeated(struct slice text, long times, const struct probe_vars *v, struct buf *out)
{
    struct err err;
    bool ok = true;
    for (long i = 0; i < times && ok; i++)
        ok = probe_write_text(text, v, out, &err);
    return ok;
}

static bool put_variable(struct slice name, const struct probe_vars *v, struct buf *out)
{
    if (slice_equals_cstr(name, "user"))
        return buf_append_cstr(out, v->user);
    if (slice_equals_cstr(name, "dbname"))
        return buf_append_cstr(out, v->dbname);
    if (slice_equals_cstr(name, "id"))
        return buf_append_cstr(out, v->id);
    if (slice_equals_cstr(name, "pid"))
        return buf_printf(out, "%u", v->pid);
    if (slice_equals_cstr(name, "n"))
        return buf_printf(out, "%u", v->n);
    return false;
}

/* What stands between \{ and }. */
static bool put_braces(struct slice s, const struct probe_vars *v, struct buf *out)
{
    size_t star = s.len;
    long number;
    if (s.len > 2 && s.data[1] == ':' && (s.data[0] == '2' || s.data[0] == '4')) {
        if (!read_number(slice_part(s, 2, s.len), &number))
            return false;
        put_integer(out, s.data[0] == '2' ? 2 : 4, number);
        return true;
    }
    while (star > 0 && s.data[star - 1] != '*')
        star--;
    if (star == 0)
        return put_variable(s, v, out);
    if (!read_number(slice_part(s, star, s.len), &number) || number < 0)
        return false;
    return put_repeated(slice_part(s, 0, star - 1), number, v, out);
}

/* Takes what a backslash, already taken, stands for off *rest. */
static bool put_escape(struct slice *rest, const struct probe_vars *v, struct buf *out)
{
    size_t taken = 1;
    bool ok = true;
    switch (rest->len > 0 ? rest->data[0] : '\0') {
    case 'n': buf_append_byte(out, '\n'); break;
    case 't': buf_append_byte(out, '\t'); break;
    case '\\': buf_append_byte(out, '\\'); break;
    case '\'': buf_append_byte(out, '\''); break;
    case 'x': {
        char hex[5] = "0x";
        long value;
        ok = rest->len >= 3 && memcpy(hex + 2, rest->data + 1, 2) != NULL &&
             read_number(slice_cstr(hex), &value);
        if (ok)
            buf_append_byte(out, (char)value);
        taken = 3;
        break;
    }
    case '{': {
        size_t end = slice_find_byte(*rest, '}');
        ok = end < rest->len && put_braces(slice_part(*rest, 1, end), v, out);
        taken = end + 1;
        break;
    }
    default: ok = false;
    }
    if (ok)
        *rest = slice_part(*rest, taken, rest->len);
    return ok;
}

bool probe_write_text(struct slice text, const struct probe_vars *vars, struct buf *out,
                      struct err *err)
{
    for (struct slice rest = text; rest.len > 0;) {
        size_t n = slice_find_byte(rest, '\\');
        buf_append_slice(out, slice_part(rest, 0, n));
        if (n == rest.len)
            break;
        rest = slice_part(rest, n + 1, rest.len);
        if (!put_escape(&rest, vars, out))
            return bad(err, "what does \\ stand for here", text);
    }
    return !out->failed || err_no_memory(err);
}

/* ---- arguments ---------------------------------------------------------- */

/* Behind the opening quote: up to the closing one, which is taken. False: there is none. */
static bool take_quoted(struct slice *line, struct slice *word)
{
    size_t n = 0;
    while (n < line->len && line->data[n] != '\'')
        n += line->data[n] == '\\' ? 2 : 1;
    if (n >= line->len)
        return false;
    *word = slice_part(*line, 0, n);
    *line = slice_part(*line, n + 1, line->len);
    return true;
}

/* The arguments of one message, and where their bytes lie until it is written. */
struct arguments {
    struct slice rest; /* of the line */
    const struct probe_vars *vars;
    struct buf text;
    struct wire_value values[MAX_VALUES];
    size_t count;
    uint8_t formats[2][MAX_VALUES * 2]; /* in=, out=: as on the wire */
    size_t format_count[2];
};

/* A name; "-" is empty. */
static struct slice take_name(struct arguments *a)
{
    struct slice word = probe_take_word(&a->rest);
    return slice_equals_cstr(word, "-") ? slice_part(word, 0, 0) : word;
}

static bool take_formats(struct arguments *a, struct slice codes, unsigned which, struct err *err)
{
    while (codes.len > 0) {
        size_t n = slice_find_byte(codes, ',');
        long code;
        if (!read_number(slice_part(codes, 0, n), &code) || a->format_count[which] == MAX_VALUES)
            return bad(err, "not a list of format codes", codes);
        uint8_t *at = a->formats[which] + 2 * a->format_count[which]++;
        at[0] = (uint8_t)(code >> 8);
        at[1] = (uint8_t)code;
        codes = slice_part(codes, n < codes.len ? n + 1 : n, codes.len);
    }
    return true;
}

/* 'value' NULL in=… out=… up to the end of the line. The values' bytes stand in a->text, which may
 * move while it grows: so they are offsets first. */
static bool take_values(struct arguments *a, struct err *err)
{
    size_t ends[MAX_VALUES];
    while (a->rest = slice_trim(a->rest), a->rest.len > 0) {
        struct slice word;
        if (slice_starts_with(a->rest, "in=") || slice_starts_with(a->rest, "out=")) {
            word = probe_take_word(&a->rest);
            size_t key = slice_find_byte(word, '=') + 1;
            if (!take_formats(a, slice_part(word, key, word.len), key == 4, err))
                return false;
            continue;
        }
        bool quoted = a->rest.data[0] == '\'';
        if (quoted)
            a->rest = slice_part(a->rest, 1, a->rest.len);
        if (a->count == MAX_VALUES || (quoted && !take_quoted(&a->rest, &word)))
            return bad(err, "not a list of values", a->rest);
        if (!quoted && !slice_equals_cstr(word = probe_take_word(&a->rest), "NULL"))
            return bad(err, "a value without quotes", word);
        a->values[a->count].is_null = !quoted;
        if (quoted && !probe_write_text(word, a->vars, &a->text, err))
            return false;
        ends[a->count++] = buf_length(&a->text);
    }
    for (size_t i = 0; i < a->count; i++)
        a->values[i].bytes = slice_part(buf_slice(&a->text), i == 0 ? 0 : ends[i - 1], ends[i]);
    return true;
}

static struct slice formats_of(const struct arguments *a, unsigned which)
{
    return slice_of((const char *)a->formats[which], 2 * a->format_count[which]);
}

static void put_formats(struct wire_writer *w, const struct arguments *a, unsigned which)
{
    wire_put_u16(w, (uint16_t)a->format_count[which]);
    wire_put_bytes(w, formats_of(a, which));
}

/* ---- messages ----------------------------------------------------------- */

typedef bool write_fn(struct arguments *a, char type, struct buf *out, struct err *err);

static bool finish(struct wire_writer *w, struct err *err)
{
    return wire_finish(w) || err_no_memory(err);
}

/* The rest of the line, and with `nul` a NUL behind it. */
static bool write_rest(struct arguments *a, char type, bool nul, struct buf *out, struct err *err)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    if (!probe_write_text(a->rest, a->vars, out, err))
        return false;
    if (nul)
        wire_put_byte(&w, 0);
    return finish(&w, err);
}

static bool write_string(struct arguments *a, char type, struct buf *out, struct err *err)
{
    return write_rest(a, type, true, out, err);
}

static bool write_data(struct arguments *a, char type, struct buf *out, struct err *err)
{
    return write_rest(a, type, false, out, err);
}

static bool write_any(struct arguments *a, char type, struct buf *out, struct err *err)
{
    struct slice word = probe_take_word(&a->rest);
    (void)type;
    if (word.len != 1)
        return bad(err, "not a type of a message", word);
    return write_rest(a, word.data[0], false, out, err);
}

static bool write_raw(struct arguments *a, char type, struct buf *out, struct err *err)
{
    (void)type;
    return probe_write_text(a->rest, a->vars, out, err);
}

static bool write_bare(struct arguments *a, char type, struct buf *out, struct err *err)
{
    (void)a;
    return wire_write_empty(out, type) || err_no_memory(err);
}

/* Takes "(23,25)" off the end of a name. */
static bool put_types(struct wire_writer *w, struct slice types, struct err *err)
{
    uint32_t oids[MAX_VALUES];
    uint16_t count = 0;
    while (types.len > 0) {
        size_t n = slice_find_byte(types, ',');
        long oid;
        size_t digits = n < types.len ? n : n - 1; /* the last one stands before ")" */
        if (count == MAX_VALUES || !read_number(slice_part(types, 0, digits), &oid))
            return bad(err, "not a list of types", types);
        oids[count++] = (uint32_t)oid;
        types = slice_part(types, n < types.len ? n + 1 : n, types.len);
    }
    wire_put_u16(w, count);
    for (uint16_t i = 0; i < count; i++)
        wire_put_u32(w, oids[i]);
    return true;
}

static bool write_parse(struct arguments *a, char type, struct buf *out, struct err *err)
{
    struct wire_writer w;
    struct slice name = take_name(a);
    size_t paren = slice_find_byte(name, '(');
    struct slice types = slice_part(name, paren < name.len ? paren + 1 : paren, name.len);
    name = slice_part(name, 0, paren);
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    wire_put_cstr(&w, slice_equals_cstr(name, "-") ? slice_cstr("") : name);
    if (!probe_write_text(a->rest, a->vars, out, err))
        return false;
    wire_put_byte(&w, 0);
    return put_types(&w, types, err) && finish(&w, err);
}

static bool write_bind(struct arguments *a, char type, struct buf *out, struct err *err)
{
    struct wire_writer w;
    struct slice portal = take_name(a), statement = take_name(a);
    if (!take_values(a, err))
        return false;
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    wire_put_cstr(&w, portal);
    wire_put_cstr(&w, statement);
    put_formats(&w, a, 0);
    wire_put_u16(&w, (uint16_t)a->count);
    for (size_t i = 0; i < a->count; i++)
        wire_put_value(&w, a->values[i]);
    put_formats(&w, a, 1);
    return finish(&w, err);
}

static bool write_target(struct arguments *a, char type, struct buf *out, struct err *err)
{
    struct wire_writer w;
    struct slice kind = probe_take_word(&a->rest);
    if (kind.len != 1)
        return bad(err, "neither S nor P", kind);
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    wire_put_byte(&w, (uint8_t)kind.data[0]);
    wire_put_cstr(&w, take_name(a));
    return finish(&w, err);
}

static bool write_execute(struct arguments *a, char type, struct buf *out, struct err *err)
{
    struct wire_writer w;
    struct slice portal = take_name(a), count = probe_take_word(&a->rest);
    long max_rows = 0;
    if (count.len > 0 && !read_number(count, &max_rows))
        return bad(err, "not a number of rows", count);
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    wire_put_cstr(&w, portal);
    wire_put_u32(&w, (uint32_t)max_rows);
    return finish(&w, err);
}

static bool write_function(struct arguments *a, char type, struct buf *out, struct err *err)
{
    struct wire_writer w;
    struct slice word = probe_take_word(&a->rest);
    long oid;
    if (!read_number(word, &oid))
        return bad(err, "not the oid of a function", word);
    if (!take_values(a, err))
        return false;
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    wire_put_u32(&w, (uint32_t)oid);
    put_formats(&w, a, 0);
    wire_put_u16(&w, (uint16_t)a->count);
    for (size_t i = 0; i < a->count; i++)
        wire_put_value(&w, a->values[i]);
    wire_put_u16(&w, a->format_count[1] > 0 ? a->formats[1][1] : 0);
    return finish(&w, err);
}

/* name='value' …; without quotes the value ends at a space. 300*name: so many times. */
static bool put_parameter(struct arguments *a, struct buf *out, struct err *err)
{
    size_t n = slice_find_byte(a->rest, '=');
    struct slice name = slice_part(a->rest, 0, n), value;
    size_t star = slice_find_byte(name, '*');
    long times = 1;
    if (n == a->rest.len || (star < n && !read_number(slice_part(name, 0, star), &times)))
        return bad(err, "not name=value", a->rest);
    if (star < n)
        name = slice_part(name, star + 1, n);
    a->rest = slice_part(a->rest, n + 1, a->rest.len);
    if (slice_starts_with(a->rest, "'")) {
        a->rest = slice_part(a->rest, 1, a->rest.len);
        if (!take_quoted(&a->rest, &value))
            return bad(err, "a quote is not closed", a->rest);
    } else {
        value = probe_take_word(&a->rest);
    }
    bool ok = true;
    while (ok && times-- > 0) {
        buf_append_slice(out, name);
        buf_append_byte(out, '\0');
        ok = probe_write_text(value, a->vars, out, err);
        buf_append_byte(out, '\0');
    }
    return ok;
}

static bool write_startup(struct arguments *a, char type, struct buf *out, struct err *err)
{
    struct wire_writer w;
    struct slice version = probe_take_word(&a->rest);
    size_t dot = slice_find_byte(version, '.');
    long major, minor;
    if (dot == version.len || !read_number(slice_part(version, 0, dot), &major) ||
        !read_number(slice_part(version, dot + 1, version.len), &minor))
        return bad(err, "not a version", version);
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    wire_put_u32(&w, (uint32_t)(major << 16 | minor));
    while (a->rest = slice_trim(a->rest), a->rest.len > 0)
        if (!put_parameter(a, out, err))
            return false;
    wire_put_byte(&w, 0);
    return finish(&w, err);
}

static const struct message_row {
    const char *word;
    char type;
    write_fn *write;
} rows[] = {
    {"Q", 'Q', write_string}, {"P", 'P', write_parse},    {"B", 'B', write_bind},
    {"D", 'D', write_target}, {"C", 'C', write_target},   {"E", 'E', write_execute},
    {"S", 'S', write_bare},   {"H", 'H', write_bare},     {"X", 'X', write_bare},
    {"c", 'c', write_bare},   {"d", 'd', write_data},     {"f", 'f', write_string},
    {"p", 'p', write_data},   {"F", 'F', write_function}, {"startup", '\0', write_startup},
    {"msg", '\0', write_any}, {"raw", '\0', write_raw},
};

static const struct message_row *find_row(struct slice word)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (slice_equals_cstr(word, rows[i].word))
            return &rows[i];
    return NULL;
}

bool probe_is_message(struct slice word)
{
    return find_row(word) != NULL;
}

bool probe_write_message(struct slice line, const struct probe_vars *vars, struct buf *out,
                         struct err *err)
{
    struct arguments a = {.rest = line, .vars = vars};
    struct slice word = probe_take_word(&a.rest);
    const struct message_row *row = find_row(word);
    if (row == NULL)
        return bad(err, "not a step", line);
    buf_init(&a.text, SIZE_MAX / 2);
    bool ok = row->write(&a, row->type, out, err);
    buf_fini(&a.text);
    return ok && (!out->failed || err_no_memory(err));
}
