/* What a run needs to know before it reads a row: the task's parameters, the registry's row, the
 * target, the Hudi table, and whether they go together.
 *
 * The rules that the vendor's manual repeats: the primary key of the target is the record key of the
 * Hudi table, and an ordering (precombine) field is among the synchronised columns. A key may also
 * hold partition columns (the same record key in two partitions is legal, and a partitioned target
 * needs it), or be the one column _hoodie_record_key, which says the same. A table whose properties
 * name no record key gives nothing to compare with. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "duck_job.h"
#include "store.h"
#include "sync.h"

#define RECORD_KEY_COLUMN "_hoodie_record_key"
#define SETUP_TEXT_BYTES ((size_t)1 << 20)

static const char registry_query[] =
    "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname),"
    "       pg_catalog.has_table_privilege($3::pg_catalog.name, c.oid, 'SELECT'),"
    "       pg_catalog.has_table_privilege($3::pg_catalog.name, t.oid, 'INSERT')"
    "   AND pg_catalog.has_table_privilege($3::pg_catalog.name, t.oid, 'UPDATE'),"
    "       pg_catalog.format('%I.%I', tn.nspname, t.relname)"
    "  FROM pgveneer.foreign_table f"
    "  JOIN pg_catalog.pg_class c ON c.oid = f.relid"
    "  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    "  LEFT JOIN pg_catalog.pg_class t ON t.oid = $2::pg_catalog.oid"
    "  LEFT JOIN pg_catalog.pg_namespace tn ON tn.oid = t.relnamespace"
    " WHERE f.relid = $1::pg_catalog.oid";

static const char pairs_query[] =
    "SELECT target_column, source_column"
    "  FROM pgveneer.hudi_pairs($1::pg_catalog.oid, $2::pg_catalog.oid,"
    "       (SELECT nullif(t.params -> 'columns', 'null') FROM pgveneer.task t WHERE t.task_id = "
    "$3))";

static bool misconfigured(struct sync *s)
{
    s->misconfigured = true;
    return false;
}

static bool read_oid(struct sync *s, const char *key, const char **out, struct err *err)
{
    int64_t oid = json_as_int(json_find(s->job->params, key), 0);
    *out = arena_printf(&s->a, "%lld", (long long)oid);
    return *out != NULL || err_no_memory(err);
}

static bool check_rights(struct sync *s, const struct pgresult *r, struct err *err)
{
    if (!pgresult_bool(r, 0, 1)) {
        err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE, "permission denied for foreign table %s",
                s->source_name);
        return err_detail(err, "The task's owner \"%s\" needs SELECT on it.", s->job->owner);
    }
    if (pgresult_bool(r, 0, 2))
        return true;
    err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE, "permission denied for target table %s",
            pgresult_value(r, 0, 3));
    return err_detail(err, "The task's owner \"%s\" needs INSERT and UPDATE on it.", s->job->owner);
}

static bool take_registry(struct sync *s, const struct pgresult *r, struct err *err)
{
    if (pgresult_rows(r) == 0) {
        err_set(err, SQLSTATE_UNDEFINED_TABLE, "foreign table with OID %s does not exist",
                s->source_oid);
        return misconfigured(s);
    }
    s->source_name = arena_copy_cstr(&s->a, pgresult_value(r, 0, 0));
    if (s->source_name == NULL)
        return err_no_memory(err);
    if (pgresult_value(r, 0, 3) == NULL) {
        err_set(err, SQLSTATE_UNDEFINED_TABLE, "target table with OID %s does not exist",
                s->target_oid);
        return misconfigured(s);
    }
    return check_rights(s, r, err);
}

static bool read_registry(struct sync *s, struct err *err)
{
    const char *values[] = {s->source_oid, s->target_oid, s->job->owner};
    struct pgresult *r;
    if (!pgclient_query(s->db, registry_query, 3, values, &r, err))
        return false;
    bool ok = take_registry(s, r, err);
    pgresult_free(r);
    return ok;
}

static bool open_table(struct sync *s, struct err *err)
{
    if (hudi_store_open(&s->a, s->job, s->source_oid, &s->store, err) &&
        hudi_table_open(&s->a, s->store, &s->table, err))
        return true;
    s->misconfigured = hudi_store_is_misconfigured(err);
    return false;
}

/* Columns */

static bool take_column(struct sync *s, const char *target, const char *source, struct err *err)
{
    const struct apply_column *t = apply_target_find(&s->target, target);
    if (t == NULL) {
        err_set(err, SQLSTATE_UNDEFINED_COLUMN, "column \"%s\" of target table %s does not exist",
                target, s->target.name);
        return misconfigured(s);
    }
    struct column *c = &s->columns.items[s->columns.count++];
    *c = (struct column){.target = t, .place = (size_t)(t - s->target.columns)};
    c->source = arena_copy_cstr(&s->a, source);
    return c->source != NULL || err_no_memory(err);
}

static bool take_columns(struct sync *s, const struct pgresult *r, struct err *err)
{
    size_t n = pgresult_rows(r);
    s->columns = (struct columns){.commit_fields = s->table.has_meta_fields};
    s->columns.items = arena_alloc_array(&s->a, n + 1, sizeof *s->columns.items);
    if (s->columns.items == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < n; i++)
        if (!take_column(s, pgresult_value(r, i, 0), pgresult_value(r, i, 1), err))
            return false;
    return true;
}

static const struct column *find_by_place(const struct sync *s, size_t place)
{
    for (size_t i = 0; i < s->columns.count; i++)
        if (s->columns.items[i].place == place)
            return &s->columns.items[i];
    return NULL;
}

static bool take_key(struct sync *s, struct err *err)
{
    size_t *key = arena_alloc_array(&s->a, s->target.key_count, sizeof *key);
    if (key == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < s->target.key_count; i++) {
        const struct column *c = find_by_place(s, s->target.key[i]);
        if (c == NULL) {
            err_set(err, SQLSTATE_INVALID_TABLE_DEFINITION,
                    "primary key column \"%s\" of target table %s is not synchronized",
                    s->target.columns[s->target.key[i]].name, s->target.name);
            return misconfigured(s);
        }
        key[i] = (size_t)(c - s->columns.items);
    }
    s->columns.key = key;
    s->columns.key_count = s->target.key_count;
    return true;
}

static bool take_spec(struct sync *s, struct err *err)
{
    size_t *places = arena_alloc_array(&s->a, s->columns.count, sizeof *places);
    size_t *ordering = arena_alloc_array(&s->a, s->table.ordering.count + 1, sizeof *ordering);
    if (places == NULL || ordering == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < s->columns.count; i++)
        places[i] = s->columns.items[i].place;
    s->spec = (struct apply_spec){.target = &s->target,
                                  .columns = places,
                                  .count = s->columns.count,
                                  .ordering = ordering,
                                  .commit_fields = s->columns.commit_fields};
    for (size_t i = 0; i < s->table.ordering.count; i++) {
        const struct column *c = NULL;
        for (size_t k = 0; k < s->columns.count && c == NULL; k++)
            if (strcasecmp(s->columns.items[k].source, s->table.ordering.items[i]) == 0)
                c = &s->columns.items[k];
        if (c == NULL)
            s->missing_ordering = s->table.ordering.items[i];
        else
            ordering[s->spec.ordering_count++] = c->place;
    }
    return true;
}

static bool read_columns(struct sync *s, struct err *err)
{
    const char *values[] = {s->target_oid, s->source_oid, s->job->task_id};
    struct pgresult *r;
    uint32_t oid = (uint32_t)strtoul(s->target_oid, NULL, 10);
    if (!apply_target_read(&s->a, s->db, oid, &s->target, err)) {
        s->misconfigured = strncmp(err->sqlstate, "42", 2) == 0;
        return false;
    }
    if (!pgclient_query(s->db, pairs_query, 3, values, &r, err))
        return false;
    bool ok = take_columns(s, r, err);
    pgresult_free(r);
    return ok && take_key(s, err) && take_spec(s, err);
}

/* The key rule */

static bool holds(const struct hudi_names *names, const char *name)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcasecmp(names->items[i], name) == 0)
            return true;
    return false;
}

static const char *key_source(const struct sync *s, size_t i)
{
    return s->columns.items[s->columns.key[i]].source;
}

static bool key_matches(const struct sync *s)
{
    size_t found = 0;
    if (s->table.record_key.count == 0)
        return true;
    if (s->columns.key_count == 1 && strcasecmp(key_source(s, 0), RECORD_KEY_COLUMN) == 0)
        return true;
    for (size_t i = 0; i < s->columns.key_count; i++) {
        if (holds(&s->table.record_key, key_source(s, i)))
            found++;
        else if (!holds(&s->table.partition, key_source(s, i)))
            return false;
    }
    return found == s->table.record_key.count;
}

static bool check_key(struct sync *s, struct err *err)
{
    if (key_matches(s))
        return true;
    struct buf have, want;
    buf_init(&have, SETUP_TEXT_BYTES);
    buf_init(&want, SETUP_TEXT_BYTES);
    for (size_t i = 0; i < s->columns.key_count; i++)
        buf_printf(&have, "%s%s", i == 0 ? "" : ", ", key_source(s, i));
    for (size_t i = 0; i < s->table.record_key.count; i++)
        buf_printf(&want, "%s%s", i == 0 ? "" : ", ", s->table.record_key.items[i]);
    const char *h = buf_cstr(&have), *w = buf_cstr(&want);
    err_set(err, SQLSTATE_INVALID_TABLE_DEFINITION,
            "primary key (%s) of target table %s is not the record key (%s) of the Hudi table",
            h == NULL ? "" : h, s->target.name, w == NULL ? "" : w);
    buf_fini(&have);
    buf_fini(&want);
    return misconfigured(s);
}

bool sync_open(struct sync *s, struct err *err)
{
    return read_oid(s, "target_oid", &s->target_oid, err) &&
           read_oid(s, "ftable_oid", &s->source_oid, err) && read_registry(s, err) &&
           open_table(s, err) && read_columns(s, err) && check_key(s, err);
}

bool sync_start(struct sync *s, struct err *err)
{
    return duck_job_open(s->job, &s->a, &s->scratch, &s->duck, err) &&
           apply_new(s->db, &s->spec, &s->apply, err);
}

void sync_close(struct sync *s)
{
    apply_free(s->apply);
    duck_close(s->duck);
    scratch_close(&s->scratch);
    objstore_close(s->store);
    buf_fini(&s->log);
    arena_fini(&s->a);
}
