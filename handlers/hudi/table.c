/* A Hudi table as its hoodie.properties describes it, and what we refuse to read.
 *
 * The rule for refusing: a table that would be read wrongly or incompletely is refused with the
 * property that says so; what only matters to writers is ignored. Nothing is merged when a
 * copy-on-write table is read, so its merger and payload class do not matter; those of a merge-on-read
 * table are understood by merge_mode.c.
 *
 * Writers replace hoodie.properties by deleting and writing it, with hoodie.properties.backup in
 * between; readers are meant to take the backup then. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "properties.h"

#define TABLE_MAX_PROPERTIES ((size_t)16 << 20)
#define TABLE_MAX_VERSION 9

static bool read_file(struct arena *a, struct objstore *store, const char *path,
                      struct properties *p, struct err *err)
{
    struct buf text;
    buf_init(&text, TABLE_MAX_PROPERTIES);
    bool ok =
        objstore_read(store, path, &text, err) && properties_read(a, buf_slice(&text), p, err);
    buf_fini(&text);
    return ok;
}

static bool is_complete(const struct properties *p)
{
    return properties_find(p, "hoodie.table.name") != NULL;
}

static bool is_missing(const struct err *err)
{
    return strcmp(err->sqlstate, SQLSTATE_UNDEFINED_FILE) == 0;
}

static bool read_properties(struct arena *a, struct objstore *store, struct properties *p,
                            struct err *err)
{
    struct err second;
    bool ok = read_file(a, store, ".hoodie/hoodie.properties", p, err);
    if (ok && is_complete(p))
        return true;
    if (!ok && !is_missing(err))
        return err_context(err, "\"hoodie.properties\"");
    if (read_file(a, store, ".hoodie/hoodie.properties.backup", p, &second) && is_complete(p))
        return true;
    if (!ok) {
        err_set(err, SQLSTATE_UNDEFINED_TABLE, "no Hudi table lies in the folder");
        return err_detail(err, "It has no \".hoodie/hoodie.properties\".");
    }
    return err_set(err, SQLSTATE_DATA_CORRUPTED,
                   "\"hoodie.properties\" is damaged: it names no table");
}

/* ---- values ---- */

static const char *find_text(const struct properties *p, const char *key)
{
    const char *v = properties_find(p, key);
    return v == NULL || v[0] == '\0' ? NULL : v;
}

/* "a,b" as names; ":SIMPLE" and the like behind a name are cut when `cut_types`. */
static bool read_names(struct arena *a, const char *text, bool cut_types, struct hudi_names *out,
                       struct err *err)
{
    struct slice rest = slice_cstr(text == NULL ? "" : text);
    out->items = arena_alloc_array(a, rest.len / 2 + 2, sizeof *out->items);
    if (out->items == NULL)
        return err_no_memory(err);
    while (!slice_is_empty(rest)) {
        size_t n = slice_find_byte(rest, ',');
        struct slice name = slice_trim(slice_part(rest, 0, n));
        rest = slice_part(rest, n < rest.len ? n + 1 : n, rest.len);
        if (cut_types)
            name = slice_part(name, 0, slice_find_byte(name, ':'));
        if (slice_is_empty(name))
            continue;
        out->items[out->count] = arena_copy(a, name);
        if (out->items[out->count++] == NULL)
            return err_no_memory(err);
    }
    return true;
}

static bool read_number(const struct properties *p, const char *key, int fallback, int *out,
                        struct err *err)
{
    const char *v = find_text(p, key);
    *out = fallback;
    if (v == NULL)
        return true;
    char *end;
    long n = strtol(v, &end, 10);
    if (*end != '\0' || n < 0 || n > 1000)
        return err_set(err, SQLSTATE_DATA_CORRUPTED,
                       "property \"%s\" of the Hudi table is damaged: \"%.64s\"", key, v);
    *out = (int)n;
    return true;
}

static bool read_version(const struct properties *p, struct hudi_table *t, struct err *err)
{
    if (!read_number(p, "hoodie.table.version", 0, &t->version, err))
        return false;
    if (!read_number(p, "hoodie.timeline.layout.version", t->version >= 8 ? 2 : 1, &t->layout, err))
        return false;
    if (t->layout == 0)
        t->layout = 1;
    if (t->version > TABLE_MAX_VERSION)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "Hudi table version %d is not supported (the newest known one is %d)",
                       t->version, TABLE_MAX_VERSION);
    if (t->layout > 2)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "Hudi timeline layout %d is not supported", t->layout);
    return true;
}

static bool read_type(const struct properties *p, struct hudi_table *t, struct err *err)
{
    const char *type = find_text(p, "hoodie.table.type");
    t->merge_on_read = type != NULL && strcasecmp(type, "MERGE_ON_READ") == 0;
    if (type != NULL && !t->merge_on_read && strcasecmp(type, "COPY_ON_WRITE") != 0)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "Hudi table type \"%.64s\" is not supported", type);
    return true;
}

static bool check_formats(const struct properties *p, struct err *err)
{
    const char *files = find_text(p, "hoodie.table.base.file.format");
    const char *table = find_text(p, "hoodie.table.format");
    if (files != NULL && strcasecmp(files, "PARQUET") != 0)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "base file format \"%.64s\" of the Hudi table is not supported", files);
    if (table != NULL && strcasecmp(table, "native") != 0)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "table format \"%.64s\" of the Hudi table is not supported", table);
    return true;
}

/* A bootstrap that copied only keys leaves an index of the files that hold the data. */
static bool check_bootstrap(struct arena *a, struct objstore *store, const struct properties *p,
                            struct err *err)
{
    struct objstore_listing index;
    const char *base = find_text(p, "hoodie.bootstrap.base.path");
    if (base == NULL)
        return true;
    if (!objstore_list(store, a, ".hoodie/.aux/.bootstrap/.partitions", &index, err))
        return false;
    if (index.count == 0)
        return true;
    err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "bootstrapped tables are not supported");
    return err_detail(err, "The data of this table lies in files outside of it "
                           "(property \"hoodie.bootstrap.base.path\").");
}

static bool read_folders(struct arena *a, const struct properties *p, struct hudi_table *t,
                         struct err *err)
{
    const char *archive = find_text(p, "hoodie.archivelog.folder");
    const char *timeline = find_text(p, "hoodie.timeline.path");
    const char *history = find_text(p, "hoodie.timeline.history.path");
    if (t->layout == 1) {
        t->timeline_folder = ".hoodie";
        t->archive_folder = arena_printf(a, ".hoodie/%s", archive == NULL ? "archived" : archive);
    } else {
        t->timeline_folder =
            arena_printf(a, ".hoodie/%s", timeline == NULL ? "timeline" : timeline);
        if (t->timeline_folder != NULL)
            t->archive_folder =
                arena_printf(a, "%s/%s", t->timeline_folder, history == NULL ? "history" : history);
    }
    return t->archive_folder != NULL || err_no_memory(err);
}

static const char *find_payload(const struct properties *p)
{
    static const char *const keys[] = {"hoodie.compaction.payload.class",
                                       "hoodie.table.legacy.payload.class",
                                       "hoodie.record.merge.mode"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (find_text(p, keys[i]) != NULL)
            return find_text(p, keys[i]);
    return NULL;
}

static const char *find_key_generator(const struct properties *p)
{
    static const char *const keys[] = {"hoodie.table.keygenerator.class",
                                       "hoodie.table.keygenerator.type",
                                       "hoodie.datasource.write.keygenerator.class"};
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        if (find_text(p, keys[i]) != NULL)
            return find_text(p, keys[i]);
    return "";
}

/* ComplexKeyGenerator and its like: some releases name a single field, others do not. */
static bool names_keys(const struct properties *p)
{
    const char *v = find_key_generator(p);
    return strcasestr(v, "complex") != NULL || strcasestr(v, "custom") != NULL;
}

/* Those of Hudi; somebody's own class may do anything. */
static bool partition_is_value(const struct properties *p)
{
    static const char *const known[] = {"SIMPLE",
                                        "COMPLEX",
                                        "SIMPLE_AVRO",
                                        "COMPLEX_AVRO",
                                        "org.apache.hudi.keygen.SimpleKeyGenerator",
                                        "org.apache.hudi.keygen.ComplexKeyGenerator",
                                        "org.apache.hudi.keygen.SimpleAvroKeyGenerator",
                                        "org.apache.hudi.keygen.ComplexAvroKeyGenerator"};
    const char *v = find_key_generator(p);
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(known[i], v) == 0)
            return true;
    return false;
}

static bool read_merge(struct arena *a, const struct properties *p, struct hudi_table *t,
                       struct err *err)
{
    if (!t->merge_on_read)
        return true;
    if (!t->has_meta_fields && t->record_key.count == 0)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "merge-on-read tables with neither meta fields nor a record key are not "
                       "supported");
    return merge_mode_read(a, p, t->version, t->ordering.count > 0, &t->merge, err) &&
           (t->merge.ordering == NULL ||
            read_names(a, t->merge.ordering, false, &t->ordering, err));
}

static bool read_columns(struct arena *a, const struct properties *p, struct hudi_table *t,
                         struct err *err)
{
    const char *ordering = find_text(p, "hoodie.table.ordering.fields");
    if (ordering == NULL)
        ordering = find_text(p, "hoodie.table.precombine.field");
    t->has_meta_fields = properties_find_bool(p, "hoodie.populate.meta.fields", true);
    return read_names(a, find_text(p, "hoodie.table.recordkey.fields"), false, &t->record_key,
                      err) &&
           read_names(a, ordering, false, &t->ordering, err) &&
           read_names(a, find_text(p, "hoodie.table.partition.fields"), true, &t->partition, err);
}

bool hudi_table_open(struct arena *a, struct objstore *store, struct hudi_table *out,
                     struct err *err)
{
    struct properties p;
    *out = (struct hudi_table){.store = store};
    if (!read_properties(a, store, &p, err) || !read_version(&p, out, err) ||
        !check_formats(&p, err) || !check_bootstrap(a, store, &p, err) ||
        !read_type(&p, out, err) || !read_columns(a, &p, out, err) ||
        !read_merge(a, &p, out, err) || !read_folders(a, &p, out, err))
        return false;
    const char *zone = find_text(&p, "hoodie.table.timeline.timezone");
    out->name = properties_find(&p, "hoodie.table.name");
    out->hive_style =
        properties_find_bool(&p, "hoodie.datasource.write.hive_style_partitioning", false);
    out->url_encoded =
        properties_find_bool(&p, "hoodie.datasource.write.partitionpath.urlencode", false);
    out->drops_partition_columns =
        properties_find_bool(&p, "hoodie.datasource.write.drop.partition.columns", false);
    out->names_keys = names_keys(&p);
    out->partition_is_value = partition_is_value(&p);
    out->timeline_is_utc = zone != NULL && strcasecmp(zone, "UTC") == 0;
    out->payload_class = find_payload(&p);
    return true;
}

/* ---- partition values ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* "%3A" to ":"; a "%" without two digits behind it stays. */
static void decode_url(char *text)
{
    char *to = text;
    for (const char *p = text; *p != '\0'; to++) {
        int high = *p == '%' ? hex_digit(p[1]) : -1;
        int low = high < 0 ? -1 : hex_digit(p[2]);
        if (low >= 0 && high * 16 + low != 0) {
            *to = (char)(high * 16 + low);
            p += 3;
            continue;
        }
        *to = *p++;
    }
    *to = '\0';
}

static bool read_value(struct arena *a, const struct hudi_table *t, size_t i, struct slice part,
                       const char **out, struct err *err)
{
    size_t n = strlen(t->partition.items[i]);
    if (part.len > n && part.data[n] == '=' && memcmp(part.data, t->partition.items[i], n) == 0)
        part = slice_part(part, n + 1, part.len);
    *out = NULL;
    if (slice_equals_cstr(part, "__HIVE_DEFAULT_PARTITION__"))
        return true;
    char *value = arena_copy(a, part);
    if (value == NULL)
        return err_no_memory(err);
    if (t->url_encoded)
        decode_url(value);
    *out = value;
    return true;
}

bool hudi_partition_values(struct arena *a, const struct hudi_table *t, const char *partition_path,
                           const char ***values, struct err *err)
{
    size_t count = t->partition.count;
    struct slice rest = slice_cstr(partition_path);
    *values = arena_alloc_array(a, count + 1, sizeof **values);
    if (*values == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < count; i++) {
        size_t n = i + 1 == count ? rest.len : slice_find_byte(rest, '/');
        if (slice_is_empty(rest))
            return err_set(
                err, SQLSTATE_DATA_CORRUPTED,
                "partition \"%s\" has fewer folders than the table has partition columns",
                partition_path);
        if (!read_value(a, t, i, slice_part(rest, 0, n), &(*values)[i], err))
            return false;
        rest = slice_part(rest, n < rest.len ? n + 1 : n, rest.len);
    }
    return true;
}
