/* The lexer: where each token starts and ends, and what a name is called.
 *
 * It follows scan.l of the server, down to its corners, because a proxy that sees a string where
 * the server sees code (or the other way round) would rewrite data. What scan.l refuses (a number
 * with trailing letters, a bad escape) may come out as anything here: the server refuses the whole
 * text, and what we made of it does not matter.
 *
 *   'a' -- comment          one string: quote, white space with a line break, quote
 *   'b'                     continues a literal, and keeps the form of its first piece
 *   E'\'' U&"d!0061t" UESCAPE '!' $x$ … $x$ /+ nested +/ a+-1   (with * for +)
 *
 * Two things need care:
 *
 * Bytes of characters. In SJIS, BIG5, GBK, UHC, JOHAB and GB18030 the second byte of a character may
 * be a letter or a backslash. The server converts the text before it reads it, so to the server
 * that byte is no letter: identifiers and escaped strings walk by characters. Quotes, dollars, white
 * space and comment marks are never second bytes, so all other scans go by bytes.
 *
 * Operators. A run of operator characters ends before a comment mark; if it then ends in + or - and
 * holds none of ~ ! @ # ^ & | ` ? % the signs at its end belong to what follows. Cutting a long run
 * of signs anew for each sign would take quadratic time, so a run is looked at once, and where it
 * ends (run_end), its last special character (run_special) and its last character that is no sign
 * (run_solid, both counted from 1, 0 for none) serve until it is used up. */
#include "proxy/lexer.h"

#include <string.h>

#include "literal.h"

enum {
    CLASS_SPACE = 1,
    CLASS_NEWLINE = 2,
    CLASS_DIGIT = 4,
    CLASS_LETTER = 8,
    CLASS_OPERATOR = 16,
    CLASS_SYMBOL = 32
};

/* A row for 16 characters. Bytes from 0x80 on are letters. */
#define S CLASS_SPACE
#define N (CLASS_SPACE | CLASS_NEWLINE)
#define D CLASS_DIGIT
#define L CLASS_LETTER
#define O CLASS_OPERATOR
#define Y CLASS_SYMBOL
/* clang-format off */
static const unsigned char classes[256] = {
    0, 0, 0, 0, 0, 0, 0, 0, 0, S, N, S, S, N, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    S, O, 0, O, 0, O, O, 0, Y, Y, O, O, Y, O, Y, O,
    D, D, D, D, D, D, D, D, D, D, Y, Y, O, O, O, O,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, Y, 0, Y, O, L,
    O, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, 0, O, 0, O, 0,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
    L, L, L, L, L, L, L, L, L, L, L, L, L, L, L, L,
};
/* clang-format on */
#undef S
#undef N
#undef D
#undef L
#undef O
#undef Y

static bool is_class(char c, unsigned mask)
{
    return (classes[(unsigned char)c] & mask) != 0;
}

static bool is_space(char c)
{
    return is_class(c, CLASS_SPACE);
}

static bool is_newline(char c)
{
    return is_class(c, CLASS_NEWLINE);
}

static bool is_digit(char c)
{
    return is_class(c, CLASS_DIGIT);
}

static bool is_letter(char c)
{
    return is_class(c, CLASS_LETTER);
}

static bool is_operator_char(char c)
{
    return is_class(c, CLASS_OPERATOR);
}

/* Is c one of the characters of the set? c is not 0. */
static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* The byte at `at`, or 0 behind the end (and 0 is no part of anything). */
static char byte_at(const struct lexer *x, size_t at)
{
    return at < x->text.len ? x->text.data[at] : '\0';
}

void lexer_init(struct lexer *x, struct slice text, const struct lexer_dialect *d)
{
    lexer_init_at(x, text, d, 0);
}

void lexer_init_at(struct lexer *x, struct slice text, const struct lexer_dialect *d, size_t at)
{
    *x = (struct lexer){.text = text, .dialect = *d, .at = at};
}

static size_t skip_line(const struct lexer *x, size_t at)
{
    while (at < x->text.len && !is_newline(x->text.data[at]))
        at++;
    return at;
}

/* Behind a nested comment that starts at `at`; 0 when it has no end. */
static size_t skip_comment(const struct lexer *x, size_t at)
{
    size_t depth = 1;
    for (at += 2; at + 1 < x->text.len;) {
        char c = x->text.data[at], d = x->text.data[at + 1];
        if (c == '/' && d == '*') {
            depth++;
            at += 2;
        } else if (c == '*' && d == '/') {
            at += 2;
            if (--depth == 0)
                return at;
        } else {
            at++;
        }
    }
    return 0;
}

/* Passes white space and comments. False at a comment without end, where *at then stands. */
static bool skip_blank(const struct lexer *x, size_t *at)
{
    for (;;) {
        char c = byte_at(x, *at), d = byte_at(x, *at + 1);
        if (is_space(c)) {
            (*at)++;
        } else if (c == '-' && d == '-') {
            *at = skip_line(x, *at);
        } else if (c == '/' && d == '*') {
            size_t end = skip_comment(x, *at);
            if (end == 0)
                return false;
            *at = end;
        } else {
            return true;
        }
    }
}

/* Behind a closing quote: does the literal continue? White space and -- comments with a line break
 * in between, then a quote. Returns the place behind that quote, or 0. */
static size_t find_continuation(const struct lexer *x, size_t at)
{
    bool newline = false;
    for (;; at++) {
        char c = byte_at(x, at);
        if (c == '-' && byte_at(x, at + 1) == '-') {
            at = skip_line(x, at);
            if (at == x->text.len)
                return 0;
            c = x->text.data[at];
        }
        if (c == '\'' && newline)
            return at + 1;
        if (!is_space(c))
            return 0;
        newline = newline || is_newline(c);
    }
}

/* The next quote at or behind `at`, or the end; by bytes, where these are no parts of characters. */
static size_t find_quote(const struct lexer *x, size_t at)
{
    const char *q = memchr(x->text.data + at, '\'', x->text.len - at);
    return q == NULL ? x->text.len : (size_t)(q - x->text.data);
}

/* From behind an opening quote to behind the end of the literal; 0 when it has none. In B'…' and X'…' a
 * doubled quote is no quote but the end and a new literal. */
static size_t skip_string(const struct lexer *x, size_t at, bool backslash, bool doubling)
{
    bool by_bytes = !backslash && !encoding_has_ascii_trail(x->dialect.encoding);
    while (at < x->text.len) {
        char c = x->text.data[at];
        if (by_bytes && c != '\'') {
            at = find_quote(x, at);
        } else if (c == '\\' && backslash) {
            at++;
            if (at < x->text.len)
                at += encoding_step_ascii(x->dialect.encoding, x->text, at);
        } else if (c != '\'') {
            at += encoding_step_ascii(x->dialect.encoding, x->text, at);
        } else if (doubling && byte_at(x, at + 1) == '\'') {
            at += 2;
        } else {
            size_t next = find_continuation(x, at + 1);
            if (next == 0)
                return at + 1;
            at = next;
        }
    }
    return 0;
}

/* Takes the rest of the text for a token that is broken. */
static bool take_bad(struct lexer *x, struct token *t)
{
    t->kind = TOKEN_BAD;
    t->end = x->at = x->text.len;
    return true;
}

static bool take(struct lexer *x, struct token *t, enum token_kind kind, size_t end)
{
    t->kind = kind;
    t->end = x->at = end;
    return true;
}

/* `quote` is the place of the opening quote; the prefix, if any, stands before it. */
static bool take_string(struct lexer *x, struct token *t, enum token_kind kind,
                        enum token_form form, size_t quote)
{
    bool backslash = form == TOKEN_ESCAPES || (form == TOKEN_PLAIN && kind == TOKEN_STRING &&
                                               !x->dialect.standard_conforming_strings);
    size_t end = skip_string(x, quote + 1, backslash, kind == TOKEN_STRING);
    t->form = backslash ? TOKEN_ESCAPES : form;
    return end == 0 ? take_bad(x, t) : take(x, t, kind, end);
}

/* Is there UESCAPE 'c' behind a U& literal? Then it belongs to it. */
static void take_uescape(struct lexer *x, struct token *t)
{
    t->uescape = '\\';
    size_t at = x->at;
    if (!skip_blank(x, &at) || x->text.len - at < strlen("uescape"))
        return;
    if (!slice_equals_nocase(slice_part(x->text, at, at + strlen("uescape")), "uescape"))
        return;
    at += strlen("uescape");
    if (!skip_blank(x, &at))
        return;
    char c = byte_at(x, at + 1);
    bool plain = byte_at(x, at) == '\'' && byte_at(x, at + 2) == '\'' && byte_at(x, at + 3) != '\'';
    if (!plain || (unsigned char)c >= 0x80 || is_space(c) ||
        is_one_of(c, "0123456789abcdefABCDEF+'\""))
        return;
    t->uescape = c;
    t->end = x->at = at + 3;
}

static bool take_quoted(struct lexer *x, struct token *t, enum token_form form, size_t quote)
{
    size_t at = quote + 1;
    for (;; at++) {
        const char *q = at < x->text.len ? memchr(x->text.data + at, '"', x->text.len - at) : NULL;
        if (q == NULL)
            return take_bad(x, t);
        at = (size_t)(q - x->text.data) + 1;
        if (byte_at(x, at) != '"')
            break;
    }
    t->form = form;
    take(x, t, TOKEN_QUOTED, at);
    if (form == TOKEN_UNICODE)
        take_uescape(x, t);
    literal_name(slice_part(x->text, quote + 1, at - 1), t, x->dialect.encoding);
    return true;
}

/* Behind an identifier that starts at `at`. With `dollars`, as in names; without, as in tags. */
static size_t skip_name(const struct lexer *x, size_t at, bool dollars)
{
    while (at < x->text.len) {
        char c = x->text.data[at];
        if (!is_letter(c) && !is_digit(c) && !(dollars && c == '$'))
            break;
        at += encoding_step_ascii(x->dialect.encoding, x->text, at);
    }
    return at;
}

static bool take_word(struct lexer *x, struct token *t)
{
    enum encoding e = x->dialect.encoding;
    take(x, t, TOKEN_WORD, skip_name(x, t->start, true));
    struct slice word = slice_part(x->text, t->start, t->end);
    size_t n = encoding_clip(e, word, TOKEN_NAME_BYTES - 1);
    memcpy(t->name, word.data, n);
    for (size_t at = 0; at < n; at += encoding_step_ascii(e, word, at))
        if (t->name[at] >= 'A' && t->name[at] <= 'Z')
            t->name[at] += 'a' - 'A';
    t->name[n] = '\0';
    return true;
}

/* $1, $tag$…$tag$, or a lone dollar. */
static bool take_dollar(struct lexer *x, struct token *t)
{
    size_t at = t->start + 1;
    if (is_digit(byte_at(x, at))) {
        while (is_digit(byte_at(x, at)))
            at++;
        return take(x, t, TOKEN_PARAMETER, at);
    }
    size_t open = skip_name(x, at, false);
    if (byte_at(x, open) != '$')
        return take(x, t, TOKEN_OTHER, at);
    open++;
    const char *close =
        memmem(x->text.data + open, x->text.len - open, x->text.data + t->start, open - t->start);
    if (close == NULL)
        return take_bad(x, t);
    t->form = TOKEN_DOLLAR;
    return take(x, t, TOKEN_STRING, (size_t)(close - x->text.data) + open - t->start);
}

/* Digits with single underscores between them (PostgreSQL 16). */
static size_t skip_digits(const struct lexer *x, size_t at)
{
    while (is_digit(byte_at(x, at)) || (byte_at(x, at) == '_' && is_digit(byte_at(x, at + 1))))
        at++;
    return at;
}

static bool take_number(struct lexer *x, struct token *t)
{
    size_t at = t->start;
    char radix = byte_at(x, at + 1);
    if (byte_at(x, at) == '0' && is_one_of(radix, "xXoObB") && is_letter(radix)) {
        size_t end = skip_name(x, at, false);
        return take(x, t, TOKEN_NUMBER, end);
    }
    at = skip_digits(x, at);
    if (byte_at(x, at) == '.' && !(byte_at(x, at + 1) == '.' && at > t->start))
        at = skip_digits(x, at + 1);
    char e = byte_at(x, at);
    size_t power = at + 1;
    if (byte_at(x, power) == '+' || byte_at(x, power) == '-')
        power++;
    if ((e == 'e' || e == 'E') && is_digit(byte_at(x, power)))
        at = skip_digits(x, power);
    return take(x, t, TOKEN_NUMBER, at);
}

/* Looks at the run of operator characters at `at` once. */
static void scan_run(struct lexer *x, size_t at)
{
    x->run_special = x->run_solid = 0;
    for (; is_operator_char(byte_at(x, at)); at++) {
        char c = x->text.data[at], d = byte_at(x, at + 1);
        if ((c == '-' && d == '-') || (c == '/' && d == '*'))
            break;
        if (is_one_of(c, "~!@#^&|`?%"))
            x->run_special = at + 1;
        if (c != '+' && c != '-')
            x->run_solid = at + 1;
    }
    x->run_end = at;
}

static bool take_operator(struct lexer *x, struct token *t)
{
    if (t->start >= x->run_end)
        scan_run(x, t->start);
    size_t end = x->run_end;
    if (x->run_special <= t->start)
        end = x->run_solid > t->start ? x->run_solid : t->start + 1;
    bool arrow =
        end == t->start + 2 && x->text.data[t->start] == '=' && x->text.data[t->start + 1] == '>';
    return take(x, t, arrow ? TOKEN_ASSIGN : TOKEN_OPERATOR, end);
}

static bool take_symbol(struct lexer *x, struct token *t)
{
    char c = x->text.data[t->start], d = byte_at(x, t->start + 1);
    if (c == ':' && d == ':')
        return take(x, t, TOKEN_TYPECAST, t->start + 2);
    if (c == ':' && d == '=')
        return take(x, t, TOKEN_ASSIGN, t->start + 2);
    if (c == '.' && d == '.')
        return take(x, t, TOKEN_OTHER, t->start + 2);
    t->symbol = c;
    return take(x, t, TOKEN_SYMBOL, t->start + 1);
}

/* A word, or a literal with a letter in front. */
static bool take_letter(struct lexer *x, struct token *t)
{
    char c = x->text.data[t->start];
    char d = byte_at(x, t->start + 1), e = byte_at(x, t->start + 2);
    if (d == '\'' && (c == 'e' || c == 'E'))
        return take_string(x, t, TOKEN_STRING, TOKEN_ESCAPES, t->start + 1);
    if (d == '\'' && (c == 'n' || c == 'N'))
        return take_string(x, t, TOKEN_STRING, TOKEN_PLAIN, t->start + 1);
    if (d == '\'' && is_one_of(c, "bBxX"))
        return take_string(x, t, TOKEN_BITS, TOKEN_PLAIN, t->start + 1);
    if ((c == 'u' || c == 'U') && d == '&' && e == '"')
        return take_quoted(x, t, TOKEN_UNICODE, t->start + 2);
    if ((c == 'u' || c == 'U') && d == '&' && e == '\'') {
        bool taken = take_string(x, t, TOKEN_STRING, TOKEN_UNICODE, t->start + 2);
        if (t->kind == TOKEN_STRING)
            take_uescape(x, t);
        return taken;
    }
    return take_word(x, t);
}

bool lexer_next(struct lexer *x, struct token *t)
{
    bool blank = skip_blank(x, &x->at);
    t->start = x->at;
    t->form = TOKEN_PLAIN;
    t->symbol = t->uescape = t->name[0] = '\0';
    if (!blank)
        return take_bad(x, t);
    if (x->at >= x->text.len)
        return false;
    char c = x->text.data[x->at];
    if (is_letter(c))
        return take_letter(x, t);
    if (is_digit(c) || (c == '.' && is_digit(byte_at(x, x->at + 1))))
        return take_number(x, t);
    if (c == '\'')
        return take_string(x, t, TOKEN_STRING, TOKEN_PLAIN, x->at);
    if (c == '"')
        return take_quoted(x, t, TOKEN_PLAIN, x->at);
    if (c == '$')
        return take_dollar(x, t);
    if (is_class(c, CLASS_SYMBOL))
        return take_symbol(x, t);
    if (is_operator_char(c))
        return take_operator(x, t);
    return take(x, t, TOKEN_OTHER, x->at + 1);
}

bool lexer_read(struct arena *a, struct slice text, size_t from, size_t to,
                const struct lexer_dialect *d, struct token **tokens, size_t *count)
{
    struct lexer x;
    struct token t;
    size_t n = 0;
    lexer_init_at(&x, text, d, from);
    while (lexer_next(&x, &t) && t.start < to)
        n++;
    *tokens = arena_alloc_array(a, n + 1, sizeof **tokens);
    if (*tokens == NULL)
        return false;
    *count = 0;
    lexer_init_at(&x, text, d, from);
    while (*count < n && lexer_next(&x, &(*tokens)[*count]))
        (*count)++;
    return true;
}

bool token_is_name(const struct token *t)
{
    return (t->kind == TOKEN_WORD || t->kind == TOKEN_QUOTED) && t->name[0] != '\0';
}
