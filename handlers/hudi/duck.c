/* DuckDB through dlopen (duck_session.h lists the functions).
 *
 * A query runs as a pending, streaming result: duckdb_pending_execute_task does a piece of work a
 * call, so that a paused task stops within milliseconds even in a long join, and rows are made only
 * as fast as they are taken. Memory is DuckDB's memory_limit (it spills to temp_directory) plus a
 * few chunks of 2048 rows.
 *
 * A chunk is described once a result (names, types) and its pointers are looked up once a chunk, so
 * consumers walk plain arrays. */
#include "duck.h"

#include <assert.h>
#include <dlfcn.h>
#include <stdlib.h>

#include "duck_session.h"

struct duck_result {
    struct duck *d; /* borrows */
    struct arena a; /* names and vectors */
    duckdb_prepared_statement statement;
    duckdb_pending_result pending;
    duckdb_result result;
    bool has_result;
    duckdb_data_chunk raw;
    struct duck_chunk chunk;
};

_Static_assert(sizeof(duckdb_string_t) == 16, "duck_text reads this layout");
_Static_assert(sizeof(duckdb_list_entry) == sizeof(struct duck_list_entry), "duck_list_entry");

static bool load_functions(struct duck *d, const char *path, struct err *err)
{
    d->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (d->library == NULL) {
        err_set(err, SQLSTATE_UNDEFINED_FILE, "could not load the DuckDB library \"%s\"", path);
        err_detail(err, "%s", dlerror());
        return err_hint(err, "The setting duckdb_library names it.");
    }
#define X(name)                                                                                    \
    *(void **)&d->f.name = dlsym(d->library, #name);                                               \
    if (d->f.name == NULL)                                                                         \
        return err_set(err, SQLSTATE_UNDEFINED_FILE, "\"%s\" is no DuckDB library: no %s", path,   \
                       #name);
    DUCK_FUNCTIONS(X)
#undef X
    return true;
}

static bool set_option(struct duck *d, duckdb_config config, const char *name, const char *value,
                       struct err *err)
{
    if (d->f.duckdb_set_config(config, name, value) == DuckDBSuccess)
        return true;
    return err_set(err, SQLSTATE_INTERNAL_ERROR, "DuckDB refuses its option %s = \"%s\"", name,
                   value);
}

/* Nothing is fetched, loaded or kept between sessions; rows may leave a scan in any order. */
static bool set_options(struct duck *d, duckdb_config config, const struct duck_settings *s,
                        struct arena *a, struct err *err)
{
    const char *memory = arena_printf(a, "%uMB", s->memory_mb);
    const char *threads = arena_printf(a, "%u", s->threads);
    if (memory == NULL || threads == NULL)
        return err_no_memory(err);
    const char *const options[][2] = {
        {"memory_limit", memory},
        {"threads", threads},
        {"temp_directory", s->temp_directory},
        {"preserve_insertion_order", "false"},
        {"autoload_known_extensions", "false"},
        {"autoinstall_known_extensions", "false"},
        {"allow_community_extensions", "false"},
        {"allow_unsigned_extensions", "false"},
    };
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (!set_option(d, config, options[i][0], options[i][1], err))
            return false;
    return true;
}

static bool open_database(struct duck *d, const struct duck_settings *s, struct err *err)
{
    struct arena a;
    arena_init(&a, 0);
    duckdb_config config = NULL;
    char *text = NULL;
    bool ok = d->f.duckdb_create_config(&config) == DuckDBSuccess || err_no_memory(err);
    ok = ok && set_options(d, config, s, &a, err);
    if (ok && d->f.duckdb_open_ext(NULL, &d->database, config, &text) != DuckDBSuccess)
        ok = err_set(err, SQLSTATE_INTERNAL_ERROR, "could not start DuckDB: %s",
                     text == NULL ? "no memory" : text);
    if (text != NULL)
        d->f.duckdb_free(text);
    if (config != NULL)
        d->f.duckdb_destroy_config(&config);
    arena_fini(&a);
    if (ok && d->f.duckdb_connect(d->database, &d->connection) != DuckDBSuccess)
        ok = err_set(err, SQLSTATE_INTERNAL_ERROR, "could not connect to DuckDB");
    return ok;
}

static bool set_session(struct duck *d, struct err *err)
{
    return duck_run(d, "SET TimeZone = 'UTC'", err) &&
           duck_run(d, "SET errors_as_json = false", err);
}

bool duck_must_stop(const struct duck *d)
{
    if (d->must_stop != NULL && d->must_stop(d->arg))
        return true;
    return d->beside != NULL && duck_must_stop(d->beside);
}

bool duck_open(const struct duck_settings *s, struct duck **out, struct err *err)
{
    struct duck *d = calloc(1, sizeof *d);
    if (d == NULL)
        return err_no_memory(err);
    d->must_stop = s->must_stop;
    d->arg = s->arg;
    d->temp_directory = s->temp_directory;
    bool ok = load_functions(d, s->library, err) && open_database(d, s, err) && set_session(d, err);
    if (!ok) {
        duck_close(d);
        return false;
    }
    *out = d;
    return true;
}

bool duck_open_beside(struct duck *d, bool (*must_stop)(void *arg), void *arg, struct duck **out,
                      struct err *err)
{
    struct duck *other = calloc(1, sizeof *other);
    if (other == NULL)
        return err_no_memory(err);
    *other = (struct duck){.beside = d,
                           .f = d->f,
                           .must_stop = must_stop,
                           .arg = arg,
                           .temp_directory = d->temp_directory};
    bool ok = d->f.duckdb_connect(d->database, &other->connection) == DuckDBSuccess;
    if (!ok)
        err_set(err, SQLSTATE_INTERNAL_ERROR, "could not connect to DuckDB");
    ok = ok && set_session(other, err);
    if (ok)
        *out = other;
    else
        duck_close(other);
    return ok;
}

void duck_close(struct duck *d)
{
    if (d == NULL)
        return;
    if (d->connection != NULL)
        d->f.duckdb_disconnect(&d->connection);
    if (d->database != NULL)
        d->f.duckdb_close(&d->database);
    if (d->library != NULL)
        dlclose(d->library);
    free(d);
}

static const char *sqlstate_of(duckdb_error_type type)
{
    switch (type) {
    case DUCKDB_ERROR_OUT_OF_MEMORY: return SQLSTATE_OUT_OF_MEMORY;
    case DUCKDB_ERROR_IO: return SQLSTATE_IO_ERROR;
    case DUCKDB_ERROR_PERMISSION: return SQLSTATE_IO_ERROR;
    case DUCKDB_ERROR_INTERRUPT: return SQLSTATE_QUERY_CANCELED;
    case DUCKDB_ERROR_OUT_OF_RANGE: return SQLSTATE_NUMERIC_VALUE_OUT_OF_RANGE;
    case DUCKDB_ERROR_CONVERSION: return SQLSTATE_INVALID_TEXT_REPRESENTATION;
    case DUCKDB_ERROR_FATAL:
    case DUCKDB_ERROR_INTERNAL: return SQLSTATE_INTERNAL_ERROR;
    default: return SQLSTATE_DATA_CORRUPTED;
    }
}

/* First line of DuckDB's text as the message; it goes on with a stack or a query excerpt. */
static bool set_error(const char *sqlstate, const char *text, struct err *err)
{
    struct slice first = slice_cstr(text == NULL ? "unknown error" : text);
    first.len = slice_find_byte(first, '\n');
    if (strstr(text == NULL ? "" : text, "No magic bytes") != NULL)
        sqlstate = SQLSTATE_DATA_CORRUPTED;
    return err_set(err, sqlstate, "could not read Parquet: %.*s", (int)first.len, first.data);
}

static bool result_error(struct duck *d, duckdb_result *r, struct err *err)
{
    return set_error(sqlstate_of(d->f.duckdb_result_error_type(r)), d->f.duckdb_result_error(r),
                     err);
}

/* DuckDB starts each text with the kind of its error; prepared and pending ones tell it only so. */
bool duck_text_error(const char *text, struct err *err)
{
    static const struct {
        const char *prefix;
        duckdb_error_type type;
    } kinds[] = {
        {"IO Error", DUCKDB_ERROR_IO},
        {"Out of Memory Error", DUCKDB_ERROR_OUT_OF_MEMORY},
        {"INTERRUPT Error", DUCKDB_ERROR_INTERRUPT},
        {"Out of Range Error", DUCKDB_ERROR_OUT_OF_RANGE},
        {"Conversion Error", DUCKDB_ERROR_CONVERSION},
        {"INTERNAL Error", DUCKDB_ERROR_INTERNAL},
        {"FATAL Error", DUCKDB_ERROR_FATAL},
    };
    duckdb_error_type type = DUCKDB_ERROR_INVALID;
    for (size_t i = 0; text != NULL && i < ARRAY_LEN(kinds); i++)
        if (slice_starts_with(slice_cstr(text), kinds[i].prefix))
            type = kinds[i].type;
    return set_error(sqlstate_of(type), text, err);
}

bool duck_run(struct duck *d, const char *sql, struct err *err)
{
    struct duck_result *r;
    const struct duck_chunk *chunk;
    if (!duck_query(d, sql, &r, err))
        return false;
    bool ok = true;
    do
        ok = duck_next(r, &chunk, err);
    while (ok && chunk != NULL);
    duck_result_free(r);
    return ok;
}

/* Types. `v` is described from a logical type, which it does not keep. */

static const struct {
    duckdb_type theirs;
    enum duck_type ours;
} type_names[] = {
    {DUCKDB_TYPE_BOOLEAN, DUCK_BOOL},
    {DUCKDB_TYPE_TINYINT, DUCK_INT8},
    {DUCKDB_TYPE_SMALLINT, DUCK_INT16},
    {DUCKDB_TYPE_INTEGER, DUCK_INT32},
    {DUCKDB_TYPE_BIGINT, DUCK_INT64},
    {DUCKDB_TYPE_UTINYINT, DUCK_UINT8},
    {DUCKDB_TYPE_USMALLINT, DUCK_UINT16},
    {DUCKDB_TYPE_UINTEGER, DUCK_UINT32},
    {DUCKDB_TYPE_UBIGINT, DUCK_UINT64},
    {DUCKDB_TYPE_HUGEINT, DUCK_INT128},
    {DUCKDB_TYPE_FLOAT, DUCK_FLOAT},
    {DUCKDB_TYPE_DOUBLE, DUCK_DOUBLE},
    {DUCKDB_TYPE_DECIMAL, DUCK_DECIMAL},
    {DUCKDB_TYPE_DATE, DUCK_DATE},
    {DUCKDB_TYPE_TIME, DUCK_TIME},
    {DUCKDB_TYPE_TIME_TZ, DUCK_TIME_TZ},
    {DUCKDB_TYPE_TIMESTAMP, DUCK_TIMESTAMP},
    {DUCKDB_TYPE_TIMESTAMP_TZ, DUCK_TIMESTAMPTZ},
    {DUCKDB_TYPE_TIMESTAMP_S, DUCK_TIMESTAMP_S},
    {DUCKDB_TYPE_TIMESTAMP_MS, DUCK_TIMESTAMP_MS},
    {DUCKDB_TYPE_TIMESTAMP_NS, DUCK_TIMESTAMP_NS},
    {DUCKDB_TYPE_VARCHAR, DUCK_TEXT},
    {DUCKDB_TYPE_BLOB, DUCK_BLOB},
    {DUCKDB_TYPE_UUID, DUCK_UUID},
    {DUCKDB_TYPE_LIST, DUCK_LIST},
    {DUCKDB_TYPE_STRUCT, DUCK_STRUCT},
    {DUCKDB_TYPE_MAP, DUCK_MAP},
    {DUCKDB_TYPE_SQLNULL, DUCK_NULL},
};

static enum duck_type type_of(duckdb_type theirs)
{
    for (size_t i = 0; i < ARRAY_LEN(type_names); i++)
        if (type_names[i].theirs == theirs)
            return type_names[i].ours;
    return DUCK_OTHER;
}

static bool describe(struct duck *d, struct arena *a, duckdb_logical_type type,
                     struct duck_vector *v, struct err *err);

/* Takes the child type. */
static bool describe_child(struct duck *d, struct arena *a, duckdb_logical_type child,
                           const char *name, struct duck_vector *v, struct err *err)
{
    v->name = arena_copy_cstr(a, name == NULL ? "" : name);
    bool ok = v->name == NULL ? err_no_memory(err) : describe(d, a, child, v, err);
    d->f.duckdb_destroy_logical_type(&child);
    return ok;
}

static bool describe_struct(struct duck *d, struct arena *a, duckdb_logical_type type,
                            struct duck_vector *v, struct err *err)
{
    for (size_t i = 0; i < v->child_count; i++) {
        char *name = d->f.duckdb_struct_type_child_name(type, i);
        bool ok = describe_child(d, a, d->f.duckdb_struct_type_child_type(type, i), name,
                                 &v->children[i], err);
        d->f.duckdb_free(name);
        if (!ok)
            return false;
    }
    return true;
}

/* A map is a list of structs with two members. */
static bool describe_map(struct duck *d, struct arena *a, duckdb_logical_type type,
                         struct duck_vector *v, struct err *err)
{
    struct duck_vector *entry = &v->children[0];
    *entry = (struct duck_vector){.name = "entry", .type = DUCK_STRUCT, .carrier = DUCK_STRUCT};
    entry->child_count = 2;
    entry->children = arena_alloc_array(a, 2, sizeof *entry);
    if (entry->children == NULL)
        return err_no_memory(err);
    return describe_child(d, a, d->f.duckdb_map_type_key_type(type), "key", &entry->children[0],
                          err) &&
           describe_child(d, a, d->f.duckdb_map_type_value_type(type), "value", &entry->children[1],
                          err);
}

static bool describe(struct duck *d, struct arena *a, duckdb_logical_type type,
                     struct duck_vector *v, struct err *err)
{
    v->type = v->carrier = type_of(d->f.duckdb_get_type_id(type));
    if (v->type == DUCK_DECIMAL) {
        v->width = d->f.duckdb_decimal_width(type);
        v->scale = d->f.duckdb_decimal_scale(type);
        v->carrier = type_of(d->f.duckdb_decimal_internal_type(type));
    }
    if (v->type == DUCK_STRUCT)
        v->child_count = d->f.duckdb_struct_type_child_count(type);
    else if (v->type == DUCK_LIST || v->type == DUCK_MAP)
        v->child_count = 1;
    if (v->child_count == 0)
        return true;
    v->children = arena_alloc_array(a, v->child_count, sizeof *v->children);
    if (v->children == NULL)
        return err_no_memory(err);
    if (v->type == DUCK_STRUCT)
        return describe_struct(d, a, type, v, err);
    if (v->type == DUCK_MAP)
        return describe_map(d, a, type, v, err);
    return describe_child(d, a, d->f.duckdb_list_type_child_type(type), "element", &v->children[0],
                          err);
}

static void point(struct duck *d, duckdb_vector raw, struct duck_vector *v)
{
    v->data = d->f.duckdb_vector_get_data(raw);
    v->validity = d->f.duckdb_vector_get_validity(raw);
    if (v->type == DUCK_LIST || v->type == DUCK_MAP)
        point(d, d->f.duckdb_list_vector_get_child(raw), &v->children[0]);
    else if (v->type == DUCK_STRUCT)
        for (size_t i = 0; i < v->child_count; i++)
            point(d, d->f.duckdb_struct_vector_get_child(raw, i), &v->children[i]);
}

/* Runs the pending query until its first rows are there. */
static bool execute(struct duck_result *r, struct err *err)
{
    struct duck *d = r->d;
    for (;;) {
        if (duck_must_stop(d))
            return err_set(err, SQLSTATE_QUERY_CANCELED, "canceling the task's run");
        duckdb_pending_state s = d->f.duckdb_pending_execute_task(r->pending);
        if (s == DUCKDB_PENDING_ERROR)
            return duck_text_error(d->f.duckdb_pending_error(r->pending), err);
        if (s == DUCKDB_PENDING_RESULT_READY)
            break;
        if (s == DUCKDB_PENDING_NO_TASKS_AVAILABLE)
            break; /* duckdb_execute_pending waits for the other threads */
    }
    r->has_result = true;
    if (d->f.duckdb_execute_pending(r->pending, &r->result) == DuckDBSuccess)
        return true;
    return result_error(d, &r->result, err);
}

static bool describe_result(struct duck_result *r, struct err *err)
{
    struct duck *d = r->d;
    r->chunk.columns = d->f.duckdb_column_count(&r->result);
    r->chunk.vectors = arena_alloc_array(&r->a, r->chunk.columns + 1, sizeof *r->chunk.vectors);
    if (r->chunk.vectors == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < r->chunk.columns; i++)
        if (!describe_child(d, &r->a, d->f.duckdb_column_logical_type(&r->result, i),
                            d->f.duckdb_column_name(&r->result, i), &r->chunk.vectors[i], err))
            return false;
    return true;
}

static bool prepare(struct duck *d, const char *sql, duckdb_prepared_statement *out,
                    struct err *err)
{
    if (d->f.duckdb_prepare(d->connection, sql, out) == DuckDBSuccess)
        return true;
    return duck_text_error(d->f.duckdb_prepare_error(*out), err);
}

bool duck_query(struct duck *d, const char *sql, struct duck_result **out, struct err *err)
{
    struct duck_result *r = calloc(1, sizeof *r);
    if (r == NULL)
        return err_no_memory(err);
    r->d = d;
    arena_init(&r->a, 0);
    bool ok = prepare(d, sql, &r->statement, err);
    if (ok && d->f.duckdb_pending_prepared_streaming(r->statement, &r->pending) != DuckDBSuccess)
        ok = duck_text_error(d->f.duckdb_pending_error(r->pending), err);
    ok = ok && execute(r, err) && describe_result(r, err);
    if (!ok) {
        duck_result_free(r);
        return false;
    }
    *out = r;
    return true;
}

bool duck_next(struct duck_result *r, const struct duck_chunk **chunk, struct err *err)
{
    struct duck *d = r->d;
    if (r->raw != NULL)
        d->f.duckdb_destroy_data_chunk(&r->raw);
    *chunk = NULL;
    if (duck_must_stop(d))
        return err_set(err, SQLSTATE_QUERY_CANCELED, "canceling the task's run");
    r->raw = d->f.duckdb_fetch_chunk(r->result);
    if (r->raw == NULL) {
        const char *text = d->f.duckdb_result_error(&r->result);
        return text == NULL || text[0] == 0 || result_error(d, &r->result, err);
    }
    r->chunk.rows = d->f.duckdb_data_chunk_get_size(r->raw);
    if (r->chunk.rows == 0)
        return true;
    for (size_t i = 0; i < r->chunk.columns; i++)
        point(d, d->f.duckdb_data_chunk_get_vector(r->raw, i), &r->chunk.vectors[i]);
    *chunk = &r->chunk;
    return true;
}

void duck_result_free(struct duck_result *r)
{
    if (r == NULL)
        return;
    struct duck *d = r->d;
    if (r->raw != NULL)
        d->f.duckdb_destroy_data_chunk(&r->raw);
    if (r->has_result)
        d->f.duckdb_destroy_result(&r->result);
    if (r->pending != NULL)
        d->f.duckdb_destroy_pending(&r->pending);
    if (r->statement != NULL)
        d->f.duckdb_destroy_prepare(&r->statement);
    arena_fini(&r->a);
    free(r);
}

bool duck_int(struct duck *d, const char *sql, int64_t *out, struct err *err)
{
    struct duck_result *r;
    const struct duck_chunk *chunk;
    *out = 0;
    if (!duck_query(d, sql, &r, err))
        return false;
    bool ok = duck_next(r, &chunk, err);
    if (ok && chunk != NULL && !duck_is_null(&chunk->vectors[0], 0)) {
        assert(chunk->vectors[0].type == DUCK_INT64);
        memcpy(out, chunk->vectors[0].data, sizeof *out);
    }
    duck_result_free(r);
    return ok;
}

bool duck_describe(struct duck *d, struct arena *a, const char *sql, struct duck_vector **columns,
                   size_t *count, struct err *err)
{
    duckdb_prepared_statement statement = NULL;
    bool ok = prepare(d, sql, &statement, err);
    *count = ok ? d->f.duckdb_prepared_statement_column_count(statement) : 0;
    *columns = arena_alloc_array(a, *count + 1, sizeof **columns);
    if (ok && *columns == NULL)
        ok = err_no_memory(err);
    for (size_t i = 0; ok && i < *count; i++) {
        const char *name = d->f.duckdb_prepared_statement_column_name(statement, i);
        ok = describe_child(d, a, d->f.duckdb_prepared_statement_column_logical_type(statement, i),
                            name, &(*columns)[i], err);
        d->f.duckdb_free((void *)name);
    }
    if (statement != NULL)
        d->f.duckdb_destroy_prepare(&statement);
    return ok;
}

const char *duck_temp_directory(const struct duck *d)
{
    return d->temp_directory;
}

unsigned duck_next_name(struct duck *d)
{
    return ++d->names;
}

static void put_quoted(struct buf *b, const char *text, char quote)
{
    buf_append_byte(b, quote);
    for (; *text != 0; text++) {
        if (*text == quote)
            buf_append_byte(b, quote);
        buf_append_byte(b, *text);
    }
    buf_append_byte(b, quote);
}

void duck_put_name(struct buf *b, const char *name)
{
    put_quoted(b, name, '"');
}

void duck_put_text(struct buf *b, const char *text)
{
    put_quoted(b, text, '\'');
}
