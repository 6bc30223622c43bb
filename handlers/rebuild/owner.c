/* Running text of users: expressions of ALTER COLUMN … USING, defaults, checks, generated columns,
 * domains, index expressions, triggers' conditions. It must not reach our login's rights, not even by
 * leaving work behind that runs at COMMIT (a deferred trigger, a cursor WITH HOLD). PostgreSQL has one
 * state that refuses all that, the security-restricted operation of an index build; handlers/apply/write.c
 * tells the whole story. Here:
 *
 *     as the owner    pg_temp.rebuild_<n>()          SECURITY DEFINER: the body
 *                     pg_temp.rebuild_<n>_once(int)  said to be immutable, calls it
 *                     pg_temp.rebuild_once_<n>       a table of one row
 *     as the service  CREATE INDEX ON that table (that function (x))
 *
 * The expression is evaluated once for the row; a second time would fail on the row that the body puts
 * into pg_temp.rebuild_ran. Objects of the owner are never read or called by us otherwise.
 *
 * Making all this takes a few milliseconds, so it is apart from running it: the swap prepares first,
 * then takes its locks. */
#include <stdio.h>
#include <string.h>

#include "base/buf.h"

#include "rebuild.h"

#define BODY_BYTES ((size_t)64 << 20)

static bool run(struct rebuild *r, struct buf *b, struct err *err)
{
    const char *sql = buf_cstr(b);
    bool ok = sql == NULL ? err_no_memory(err) : pgclient_run(r->job->db, sql, err);
    buf_fini(b);
    return ok;
}

/* Ours: proof that a body ran, and what it reports. */
static bool make_reports(struct rebuild *r, const char *role, struct err *err)
{
    struct buf b;
    buf_init(&b, BODY_BYTES);
    buf_printf(&b,
               "CREATE TEMPORARY TABLE IF NOT EXISTS rebuild_ran (number pg_catalog.int4 UNIQUE)"
               " ON COMMIT DROP;"
               "CREATE TEMPORARY TABLE IF NOT EXISTS rebuild_out (value pg_catalog.jsonb)"
               " ON COMMIT DROP;"
               "GRANT INSERT ON pg_temp.rebuild_ran, pg_temp.rebuild_out TO %s",
               role);
    return run(r, &b, err);
}

static bool make_functions(struct rebuild *r, unsigned number, const char *role, const char *body,
                           struct err *err)
{
    struct arena a;
    struct buf b, text;
    arena_init(&a, 0);
    buf_init(&text, BODY_BYTES);
    buf_init(&b, BODY_BYTES);
    buf_printf(&text,
               "#variable_conflict use_column\nBEGIN\nSET CONSTRAINTS ALL IMMEDIATE;\n%s\n"
               "INSERT INTO pg_temp.rebuild_ran (number) VALUES (%u);\nEND",
               body, number);
    const char *plain = buf_cstr(&text);
    char *quoted = plain == NULL ? NULL : pgclient_quote_text(&a, plain);
    buf_fini(&text);
    buf_printf(
        &b,
        "SET LOCAL ROLE %s;"
        "CREATE FUNCTION pg_temp.rebuild_%u() RETURNS pg_catalog.void LANGUAGE plpgsql"
        " SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS %s;"
        "CREATE FUNCTION pg_temp.rebuild_%u_once(pg_catalog.int4) RETURNS pg_catalog.int4"
        " LANGUAGE plpgsql IMMUTABLE AS"
        " 'BEGIN PERFORM pg_temp.rebuild_%u(); RETURN 0; END';"
        "CREATE TEMPORARY TABLE rebuild_once_%u ON COMMIT DROP AS SELECT 0 AS x;"
        "SET LOCAL ROLE NONE",
        role, number, quoted == NULL ? "" : quoted, number, number, number);
    b.failed = b.failed || quoted == NULL;
    arena_fini(&a);
    return run(r, &b, err);
}

bool owner_prepare(struct rebuild *r, unsigned number, const char *role, const char *body,
                   struct err *err)
{
    char *quoted = pgclient_quote_name(&r->a, role);
    if (quoted == NULL)
        return err_no_memory(err);
    return make_reports(r, quoted, err) && make_functions(r, number, quoted, body, err);
}

/* Each role's statements in a row are one function. */
static bool prepare_rows(struct rebuild *r, const struct pgresult *res, unsigned *count,
                         struct err *err)
{
    struct arena a;
    struct buf body;
    bool ok = true;
    size_t rows = pgresult_rows(res);
    arena_init(&a, 0);
    buf_init(&body, BODY_BYTES);
    for (size_t i = 0; ok && i < rows; i++) {
        const char *role = pgresult_value(res, i, 0);
        const char *quoted = pgclient_quote_text(&a, pgresult_value(res, i, 1));
        buf_printf(&body, "EXECUTE %s;\n", quoted == NULL ? "" : quoted);
        if (i + 1 < rows && strcmp(role, pgresult_value(res, i + 1, 0)) == 0)
            continue;
        const char *text = quoted == NULL ? NULL : buf_cstr(&body);
        ok = text == NULL ? err_no_memory(err) : owner_prepare(r, ++*count, role, text, err);
        buf_clear(&body);
    }
    buf_fini(&body);
    arena_fini(&a);
    return ok;
}

bool owner_prepare_each(struct rebuild *r, const char *query, unsigned *count, struct err *err)
{
    struct pgresult *res;
    if (!rebuild_query(r, query, &res, err))
        return false;
    bool ok = prepare_rows(r, res, count, err);
    pgresult_free(res);
    return ok;
}

/* Settings that the body changed are gone before anything else runs. */
void owner_write_run(struct buf *b, unsigned number)
{
    buf_printf(b,
               "CREATE INDEX ON pg_temp.rebuild_once_%u (pg_temp.rebuild_%u_once(x)); %s;"
               " SELECT hologres.check_ran(%u); ",
               number, number, pgclient_reset_text(), number);
}

bool owner_run(struct rebuild *r, unsigned number, struct err *err)
{
    struct buf b;
    buf_init(&b, BODY_BYTES);
    owner_write_run(&b, number);
    return run(r, &b, err);
}

bool owner_take(struct rebuild *r, const char **value, struct err *err)
{
    struct pgresult *res;
    if (!pgclient_query(r->job->db, "SELECT value FROM pg_temp.rebuild_out LIMIT 1", 0, NULL, &res,
                        err))
        return false;
    const char *text = pgresult_value(res, 0, 0);
    *value = arena_copy_cstr(&r->a, text == NULL ? "" : text);
    pgresult_free(res);
    return *value != NULL || err_no_memory(err);
}

#define DROP_FUNCTIONS                                                                             \
    "DROP FUNCTION pg_temp.rebuild_%u_once(pg_catalog.int4); DROP FUNCTION pg_temp.rebuild_%u();"

bool owner_drop(struct rebuild *r, unsigned number, struct err *err)
{
    char sql[320];
    snprintf(sql, sizeof sql,
             "DROP TABLE pg_temp.rebuild_once_%u;" DROP_FUNCTIONS
             "DELETE FROM pg_temp.rebuild_ran WHERE number = %u",
             number, number, number, number);
    return pgclient_run(r->job->db, sql, err);
}

bool owner_forget(struct rebuild *r, unsigned number, struct err *err)
{
    char sql[160];
    snprintf(sql, sizeof sql,
             "DELETE FROM pg_temp.rebuild_out; DELETE FROM pg_temp.rebuild_ran WHERE number = %u",
             number);
    return pgclient_run(r->job->db, sql, err);
}

bool owner_drop_committed(struct rebuild *r, unsigned number, struct err *err)
{
    char sql[200];
    snprintf(sql, sizeof sql, DROP_FUNCTIONS, number, number);
    return pgclient_run(r->job->db, sql, err);
}
