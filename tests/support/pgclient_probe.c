/* pgclient against a real server, one scenario a call: pgclient_probe SCENARIO CONNINFO [DBNAME].
 * Prints what came out, errors as "[SQLSTATE] message; detail; hint". */
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "pgclient/pgclient.h"

static int print_error(const struct err *err)
{
    printf("[%s] %s%s%s%s%s\n", err->sqlstate, err->message, err->detail[0] == '\0' ? "" : "; ",
           err->detail, err->hint[0] == '\0' ? "" : "; ", err->hint);
    return 0;
}

static void run(struct pgclient *c, const char *sql)
{
    struct err err;
    if (pgclient_run(c, sql, &err))
        printf("ok\n");
    else
        print_error(&err);
}

static void settings(struct pgclient *c)
{
    static const char sql[] =
        "SELECT pg_catalog.current_setting(n) FROM pg_catalog.unnest(ARRAY['search_path',"
        " 'client_encoding', 'DateStyle', 'IntervalStyle', 'extra_float_digits', 'TimeZone',"
        " 'bytea_output', 'application_name']) AS n";
    struct pgresult *r;
    struct err err;
    if (!pgclient_query(c, sql, 0, NULL, &r, &err)) {
        print_error(&err);
        return;
    }
    for (size_t i = 0; i < pgresult_rows(r); i++)
        printf("'%s'\n", pgresult_value(r, i, 0));
    pgresult_free(r);
}

static void values(struct pgclient *c)
{
    const char *const in[] = {"41", NULL};
    struct pgresult *r;
    struct err err;
    if (!pgclient_query(c, "SELECT $1::int + 1, $2::text, true, 'x' WHERE $1 = '41'", 2, in, &r,
                        &err)) {
        print_error(&err);
        return;
    }
    printf("%zu x %zu: %" PRId64 " %s %d %" PRId64 "\n", pgresult_rows(r), pgresult_columns(r),
           pgresult_int(r, 0, 0, -1), pgresult_value(r, 0, 1) == NULL ? "null" : "?",
           pgresult_bool(r, 0, 2), pgresult_int(r, 0, 3, -1));
    printf("beyond: %s\n",
           pgresult_value(r, 1, 0) == NULL && pgresult_value(r, 0, 9) == NULL ? "null" : "?");
    pgresult_free(r);
}

static void copy(struct pgclient *c, const char *sql, const char *data)
{
    int64_t rows;
    struct err err;
    if (pgclient_copy_begin(c, sql, &err) && pgclient_copy_put(c, data, strlen(data), &err) &&
        pgclient_copy_end(c, &rows, &err))
        printf("copied %" PRId64 "\n", rows);
    else
        print_error(&err);
}

static void copies(struct pgclient *c)
{
    struct err err;
    run(c, "CREATE TEMP TABLE x (a int PRIMARY KEY)");
    copy(c, "COPY pg_temp.x FROM STDIN", "1\n2\n");
    copy(c, "COPY pg_temp.x FROM STDIN", "2\n");
    copy(c, "COPY pg_temp.y FROM STDIN", "1\n");
    copy(c, "SELECT 1", "1\n");
    if (pgclient_copy_begin(c, "COPY pg_temp.x FROM STDIN", &err))
        pgclient_copy_abort(c, "changed my mind");
    run(c, "SELECT 1");
    run(c, "COPY pg_temp.x TO STDOUT");
    run(c, "SELECT 1");
}

static void *cancel(void *arg)
{
    struct err err;
    usleep(200000);
    if (!pgclient_cancel(arg, &err))
        print_error(&err);
    return NULL;
}

static void cancels(struct pgclient *c)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, cancel, c) != 0)
        return;
    run(c, "SELECT pg_catalog.pg_sleep(60)");
    pthread_join(thread, NULL);
    run(c, "BEGIN; SELECT 1/0");
    printf("%s\n", pgclient_is_in_transaction(c) ? "in transaction" : "idle");
    run(c, "ROLLBACK");
    printf("%s\n", pgclient_is_in_transaction(c) ? "in transaction" : "idle");
}

static void losses(struct pgclient *c)
{
    run(c, "SELECT pg_catalog.pg_terminate_backend(pg_catalog.pg_backend_pid())");
    printf("%s %d\n", pgclient_is_alive(c) ? "alive" : "lost", pgclient_socket(c));
    run(c, "SELECT 1");
}

static void silence(struct pgclient *c)
{
    pgclient_set_timeout(c, 300);
    run(c, "SELECT 1");
    run(c, "SELECT pg_catalog.pg_sleep(60)");
    run(c, "SELECT 1");
}

static void wait_notify(struct pgclient *c, int timeout_ms)
{
    struct err err;
    bool got;
    if (!pgclient_wait_notify(c, timeout_ms, &got, &err))
        print_error(&err);
    else
        printf("%s\n", got ? "notified" : "quiet");
}

static void notifications(struct pgclient *c)
{
    run(c, "LISTEN a; LISTEN b");
    wait_notify(c, 10);
    run(c, "NOTIFY a; NOTIFY b");
    wait_notify(c, 10000);
    wait_notify(c, 10);
}

static void notice(void *arg, const char *severity, const char *message)
{
    (void)arg;
    printf("%s: %s\n", severity, message);
}

static void notices(struct pgclient *c)
{
    pgclient_on_notice(c, notice, NULL);
    run(c, "DO $$ BEGIN RAISE WARNING 'mind the gap'; RAISE NOTICE 'noted'; END $$");
    run(c, "DO $$ BEGIN RAISE 'no' USING ERRCODE = 'AB123', DETAIL = 'D.', HINT = 'H.'; END $$");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(struct pgclient *c);
    } scenarios[] = {{"settings", settings},
                     {"values", values},
                     {"copies", copies},
                     {"cancels", cancels},
                     {"losses", losses},
                     {"silence", silence},
                     {"notifications", notifications},
                     {"notices", notices}};
    struct pgclient *c;
    struct err err;
    if (argc < 3)
        return 2;
    if (!pgclient_open(argv[2], argc > 3 ? argv[3] : NULL, "probe", &c, &err))
        return print_error(&err);
    for (size_t i = 0; i < ARRAY_LEN(scenarios); i++)
        if (strcmp(scenarios[i].name, argv[1]) == 0)
            scenarios[i].run(c);
    pgclient_close(c);
    return 0;
}
