/* The lexer on any bytes: the first chooses the dialect, the rest is the text. Tokens stand in order,
 * are not empty, and leave out only white space and comments; a value that can be read can be written
 * and reads the same again. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/lexer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

/* Between tokens: does it start as white space or a comment does? */
static void check_gap(struct slice gap)
{
    require(slice_is_empty(gap) || memchr(" \t\n\r\f\v", gap.data[0], 6) != NULL ||
            slice_starts_with(gap, "--") || slice_starts_with(gap, "/*"));
}

static void check_value(struct arena *a, struct slice text, const struct token *t,
                        const struct lexer_dialect *d)
{
    struct slice value, again;
    struct token literal;
    struct lexer x;
    if (!token_value(a, text, t, d, &value))
        return;
    const char *quoted = lexer_quote(a, value, d->encoding);
    require(quoted != NULL);
    for (int k = 0; k < 2; k++) {
        struct lexer_dialect other = {k == 0, d->encoding};
        lexer_init(&x, slice_cstr(quoted), &other);
        require(lexer_next(&x, &literal) && literal.end == strlen(quoted));
        require(token_value(a, slice_cstr(quoted), &literal, &other, &again));
        require(slice_equals(value, again));
    }
}

/* Where bytes behind the first may look like ASCII, is every character complete and none of these bytes
 * a quote? The server refuses other texts. */
static bool is_whole(struct slice text, enum encoding e)
{
    if (!encoding_has_ascii_trail(e))
        return true;
    for (size_t at = 0, n; at < text.len; at += n) {
        n = encoding_step(e, text, at);
        for (size_t i = 1; i < n; i++)
            if ((unsigned char)text.data[at + i] < 0x30)
                return false;
    }
    return text.len == 0 || (unsigned char)text.data[text.len - 1] < 0x80;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct lexer_dialect d = {(data[0] & 1) != 0, (enum encoding)((data[0] >> 1) % 10)};
    struct slice text = slice_of((const char *)data + 1, size - 1);
    struct arena a;
    struct lexer x;
    struct token t;
    size_t end = 0;
    bool whole = is_whole(text, d.encoding);
    arena_init(&a, (size_t)1 << 24);
    lexer_init(&x, text, &d);
    while (lexer_next(&x, &t)) {
        require(t.start >= end && t.end > t.start && t.end <= text.len);
        require(memchr(t.name, '\0', sizeof t.name) != NULL);
        check_gap(slice_part(text, end, t.start));
        if (t.kind == TOKEN_STRING && whole)
            check_value(&a, text, &t, &d);
        end = t.end;
    }
    arena_fini(&a);
    return 0;
}
