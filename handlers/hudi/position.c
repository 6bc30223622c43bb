/* Where a target stands: its row of hudi.hudi_sync_state, and the end of a run.
 *
 * The row moves in the transaction of the data, so data and position agree at any moment. It is read
 * at the start without a lock, since a run may take long and hudi_set_sync_commit must not wait for
 * it; before anything is written it is locked and compared. */
#include <stdio.h>
#include <string.h>

#include "sync.h"

#define POSITION_TEXT_BYTES ((size_t)1 << 20)

static const char exists_query[] =
    "SELECT pg_catalog.to_regclass('hudi.hudi_sync_state') IS NOT NULL";
static const char read_query[] =
    "SELECT latest_commit, latest_completed, filled_by_sync FROM hudi.hudi_sync_state"
    " WHERE target_oid = $1::pg_catalog.oid AND source_oid = $2::pg_catalog.oid";
static const char lock_query[] =
    "SELECT latest_commit, latest_completed, filled_by_sync FROM hudi.hudi_sync_state"
    " WHERE target_oid = $1::pg_catalog.oid AND source_oid = $2::pg_catalog.oid FOR UPDATE";
static const char write_query[] =
    "INSERT INTO hudi.hudi_sync_state AS p (target_oid, source_oid, target_tbl, source_ftbl,"
    "       payload_type, precombine_key, latest_commit, latest_completed, filled_by_sync)"
    " VALUES ($1::pg_catalog.oid, $2::pg_catalog.oid, $3, $4, $5, $6, $7, $8,"
    "         $9::pg_catalog.bool)"
    " ON CONFLICT (target_oid, source_oid) DO UPDATE"
    "   SET payload_type = excluded.payload_type, precombine_key = excluded.precombine_key,"
    "       latest_commit = excluded.latest_commit, latest_completed = excluded.latest_completed,"
    "       filled_by_sync = excluded.filled_by_sync"
    " WHERE p.latest_commit IS NOT DISTINCT FROM $10";
static const char detail_query[] =
    "SELECT pg_catalog.jsonb_build_object('target_tbl', $1::pg_catalog.text,"
    "       'source_ftbl', $2::pg_catalog.text, 'latest_commit', $3::pg_catalog.text,"
    "       'hudi_flushdisk_time', pg_catalog.to_char(pg_catalog.timezone('UTC',"
    "           pg_catalog.to_timestamp($4::pg_catalog.float8 / 1000)),"
    "           'YYYY-MM-DD HH24:MI:SS.MS') || '+00')::pg_catalog.text";

static bool copy_text(struct sync *s, const char *text, const char **out, struct err *err)
{
    *out = text == NULL || text[0] == 0 ? NULL : arena_copy_cstr(&s->a, text);
    return text == NULL || text[0] == 0 || *out != NULL || err_no_memory(err);
}

static bool take(struct sync *s, const struct pgresult *r, struct sync_position *p, struct err *err)
{
    *p = (struct sync_position){.exists = pgresult_rows(r) > 0};
    if (!p->exists)
        return true;
    p->filled_by_sync = pgresult_bool(r, 0, 2);
    return copy_text(s, pgresult_value(r, 0, 0), &p->commit, err) &&
           copy_text(s, pgresult_value(r, 0, 1), &p->completed, err);
}

static bool ask(struct sync *s, const char *sql, struct sync_position *p, struct err *err)
{
    const char *values[] = {s->target_oid, s->source_oid};
    struct pgresult *r;
    if (!pgclient_query(s->db, sql, 2, values, &r, err))
        return false;
    bool ok = take(s, r, p, err);
    pgresult_free(r);
    return ok;
}

bool sync_read_position(struct sync *s, struct err *err)
{
    struct pgresult *r;
    if (!pgclient_query(s->db, exists_query, 0, NULL, &r, err))
        return false;
    bool exists = pgresult_bool(r, 0, 0);
    pgresult_free(r);
    if (exists)
        return ask(s, read_query, &s->position, err);
    s->misconfigured = true;
    err_set(err, SQLSTATE_UNDEFINED_TABLE, "relation \"hudi.hudi_sync_state\" does not exist");
    return err_hint(err, "An administrator has to call create_hudi_sync_table() once in this "
                         "database.");
}

static bool moved(struct err *err)
{
    return err_set(err, SQLSTATE_SERIALIZATION_FAILURE,
                   "the position of the synchronization was moved while it ran");
}

static bool same(const char *a, const char *b)
{
    return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

bool sync_lock_position(struct sync *s, struct err *err)
{
    struct sync_position now;
    if (!ask(s, lock_query, &now, err))
        return false;
    bool unmoved = now.exists == s->position.exists && same(now.commit, s->position.commit) &&
                   same(now.completed, s->position.completed);
    return unmoved || moved(err);
}

/* Fields that order rows, as the properties list them. */
static const char *precombine_key(struct sync *s)
{
    struct buf b;
    buf_init(&b, POSITION_TEXT_BYTES);
    for (size_t i = 0; i < s->table.ordering.count; i++)
        buf_printf(&b, "%s%s", i == 0 ? "" : ",", s->table.ordering.items[i]);
    const char *text = s->table.ordering.count == 0 ? NULL : buf_cstr(&b);
    text = text == NULL ? NULL : arena_copy_cstr(&s->a, text);
    buf_fini(&b);
    return text;
}

bool sync_write_position(struct sync *s, bool filled_by_sync, struct err *err)
{
    const char *values[] = {
        s->target_oid,     s->source_oid,          s->target.name,
        s->source_name,    s->table.payload_class, precombine_key(s),
        s->plan.to,        s->plan.to_completed,   filled_by_sync ? "true" : "false",
        s->position.commit};
    struct pgresult *r;
    if (!pgclient_query(s->db, write_query, ARRAY_LEN(values), values, &r, err))
        return false;
    int64_t written = pgresult_affected(r);
    pgresult_free(r);
    return written == 1 || moved(err);
}

bool sync_commit(struct sync *s, int64_t rows, struct err *err)
{
    char flushed[24];
    const char *values[] = {s->target.name, s->source_name, s->plan.to, flushed};
    struct pgresult *r;
    snprintf(flushed, sizeof flushed, "%lld", (long long)s->plan.flushed_ms);
    job_phase(s->job, "commit");
    if (!pgclient_query(s->db, detail_query, ARRAY_LEN(values), values, &r, err))
        return false;
    bool ok = job_commit(s->job, rows, pgresult_value(r, 0, 0), err);
    if (ok)
        s->rows = rows;
    pgresult_free(r);
    return ok;
}
