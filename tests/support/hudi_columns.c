/* hudi_columns LIBRARY DIR: what a foreign table on a Hudi table would declare, as one JSON object
 *   {"key": [...], "ordering": [...], "instants": [...], "columns": [["name", "type"], ...]}
 * The columns are those of all files of all snapshots, the widest type of each; meta columns
 * that tests do not compare are left out. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "duck.h"
#include "plan.h"
#include "relation.h"
#include "base/scratch.h"
#include "base/json.h"

#define COLUMNS_MAX 1000

struct found {
    const char *name;
    const char *type;
};

static struct found found[COLUMNS_MAX];
static size_t found_count;
static struct arena a;

static void die(const struct err *err)
{
    fprintf(stderr, "%s: %s %s\n", err->sqlstate, err->message, err->detail);
    exit(1);
}

static const char *type_of(const struct duck_vector *v)
{
    switch (v->type) {
    case DUCK_BOOL: return "boolean";
    case DUCK_INT8:
    case DUCK_INT16: return "smallint";
    case DUCK_INT32: return "integer";
    case DUCK_INT64: return "bigint";
    case DUCK_FLOAT: return "real";
    case DUCK_DOUBLE: return "double precision";
    case DUCK_DECIMAL: return arena_printf(&a, "numeric(%u,%u)", v->width, v->scale);
    case DUCK_DATE: return "date";
    case DUCK_TIME:
    case DUCK_TIME_TZ: return "time";
    case DUCK_TIMESTAMPTZ: return "timestamptz";
    case DUCK_TIMESTAMP:
    case DUCK_TIMESTAMP_S:
    case DUCK_TIMESTAMP_MS:
    case DUCK_TIMESTAMP_NS: return "timestamp";
    case DUCK_BLOB: return "bytea";
    case DUCK_UUID: return "uuid";
    case DUCK_LIST:
    case DUCK_STRUCT:
    case DUCK_MAP: return "jsonb";
    default: return "text";
    }
}

static int width_of(const char *type)
{
    static const char *const widening[] = {"smallint", "integer",          "bigint",
                                           "real",     "double precision", "text"};
    for (int i = 0; i < (int)ARRAY_LEN(widening); i++)
        if (strcmp(widening[i], type) == 0)
            return i;
    return -1;
}

static bool is_time(const char *type)
{
    return strcmp(type, "timestamp") == 0 || strcmp(type, "timestamptz") == 0;
}

/* Files of one table may disagree about a column: then the type that holds both. */
static void add(const struct duck_vector *v)
{
    static const char *const left_out[] = {"_hoodie_commit_seqno", "_hoodie_file_name",
                                           "_hoodie_operation", "__slice", "__seq"};
    for (size_t i = 0; i < ARRAY_LEN(left_out); i++)
        if (strcmp(v->name, left_out[i]) == 0)
            return;
    const char *type = type_of(v);
    for (size_t i = 0; i < found_count; i++) {
        if (strcmp(found[i].name, v->name) != 0)
            continue;
        bool one_family = width_of(type) >= 0 && width_of(found[i].type) >= 0;
        if (one_family && width_of(type) > width_of(found[i].type))
            found[i].type = type;
        else if (!one_family && strcmp(type, found[i].type) != 0)
            found[i].type = is_time(type) && is_time(found[i].type) ? "timestamptz" : "text";
        return;
    }
    if (found_count < COLUMNS_MAX)
        found[found_count++] = (struct found){v->name, type};
}

/* Columns of base files, and of the records of log files. */
static void add_snapshot(struct duck *d, const struct hudi_table *t, const struct hudi_plan *plan)
{
    struct err err;
    struct relation r;
    if (!relation_open(&a, d, t, NULL, &plan->read, &r, &err))
        die(&err);
    for (size_t i = 0; i < r.count; i++)
        for (size_t k = 0; k < r.groups[i].column_count; k++)
            add(&r.groups[i].columns[k]);
}

static void put_names(struct buf *b, const char *name, const struct hudi_names *names)
{
    buf_printf(b, "\"%s\": [", name);
    for (size_t i = 0; i < names->count; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        json_write_string(b, slice_cstr(names->items[i]));
    }
    buf_append_cstr(b, "], ");
}

static void put_columns(struct buf *b)
{
    buf_append_cstr(b, "\"columns\": [");
    for (size_t i = 0; i < found_count; i++) {
        buf_append_cstr(b, i == 0 ? "[" : ", [");
        json_write_string(b, slice_cstr(found[i].name));
        buf_printf(b, ", \"%s\"]", found[i].type);
    }
    buf_append_cstr(b, "]}\n");
}

int main(int argc, char **argv)
{
    struct err err;
    struct objstore *store;
    struct hudi_table t;
    struct hudi_plan plan;
    struct hudi_names instants;
    struct duck *d;
    if (argc != 3)
        return 2;
    struct scratch scratch;
    arena_init(&a, 0);
    if (!scratch_open(&a, NULL, &scratch, &err))
        die(&err);
    struct duck_settings settings = {
        .library = argv[1], .temp_directory = scratch.folder, .memory_mb = 256, .threads = 1};
    if (!objstore_open_local(argv[2], argv[2], &store, &err) ||
        !hudi_table_open(&a, store, &t, &err) || !hudi_instants_list(&a, &t, &instants, &err) ||
        !duck_open(&settings, &d, &err))
        die(&err);
    for (size_t n = 1; n <= instants.count; n++) {
        if (!hudi_plan_make(&a, &t, NULL, NULL, (int64_t)n, &plan, &err))
            die(&err);
        add_snapshot(d, &t, &plan);
    }
    struct buf b;
    buf_init(&b, 1 << 24);
    buf_append_cstr(&b, "{");
    put_names(&b, "key", &t.record_key);
    put_names(&b, "ordering", &t.ordering);
    put_names(&b, "partition", &t.partition);
    put_names(&b, "instants", &instants);
    put_columns(&b);
    fwrite(buf_data(&b), 1, buf_length(&b), stdout);
    buf_fini(&b);
    duck_close(d);
    scratch_close(&scratch);
    objstore_close(store);
    arena_fini(&a);
    return 0;
}
