/* What the commits behind the position changed, by comparing states of the touched file groups.
 *
 *   read    new slices of touched groups        before  old slices of groups that may have lost keys
 *   rest    all other slices of the snapshot; opened only when a key may have to be deleted
 *
 * Upserts are the rows of `read` that a commit of the window wrote. Three tables of keys, in DuckDB,
 * take care of what that misses; as a rule they are empty:
 *
 *   gone      keys of which a row of `before` is no longer in `read`
 *   vanished  those of them with no row in `read` at all: deleted, unless `rest` has the key
 *   again     keys that changed and have another, older row in `read`: a Hudi table may hold a key
 *             twice, and the older row may be the one that wins, now or since the other one is gone
 *
 * Where meta fields are off no row tells its commit, and where a commit changed columns commit times do
 * not tell all (schema_change.c): all columns are compared, and the rows of every key that differs
 * between the states are upserts.
 *
 * Keys are compared as the target's columns see them, not by _hoodie_record_key, whose spelling
 * depends on the writer. A key that changes in a touched group while an untouched group holds it
 * too (the same key in two partitions) takes the touched row: the other group is not opened. */
#include "sync.h"

#define DELTA_SQL_BYTES ((size_t)256 << 20)

struct delta {
    struct sync *s;
    struct relation read, before, rest;
    bool times_tell;               /* commit times say which rows changed */
    int64_t vanished, again, held; /* rows of these tables */
    struct buf sql;                /* of the statement being built */
    bool ok;                       /* no error while it was built */
};

/* Building blocks. A failed piece is remembered; run() tells. */

static void put(struct delta *d, const char *text)
{
    buf_append_cstr(&d->sql, text);
}

/* "r.c3, r.c0": the key */
static void put_key(struct delta *d, const char *alias)
{
    const struct columns *c = &d->s->columns;
    for (size_t i = 0; i < c->key_count; i++)
        buf_printf(&d->sql, "%s%s.c%zu", i == 0 ? "" : ", ", alias, c->key[i]);
}

static void put_key_match(struct delta *d, const char *a, const char *b)
{
    const struct columns *c = &d->s->columns;
    for (size_t i = 0; i < c->key_count; i++)
        buf_printf(&d->sql, "%s%s.c%zu = %s.c%zu", i == 0 ? "" : " AND ", a, c->key[i], b,
                   c->key[i]);
}

static void put_relation(struct delta *d, const struct relation *r, enum columns_part part,
                         struct err *err)
{
    if (d->ok)
        d->ok = relation_put(&d->sql, r, part, err);
}

/* ct IN (commits of the window) */
static void put_window(struct buf *b, const struct hudi_plan *plan)
{
    buf_append_cstr(b, "ct IN (");
    for (size_t i = 0; i < plan->commit_times.count; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        duck_put_text(b, plan->commit_times.items[i]);
    }
    buf_append_cstr(b, ")");
}

static bool run(struct delta *d, struct err *err)
{
    const char *sql = buf_cstr(&d->sql);
    bool ok = d->ok && (sql == NULL ? err_no_memory(err) : duck_run(d->s->duck, sql, err));
    buf_clear(&d->sql);
    return ok;
}

static bool count(struct delta *d, const char *table, int64_t *out, struct err *err)
{
    char *sql = arena_printf(&d->s->a, "SELECT count(*) FROM %s", table);
    return sql == NULL ? err_no_memory(err) : duck_int(d->s->duck, sql, out, err);
}

/* The tables of keys. */

/* A side without files has no types to compare with, hence the short ways below. */

static void put_all_keys(struct delta *d, const char *table, const struct relation *r,
                         const char *where, struct err *err)
{
    buf_printf(&d->sql, "CREATE TABLE %s AS SELECT DISTINCT ", table);
    put_key(d, "x");
    put(d, " FROM ");
    put_relation(d, r, COLUMNS_KEY, err);
    buf_printf(&d->sql, " x %s", where);
}

static bool find_gone(struct delta *d, struct err *err)
{
    enum columns_part part = d->times_tell ? COLUMNS_KEY : COLUMNS_ROW;
    if (d->before.count == 0 || d->read.count == 0) {
        bool none = d->times_tell && d->before.count == 0;
        put_all_keys(d, "gone", d->before.count == 0 ? &d->read : &d->before,
                     none ? "WHERE false" : "", err);
        return run(d, err);
    }
    put(d, "CREATE TABLE gone AS SELECT DISTINCT ");
    put_key(d, "x");
    put(d, " FROM ((FROM ");
    put_relation(d, &d->before, part, err);
    put(d, " EXCEPT FROM ");
    put_relation(d, &d->read, part, err);
    put(d, ")");
    if (!d->times_tell) { /* what is new or different counts as well */
        put(d, " UNION ALL (FROM ");
        put_relation(d, &d->read, part, err);
        put(d, " EXCEPT FROM ");
        put_relation(d, &d->before, part, err);
        put(d, ")");
    }
    put(d, ") x");
    return run(d, err);
}

static bool find_vanished(struct delta *d, struct err *err)
{
    put(d, "CREATE TABLE vanished AS FROM gone g");
    if (d->read.count > 0) {
        put(d, " ANTI JOIN ");
        put_relation(d, &d->read, COLUMNS_KEY, err);
        put(d, " r ON ");
        put_key_match(d, "g", "r");
    }
    return run(d, err) && count(d, "vanished", &d->vanished, err);
}

static bool find_again(struct delta *d, struct err *err)
{
    if (d->read.count == 0 || !d->times_tell)
        return true;
    put(d, "CREATE TABLE again AS SELECT DISTINCT ");
    put_key(d, "r");
    put(d, " FROM (FROM ");
    put_relation(d, &d->read, COLUMNS_KEY, err);
    put(d, " WHERE (");
    put_window(&d->sql, &d->s->plan);
    put(d, ") IS NOT TRUE) r SEMI JOIN (SELECT ");
    put_key(d, "x");
    put(d, " FROM ");
    put_relation(d, &d->read, COLUMNS_KEY, err);
    put(d, " x WHERE ");
    put_window(&d->sql, &d->s->plan);
    put(d, " UNION ALL FROM gone) w ON ");
    put_key_match(d, "r", "w");
    return run(d, err) && count(d, "again", &d->again, err);
}

static bool find_held(struct delta *d, struct err *err)
{
    if (d->vanished == 0)
        return true;
    if (!sync_open_relation(d->s, &d->s->plan.rest, &d->rest, err))
        return false;
    if (d->rest.count == 0) {
        put(d, "CREATE TABLE held AS FROM vanished WHERE false");
        return run(d, err);
    }
    put(d, "CREATE TABLE held AS SELECT DISTINCT ");
    put_key(d, "r");
    put(d, " FROM ");
    put_relation(d, &d->rest, COLUMNS_KEY, err);
    put(d, " r SEMI JOIN vanished v ON ");
    put_key_match(d, "r", "v");
    return run(d, err) && count(d, "held", &d->held, err);
}

static bool compare(struct delta *d, struct err *err)
{
    if (!sync_open_relation(d->s, &d->s->plan.read, &d->read, err) ||
        !sync_open_relation(d->s, &d->s->plan.before, &d->before, err))
        return false;
    return sync_check_ordering(d->s, &d->read, err) && find_gone(d, err) && find_again(d, err) &&
           find_vanished(d, err) && find_held(d, err);
}

/* Sending. */

static bool send(struct delta *d, const struct relation *r, struct err *err)
{
    const char *where = buf_cstr(&d->sql);
    bool ok =
        where == NULL ? err_no_memory(err) : sync_send_relation(d->s, r, COLUMNS_ROW, where, err);
    buf_clear(&d->sql);
    return ok;
}

static void put_key_in(struct delta *d, const char *table)
{
    put(d, "(");
    put_key(d, "r");
    put(d, ") IN (SELECT (");
    put_key(d, table);
    buf_printf(&d->sql, ") FROM %s)", table);
}

static bool send_upserts(struct delta *d, struct err *err)
{
    if (!d->times_tell) {
        put_key_in(d, "gone");
        return send(d, &d->read, err);
    }
    put_window(&d->sql, &d->s->plan);
    if (d->again > 0) {
        put(d, " OR ");
        put_key_in(d, "again");
    }
    return send(d, &d->read, err);
}

static bool send_held(struct delta *d, struct err *err)
{
    if (d->held == 0)
        return true;
    put_key_in(d, "held");
    return send(d, &d->rest, err);
}

static bool stage_rows(struct delta *d, int64_t *rows, struct err *err)
{
    if (!apply_begin(d->s->apply, APPLY_ROWS, err))
        return false;
    if (send_upserts(d, err) && send_held(d, err))
        return apply_end(d->s->apply, rows, err);
    apply_abort(d->s->apply, "the source could not be read");
    return false;
}

static bool send_deletes(struct delta *d, struct err *err)
{
    put(d, "SELECT ");
    put_key(d, "v");
    put(d, " FROM vanished v ANTI JOIN held h ON ");
    put_key_match(d, "v", "h");
    const char *sql = buf_cstr(&d->sql);
    bool ok = sql == NULL ? err_no_memory(err) : sync_send_query(d->s, sql, COLUMNS_KEY, err);
    buf_clear(&d->sql);
    return ok;
}

static bool stage_deletes(struct delta *d, struct err *err)
{
    int64_t rows;
    if (d->vanished == d->held)
        return true;
    if (!apply_begin(d->s->apply, APPLY_KEYS, err))
        return false;
    if (send_deletes(d, err))
        return apply_end(d->s->apply, &rows, err);
    apply_abort(d->s->apply, "the source could not be read");
    return false;
}

static bool run_delta(struct delta *d, struct err *err)
{
    struct sync *s = d->s;
    struct apply_action action = {.delete_staged = true};
    struct apply_counts counts;
    int64_t rows;
    job_phase(s->job, "read");
    if (!compare(d, err) || !job_begin(s->job, err))
        return false;
    job_phase(s->job, "stage");
    if (!stage_rows(d, &rows, err) || !stage_deletes(d, err))
        return false;
    job_phase(s->job, "apply");
    return sync_lock_position(s, err) && apply_write(s->apply, &action, &counts, err) &&
           sync_write_position(s, s->position.filled_by_sync, err) &&
           sync_commit(s, counts.upserted + counts.deleted, err);
}

bool sync_changes(struct sync *s, struct err *err)
{
    struct delta d = {.s = s, .ok = true, .times_tell = s->plan.commit_times.count > 0};
    buf_init(&d.sql, DELTA_SQL_BYTES);
    bool ok = run_delta(&d, err);
    buf_fini(&d.sql);
    return ok;
}
