/* Comparisons and cuts of borrowed memory. ASCII only: locales have no say in protocol words. */
#include "base/slice.h"

static unsigned char fold(unsigned char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned char)(c + ('a' - 'A')) : c;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

bool slice_equals(struct slice a, struct slice b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

bool slice_equals_cstr(struct slice a, const char *text)
{
    return slice_equals(a, slice_cstr(text));
}

bool slice_equals_nocase(struct slice a, const char *text)
{
    size_t i;
    for (i = 0; i < a.len && text[i] != '\0'; i++)
        if (fold((unsigned char)a.data[i]) != fold((unsigned char)text[i]))
            return false;
    return i == a.len && text[i] == '\0';
}

bool slice_starts_with(struct slice s, const char *prefix)
{
    size_t n = strlen(prefix);
    return s.len >= n && (n == 0 || memcmp(s.data, prefix, n) == 0);
}

bool slice_ends_with(struct slice s, const char *suffix)
{
    size_t n = strlen(suffix);
    return s.len >= n && (n == 0 || memcmp(s.data + s.len - n, suffix, n) == 0);
}

size_t slice_find_byte(struct slice s, char byte)
{
    const char *at = s.len == 0 ? NULL : memchr(s.data, byte, s.len);
    return at == NULL ? s.len : (size_t)(at - s.data);
}

struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && is_space(s.data[0])) {
        s.data++;
        s.len--;
    }
    while (s.len > 0 && is_space(s.data[s.len - 1]))
        s.len--;
    return s;
}
