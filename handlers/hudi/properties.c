/* Reads Java properties in two steps: cut the text into logical lines (comments dropped,
 * continuations kept), then cut a logical line into key and value while resolving its escapes.
 *
 * Java reads these files as ISO-8859-1 and escapes what does not fit; Hudi's writer escapes too, so
 * in practice the text is ASCII. Hand-edited files hold UTF-8, and taking their bytes as they stand
 * is what their author meant. */
#include "properties.h"

#include <stdint.h>
#include <strings.h>

struct cursor {
    struct slice text;
    size_t at;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\f';
}

static bool is_line_end(char c)
{
    return c == '\n' || c == '\r';
}

static bool has_more(const struct cursor *c)
{
    return c->at < c->text.len;
}

static char peek(const struct cursor *c)
{
    return c->text.data[c->at];
}

/* Over "\n", "\r" or "\r\n". */
static void skip_line_end(struct cursor *c)
{
    if (has_more(c) && peek(c) == '\r')
        c->at++;
    if (has_more(c) && peek(c) == '\n')
        c->at++;
}

static void skip_blanks(struct cursor *c)
{
    while (has_more(c) && is_blank(peek(c)))
        c->at++;
}

/* To the first character of the next logical line; false at the end of the text. */
static bool find_line(struct cursor *c)
{
    for (;;) {
        while (has_more(c) && (is_blank(peek(c)) || is_line_end(peek(c))))
            c->at++;
        if (!has_more(c))
            return false;
        if (peek(c) != '#' && peek(c) != '!')
            return true;
        while (has_more(c) && !is_line_end(peek(c)))
            c->at++;
    }
}

static bool read_hex4(struct cursor *c, uint32_t *out)
{
    uint32_t v = 0;
    if (c->text.len - c->at < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char d = c->text.data[c->at + (size_t)i];
        int digit = d >= '0' && d <= '9'   ? d - '0'
                    : d >= 'a' && d <= 'f' ? d - 'a' + 10
                    : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                           : -1;
        if (digit < 0)
            return false;
        v = v * 16 + (uint32_t)digit;
    }
    c->at += 4;
    *out = v;
    return true;
}

/* Behind "\u": one character, or a surrogate pair. */
static bool read_unicode(struct cursor *c, uint32_t *out)
{
    uint32_t low;
    if (!read_hex4(c, out) || *out == 0 || (*out >= 0xDC00 && *out < 0xE000))
        return false;
    if (*out < 0xD800 || *out >= 0xDC00)
        return true;
    if (c->text.len - c->at < 2 || peek(c) != '\\' || c->text.data[c->at + 1] != 'u')
        return false;
    c->at += 2;
    if (!read_hex4(c, &low) || low < 0xDC00 || low >= 0xE000)
        return false;
    *out = 0x10000 + ((*out - 0xD800) << 10) + (low - 0xDC00);
    return true;
}

static size_t write_utf8(char *dst, uint32_t c)
{
    if (c < 0x80) {
        dst[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6)
        dst[i] = (char)(0x80 | (c & 0x3F));
    dst[0] = (char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | c);
    return n;
}

/* The character behind a backslash, or nothing when that ends the line (continuation). An escape is
 * never shorter than what it stands for, so `dst` needs no more room than the source. */
static bool read_escape(struct cursor *c, char *dst, size_t *len)
{
    uint32_t u;
    char e = peek(c);
    if (is_line_end(e)) {
        skip_line_end(c);
        skip_blanks(c);
        return true;
    }
    c->at++;
    if (e == 'u') {
        if (!read_unicode(c, &u))
            return false;
        *len += write_utf8(dst + *len, u);
        return true;
    }
    dst[(*len)++] = (char)(e == 't'   ? '\t'
                           : e == 'n' ? '\n'
                           : e == 'r' ? '\r'
                           : e == 'f' ? '\f'
                                      : e);
    return true;
}

/* Text up to the end of the logical line or, for a key, up to its separator. */
static bool read_text(struct cursor *c, bool is_key, char *dst)
{
    size_t len = 0;
    while (has_more(c) && !is_line_end(peek(c))) {
        char ch = peek(c);
        if (is_key && (ch == '=' || ch == ':' || is_blank(ch)))
            break;
        c->at++;
        if (ch == '\0')
            return false;
        if (ch != '\\') {
            dst[len++] = ch;
            continue;
        }
        if (has_more(c) && !read_escape(c, dst, &len))
            return false;
    }
    dst[len] = '\0';
    return true;
}

static void skip_separator(struct cursor *c)
{
    skip_blanks(c);
    if (has_more(c) && (peek(c) == '=' || peek(c) == ':'))
        c->at++;
    skip_blanks(c);
}

/* Strict UTF-8: the values go into messages for clients. */
static bool is_utf8(const char *text)
{
    for (const unsigned char *p = (const unsigned char *)text; *p != 0;) {
        size_t n = *p < 0x80                 ? 1
                   : *p >= 0xC2 && *p < 0xE0 ? 2
                   : (*p & 0xF0) == 0xE0     ? 3
                   : *p >= 0xF0 && *p < 0xF5 ? 4
                                             : 0;
        if (n == 0 || (*p == 0xE0 && p[1] < 0xA0) || (*p == 0xED && p[1] >= 0xA0) ||
            (*p == 0xF0 && p[1] < 0x90) || (*p == 0xF4 && p[1] >= 0x90))
            return false;
        for (size_t i = 1; i < n; i++)
            if ((p[i] & 0xC0) != 0x80)
                return false;
        p += n;
    }
    return true;
}

/* Bytes of the logical line that starts here, an upper bound for its key and its value. */
static size_t measure_line(struct cursor c)
{
    size_t from = c.at;
    while (has_more(&c) && !is_line_end(peek(&c))) {
        bool escaped = peek(&c) == '\\';
        c.at++;
        if (!escaped || !has_more(&c))
            continue;
        if (is_line_end(peek(&c)))
            skip_line_end(&c);
        else
            c.at++;
    }
    return c.at - from;
}

static bool read_item(struct cursor *c, struct arena *a, struct properties_item *item,
                      struct err *err)
{
    size_t room = measure_line(*c) + 1;
    char *key = arena_alloc(a, room);
    char *value = arena_alloc(a, room);
    if (key == NULL || value == NULL)
        return err_no_memory(err);
    bool ok = read_text(c, true, key);
    skip_separator(c);
    ok = ok && read_text(c, false, value);
    if (!ok || !is_utf8(key) || !is_utf8(value))
        return err_set(err, SQLSTATE_DATA_CORRUPTED, "properties are damaged at byte %zu", c->at);
    *item = (struct properties_item){key, value};
    return true;
}

/* Copies up to the next separator, or all that is left of the line. */
static char *copy_raw(struct arena *a, struct cursor *c, size_t end, bool is_key)
{
    size_t from = c->at;
    while (c->at < end) {
        char ch = peek(c);
        if (is_key && (ch == '=' || ch == ':' || is_blank(ch)))
            break;
        c->at += ch == '\\' && c->at + 1 < end ? 2 : 1;
    }
    return arena_copy(a, slice_part(c->text, from, c->at));
}

static bool read_raw_item(struct cursor *c, struct arena *a, struct properties_item *item,
                          struct err *err)
{
    size_t from = c->at, end = from + measure_line(*c);
    item->key = copy_raw(a, c, end, true);
    skip_separator(c);
    item->value = copy_raw(a, c, end, false);
    if (item->key == NULL || item->value == NULL)
        return err_no_memory(err);
    bool has_nul = memchr(c->text.data + from, '\0', end - from) != NULL;
    if (has_nul || !is_utf8(item->key) || !is_utf8(item->value))
        return err_set(err, SQLSTATE_DATA_CORRUPTED, "properties are damaged at byte %zu", from);
    return true;
}

static size_t count_lines(struct slice text)
{
    size_t n = 1;
    for (size_t i = 0; i < text.len; i++)
        n += is_line_end(text.data[i]) ? 1 : 0;
    return n;
}

typedef bool read_item_fn(struct cursor *c, struct arena *a, struct properties_item *item,
                          struct err *err);

static bool read_all(struct arena *a, struct slice text, read_item_fn *read_one,
                     struct properties *out, struct err *err)
{
    struct cursor c = {text, 0};
    *out = (struct properties){0};
    out->items = arena_alloc_array(a, count_lines(text), sizeof *out->items);
    if (out->items == NULL)
        return err_no_memory(err);
    while (find_line(&c))
        if (!read_one(&c, a, &out->items[out->count++], err))
            return false;
    return true;
}

bool properties_read(struct arena *a, struct slice text, struct properties *out, struct err *err)
{
    return read_all(a, text, read_item, out, err);
}

bool properties_read_raw(struct arena *a, struct slice text, struct properties *out,
                         struct err *err)
{
    return read_all(a, text, read_raw_item, out, err);
}

const char *properties_find(const struct properties *p, const char *key)
{
    for (size_t i = p->count; i > 0; i--)
        if (strcmp(p->items[i - 1].key, key) == 0)
            return p->items[i - 1].value;
    return NULL;
}

bool properties_find_bool(const struct properties *p, const char *key, bool fallback)
{
    const char *value = properties_find(p, key);
    if (value == NULL || value[0] == '\0')
        return fallback;
    return strcasecmp(value, "true") == 0;
}
