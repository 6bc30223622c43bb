/* The indexes of the copy, several at a time, the one with the most work first. Building one keeps no other from
 * being built; taking it as a constraint, and what builds its index itself (EXCLUDE, a key of a partitioned
 * table), asks for the table alone: that comes behind, one after the other.
 *
 * An index that is there is complete, and its constraint may be missing; so a run that goes on finds what is
 * left by looking at the copy. */
#include <stdatomic.h>
#include <stdio.h>

#include "copy.h"
#include "pool.h"

struct indexes {
    const struct pgresult *list; /* definition, is it alone, constraint */
    size_t builders;             /* that work at the same time */
    atomic_size_t next;
};

/* The processes that one build may use are shared among those that go on, unless the author says otherwise. */
static bool share_processes(struct rebuild *r, size_t builders, struct err *err)
{
    char count[24];
    const char *const values[] = {count};
    snprintf(count, sizeof count, "%zu", builders);
    return builders < 2 ||
           pgclient_query(r->job->db,
                          "SELECT pg_catalog.set_config(n, (pg_catalog.current_setting(n)::integer"
                          "       / $1::integer)::text, true)"
                          "  FROM (VALUES ('max_parallel_maintenance_workers')) AS v(n)",
                          1, values, NULL, err);
}

/* Statements of ours; expressions in them are run by PostgreSQL with the rights of the table's owner. */
static bool build(struct rebuild *r, const char *statement, size_t builders, struct err *err)
{
    return job_begin(r->job, err) && share_processes(r, builders, err) &&
           copy_run_each(r, "SELECT hologres.setting_statements($1, true)", err) &&
           pgclient_run(r->job->db, statement, err) && job_note_progress(r->job, err) &&
           job_commit_step(r->job, err);
}

static bool take_indexes(struct rebuild *r, struct pool *p, void *arg, struct err *err)
{
    struct indexes *x = arg;
    size_t count = pgresult_rows(x->list);
    bool rested;
    while (!pool_is_ending(p)) {
        if (!throttle_rest(r, &rested, err))
            return false;
        if (rested)
            continue;
        size_t i = atomic_fetch_add(&x->next, 1);
        if (i >= count)
            return true;
        const char *definition = pgresult_value(x->list, i, 0);
        if (definition == NULL || pgresult_bool(x->list, i, 1))
            continue;
        if (!step_tell(r, err, "builds index %zu of %zu", i + 1, count) ||
            !build(r, definition, x->builders, err))
            return false;
    }
    return true;
}

static bool build_rest(struct rebuild *r, const struct pgresult *list, struct err *err)
{
    for (size_t i = 0; i < pgresult_rows(list); i++) {
        const char *definition = pgresult_value(list, i, 0);
        const char *constraint = pgresult_value(list, i, 2);
        if (definition != NULL && pgresult_bool(list, i, 1) &&
            (!step_tell(r, err, "builds index %zu of %zu", i + 1, pgresult_rows(list)) ||
             !build(r, definition, 1, err)))
            return false;
        if (constraint != NULL && !build(r, constraint, 1, err))
            return false;
    }
    return true;
}

bool indexes_build(struct rebuild *r, struct pool *p, struct err *err)
{
    struct indexes x = {0};
    struct pgresult *list;
    job_phase(r->job, "indexes");
    if (!rebuild_query(r,
                       "SELECT definition, is_alone, constraint_statement"
                       "  FROM hologres.indexes_to_build($1)",
                       &list, err))
        return false;
    x.list = list;
    x.builders = pgresult_rows(list) < r->workers ? pgresult_rows(list) : r->workers;
    bool ok = pool_run(p, pgresult_rows(list), take_indexes, &x, err) && build_rest(r, list, err);
    pgresult_free(list);
    return ok;
}
