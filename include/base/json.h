/* Reading and writing JSON. jansson's only door: nobody else includes its header.
 *
 * Values read are borrowed from their document and die with it. Numbers are kept as int64 when
 * they are integers in range. Input is refused (XX001) when it is not strict UTF-8 JSON, nested
 * deeper than 512 levels. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct json;     /* a document; owns its values */
struct json_val; /* a value in it; may be NULL, which every function takes for "absent" */

/* Errors: XX001 with line and column. *out is the caller's, freed with json_free. */
MUST_USE bool json_read(struct slice text, struct json **out, struct err *err);
void json_free(struct json *doc);
const struct json_val *json_root(const struct json *doc);

enum json_kind {
    JSON_ABSENT,
    JSON_KIND_OBJECT,
    JSON_KIND_ARRAY,
    JSON_KIND_STRING,
    JSON_KIND_INT,
    JSON_KIND_REAL,
    JSON_KIND_BOOL,
    JSON_KIND_NULL
};

enum json_kind json_kind_of(const struct json_val *v);
/* Member of an object; NULL when there is none or `object` is no object. */
const struct json_val *json_find(const struct json_val *object, const char *key);
/* Text of a string value, which holds no NUL; NULL for any other kind. */
const char *json_as_text(const struct json_val *v);
int64_t json_as_int(const struct json_val *v, int64_t fallback);
double json_as_real(const struct json_val *v, double fallback); /* of an integer too */
bool json_as_bool(const struct json_val *v, bool fallback);
/* Members of an array, 0 for any other kind. */
size_t json_count(const struct json_val *v);
const struct json_val *json_at(const struct json_val *v, size_t i);

/* Walks an object in the order of its text:
 *   for (void *it = json_first(o); it != NULL; it = json_next(o, it)) json_key(it), json_value(it) */
void *json_first(const struct json_val *object);
void *json_next(const struct json_val *object, void *it);
const char *json_key(void *it);
const struct json_val *json_value(void *it);

/* Appends text as a JSON string, quotes included; bytes that are not UTF-8 become U+FFFD. */
bool json_write_string(struct buf *b, struct slice text);

#endif
