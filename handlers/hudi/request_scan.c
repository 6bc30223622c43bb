/* SELECT on a foreign table: the rows of the Hudi table, brought into a copy (009_hudi_scan.sql).
 *
 *   plan ──► a copy of this state has the columns: it was looked at now, done
 *        └─► one transaction: lock, table, COPY, its row in hudi_copy; then what it replaces is dropped
 *
 * Requests for the same copy that need different columns are different tasks. They make it one after
 * the other, each with the columns of the one before, so that it grows and none takes it from another.
 *
 * The copy has base types, as staging tables do (apply.h): nothing of a user's runs here. It is made
 * and filled in one transaction, so COPY can freeze its rows: who reads them first need not write.
 *
 * An incremental query shows the rows of the state at the end of its window that commits of the window
 * wrote, by _hoodie_commit_time. Where the way from the start is lost (archived, cleaned) all of
 * the state is read, and the rows are chosen in the same way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "apply/target.h"
#include "base/json.h"
#include "base/log.h"
#include "duck_job.h"
#include "protocol/copy_binary.h"
#include "relation.h"
#include "request.h"
#include "scan_columns.h"
#include "scan_partitions.h"
#include "scan_window.h"
#include "store.h"
#include "timeline.h"

#define SCAN_SQL_BYTES ((size_t)64 << 20)
#define SCAN_BUFFER_BYTES ((size_t)1 << 30)
#define SCAN_FLUSH_BYTES ((size_t)256 << 10)

struct scan {
    struct job *job;
    struct arena *a;
    const char *relid;        /* of the foreign table, as text */
    const char *after, *upto; /* the window; NULL: none, to the newest */
    const char *whole_key;    /* of the copy of all partitions */
    const char *key;          /* of the copy; differs when it has some of them */
    const char *said;         /* tells the statement from others; NULL: there is none */
    const char *checked;      /* time before the store was looked at */
    struct objstore *store;   /* owns */
    struct hudi_table table;
    struct hudi_plan plan;
    struct apply_target view; /* the columns that the foreign table declares */
    struct scan_needs needs;
    struct scan_conditions conditions;
    struct hudi_slices all; /* `plan.read` before partitions were taken out */
    struct columns columns;
    struct duck *duck; /* owns */
    struct scratch scratch;
    struct relation relation;
    const char *where; /* rows of the window; NULL: all */
    const char *name;  /* of the copy's table */
    struct buf rows;
    int64_t row_count, byte_count;
};

/* ---- what is to be read ---- */

static bool read_params(struct scan *s, struct err *err)
{
    const struct json_val *shown = json_find(s->job->params, "shown");
    const char *values[] = {s->job->task_id, json_as_text(json_find(s->job->params, "statement"))};
    struct pgresult *r;
    s->after = json_as_text(json_find(shown, "after"));
    s->upto = json_as_text(json_find(shown, "upto"));
    if (!request_source(s->job, s->a, &s->relid, err) ||
        !pgclient_query(s->job->db,
                        "SELECT copy_key, checked, said FROM pgveneer.open_hudi_scan($1, $2)", 2,
                        values, &r, err))
        return false;
    bool found = pgresult_rows(r) == 1 && pgresult_value(r, 0, 0) != NULL;
    bool said = found && pgresult_value(r, 0, 2) != NULL;
    s->whole_key = found ? arena_copy_cstr(s->a, pgresult_value(r, 0, 0)) : NULL;
    s->checked = found ? arena_copy_cstr(s->a, pgresult_value(r, 0, 1)) : NULL;
    s->said = said ? arena_copy_cstr(s->a, pgresult_value(r, 0, 2)) : NULL;
    pgresult_free(r);
    if (!found)
        return err_set(err, SQLSTATE_UNDEFINED_TABLE, "foreign table with OID %s does not exist",
                       s->relid);
    bool copied = s->whole_key != NULL && s->checked != NULL && (s->said != NULL || !said);
    return copied || err_no_memory(err);
}

static bool check_plan(const struct scan *s, struct err *err)
{
    if (s->plan.restoring) {
        err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE, "the Hudi table is being restored");
        return err_hint(err, "Try again when the restore is complete.");
    }
    if (s->upto != NULL && s->plan.to != NULL && scan_window_is_behind(s->plan.to, s->upto) &&
        s->table.layout == 1) {
        err_set(err, SQLSTATE_UNDEFINED_FILE, "the state of the Hudi table at %s is gone", s->upto);
        return err_detail(err, "Files that it needs were cleaned.");
    }
    return true;
}

/* Partitions in which no row meets the conditions are not read. */
static bool prune(struct scan *s, struct err *err)
{
    const char *kept;
    struct pgresult *r;
    s->key = s->whole_key;
    s->all = s->plan.read;
    if (!scan_partitions_prune(s->a, &s->table, &s->conditions, &s->plan.read, &kept, err))
        return false;
    const char *values[] = {s->whole_key, kept};
    if (kept == NULL)
        return true;
    if (!pgclient_query(s->job->db, "SELECT $1 || ':' || pg_catalog.md5($2)", 2, values, &r, err))
        return false;
    s->key = arena_copy_cstr(s->a, pgresult_value(r, 0, 0));
    pgresult_free(r);
    return s->key != NULL || err_no_memory(err);
}

static bool make_plan(struct scan *s, struct err *err)
{
    if (s->after != NULL && !s->table.has_meta_fields) {
        err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                "incremental queries need the meta fields of the Hudi table");
        return err_detail(err, "Property \"hoodie.populate.meta.fields\" is false.");
    }
    if (!hudi_plan_between(s->a, &s->table, s->after, s->upto, &s->plan, err))
        return false;
    if (s->plan.kind == HUDI_PLAN_RECONCILE && s->upto != NULL &&
        !hudi_plan_between(s->a, &s->table, NULL, s->upto, &s->plan, err))
        return false;
    return check_plan(s, err) && prune(s, err);
}

static bool open_table(struct scan *s, struct err *err)
{
    return hudi_store_open(s->a, s->job, s->relid, &s->store, err) &&
           hudi_table_open(s->a, s->store, &s->table, err) && make_plan(s, err);
}

/* ---- columns ---- */

static bool read_view(struct scan *s, struct err *err)
{
    uint32_t oid = (uint32_t)strtoul(s->relid, NULL, 10);
    const char *statement = json_as_text(json_find(s->job->params, "statement"));
    if (!apply_target_describe(s->a, s->job->db, oid, &s->view, err) ||
        !scan_columns_find(s->a, s->job, s->relid, statement, s->view.count, &s->needs, err))
        return false;
    s->conditions = (struct scan_conditions){.items = s->needs.conditions, .view = &s->view};
    if (json_as_bool(json_find(s->job->params, "rows"), false))
        s->conditions.count = s->needs.condition_count;
    return true;
}

static bool choose_columns(struct scan *s, struct err *err)
{
    size_t n = s->view.count;
    size_t *key = arena_alloc_array(s->a, n + 1, sizeof *key);
    s->columns = (struct columns){.commit_fields = s->table.has_meta_fields, .key = key};
    s->columns.items = arena_alloc_array(s->a, n + 1, sizeof *s->columns.items);
    if (key == NULL || s->columns.items == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct apply_column *c = &s->view.columns[i];
        if (s->needs.wanted != NULL && !s->needs.wanted[i])
            continue;
        for (size_t k = 0; k < s->table.record_key.count; k++) /* for error messages */
            if (strcasecmp(s->table.record_key.items[k], c->name) == 0)
                key[s->columns.key_count++] = s->columns.count;
        s->columns.items[s->columns.count++] =
            (struct column){.target = c, .place = i, .source = c->name};
    }
    return true;
}

static bool make_copy(struct scan *s, struct err *err)
{
    struct buf b;
    struct pgresult *r;
    buf_init(&b, SCAN_SQL_BYTES);
    for (size_t i = 0; i < s->columns.count; i++)
        buf_printf(&b, "%sc%zu %s", i == 0 ? "" : ", ", s->columns.items[i].place + 1,
                   s->columns.items[i].target->stage_type);
    const char *values[] = {s->relid, buf_cstr(&b)};
    bool ok = values[1] == NULL
                  ? err_no_memory(err)
                  : pgclient_query(s->job->db, "SELECT pgveneer.make_hudi_copy($1::oid, $2)", 2,
                                   values, &r, err);
    buf_fini(&b);
    if (!ok)
        return false;
    s->name = arena_copy_cstr(s->a, pgresult_value(r, 0, 0));
    pgresult_free(r);
    return s->name != NULL || err_no_memory(err);
}

/* ---- rows ---- */

static bool too_large(const struct scan *s, const char *limit, int64_t value, struct err *err)
{
    err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
            "foreign table %s has more than %lld %s to be read by a query", s->view.name,
            (long long)value, limit);
    return err_hint(err,
                    "Keep a table in step with it by hudi_sync_task_submit and query that, read a "
                    "smaller window, or raise the settings hudi_scan_max_rows and "
                    "hudi_scan_max_size of pgveneer.");
}

static bool check_size(const struct scan *s, struct err *err)
{
    const struct job_settings *limits = s->job->settings;
    if (limits->hudi_scan_max_rows > 0 && s->row_count > limits->hudi_scan_max_rows)
        return too_large(s, "rows", limits->hudi_scan_max_rows, err);
    if (limits->hudi_scan_max_bytes > 0 && s->byte_count > limits->hudi_scan_max_bytes)
        return too_large(s, "MB", limits->hudi_scan_max_bytes / 1000000, err);
    return true;
}

static bool flush(struct scan *s, struct err *err)
{
    if (s->rows.failed)
        return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "rows are too large to be sent");
    s->byte_count += (int64_t)buf_length(&s->rows);
    bool ok = pgclient_copy_put(s->job->db, buf_data(&s->rows), buf_length(&s->rows), err);
    buf_clear(&s->rows);
    return ok && check_size(s, err);
}

static bool send_chunks(struct scan *s, struct duck_result *r, struct err *err)
{
    struct encoder *e = NULL;
    const struct duck_chunk *chunk;
    bool ok = duck_next(r, &chunk, err);
    if (ok && chunk != NULL)
        ok = encoder_new(&s->columns, COLUMNS_LOAD, chunk, &e, err);
    while (ok && chunk != NULL) {
        s->row_count += (int64_t)chunk->rows;
        ok = encoder_put(e, chunk, &s->rows, err) &&
             (buf_length(&s->rows) < SCAN_FLUSH_BYTES || flush(s, err)) &&
             duck_next(r, &chunk, err);
    }
    encoder_free(e);
    return ok;
}

static bool put_query(struct scan *s, size_t group, struct buf *b, struct err *err)
{
    buf_append_cstr(b, "SELECT ");
    for (size_t i = 0; i < s->columns.count; i++)
        buf_printf(b, "%sc%zu", i == 0 ? "" : ", ", i);
    buf_append_cstr(b, " FROM (");
    enum columns_part part = s->where == NULL ? COLUMNS_LOAD : COLUMNS_ROW;
    if (!relation_put_group(b, &s->relation, group, part, err))
        return false;
    buf_printf(b, ") r%s%s", s->where == NULL ? "" : " WHERE ", s->where == NULL ? "" : s->where);
    return true;
}

static bool send_group(struct scan *s, size_t group, struct err *err)
{
    struct duck_result *r;
    struct buf b;
    buf_init(&b, SCAN_SQL_BYTES);
    bool ok = put_query(s, group, &b, err);
    const char *sql = ok ? buf_cstr(&b) : NULL;
    if (ok && sql == NULL)
        ok = err_no_memory(err);
    ok = ok && duck_query(s->duck, sql, &r, err);
    buf_fini(&b);
    if (!ok)
        return false;
    ok = send_chunks(s, r, err);
    duck_result_free(r);
    return ok;
}

static bool send_rows(struct scan *s, struct err *err)
{
    bool ok = true;
    copy_put_header(&s->rows);
    for (size_t i = 0; ok && i < s->relation.count; i++)
        ok = send_group(s, i, err);
    copy_put_trailer(&s->rows);
    return ok && flush(s, err);
}

static bool fill_copy(struct scan *s, struct err *err)
{
    int64_t rows;
    char *sql = arena_printf(s->a, "COPY pgveneer.%s FROM STDIN (FORMAT binary, FREEZE)", s->name);
    if (sql == NULL)
        return err_no_memory(err);
    if (!pgclient_copy_begin(s->job->db, sql, err))
        return false;
    if (!send_rows(s, err)) {
        pgclient_copy_abort(s->job->db, "the Hudi table could not be read");
        return false;
    }
    return pgclient_copy_end(s->job->db, &rows, err);
}

/* ---- the copy and its row ---- */

static const char *state_of(struct scan *s)
{
    return s->plan.to == NULL ? "" : arena_printf(s->a, "%s/%s", s->plan.to, s->plan.to_completed);
}

static bool check_one(struct scan *s, const char *key, bool *fresh, struct err *err)
{
    const char *needed = NULL;
    struct pgresult *r;
    if (!scan_columns_write(s->a, s->needs.wanted, s->view.count, &needed, err))
        return false;
    const char *values[] = {key, state_of(s), s->checked, needed, s->said};
    if (!pgclient_query(s->job->db,
                        "SELECT pgveneer.check_hudi_copy($1, $2, $3::pg_catalog.timestamptz,"
                        "                                $4::pg_catalog.int2[], $5)",
                        ARRAY_LEN(values), values, &r, err))
        return false;
    *fresh = pgresult_bool(r, 0, 0);
    pgresult_free(r);
    return true;
}

static bool check_copy(struct scan *s, bool *fresh, struct err *err)
{
    return check_one(s, s->whole_key, fresh, err) &&
           (*fresh || s->key == s->whole_key || check_one(s, s->key, fresh, err));
}

/* Waits for others who make the copy. behind: they know more than the plan does. */
static bool lock_copy(struct scan *s, bool *behind, struct err *err)
{
    const char *values[] = {s->key, s->checked};
    struct pgresult *r;
    if (!pgclient_query(s->job->db,
                        "SELECT is_behind, columns, pg_catalog.clock_timestamp()"
                        "  FROM pgveneer.lock_hudi_copy($1, $2::pg_catalog.timestamptz)",
                        2, values, &r, err))
        return false;
    *behind = pgresult_bool(r, 0, 0);
    scan_columns_add(s->needs.wanted, s->view.count, pgresult_value(r, 0, 1));
    if (*behind)
        s->checked = arena_copy_cstr(s->a, pgresult_value(r, 0, 2));
    pgresult_free(r);
    return s->checked != NULL || err_no_memory(err);
}

static bool put_copy(struct scan *s, struct err *err)
{
    char rows[24], bytes[24], every[24], files[24];
    const char *with = NULL;
    int64_t keep = s->job->settings->hudi_scan_keep_s;
    snprintf(rows, sizeof rows, "%lld", (long long)s->row_count);
    snprintf(bytes, sizeof bytes, "%lld", (long long)s->byte_count);
    snprintf(every, sizeof every, "%lld s", (long long)(keep < 5 ? keep : keep / 2 + 1));
    snprintf(files, sizeof files, "%zu", objstore_fetch_count(s->store));
    if (!scan_columns_write(s->a, s->needs.wanted, s->view.count, &with, err))
        return false;
    const char *values[] = {s->key,     s->relid, s->name, state_of(s), rows, bytes,
                            s->checked, every,    with,    s->said,     files};
    return pgclient_query(s->job->db,
                          "SELECT pgveneer.put_hudi_copy($1, $2::oid, $3, $4, $5::bigint,"
                          "                              $6::bigint, $7::timestamptz, $8::interval,"
                          "                              $9::int2[], $10, $11::bigint)",
                          ARRAY_LEN(values), values, NULL, err);
}

static bool open_relation(struct scan *s, struct err *err)
{
    return relation_open(s->a, s->duck, &s->table, &s->columns, &s->plan.read, &s->relation, err);
}

/* Once the files are open, their types may say that folders must not be compared. */
static bool open_rows(struct scan *s, struct err *err)
{
    if (!open_relation(s, err))
        return false;
    if (s->key == s->whole_key || scan_partitions_are_right(&s->conditions, &s->relation))
        return true;
    s->conditions.count = 0;
    s->key = s->whole_key;
    s->plan.read = s->all;
    return open_relation(s, err);
}

static bool load(struct scan *s, struct err *err)
{
    job_phase(s->job, "read");
    if (!choose_columns(s, err) ||
        !scan_window_write(s->a, &s->table, &s->plan, s->after, &s->where, err) ||
        !duck_job_open(s->job, s->a, &s->scratch, &s->duck, err) || !open_rows(s, err))
        return false;
    job_phase(s->job, "stage");
    return make_copy(s, err) && fill_copy(s, err) && put_copy(s, err);
}

/* Those that are being read stay until the next time. */
static bool sweep(struct job *job, const char *task, struct err *err)
{
    char keep[24];
    const char *values[] = {keep, task};
    snprintf(keep, sizeof keep, "%lld s", (long long)job->settings->hudi_scan_keep_s);
    return pgclient_query(job->db, "SELECT pgveneer.sweep_hudi_copies($1::interval, $2)", 2, values,
                          NULL, err);
}

/* With the lock; in a transaction. */
static bool make_alone(struct scan *s, struct err *err)
{
    bool behind, fresh;
    if (!lock_copy(s, &behind, err) || (behind && !make_plan(s, err)) ||
        !check_copy(s, &fresh, err))
        return false;
    return fresh || load(s, err);
}

static bool bring(struct scan *s, struct err *err)
{
    bool fresh;
    if (!read_params(s, err) || !read_view(s, err) || !open_table(s, err) ||
        !check_copy(s, &fresh, err))
        return false;
    return fresh || (job_begin(s->job, err) && make_alone(s, err) && job_commit_step(s->job, err) &&
                     sweep(s->job, NULL, err));
}

bool request_scan(struct job *job, struct arena *a, struct buf *answer, struct err *err)
{
    struct scan s = {.job = job, .a = a};
    buf_init(&s.rows, SCAN_BUFFER_BYTES);
    bool ok = bring(&s, err);
    duck_close(s.duck);
    scratch_close(&s.scratch);
    objstore_close(s.store);
    buf_fini(&s.rows);
    buf_append_cstr(answer, "{}");
    return ok;
}

bool request_sweep(struct job *job, struct arena *a, struct buf *answer, struct err *err)
{
    (void)a;
    buf_append_cstr(answer, "{}");
    return sweep(job, job->task_id, err);
}
