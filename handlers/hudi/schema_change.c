/* A copy-on-write commit rewrites whole files. Rows that it does not change keep their
 * _hoodie_commit_time, but where the schema changed, their values may still come out otherwise: a
 * column is dropped, a type widened, a timestamp that was labelled wrongly is repaired. Then commit
 * times tell too little, and states have to be compared. */
#include "schema_change.h"

#include <string.h>

#include "base/json.h"

static bool equal(const struct json_val *a, const struct json_val *b);

static bool equal_objects(const struct json_val *a, const struct json_val *b)
{
    size_t members = 0;
    for (void *it = json_first(a); it != NULL; it = json_next(a, it), members++)
        if (!equal(json_value(it), json_find(b, json_key(it))))
            return false;
    for (void *it = json_first(b); it != NULL; it = json_next(b, it))
        members--;
    return members == 0;
}

static bool equal_arrays(const struct json_val *a, const struct json_val *b)
{
    if (json_count(a) != json_count(b))
        return false;
    for (size_t i = 0; i < json_count(a); i++)
        if (!equal(json_at(a, i), json_at(b, i)))
            return false;
    return true;
}

static bool equal(const struct json_val *a, const struct json_val *b)
{
    if (json_kind_of(a) != json_kind_of(b))
        return false;
    switch (json_kind_of(a)) {
    case JSON_KIND_OBJECT: return equal_objects(a, b);
    case JSON_KIND_ARRAY: return equal_arrays(a, b);
    case JSON_KIND_STRING: return strcmp(json_as_text(a), json_as_text(b)) == 0;
    case JSON_KIND_INT: return json_as_int(a, 0) == json_as_int(b, 0);
    case JSON_KIND_BOOL: return json_as_bool(a, false) == json_as_bool(b, false);
    default: return true;
    }
}

static const struct json_val *find_field(const struct json_val *fields, const char *name)
{
    for (size_t i = 0; i < json_count(fields); i++) {
        const char *n = json_as_text(json_find(json_at(fields, i), "name"));
        if (n != NULL && strcmp(n, name) == 0)
            return json_at(fields, i);
    }
    return NULL;
}

static bool fields_changed(const struct json_val *older, const struct json_val *newer)
{
    for (size_t i = 0; i < json_count(older); i++) {
        const struct json_val *was = json_at(older, i);
        const char *name = json_as_text(json_find(was, "name"));
        if (name == NULL || strncmp(name, "_hoodie_", 8) == 0)
            continue;
        const struct json_val *is = find_field(newer, name);
        if (is == NULL || !equal(json_find(was, "type"), json_find(is, "type")))
            return true;
    }
    return false;
}

bool schema_change_find(const char *older, const char *newer, bool *changed, struct err *err)
{
    struct json *a = NULL, *b = NULL;
    *changed = false;
    if (strcmp(older, newer) == 0)
        return true;
    bool ok = json_read(slice_cstr(older), &a, err) && json_read(slice_cstr(newer), &b, err);
    if (ok)
        *changed =
            fields_changed(json_find(json_root(a), "fields"), json_find(json_root(b), "fields"));
    json_free(a);
    json_free(b);
    return ok || err_context(err, "schema of a commit");
}
