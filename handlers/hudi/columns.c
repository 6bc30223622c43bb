/* The SQL half: names, and the cast that brings a file's type to one that the encoder of the target's
 * type takes (encoder.c). What neither can bring over is refused before a row is read: a wrong
 * mapping is an error of configuration, not of data. */
#include "columns.h"

#include <string.h>
#include <strings.h>

const struct duck_vector *columns_find(const struct duck_vector *columns, size_t count,
                                       const char *name)
{
    const struct duck_vector *found = NULL;
    size_t matches = 0;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(columns[i].name, name) == 0)
            return &columns[i];
        if (strcasecmp(columns[i].name, name) == 0) {
            found = &columns[i];
            matches++;
        }
    }
    return matches == 1 ? found : NULL;
}

static bool is_integer(enum duck_type t)
{
    return t >= DUCK_INT8 && t <= DUCK_UINT64;
}

static bool is_nested(enum duck_type t)
{
    return t == DUCK_LIST || t == DUCK_STRUCT || t == DUCK_MAP;
}

/* Whether a value of `type` can be had in the form, and by which cast: "" as it is. NULL: no. */
static const char *cast_for(enum apply_form form, enum duck_type type)
{
    switch (form) {
    case APPLY_BOOL: return type == DUCK_BOOL ? "" : NULL;
    case APPLY_INT2:
    case APPLY_INT4:
    case APPLY_INT8: return is_integer(type) ? "" : NULL;
    case APPLY_FLOAT4: return type == DUCK_FLOAT ? "" : is_integer(type) ? "FLOAT" : NULL;
    case APPLY_FLOAT8:
        if (type == DUCK_DOUBLE)
            return "";
        return type == DUCK_FLOAT || is_integer(type) ? "DOUBLE" : NULL;
    case APPLY_NUMERIC: return type == DUCK_DECIMAL || is_integer(type) ? "" : NULL;
    case APPLY_DATE: return type == DUCK_DATE ? "" : NULL;
    case APPLY_TIME: return type == DUCK_TIME ? "" : type == DUCK_TIME_TZ ? "TIME" : NULL;
    case APPLY_TIMESTAMP:
    case APPLY_TIMESTAMPTZ:
        if (type == DUCK_TIMESTAMP || type == DUCK_TIMESTAMPTZ)
            return "";
        return type >= DUCK_TIMESTAMP_S && type <= DUCK_TIMESTAMP_NS ? "TIMESTAMP" : NULL;
    case APPLY_TEXT:
    case APPLY_BY_TEXT:
        if (type == DUCK_TEXT || is_nested(type))
            return "";
        return type == DUCK_BLOB || type == DUCK_OTHER ? NULL : "VARCHAR";
    case APPLY_BYTEA: return type == DUCK_BLOB ? "" : NULL;
    case APPLY_UUID: return type == DUCK_UUID || type == DUCK_TEXT || type == DUCK_BLOB ? "" : NULL;
    case APPLY_JSON:
    case APPLY_JSONB: return type == DUCK_TEXT || is_nested(type) ? "" : NULL;
    case APPLY_ARRAY: break;
    }
    return NULL;
}

static const char *const type_words[] = {
    [DUCK_OTHER] = "of a type that is not supported",
    [DUCK_BOOL] = "boolean",
    [DUCK_INT8] = "int",
    [DUCK_INT16] = "int",
    [DUCK_INT32] = "int",
    [DUCK_INT64] = "long",
    [DUCK_UINT8] = "unsigned int",
    [DUCK_UINT16] = "unsigned int",
    [DUCK_UINT32] = "unsigned int",
    [DUCK_UINT64] = "unsigned long",
    [DUCK_INT128] = "hugeint",
    [DUCK_FLOAT] = "float",
    [DUCK_DOUBLE] = "double",
    [DUCK_DECIMAL] = "decimal",
    [DUCK_DATE] = "date",
    [DUCK_TIME] = "time",
    [DUCK_TIME_TZ] = "time",
    [DUCK_TIMESTAMP] = "local timestamp",
    [DUCK_TIMESTAMPTZ] = "timestamp",
    [DUCK_TIMESTAMP_S] = "local timestamp",
    [DUCK_TIMESTAMP_MS] = "local timestamp",
    [DUCK_TIMESTAMP_NS] = "timestamp",
    [DUCK_TEXT] = "string",
    [DUCK_BLOB] = "bytes",
    [DUCK_UUID] = "uuid",
    [DUCK_LIST] = "array",
    [DUCK_STRUCT] = "struct",
    [DUCK_MAP] = "map",
    [DUCK_NULL] = "null",
};

static bool refuse(const struct column *c, const struct duck_vector *v, struct err *err)
{
    err_set(err, SQLSTATE_DATATYPE_MISMATCH,
            "Hudi column \"%s\" is %s and cannot be stored in column \"%s\" of type %s", v->name,
            type_words[v->type], c->target->name, c->target->type);
    return err_hint(err, "The manual's type mapping lists what goes with what.");
}

static void put_cast(struct buf *b, const char *name, const char *type, const char *suffix)
{
    if (type[0] == 0) {
        duck_put_name(b, name);
        return;
    }
    buf_append_cstr(b, "CAST(");
    duck_put_name(b, name);
    buf_printf(b, " AS %s%s)", type, suffix);
}

/* A value of the path is text; the file would have had it typed. */
static void put_literal(struct buf *b, const struct apply_column *target, const char *literal)
{
    static const char *const types[] = {
        [APPLY_BOOL] = "BOOLEAN",
        [APPLY_INT2] = "BIGINT",
        [APPLY_INT4] = "BIGINT",
        [APPLY_INT8] = "BIGINT",
        [APPLY_FLOAT4] = "FLOAT",
        [APPLY_FLOAT8] = "DOUBLE",
        [APPLY_DATE] = "DATE",
        [APPLY_TIME] = "TIME",
        [APPLY_TIMESTAMP] = "TIMESTAMP",
        [APPLY_TIMESTAMPTZ] = "TIMESTAMPTZ",
        [APPLY_ARRAY] = NULL, /* and all others: as text */
    };
    buf_append_cstr(b, "CAST(");
    duck_put_text(b, literal);
    if (target->form == APPLY_NUMERIC)
        buf_printf(b, " AS DECIMAL(38,%d))",
                   target->scale < 0 || target->scale > 38 ? 0 : target->scale);
    else
        buf_printf(b, " AS %s)", types[target->form] == NULL ? "VARCHAR" : types[target->form]);
}

bool columns_put_expression(struct buf *b, const struct column *c, const struct duck_vector *v,
                            const char *literal, struct err *err)
{
    if (v == NULL && literal != NULL) {
        put_literal(b, c->target, literal);
        return true;
    }
    if (v == NULL || v->type == DUCK_NULL) {
        buf_append_cstr(b, "NULL");
        return true;
    }
    bool array = c->target->form == APPLY_ARRAY;
    if (array && v->type != DUCK_LIST)
        return refuse(c, v, err);
    const char *type = array ? cast_for(c->target->element, v->children[0].type)
                             : cast_for(c->target->form, v->type);
    if (type == NULL || (array && is_nested(v->children[0].type)))
        return refuse(c, v, err);
    put_cast(b, v->name, type, array ? "[]" : "");
    return true;
}
