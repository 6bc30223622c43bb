/* What a worker asks of its databases. Every statement is quick; a connection that gives no answer
 * within five seconds counts as lost and is opened again at the next turn, so that one database
 * cannot hold up the others for long.
 *
 * Databases are found through any connection that is open (pg_database is shared), or through one to
 * the database that the service string names. A database without the support schema is looked at in
 * passing and not held: an open connection would keep others from dropping it.
 *
 * A lease whose holder's server process is gone is doubted: it ends in 1.5 s instead of 15, unless its
 * holder, who only lost the connection, comes back meanwhile and extends it (lease.c tries that four
 * times a second). So a task goes on in a moment when its machine's processes were killed or the server
 * was restarted, and a holder that hangs with its connection open still has its 15 seconds. */
#include "database.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"

#define DATABASE_ANSWER_MS 5000

static const char sql_setup[] = "SET lock_timeout = '1s'; LISTEN pgveneer_task";
/* With all columns: a support schema that is older than we are is left alone until it is installed anew. */
static const char sql_has_tasks[] =
    "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute"
    "                WHERE attrelid = pg_catalog.to_regclass('pgveneer.task') AND attname = "
    "'holder_start')";
static const char sql_databases[] =
    "SELECT datname FROM pg_catalog.pg_database"
    " WHERE datallowconn AND NOT datistemplate"
    "   AND pg_catalog.has_database_privilege(oid, 'CONNECT') ORDER BY datname";
static const char sql_claim[] =
    "WITH due AS ("
    "  SELECT task_id FROM pgveneer.task"
    "   WHERE state = 'active' AND next_start_time <= pg_catalog.clock_timestamp()"
    "     AND (lease_until IS NULL OR lease_until < pg_catalog.clock_timestamp())"
    "     AND category = ANY ($1::text[])"
    "   ORDER BY next_start_time LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED)"
    "UPDATE pgveneer.task t SET fencing = t.fencing + 1, worker = $2,"
    "       lease_until = pg_catalog.clock_timestamp() + interval '15 seconds',"
    "       holder_fencing = t.fencing + 1, holder_pid = a.pid, holder_start = a.backend_start"
    "  FROM due, pg_catalog.pg_stat_activity a"
    " WHERE t.task_id = due.task_id AND a.pid = pg_catalog.pg_backend_pid()"
    " RETURNING t.task_id, t.fencing";
/* The rows are compared again when they are locked: a holder that came back is left alone. A process of another
 * login shows its pid alone: it is believed. */
static const char sql_doubt[] =
    "WITH dead AS MATERIALIZED ("
    "  SELECT task_id, holder_fencing, holder_pid, holder_start FROM pgveneer.task"
    "   WHERE lease_until > pg_catalog.clock_timestamp() + interval '1.5 seconds'"
    "     AND holder_fencing = fencing AND NOT EXISTS ("
    "         SELECT FROM pg_catalog.pg_stat_activity a"
    "          WHERE a.pid = holder_pid"
    "            AND (a.backend_start = holder_start OR a.backend_start IS NULL))),"
    "doubted AS ("
    "  SELECT t.task_id FROM pgveneer.task t JOIN dead d"
    "    ON (t.task_id, t.fencing, t.holder_fencing, t.holder_pid, t.holder_start)"
    "     = (d.task_id, d.holder_fencing, d.holder_fencing, d.holder_pid, d.holder_start)"
    "   WHERE t.lease_until IS NOT NULL FOR NO KEY UPDATE OF t SKIP LOCKED)"
    "UPDATE pgveneer.task t SET lease_until = pg_catalog.clock_timestamp() + interval '1.5 seconds'"
    "  FROM doubted d WHERE t.task_id = d.task_id RETURNING t.task_id, t.worker";
static const char sql_free[] =
    "UPDATE pgveneer.task SET lease_until = NULL, worker = NULL,"
    "       crash_times = crash_times + CASE WHEN $3::text IS NULL THEN 0 ELSE 1 END,"
    "       last_crash = coalesce($3::text, last_crash)"
    " WHERE task_id = $1 AND fencing = $2::bigint AND lease_until IS NOT NULL";

/* ---- one database ---------------------------------------------------------------------------- */

static void forget_connection(struct database *d)
{
    pgclient_close(d->conn);
    d->conn = NULL;
    d->has_tasks = false;
}

static void failed(struct database *d, const char *what, const struct err *err)
{
    char who[96];
    snprintf(who, sizeof who, "worker %s", d->name);
    log_err(d->complained ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, who, what, err);
    d->complained = true;
    if (d->conn != NULL && !pgclient_is_alive(d->conn))
        forget_connection(d);
}

static bool look_for_tasks(struct database *d, struct err *err)
{
    struct pgresult *r;
    if (!pgclient_query(d->conn, sql_has_tasks, 0, NULL, &r, err))
        return false;
    d->has_tasks = pgresult_bool(r, 0, 0);
    pgresult_free(r);
    return true;
}

bool database_is_ready(struct database *d, const char *service)
{
    struct err err;
    if (d->conn != NULL && !pgclient_is_alive(d->conn))
        forget_connection(d);
    if (d->conn == NULL) {
        if (!pgclient_open(service, d->name, "pgveneer worker", &d->conn, &err)) {
            failed(d, "cannot connect", &err);
            return false;
        }
        pgclient_set_timeout(d->conn, DATABASE_ANSWER_MS);
        if (!pgclient_run(d->conn, sql_setup, &err)) {
            failed(d, "cannot listen", &err);
            forget_connection(d);
            return false;
        }
    }
    if (!d->has_tasks && !look_for_tasks(d, &err))
        failed(d, "cannot read the catalog", &err);
    return d->has_tasks;
}

void database_drain(struct database *d)
{
    struct err err;
    bool got;
    if (d->conn != NULL && !pgclient_wait_notify(d->conn, 0, &got, &err))
        failed(d, "connection lost", &err);
}

bool database_claim(struct database *d, const char *categories, const char *worker,
                    struct claim *out)
{
    const char *const values[] = {categories, worker};
    struct pgresult *r;
    struct err err;
    if (!pgclient_query(d->conn, sql_claim, 2, values, &r, &err)) {
        d->has_tasks = false; /* uninstalled, perhaps */
        failed(d, "cannot claim", &err);
        return false;
    }
    d->complained = false;
    bool any = pgresult_rows(r) == 1;
    if (any) {
        snprintf(out->task_id, sizeof out->task_id, "%s", pgresult_value(r, 0, 0));
        out->fencing = pgresult_int(r, 0, 1, 0);
    }
    pgresult_free(r);
    return any;
}

void database_doubt(struct database *d)
{
    struct pgresult *r;
    struct err err;
    if (!pgclient_query(d->conn, sql_doubt, 0, NULL, &r, &err)) {
        failed(d, "cannot look at the leases", &err);
        return;
    }
    for (size_t i = 0; i < pgresult_rows(r); i++)
        log_info("worker", "task %s: the connection of its owner (worker %s) is gone",
                 pgresult_value(r, i, 0), pgresult_value(r, i, 1));
    pgresult_free(r);
}

void database_care(struct database *d, const char *sql)
{
    struct err err;
    if (!pgclient_run(d->conn, sql, &err))
        failed(d, sql, &err);
}

bool database_free_claim(struct database *d, const struct claim *claim, const char *crash)
{
    char fencing[24];
    const char *const values[] = {claim->task_id, fencing, crash};
    struct err err;
    snprintf(fencing, sizeof fencing, "%" PRId64, claim->fencing);
    if (d->conn == NULL)
        return false;
    if (pgclient_query(d->conn, sql_free, 3, values, NULL, &err))
        return true;
    failed(d, "cannot free a claim", &err);
    return false;
}

/* ---- the list -------------------------------------------------------------------------------- */

struct database *databases_get(struct databases *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return &list->items[i];
    return NULL;
}

static void keep(struct databases *list, struct slice name)
{
    char text[64];
    if (name.len == 0 || name.len >= sizeof text)
        return;
    snprintf(text, sizeof text, "%.*s", (int)name.len, name.data);
    struct database *d = databases_get(list, text);
    if (d == NULL) {
        struct database *items = realloc(list->items, (list->count + 1) * sizeof *items);
        if (items == NULL)
            return;
        list->items = items;
        d = &items[list->count++];
        memset(d, 0, sizeof *d);
        memcpy(d->name, text, sizeof text);
    }
    d->keep = true;
}

static void keep_named(struct databases *list, const char *named)
{
    struct slice rest = slice_cstr(named);
    while (rest.len > 0) {
        size_t n = slice_find_byte(rest, ',');
        keep(list, slice_trim(slice_part(rest, 0, n)));
        rest = slice_part(rest, n + (n < rest.len), rest.len);
    }
}

static void drop_others(struct databases *list)
{
    size_t kept = 0;
    for (size_t i = 0; i < list->count; i++) {
        if (list->items[i].keep)
            list->items[kept++] = list->items[i];
        else
            forget_connection(&list->items[i]);
    }
    list->count = kept;
}

/* Through a connection that is open anyway, or one of its own. */
static bool list_all(struct databases *list, struct pgresult **out, struct err *err)
{
    struct pgclient *c;
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].conn != NULL &&
            pgclient_query(list->items[i].conn, sql_databases, 0, NULL, out, err))
            return true;
    if (!pgclient_open(list->service, NULL, "pgveneer worker", &c, err))
        return false;
    bool ok = pgclient_query(c, sql_databases, 0, NULL, out, err);
    pgclient_close(c);
    return ok;
}

static void keep_all(struct databases *list)
{
    static bool complained;
    struct pgresult *r;
    struct err err;
    if (!list_all(list, &r, &err)) {
        log_err(complained ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARNING, "worker",
                "cannot list the databases", &err);
        complained = true;
        for (size_t i = 0; i < list->count; i++)
            list->items[i].keep = true;
        return;
    }
    complained = false;
    for (size_t i = 0; i < pgresult_rows(r); i++)
        keep(list, slice_cstr(pgresult_value(r, i, 0)));
    pgresult_free(r);
    for (size_t i = 0; i < list->count; i++)
        if (list->items[i].keep && !database_is_ready(&list->items[i], list->service) &&
            list->items[i].conn != NULL)
            list->items[i].keep = false; /* no support schema: looked at again next time */
}

void databases_find(struct databases *list, const char *named)
{
    for (size_t i = 0; i < list->count; i++)
        list->items[i].keep = false;
    if (named != NULL && named[0] != '\0')
        keep_named(list, named);
    else
        keep_all(list);
    drop_others(list);
}

void databases_fini(struct databases *list)
{
    for (size_t i = 0; i < list->count; i++)
        forget_connection(&list->items[i]);
    free(list->items);
    list->items = NULL;
    list->count = 0;
}
