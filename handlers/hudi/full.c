/* The whole snapshot: a first run, or a comparison when the way from the position is lost.
 *
 * An empty target whose definition runs nothing of a user is loaded directly. If the Hudi table holds
 * a key twice, which is legal there, the load fails on the primary key, and the rows go through
 * staging, where one of them is chosen. */
#include <string.h>

#include "sync.h"

static bool open_snapshot(struct sync *s, struct relation *r, struct err *err)
{
    job_phase(s->job, "read");
    return sync_open_relation(s, &s->plan.read, r, err) && sync_check_ordering(s, r, err) &&
           job_begin(s->job, err);
}

static bool send(struct sync *s, const struct relation *r, enum apply_stream stream, int64_t *rows,
                 struct err *err)
{
    enum columns_part part = stream == APPLY_DIRECT ? COLUMNS_LOAD : COLUMNS_ROW;
    if (!apply_begin(s->apply, stream, err))
        return false;
    if (sync_send_relation(s, r, part, NULL, err))
        return apply_end(s->apply, rows, err);
    apply_abort(s->apply, "the source could not be read");
    return false;
}

/* *loaded stays false, and the transaction as it was, when a key came twice. */
static bool load(struct sync *s, const struct relation *r, int64_t *rows, bool *loaded,
                 struct err *err)
{
    *loaded = false;
    job_phase(s->job, "apply");
    if (!pgclient_run(s->db, "SAVEPOINT pgveneer_load", err))
        return false;
    if (send(s, r, APPLY_DIRECT, rows, err)) {
        *loaded = true;
        return pgclient_run(s->db, "RELEASE SAVEPOINT pgveneer_load", err);
    }
    if (strcmp(err->sqlstate, SQLSTATE_UNIQUE_VIOLATION) != 0)
        return false;
    apply_abort(s->apply, "a key came twice");
    return pgclient_run(s->db, "ROLLBACK TO SAVEPOINT pgveneer_load", err);
}

static bool finish(struct sync *s, bool filled, int64_t rows, struct err *err)
{
    return sync_write_position(s, filled, err) && sync_commit(s, rows, err);
}

static bool stage_and_write(struct sync *s, const struct relation *r,
                            const struct apply_action *action, struct apply_counts *counts,
                            struct err *err)
{
    int64_t staged;
    job_phase(s->job, "stage");
    if (!send(s, r, APPLY_ROWS, &staged, err))
        return false;
    job_phase(s->job, "apply");
    return sync_lock_position(s, err) && apply_write(s->apply, action, counts, err);
}

bool sync_full(struct sync *s, struct err *err)
{
    struct relation r;
    struct apply_counts counts = {0};
    struct apply_action upsert = {0};
    bool empty, plain, loaded = false;
    if (!open_snapshot(s, &r, err) || !apply_is_empty(s->apply, &empty, err) ||
        !apply_target_is_plain(s->db, &s->target, &plain, err))
        return false;
    if (empty && plain && !load(s, &r, &counts.upserted, &loaded, err))
        return false;
    if (loaded && !sync_lock_position(s, err))
        return false;
    upsert.into_empty = empty;
    if (!loaded && !stage_and_write(s, &r, &upsert, &counts, err))
        return false;
    if (!empty)
        sync_note(s, "NOTICE: the target was not empty: rows that Hudi does not know were kept");
    return finish(s, empty, counts.upserted, err);
}

bool sync_reconcile(struct sync *s, struct err *err)
{
    struct relation r;
    struct apply_counts counts;
    struct apply_action action = {.only_differing = true,
                                  .delete_missing = s->position.filled_by_sync};
    if (!open_snapshot(s, &r, err) || !stage_and_write(s, &r, &action, &counts, err))
        return false;
    sync_note(s, "NOTICE: full comparison: %s%s",
              s->plan.reason == NULL ? "the position is lost" : s->plan.reason,
              action.delete_missing ? "" : "; rows that Hudi does not know were kept");
    return finish(s, s->position.filled_by_sync, counts.upserted + counts.deleted, err);
}
