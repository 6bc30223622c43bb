/* Reads the value of a literal and writes one.
 *
 * A literal is a list of pieces, each between quotes. The lexer has seen to it that every quote
 * inside is doubled or escaped, so a piece is read character by character into an output that is as
 * long as the token at most: no escape is shorter than what it stands for. (\u00e9 has six bytes, its
 * UTF-8 form two; \U0010ffff has ten, its form four.)
 *
 * What cannot be told here is refused rather than guessed: escapes that make bytes above 0x7f are
 * bytes in the encoding of the server, which we do not convert; code points beyond ASCII can be
 * written only for a UTF-8 client. */
#include "literal.h"

#include <string.h>

struct reader {
    struct slice body;
    size_t at;
    enum encoding encoding;
    char *out;
    size_t length;
    bool good;
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void put(struct reader *r, char c)
{
    if (c == '\0')
        r->good = false;
    r->out[r->length++] = c;
}

static void put_character(struct reader *r)
{
    size_t n = encoding_step_ascii(r->encoding, r->body, r->at);
    for (; n > 0; n--)
        put(r, r->body.data[r->at++]);
}

static void put_code_point(struct reader *r, unsigned long c)
{
    if (c == 0 || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) ||
        (c >= 0x80 && r->encoding != ENCODING_UTF8)) {
        r->good = false;
    } else if (c < 0x80) {
        put(r, (char)c);
    } else if (c < 0x800) {
        put(r, (char)(0xc0 | c >> 6));
        put(r, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        put(r, (char)(0xe0 | c >> 12));
        put(r, (char)(0x80 | (c >> 6 & 0x3f)));
        put(r, (char)(0x80 | (c & 0x3f)));
    } else {
        put(r, (char)(0xf0 | c >> 18));
        put(r, (char)(0x80 | (c >> 12 & 0x3f)));
        put(r, (char)(0x80 | (c >> 6 & 0x3f)));
        put(r, (char)(0x80 | (c & 0x3f)));
    }
}

/* Exactly `digits` hexadecimal digits; marks the reader bad when there are fewer. */
static unsigned long get_hex(struct reader *r, size_t digits)
{
    unsigned long value = 0;
    for (; digits > 0; digits--, r->at++) {
        int v = r->at < r->body.len ? hex_value(r->body.data[r->at]) : -1;
        if (v < 0) {
            r->good = false;
            return 0;
        }
        value = value * 16 + (unsigned long)v;
    }
    return value;
}

/* The code unit of an escape has been read; a first surrogate wants a second one, which has the same
 * form. `next` reads it, escape character included. */
static void put_unit(struct reader *r, unsigned long c,
                     unsigned long (*next)(struct reader *, char), char escape)
{
    if (c >= 0xd800 && c <= 0xdbff) {
        unsigned long low = next(r, escape);
        if (low < 0xdc00 || low > 0xdfff)
            r->good = false;
        c = 0x10000 + ((c - 0xd800) << 10) + (low & 0x3ff);
    }
    if (r->good)
        put_code_point(r, c);
}

/* \uXXXX or \UXXXXXXXX, at the backslash. */
static unsigned long get_backslash_u(struct reader *r, char escape)
{
    char kind = r->at + 1 < r->body.len ? r->body.data[r->at + 1] : '\0';
    if (r->body.len - r->at < 6 || r->body.data[r->at] != escape || (kind != 'u' && kind != 'U')) {
        r->good = false;
        return 0;
    }
    r->at += 2;
    return get_hex(r, kind == 'u' ? 4 : 8);
}

/* !XXXX or !+XXXXXX, at the escape character. */
static unsigned long get_uescape(struct reader *r, char escape)
{
    if (r->body.len - r->at < 5 || r->body.data[r->at] != escape) {
        r->good = false;
        return 0;
    }
    r->at++;
    bool longer = r->body.data[r->at] == '+';
    r->at += longer;
    return get_hex(r, longer ? 6 : 4);
}

static void put_octal(struct reader *r)
{
    unsigned value = 0;
    for (int i = 0; i < 3 && r->at < r->body.len; i++, r->at++) {
        char c = r->body.data[r->at];
        if (c < '0' || c > '7')
            break;
        value = value * 8 + (unsigned)(c - '0');
    }
    if (value >= 0x80)
        r->good = false;
    put(r, (char)value);
}

/* \xH or \xHH, at the first digit. */
static void put_hex_byte(struct reader *r)
{
    int value = 0;
    for (int i = 0; i < 2 && r->at < r->body.len; i++, r->at++) {
        int v = hex_value(r->body.data[r->at]);
        if (v < 0)
            break;
        value = value * 16 + v;
    }
    if (value >= 0x80)
        r->good = false;
    put(r, (char)value);
}

/* An escape of E'…', at the backslash. */
static void put_escape(struct reader *r)
{
    if (r->at + 1 >= r->body.len) {
        r->good = false;
        r->at = r->body.len;
        return;
    }
    char c = r->body.data[r->at + 1];
    if (c == 'u' || c == 'U') {
        put_unit(r, get_backslash_u(r, '\\'), get_backslash_u, '\\');
        return;
    }
    r->at++;
    bool hex = c == 'x' && r->at + 1 < r->body.len && hex_value(r->body.data[r->at + 1]) >= 0;
    static const char letters[] = "bfnrt", values[] = "\b\f\n\r\t";
    const char *simple = c == '\0' ? NULL : strchr(letters, c);
    if (hex) {
        r->at++;
        put_hex_byte(r);
    } else if (c >= '0' && c <= '7') {
        put_octal(r);
    } else if (simple != NULL) {
        put(r, values[simple - letters]);
        r->at++;
    } else {
        put_character(r);
    }
}

/* An escape of U&'…' or U&"…", at the escape character. */
static void put_uescape(struct reader *r, char escape)
{
    if (r->at + 1 < r->body.len && r->body.data[r->at + 1] == escape) {
        put(r, escape);
        r->at += 2;
        return;
    }
    put_unit(r, get_uescape(r, escape), get_uescape, escape);
}

/* One piece, from r->at on: up to its closing quote, or the end of the body. */
static void read_piece(struct reader *r, enum token_form form, char quote, char escape)
{
    while (r->good && r->at < r->body.len) {
        char c = r->body.data[r->at];
        if (c == quote) {
            if (r->at + 1 >= r->body.len || r->body.data[r->at + 1] != quote)
                return;
            put(r, quote);
            r->at += 2;
        } else if (c == '\\' && form == TOKEN_ESCAPES) {
            put_escape(r);
        } else if (c == escape && form == TOKEN_UNICODE) {
            put_uescape(r, escape);
        } else {
            put_character(r);
        }
    }
}

void literal_name(struct slice body, struct token *t, enum encoding e)
{
    /* A name is cut at 63 bytes, so no more than that need be read: in the longest spelling a byte
     * takes 8 (!+000061), and a character that is cut is at most 4 bytes long. */
    char value[TOKEN_NAME_BYTES + 8];
    struct reader r = {.body = body, .encoding = e, .out = value, .good = true};
    while (r.good && r.at < body.len && r.length < TOKEN_NAME_BYTES) {
        char c = body.data[r.at];
        if (c == '"') {
            put(&r, c);
            r.at += 2;
        } else if (t->form == TOKEN_UNICODE && c == t->uescape) {
            put_uescape(&r, c);
        } else {
            put_character(&r);
        }
    }
    size_t n = r.good ? encoding_clip(e, slice_of(value, r.length), TOKEN_NAME_BYTES - 1) : 0;
    memcpy(t->name, value, n);
    t->name[n] = '\0';
}

/* Where the first piece starts, behind its quote. */
static size_t find_body(struct slice literal)
{
    return slice_find_byte(literal, '\'') + 1;
}

static bool read_dollar(struct slice literal, struct arena *a, struct slice *value)
{
    size_t tag = slice_find_byte(slice_part(literal, 1, literal.len), '$') + 2;
    struct slice body = slice_part(literal, tag, literal.len - tag);
    const char *copy = arena_copy(a, body);
    *value = slice_of(copy, body.len);
    return copy != NULL && memchr(copy, '\0', body.len) == NULL;
}

/* Behind the closing quote: the place behind the next opening one, or the end. Only white space and
 * -- comments stand in between; a comment may hold quotes. A UESCAPE clause ends the literal. */
static size_t find_next_piece(struct slice literal, size_t at)
{
    for (; at < literal.len; at++) {
        char c = literal.data[at];
        if (c == '\'')
            return at + 1;
        if (c == '-')
            while (at < literal.len && literal.data[at] != '\n' && literal.data[at] != '\r')
                at++;
        else if (c == 'u' || c == 'U' || c == '/')
            return literal.len;
    }
    return literal.len;
}

bool token_value(struct arena *a, struct slice text, const struct token *t,
                 const struct lexer_dialect *d, struct slice *value)
{
    struct slice literal = slice_part(text, t->start, t->end);
    *value = literal;
    if (t->kind != TOKEN_STRING)
        return false;
    if (t->form == TOKEN_DOLLAR)
        return read_dollar(literal, a, value);
    if (t->form == TOKEN_UNICODE && !d->standard_conforming_strings)
        return false; /* the server refuses it */
    char *out = arena_alloc(a, literal.len + 1);
    value->data = out;
    if (out == NULL)
        return false;
    struct reader r = {.body = literal, .encoding = d->encoding, .out = out, .good = true};
    for (r.at = find_body(literal); r.good && r.at < literal.len;
         r.at = find_next_piece(literal, r.at + 1))
        read_piece(&r, t->form, '\'', t->uescape);
    *value = slice_of(out, r.length);
    return r.good;
}

const char *lexer_quote(struct arena *a, struct slice value, enum encoding e)
{
    char *out = arena_alloc(a, 2 * value.len + 4);
    if (out == NULL)
        return NULL;
    size_t n = 1; /* room for the E */
    bool escapes = false;
    out[n++] = '\'';
    for (size_t at = 0; at < value.len;) {
        size_t step = encoding_step_ascii(e, value, at);
        char c = value.data[at];
        if (c == '\'' || c == '\\')
            out[n++] = c;
        escapes = escapes || c == '\\';
        memcpy(out + n, value.data + at, step);
        n += step;
        at += step;
    }
    out[n++] = '\'';
    out[0] = 'E';
    return escapes ? out : out + 1;
}
