/* Commit metadata says which file groups a commit wrote, how many rows it deleted in each, and which
 * groups it replaced. Both forms, JSON text and Avro container, become one JSON document here.
 *
 * A zero-byte completed file is refused: in layout 1 it is what a reader sees between the creation
 * and the writing of a file, and taking it for "nothing changed" would lose the commit for good. */
#include "commit_metadata.h"

#include <string.h>

#include "avro.h"
#include "base/buf.h"
#include "base/json.h"
#include "log_block.h"

#define COMMIT_METADATA_MAX_BYTES ((size_t)256 << 20)

static bool damaged(struct err *err, const char *what)
{
    return err_set(err, SQLSTATE_DATA_CORRUPTED, "commit metadata is damaged: %s", what);
}

static bool is_object(const struct json_val *v)
{
    return json_kind_of(v) == JSON_KIND_OBJECT;
}

static bool is_nothing(const struct json_val *v)
{
    enum json_kind kind = json_kind_of(v);
    return kind == JSON_ABSENT || kind == JSON_KIND_NULL;
}

/* JSON text or container to a document, which the caller frees. */
static bool read_document(struct slice content, struct json **out, struct err *err)
{
    if (slice_is_empty(slice_trim(content)))
        return damaged(err, "it is empty");
    if (!avro_is_container(content))
        return json_read(content, out, err);
    struct buf text;
    buf_init(&text, COMMIT_METADATA_MAX_BYTES);
    bool ok = avro_container_to_json(content, &text, err) && json_read(buf_slice(&text), out, err);
    buf_fini(&text);
    return ok;
}

/* Copies a text member: *out stays NULL when it is absent or null. */
static bool copy_text(struct arena *a, const struct json_val *object, const char *key,
                      const char **out, struct err *err)
{
    const char *text = json_as_text(json_find(object, key));
    *out = text == NULL ? NULL : arena_copy_cstr(a, text);
    return text == NULL || *out != NULL || err_no_memory(err);
}

/* Java's writer says "null" in letters. */
static bool copy_text_or_null(struct arena *a, const struct json_val *object, const char *key,
                              const char **out, struct err *err)
{
    if (!copy_text(a, object, key, out, err))
        return false;
    if (*out != NULL && (strcmp(*out, "null") == 0 || (*out)[0] == '\0'))
        *out = NULL;
    return true;
}

static bool is_log_path(const char *path)
{
    struct log_file_name name;
    const char *slash = strrchr(path, '/');
    return log_file_name_read(slice_cstr(slash == NULL ? path : slash + 1), &name);
}

static bool read_stat(struct arena *a, const char *partition, const struct json_val *v,
                      struct commit_metadata *metadata, struct err *err)
{
    struct write_stat *out = &metadata->stats[metadata->nstats++];
    if (!is_object(v))
        return damaged(err, "a write statistic is not an object");
    out->partition = partition;
    out->num_writes = json_as_int(json_find(v, "numWrites"), -1);
    out->num_deletes = json_as_int(json_find(v, "numDeletes"), -1);
    if (!copy_text_or_null(a, v, "fileId", &out->file_id, err) ||
        !copy_text_or_null(a, v, "path", &out->path, err) ||
        !copy_text_or_null(a, v, "prevCommit", &out->prev_commit, err))
        return false;
    if (out->file_id == NULL)
        return damaged(err, "a write statistic has no file id");
    out->is_log = out->path != NULL && is_log_path(out->path);
    return true;
}

static bool read_replaced(struct arena *a, const char *partition, const struct json_val *v,
                          struct commit_metadata *metadata, struct err *err)
{
    struct replaced_group *out = &metadata->replaced[metadata->nreplaced++];
    const char *file_id = json_as_text(v);
    if (file_id == NULL)
        return damaged(err, "a replaced file id is not a text");
    *out = (struct replaced_group){partition, arena_copy_cstr(a, file_id)};
    return out->file_id != NULL || err_no_memory(err);
}

/* Members of all arrays of a map {partition: [...]}; refuses anything else. */
static bool count_members(const struct json_val *map, const char *name, size_t *count,
                          struct err *err)
{
    *count = 0;
    if (is_nothing(map))
        return true;
    if (!is_object(map))
        return err_set(err, SQLSTATE_DATA_CORRUPTED,
                       "commit metadata is damaged: \"%s\" is not an object", name);
    for (void *it = json_first(map); it != NULL; it = json_next(map, it)) {
        const struct json_val *list = json_value(it);
        if (!is_nothing(list) && json_kind_of(list) != JSON_KIND_ARRAY)
            return err_set(err, SQLSTATE_DATA_CORRUPTED,
                           "commit metadata is damaged: \"%s\" holds no list", name);
        *count += json_count(list);
    }
    return true;
}

typedef bool read_member(struct arena *a, const char *partition, const struct json_val *v,
                         struct commit_metadata *metadata, struct err *err);

/* Reads each member of each list of a map {partition: [...]}. */
static bool read_members(struct arena *a, const struct json_val *map, read_member *read,
                         struct commit_metadata *out, struct err *err)
{
    for (void *it = json_first(map); it != NULL; it = json_next(map, it)) {
        const char *partition = arena_copy_cstr(a, json_key(it));
        if (partition == NULL)
            return err_no_memory(err);
        const struct json_val *list = json_value(it);
        for (size_t i = 0; i < json_count(list); i++)
            if (!read(a, partition, json_at(list, i), out, err))
                return false;
    }
    return true;
}

static bool read_stats(struct arena *a, const struct json_val *map, struct commit_metadata *out,
                       struct err *err)
{
    size_t count;
    if (!count_members(map, "partitionToWriteStats", &count, err))
        return false;
    out->stats = arena_alloc_array(a, count + 1, sizeof *out->stats);
    return out->stats == NULL ? err_no_memory(err) : read_members(a, map, read_stat, out, err);
}

static bool read_all_replaced(struct arena *a, const struct json_val *map,
                              struct commit_metadata *out, struct err *err)
{
    size_t count;
    if (!count_members(map, "partitionToReplaceFileIds", &count, err))
        return false;
    out->replaced = arena_alloc_array(a, count + 1, sizeof *out->replaced);
    return out->replaced == NULL ? err_no_memory(err)
                                 : read_members(a, map, read_replaced, out, err);
}

static bool read_root(struct arena *a, const struct json_val *root, struct commit_metadata *out,
                      struct err *err)
{
    if (!is_object(root))
        return damaged(err, "it is not an object");
    if (!copy_text(a, root, "operationType", &out->operation, err))
        return false;
    if (out->operation == NULL)
        out->operation = "";
    out->compacted = json_as_bool(json_find(root, "compacted"), false) ||
                     strcmp(out->operation, "COMPACT") == 0 ||
                     strcmp(out->operation, "LOG_COMPACT") == 0;
    if (!copy_text_or_null(a, json_find(root, "extraMetadata"), "schema", &out->schema, err))
        return false;
    return read_stats(a, json_find(root, "partitionToWriteStats"), out, err) &&
           read_all_replaced(a, json_find(root, "partitionToReplaceFileIds"), out, err);
}

bool commit_metadata_read(struct arena *a, struct slice content, struct commit_metadata *out,
                          struct err *err)
{
    struct json *doc = NULL;
    *out = (struct commit_metadata){.operation = ""};
    if (!read_document(content, &doc, err))
        return false;
    bool ok = read_root(a, json_root(doc), out, err);
    json_free(doc);
    return ok;
}

static bool load(struct objstore *store, const char *path, struct buf *content, struct err *err)
{
    buf_init(content, COMMIT_METADATA_MAX_BYTES);
    if (objstore_read(store, path, content, err))
        return true;
    buf_fini(content);
    return false;
}

bool commit_metadata_load(struct arena *a, struct objstore *store, const char *path,
                          struct commit_metadata *out, struct err *err)
{
    struct buf content;
    if (!load(store, path, &content, err))
        return false;
    bool ok = commit_metadata_read(a, buf_slice(&content), out, err);
    buf_fini(&content);
    return ok || err_context(err, "\"%s\"", path);
}

/* HoodieRollbackMetadata names them in "commitsRollback"; HoodieRestoreMetadata in
 * "instantsToRollback" (and the metadata of each rollback within). */
static bool read_rolled_back(struct arena *a, const struct json_val *root, const char ***commits,
                             size_t *count, struct err *err)
{
    const struct json_val *list = json_find(root, "commitsRollback");
    if (is_nothing(list))
        list = json_find(root, "instantsToRollback");
    *commits = arena_alloc_array(a, json_count(list) + 1, sizeof **commits);
    if (*commits == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < json_count(list); i++) {
        const char *time = json_as_text(json_at(list, i));
        if (time == NULL)
            continue;
        (*commits)[*count] = arena_copy_cstr(a, time);
        if ((*commits)[(*count)++] == NULL)
            return err_no_memory(err);
    }
    return true;
}

bool rollback_metadata_load(struct arena *a, struct objstore *store, const char *path,
                            const char ***commits, size_t *count, struct err *err)
{
    struct buf content;
    struct json *doc = NULL;
    *count = 0;
    if (!load(store, path, &content, err))
        return false;
    bool ok = read_document(buf_slice(&content), &doc, err);
    buf_fini(&content);
    if (!ok)
        return err_context(err, "\"%s\"", path);
    ok = read_rolled_back(a, json_root(doc), commits, count, err);
    json_free(doc);
    return ok;
}

bool requested_replace_is_clustering(struct objstore *store, const char *path, bool *out,
                                     struct err *err)
{
    struct buf content;
    struct json *doc = NULL;
    struct err unreadable;
    *out = false;
    if (!load(store, path, &content, err))
        return false;
    if (read_document(buf_slice(&content), &doc, &unreadable)) {
        const char *operation = json_as_text(json_find(json_root(doc), "operationType"));
        *out = operation != NULL && strcmp(operation, "CLUSTER") == 0;
        json_free(doc);
    }
    buf_fini(&content);
    return true;
}
