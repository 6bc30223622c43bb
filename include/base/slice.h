/* A piece of memory that belongs to somebody else: pointer and length, not NUL-terminated. */
#ifndef BASE_SLICE_H
#define BASE_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct slice {
    const char *data; /* borrows; may be NULL when len is 0 */
    size_t len;
};

static inline struct slice slice_of(const char *data, size_t len)
{
    return (struct slice){data, len};
}

static inline struct slice slice_cstr(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static inline struct slice slice_part(struct slice s, size_t from, size_t to)
{
    return (struct slice){from == 0 ? s.data : s.data + from, to - from}; /* data may be NULL */
}

static inline bool slice_is_empty(struct slice s)
{
    return s.len == 0;
}

bool slice_equals(struct slice a, struct slice b);
bool slice_equals_cstr(struct slice a, const char *text);
/* ASCII letters compare without case, other bytes exactly. */
bool slice_equals_nocase(struct slice a, const char *text);
bool slice_starts_with(struct slice s, const char *prefix);
bool slice_ends_with(struct slice s, const char *suffix);
/* Position of the byte, or s.len. */
size_t slice_find_byte(struct slice s, char byte);
/* Without ASCII white space at both ends. */
struct slice slice_trim(struct slice s);

#endif
