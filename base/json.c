/* A thin face over jansson, so that its reference counts and its header stay here. The document is
 * the root json_t; values are borrowed json_t pointers under an opaque name. */
#include "base/json.h"

#include <jansson.h>
#include <stdint.h>

static json_t *native(const struct json_val *v)
{
    return (json_t *)(uintptr_t)v;
}

static const struct json_val *foreign(const json_t *v)
{
    return (const struct json_val *)v;
}

bool json_read(struct slice text, struct json **out, struct err *err)
{
    json_error_t why;
    json_t *root = json_loadb(text.data == NULL ? "" : text.data, text.len, JSON_DECODE_ANY, &why);
    *out = (struct json *)root;
    if (root == NULL)
        return err_set(err, SQLSTATE_DATA_CORRUPTED, "invalid JSON at line %d, column %d: %s",
                       why.line, why.column, why.text);
    return true;
}

void json_free(struct json *doc)
{
    json_decref((json_t *)doc);
}

const struct json_val *json_root(const struct json *doc)
{
    return (const struct json_val *)doc;
}

enum json_kind json_kind_of(const struct json_val *v)
{
    if (v == NULL)
        return JSON_ABSENT;
    switch (json_typeof(native(v))) {
    case JSON_OBJECT: return JSON_KIND_OBJECT;
    case JSON_ARRAY: return JSON_KIND_ARRAY;
    case JSON_STRING: return JSON_KIND_STRING;
    case JSON_INTEGER: return JSON_KIND_INT;
    case JSON_REAL: return JSON_KIND_REAL;
    case JSON_TRUE:
    case JSON_FALSE: return JSON_KIND_BOOL;
    case JSON_NULL: return JSON_KIND_NULL;
    }
    return JSON_ABSENT;
}

const struct json_val *json_find(const struct json_val *object, const char *key)
{
    return foreign(json_object_get(native(object), key));
}

const char *json_as_text(const struct json_val *v)
{
    return json_string_value(native(v));
}

int64_t json_as_int(const struct json_val *v, int64_t fallback)
{
    return json_kind_of(v) == JSON_KIND_INT ? json_integer_value(native(v)) : fallback;
}

double json_as_real(const struct json_val *v, double fallback)
{
    return json_is_number(native(v)) ? json_number_value(native(v)) : fallback;
}

bool json_as_bool(const struct json_val *v, bool fallback)
{
    return json_kind_of(v) == JSON_KIND_BOOL ? json_is_true(native(v)) : fallback;
}

size_t json_count(const struct json_val *v)
{
    return json_array_size(native(v));
}

const struct json_val *json_at(const struct json_val *v, size_t i)
{
    return foreign(json_array_get(native(v), i));
}

void *json_first(const struct json_val *object)
{
    return json_object_iter(native(object));
}

void *json_next(const struct json_val *object, void *it)
{
    return json_object_iter_next(native(object), it);
}

const char *json_key(void *it)
{
    return json_object_iter_key(it);
}

const struct json_val *json_value(void *it)
{
    return foreign(json_object_iter_value(it));
}

/* Length of the valid UTF-8 character at the start of s, or 0. */
static size_t character_length(struct slice s)
{
    unsigned char c = (unsigned char)s.data[0];
    size_t n = c < 0x80                ? 1
               : c >= 0xC2 && c < 0xE0 ? 2
               : (c & 0xF0) == 0xE0    ? 3
               : c >= 0xF0 && c < 0xF5 ? 4
                                       : 0;
    if (n == 0 || n > s.len)
        return 0;
    for (size_t i = 1; i < n; i++)
        if (((unsigned char)s.data[i] & 0xC0) != 0x80)
            return 0;
    unsigned char d = n > 1 ? (unsigned char)s.data[1] : 0;
    if ((c == 0xE0 && d < 0xA0) || (c == 0xED && d >= 0xA0) || (c == 0xF0 && d < 0x90) ||
        (c == 0xF4 && d >= 0x90))
        return 0;
    return n;
}

bool json_write_string(struct buf *b, struct slice text)
{
    buf_append_byte(b, '"');
    while (text.len > 0) {
        unsigned char c = (unsigned char)text.data[0];
        size_t n = character_length(text);
        if (c == '"' || c == '\\')
            buf_printf(b, "\\%c", c);
        else if (c < 0x20)
            buf_printf(b, "\\u%04x", c);
        else if (n == 0)
            buf_append_cstr(b, "\xEF\xBF\xBD");
        else
            buf_append(b, text.data, n);
        text.data += n == 0 ? 1 : n;
        text.len -= n == 0 ? 1 : n;
    }
    return buf_append_byte(b, '"');
}
