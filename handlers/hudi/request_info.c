/* What functions tell of a Hudi table: its properties, and commits of its timeline. No data file is
 * opened. */
#include <string.h>

#include "base/json.h"
#include "plan.h"
#include "properties.h"
#include "request.h"
#include "store.h"
#include "timeline.h"

#define PROPERTIES_MAX_BYTES ((size_t)16 << 20)

static void put_options(struct buf *answer, const struct properties *p)
{
    buf_append_cstr(answer, "{\"options\":[");
    for (size_t i = 0; i < p->count; i++) {
        buf_append_cstr(answer, i == 0 ? "[" : ",[");
        json_write_string(answer, slice_cstr(p->items[i].key));
        buf_append_cstr(answer, ",");
        json_write_string(answer, slice_cstr(p->items[i].value));
        buf_append_cstr(answer, "]");
    }
    buf_append_cstr(answer, "]}");
}

/* A writer replaces the file by deleting and writing it, with the backup in between. */
static bool read_properties(struct objstore *store, struct buf *text, struct err *err)
{
    struct err second;
    if (objstore_read(store, ".hoodie/hoodie.properties", text, err))
        return true;
    if (strcmp(err->sqlstate, SQLSTATE_UNDEFINED_FILE) != 0)
        return false;
    buf_clear(text);
    if (objstore_read(store, ".hoodie/hoodie.properties.backup", text, &second))
        return true;
    err_set(err, SQLSTATE_UNDEFINED_TABLE, "no Hudi table lies in the folder");
    return err_detail(err, "It has no \".hoodie/hoodie.properties\".");
}

bool request_options(struct job *job, struct arena *a, struct buf *answer, struct err *err)
{
    struct objstore *store;
    struct properties p;
    struct buf text;
    const char *oid;
    if (!request_source(job, a, &oid, err) || !hudi_store_open(a, job, oid, &store, err))
        return false;
    buf_init(&text, PROPERTIES_MAX_BYTES);
    bool ok =
        read_properties(store, &text, err) && properties_read_raw(a, buf_slice(&text), &p, err);
    if (ok)
        put_options(answer, &p);
    buf_fini(&text);
    objstore_close(store);
    return ok;
}

/* ---- commits ---- */

/* Place of the first commit behind `after`: in the timeline's order if it is there, else by its time. */
static bool find_first(const struct timeline *t, const char *after, size_t *first, struct err *err)
{
    char key[INSTANT_KEY_SIZE];
    const struct instant *found = timeline_find(t, after);
    *first = 0;
    if (after[0] == '\0')
        return true;
    if (!instant_key_read(after, key))
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                       "\"%.64s\" is not a commit time of 14 or 17 digits", after);
    if (found != NULL)
        *first = (size_t)(found - t->commits.items) + 1;
    else
        while (*first < t->commits.count &&
               strcmp(t->commits.items[*first].requested_key, key) <= 0)
            (*first)++;
    return true;
}

static bool choose(const struct job *job, const struct timeline *t, const struct instant **out,
                   struct err *err)
{
    const char *after = json_as_text(json_find(job->params, "after"));
    int64_t count = json_as_int(json_find(job->params, "count"), 1);
    size_t first;
    *out = t->commits.count == 0 ? NULL : &t->commits.items[t->commits.count - 1];
    if (after == NULL)
        return true;
    if (!find_first(t, after, &first, err))
        return false;
    if (count > 0 && (uint64_t)count <= t->commits.count - first)
        *out = &t->commits.items[first + (size_t)count - 1];
    return true;
}

static bool find_commit(struct job *job, struct arena *a, struct objstore *store,
                        struct buf *answer, struct err *err)
{
    struct hudi_table table;
    struct timeline timeline;
    const struct instant *it;
    if (!hudi_table_open(a, store, &table, err) ||
        !timeline_load(a, store, table.layout, table.timeline_folder, table.archive_folder,
                       &timeline, err) ||
        !choose(job, &timeline, &it, err))
        return false;
    if (it == NULL) {
        buf_append_cstr(answer, "{\"commit\":null,\"time_ms\":null}");
        return true;
    }
    buf_printf(answer, "{\"commit\":\"%s\",\"time_ms\":%lld}", it->requested,
               (long long)instant_flushed_ms(it, table.timeline_is_utc));
    return true;
}

bool request_commit(struct job *job, struct arena *a, struct buf *answer, struct err *err)
{
    struct objstore *store;
    const char *oid;
    if (!request_source(job, a, &oid, err) || !hudi_store_open(a, job, oid, &store, err))
        return false;
    bool ok = find_commit(job, a, store, answer, err);
    objstore_close(store);
    return ok;
}
