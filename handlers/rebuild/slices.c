/* The slices of the first copy, several at a time. A slice is a transaction of its own and done with it; so
 * after a crash only those that were under way are copied again, one for each connection at most.
 *
 *   list of what is not done ── connections take the next number each ── all taken: end
 *                                   │ the table was written anew (TRUNCATE, VACUUM FULL): all end,
 *                                   │   the copy is emptied, the slices are cut again
 *                                   └ a value has no partition: all end, it is made, and they go on
 *
 * What changes the copy's definition is done by one connection while the others rest. */
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>

#include "copy.h"
#include "pool.h"

struct slices {
    const char **numbers; /* not done yet; in the arena of the run */
    size_t count, all;
    atomic_size_t next, done; /* next: of numbers; done: of all */
    atomic_bool moved;        /* the table has another file than its slices */
};

static bool read_slices(struct rebuild *r, struct slices *s, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query(
            r,
            "SELECT slice, (SELECT count(*) FROM hologres.rebuild_slice WHERE query_id = $1)"
            "  FROM hologres.rebuild_slice WHERE query_id = $1 AND NOT done ORDER BY slice",
            &res, err))
        return false;
    s->count = pgresult_rows(res);
    s->all = (size_t)pgresult_int(res, 0, 1, 0);
    s->numbers = arena_alloc_array(&r->a, s->count, sizeof *s->numbers);
    bool ok = s->count == 0 || s->numbers != NULL;
    for (size_t i = 0; ok && i < s->count; i++)
        ok = (s->numbers[i] = arena_copy_cstr(&r->a, pgresult_value(res, i, 0))) != NULL;
    pgresult_free(res);
    atomic_init(&s->next, 0);
    atomic_init(&s->done, s->all - s->count);
    atomic_init(&s->moved, false);
    return ok || err_no_memory(err);
}

/* Locks the table against being written anew, until the end of the transaction. */
static bool hold_file(struct rebuild *r, bool *moved, struct err *err)
{
    struct pgresult *res;
    char *lock = arena_printf(&r->a, "LOCK TABLE %s IN ACCESS SHARE MODE", r->name);
    if (lock == NULL)
        return err_no_memory(err);
    if (!pgclient_run(r->job->db, lock, err) ||
        !rebuild_query(r, "SELECT hologres.is_moved($1)", &res, err))
        return false;
    *moved = pgresult_bool(res, 0, 0);
    pgresult_free(res);
    return true;
}

/* In the transaction at hand. */
static bool copy_rows(struct rebuild *r, const char *number, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query2(r, "SELECT hologres.slice_body($1, $2::integer)", number, &res, err))
        return false;
    bool ok = owner_prepare(r, 0, r->owner, pgresult_value(res, 0, 0), err);
    pgresult_free(res);
    return ok && owner_run(r, 0, err) && owner_drop(r, 0, err);
}

/* *first false: it is done already. A commit whose answer was lost with its connection may be under way
 * while another one copies the slice again. */
static bool mark_done(struct rebuild *r, const char *number, bool *first, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query2(r,
                        "UPDATE hologres.rebuild_slice SET done = true"
                        " WHERE query_id = $1 AND slice = $2::integer AND NOT done",
                        number, &res, err))
        return false;
    *first = pgresult_affected(res) == 1;
    pgresult_free(res);
    return true;
}

static bool tell_progress(struct rebuild *r, struct slices *s, struct err *err)
{
    char message[64];
    snprintf(message, sizeof message, "copied %zu of %zu slices", atomic_fetch_add(&s->done, 1) + 1,
             s->all);
    return rebuild_query2(r,
                          "UPDATE hologres.rebuild_step SET message = $2"
                          " WHERE query_id = $1 AND step = 'insert'",
                          message, NULL, err);
}

static bool copy_slice(struct rebuild *r, struct slices *s, const char *number, struct err *err)
{
    bool moved = false, first = false;
    if (!job_begin(r->job, err) || !hold_file(r, &moved, err))
        return false;
    if (moved)
        atomic_store(&s->moved, true);
    else if (!copy_rows(r, number, err) || !mark_done(r, number, &first, err))
        return false;
    if (first)
        return tell_progress(r, s, err) && job_note_progress(r->job, err) &&
               job_commit_step(r->job, err);
    job_rollback(r->job);
    return true;
}

static bool take_slices(struct rebuild *r, struct pool *p, void *arg, struct err *err)
{
    struct slices *s = arg;
    bool rested;
    while (!atomic_load(&s->moved) && !pool_is_ending(p)) {
        if (!throttle_rest(r, &rested, err))
            return false;
        if (rested)
            continue;
        size_t i = atomic_fetch_add(&s->next, 1);
        if (i >= s->count)
            return true;
        if (!copy_slice(r, s, s->numbers[i], err))
            return false;
    }
    return true;
}

/* Begins anew with the table as it is now. */
static bool cut_again(struct rebuild *r, struct err *err)
{
    char *lock = arena_printf(&r->a, "LOCK TABLE %s IN ACCESS SHARE MODE", r->name);
    char *empty = arena_printf(&r->a, "TRUNCATE %s", r->new_name);
    if (lock == NULL || empty == NULL)
        return err_no_memory(err);
    return job_begin(r->job, err) && pgclient_run(r->job->db, lock, err) &&
           pgclient_run(r->job->db, empty, err) &&
           rebuild_query(r, "SELECT hologres.cut_slices($1)", NULL, err) &&
           job_commit_step(r->job, err);
}

bool slices_copy(struct rebuild *r, struct pool *p, struct err *err)
{
    unsigned surprises = 0;
    job_phase(r->job, "slices");
    for (;;) {
        struct slices s;
        if (!read_slices(r, &s, err))
            return false;
        if (s.count == 0)
            return true;
        if (!pool_run(p, s.count, take_slices, &s, err) && !copy_add_partition(r, &surprises, err))
            return false;
        if (atomic_load(&s.moved) && !cut_again(r, err))
            return false;
    }
}
