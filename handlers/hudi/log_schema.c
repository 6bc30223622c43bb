/* A recursive descent over the JSON tree. Names are kept as they are met: a record that names itself
 * inside is found by being unfinished, and refused, since a column of such a type cannot exist.
 *
 * Unions are those that a column can have: a type and null. Avro allows more; Hudi's writers never
 * write them for columns. */
#include "log_schema.h"

#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "duck.h"
#include "grow.h"

#define MAX_DEPTH 64
#define MAX_DECIMAL_DIGITS 38

struct named {
    const char *name;
    const struct log_type *type; /* NULL: still being read */
};

struct reader {
    struct arena *arena;
    struct named *names;
    size_t nnames;
    size_t names_room;
    int depth;
    const char *field; /* for errors */
};

static bool read_type(struct reader *r, const struct json_val *v, const struct log_type **out,
                      struct err *err);

static bool damaged(const struct reader *r, struct err *err, const char *what)
{
    return err_set(err, SQLSTATE_DATA_CORRUPTED, "Avro schema of a log block is damaged: %s%s%s",
                   what, r->field == NULL ? "" : " at field ", r->field == NULL ? "" : r->field);
}

static bool refuse(const struct reader *r, struct err *err, const char *what)
{
    return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "field \"%s\" of a log file is %s",
                   r->field == NULL ? "" : r->field, what);
}

static const char *copy(const struct reader *r, const char *text, struct err *err)
{
    const char *c = arena_copy_cstr(r->arena, text);
    if (c == NULL)
        (void)err_no_memory(err);
    return c;
}

static const struct {
    const char *name;
    enum log_kind kind;
} primitives[] = {
    {"null", LOG_NULL},   {"boolean", LOG_BOOLEAN}, {"int", LOG_INT},     {"long", LOG_LONG},
    {"float", LOG_FLOAT}, {"double", LOG_DOUBLE},   {"bytes", LOG_BYTES}, {"string", LOG_STRING},
};

/* ---- logical types ---- */

static const struct {
    const char *name;
    enum log_kind kind;
    enum log_logical logical;
} logicals[] = {
    {"date", LOG_INT, LOG_DATE},
    {"time-millis", LOG_INT, LOG_TIME_MILLIS},
    {"time-micros", LOG_LONG, LOG_TIME_MICROS},
    {"timestamp-millis", LOG_LONG, LOG_TIMESTAMP_MILLIS},
    {"timestamp-micros", LOG_LONG, LOG_TIMESTAMP_MICROS},
    {"local-timestamp-millis", LOG_LONG, LOG_LOCAL_TIMESTAMP_MILLIS},
    {"local-timestamp-micros", LOG_LONG, LOG_LOCAL_TIMESTAMP_MICROS},
    {"decimal", LOG_BYTES, LOG_DECIMAL},
    {"decimal", LOG_FIXED, LOG_DECIMAL},
};

/* An annotation that does not go with its type is ignored, as Avro asks. */
static bool read_logical(struct reader *r, const struct json_val *v, struct log_type *t,
                         struct err *err)
{
    const char *name = json_as_text(json_find(v, "logicalType"));
    for (size_t i = 0; name != NULL && i < ARRAY_LEN(logicals); i++)
        if (strcmp(name, logicals[i].name) == 0 && t->kind == logicals[i].kind)
            t->logical = logicals[i].logical;
    if (t->logical != LOG_DECIMAL)
        return true;
    int64_t precision = json_as_int(json_find(v, "precision"), 0);
    int64_t scale = json_as_int(json_find(v, "scale"), 0);
    if (precision < 1 || scale < 0 || scale > precision)
        return damaged(r, err, "precision or scale of a decimal");
    if (precision > MAX_DECIMAL_DIGITS)
        return refuse(r, err, "a decimal of more than 38 digits");
    t->precision = (unsigned)precision;
    t->scale = (unsigned)scale;
    return true;
}

/* ---- named types ---- */

static bool remember(struct reader *r, const struct json_val *v, size_t *place, struct err *err)
{
    const char *name = json_as_text(json_find(v, "name"));
    const char *space = json_as_text(json_find(v, "namespace"));
    if (name == NULL)
        return damaged(r, err, "a named type without a name");
    r->names = grow_array(r->arena, r->names, r->nnames, &r->names_room, sizeof *r->names);
    if (r->names == NULL)
        return err_no_memory(err);
    *place = r->nnames++;
    r->names[*place].type = NULL;
    r->names[*place].name = space == NULL ? arena_copy_cstr(r->arena, name)
                                          : arena_printf(r->arena, "%s.%s", space, name);
    return r->names[*place].name != NULL || err_no_memory(err);
}

static const char *last_part(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot == NULL ? name : dot + 1;
}

/* By full name, or else by its last part: a namespace may be inherited. */
static bool find_named(const struct reader *r, const char *name, const struct log_type **out,
                       struct err *err)
{
    const struct named *found = NULL;
    for (size_t i = 0; i < r->nnames; i++) {
        if (strcmp(r->names[i].name, name) == 0) {
            found = &r->names[i];
            break;
        }
        if (strcmp(last_part(r->names[i].name), last_part(name)) == 0)
            found = &r->names[i];
    }
    if (found == NULL)
        return damaged(r, err, "an unknown type");
    if (found->type == NULL)
        return refuse(r, err, "of a type that contains itself");
    *out = found->type;
    return true;
}

/* ---- types ---- */

static bool read_default(struct reader *r, const struct json_val *v, struct log_field *f,
                         struct err *err)
{
    switch (json_kind_of(v)) {
    case JSON_KIND_STRING: f->default_text = copy(r, json_as_text(v), err); break;
    case JSON_KIND_BOOL: f->default_text = json_as_bool(v, false) ? "true" : "false"; break;
    case JSON_KIND_INT:
        f->default_text = arena_printf(r->arena, "%lld", (long long)json_as_int(v, 0));
        break;
    case JSON_KIND_REAL:
        f->default_text = arena_printf(r->arena, "%.17g", json_as_real(v, 0));
        break;
    default: return true;
    }
    return f->default_text != NULL || err_no_memory(err);
}

static bool read_field(struct reader *r, const struct json_val *v, struct log_field *out,
                       struct err *err)
{
    const char *outer = r->field, *name = json_as_text(json_find(v, "name"));
    if (name == NULL)
        return damaged(r, err, "a field without a name");
    out->name = copy(r, name, err);
    if (out->name == NULL)
        return false;
    if (outer == NULL)
        r->field = out->name;
    bool ok = read_type(r, json_find(v, "type"), &out->type, err) &&
              read_default(r, json_find(v, "default"), out, err);
    r->field = outer;
    return ok;
}

static bool read_record(struct reader *r, const struct json_val *v, struct log_type *t,
                        struct err *err)
{
    size_t place;
    const struct json_val *fields = json_find(v, "fields");
    if (!remember(r, v, &place, err))
        return false;
    if (json_kind_of(fields) != JSON_KIND_ARRAY)
        return damaged(r, err, "a record without fields");
    t->nfields = json_count(fields);
    if (t->nfields == 0 && r->field != NULL)
        return refuse(r, err, "a record without fields");
    t->fields = arena_alloc_array(r->arena, t->nfields + 1, sizeof *t->fields);
    if (t->fields == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < t->nfields; i++)
        if (!read_field(r, json_at(fields, i), &t->fields[i], err))
            return false;
    r->names[place].type = t;
    return true;
}

static bool read_enum(struct reader *r, const struct json_val *v, struct log_type *t,
                      struct err *err)
{
    size_t place;
    const struct json_val *symbols = json_find(v, "symbols");
    if (!remember(r, v, &place, err))
        return false;
    t->size = json_count(symbols);
    t->symbols = arena_alloc_array(r->arena, t->size + 1, sizeof *t->symbols);
    if (t->symbols == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < t->size; i++) {
        const char *name = json_as_text(json_at(symbols, i));
        if (name == NULL)
            return damaged(r, err, "a symbol of an enum");
        t->symbols[i] = copy(r, name, err);
        if (t->symbols[i] == NULL)
            return false;
    }
    r->names[place].type = t;
    return true;
}

static bool read_fixed(struct reader *r, const struct json_val *v, struct log_type *t,
                       struct err *err)
{
    size_t place;
    int64_t size = json_as_int(json_find(v, "size"), -1);
    if (!remember(r, v, &place, err))
        return false;
    if (size < 0 || size > INT32_MAX)
        return damaged(r, err, "size of a fixed type");
    t->size = (size_t)size;
    r->names[place].type = t;
    return true;
}

static bool read_union(struct reader *r, const struct json_val *v, struct log_type *t,
                       struct err *err)
{
    size_t values = 0;
    t->kind = LOG_UNION;
    t->nbranches = json_count(v);
    t->branches = arena_alloc_array(r->arena, t->nbranches + 1, sizeof *t->branches);
    if (t->branches == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < t->nbranches; i++) {
        if (!read_type(r, json_at(v, i), &t->branches[i], err))
            return false;
        values += t->branches[i]->kind == LOG_NULL ? 0 : 1;
        if (t->branches[i]->kind == LOG_UNION)
            return damaged(r, err, "a union within a union");
    }
    if (t->nbranches == 0)
        return damaged(r, err, "a union of nothing");
    return values <= 1 || refuse(r, err, "a union of several types");
}

static bool read_complex(struct reader *r, const struct json_val *v, struct log_type *t,
                         struct err *err)
{
    const char *type = json_as_text(json_find(v, "type"));
    if (strcmp(type, "record") == 0 || strcmp(type, "error") == 0) {
        t->kind = LOG_RECORD;
        return read_record(r, v, t, err);
    }
    if (strcmp(type, "enum") == 0) {
        t->kind = LOG_ENUM;
        return read_enum(r, v, t, err);
    }
    if (strcmp(type, "array") == 0) {
        t->kind = LOG_ARRAY;
        return read_type(r, json_find(v, "items"), &t->item, err);
    }
    if (strcmp(type, "map") == 0) {
        t->kind = LOG_MAP;
        return read_type(r, json_find(v, "values"), &t->item, err);
    }
    t->kind = LOG_FIXED;
    return read_fixed(r, v, t, err) && read_logical(r, v, t, err);
}

static bool is_complex(const char *type)
{
    static const char *const names[] = {"record", "error", "enum", "array", "map", "fixed"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(type, names[i]) == 0)
            return true;
    return false;
}

/* "int", or {"type": "int", "logicalType": …} */
static bool read_simple(struct reader *r, const char *name, const struct json_val *v,
                        const struct log_type **out, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(primitives); i++) {
        if (strcmp(name, primitives[i].name) != 0)
            continue;
        struct log_type *t = arena_alloc(r->arena, sizeof *t);
        if (t == NULL)
            return err_no_memory(err);
        t->kind = primitives[i].kind;
        *out = t;
        return read_logical(r, v, t, err);
    }
    return find_named(r, name, out, err);
}

static bool read_here(struct reader *r, const struct json_val *v, const struct log_type **out,
                      struct err *err)
{
    if (json_kind_of(v) == JSON_KIND_STRING)
        return read_simple(r, json_as_text(v), NULL, out, err);
    const struct json_val *type = json_find(v, "type");
    const char *name = json_as_text(type);
    if (name != NULL && !is_complex(name))
        return read_simple(r, name, v, out, err);
    if (json_kind_of(v) == JSON_KIND_OBJECT && name == NULL)
        return read_type(r, type, out, err); /* {"type": {"type": …}} */
    struct log_type *t = arena_alloc(r->arena, sizeof *t);
    if (t == NULL)
        return err_no_memory(err);
    *out = t;
    if (json_kind_of(v) == JSON_KIND_ARRAY)
        return read_union(r, v, t, err);
    if (name == NULL)
        return damaged(r, err, "no type");
    return read_complex(r, v, t, err);
}

static bool read_type(struct reader *r, const struct json_val *v, const struct log_type **out,
                      struct err *err)
{
    if (r->depth == MAX_DEPTH)
        return damaged(r, err, "types nested beyond reason");
    r->depth++;
    bool ok = read_here(r, v, out, err);
    r->depth--;
    return ok;
}

bool log_schema_read(struct arena *a, struct slice text, const struct log_type **out,
                     struct err *err)
{
    struct json *doc = NULL;
    struct reader r = {.arena = a};
    if (!json_read(text, &doc, err))
        return err_context(err, "schema of a log block");
    bool ok = read_type(&r, json_root(doc), out, err);
    json_free(doc);
    if (ok && (*out)->kind != LOG_RECORD)
        return damaged(&r, err, "it is not that of a record");
    return ok;
}

const struct log_type *log_type_value(const struct log_type *t)
{
    if (t->kind != LOG_UNION)
        return t;
    for (size_t i = 0; i < t->nbranches; i++)
        if (t->branches[i]->kind != LOG_NULL)
            return t->branches[i];
    return t->branches[0];
}

/* ---- DuckDB's names ---- */

static void put_struct(struct buf *b, const struct log_type *t)
{
    buf_append_cstr(b, "STRUCT(");
    for (size_t i = 0; i < t->nfields; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        duck_put_name(b, t->fields[i].name);
        buf_append_byte(b, ' ');
        log_type_put_sql(b, t->fields[i].type);
    }
    buf_append_byte(b, ')');
}

static const char *logical_name(enum log_logical l)
{
    switch (l) {
    case LOG_DATE: return "DATE";
    case LOG_TIME_MILLIS:
    case LOG_TIME_MICROS: return "TIME";
    case LOG_TIMESTAMP_MILLIS:
    case LOG_TIMESTAMP_MICROS: return "TIMESTAMPTZ";
    case LOG_LOCAL_TIMESTAMP_MILLIS:
    case LOG_LOCAL_TIMESTAMP_MICROS: return "TIMESTAMP";
    default: return NULL;
    }
}

void log_type_put_sql(struct buf *b, const struct log_type *type)
{
    static const char *const names[] = {
        [LOG_NULL] = "INTEGER", [LOG_BOOLEAN] = "BOOLEAN", [LOG_INT] = "INTEGER",
        [LOG_LONG] = "BIGINT",  [LOG_FLOAT] = "FLOAT",     [LOG_DOUBLE] = "DOUBLE",
        [LOG_BYTES] = "BLOB",   [LOG_STRING] = "VARCHAR",  [LOG_FIXED] = "BLOB",
        [LOG_ENUM] = "VARCHAR", [LOG_UNION] = "INTEGER",
    };
    const struct log_type *t = log_type_value(type);
    const char *logical = logical_name(t->logical);
    if (b->failed)
        return; /* named types let a short schema stand for an endless one */
    if (t->logical == LOG_DECIMAL) {
        buf_printf(b, "DECIMAL(%u,%u)", t->precision, t->scale);
    } else if (logical != NULL) {
        buf_append_cstr(b, logical);
    } else if (t->kind == LOG_RECORD) {
        put_struct(b, t);
    } else if (t->kind == LOG_ARRAY) {
        log_type_put_sql(b, t->item);
        buf_append_cstr(b, "[]");
    } else if (t->kind == LOG_MAP) {
        buf_append_cstr(b, "MAP(VARCHAR, ");
        log_type_put_sql(b, t->item);
        buf_append_byte(b, ')');
    } else {
        buf_append_cstr(b, names[t->kind]);
    }
}
