/* Reads a query's result with one thread for each endpoint of a parallel retrieve cursor, and prints how
 * many rows and bytes came from each.
 *
 *   cc -O2 -o parallel_retrieve parallel_retrieve.c -I/usr/include/postgresql -lpq -lpthread
 *   ./parallel_retrieve "host=127.0.0.1 port=6432 user=demo password=demo dbname=demo" "SELECT * FROM t"
 */
#include <libpq-fe.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_ENDPOINTS 1024

struct reader {
    char endpoint[64], token[40], host[256], port[16], user[64], dbname[64];
    long rows;
    long long bytes;
    char error[512];
    pthread_t thread;
};

static void fail(PGconn *conn)
{
    fprintf(stderr, "%s", PQerrorMessage(conn));
    exit(1);
}

static PGresult *run(PGconn *conn, const char *sql)
{
    PGresult *r = PQexec(conn, sql);
    ExecStatusType status = PQresultStatus(r);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail(conn);
    return r;
}

/* One row at a time: PQexec would keep the whole share in memory. */
static void read_rows(PGconn *conn, struct reader *me)
{
    PGresult *r;
    while ((r = PQgetResult(conn)) != NULL) {
        if (PQresultStatus(r) == PGRES_SINGLE_TUPLE) {
            me->rows++;
            for (int i = 0; i < PQnfields(r); i++)
                me->bytes += PQgetlength(r, 0, i);
        } else if (PQresultStatus(r) != PGRES_TUPLES_OK) {
            snprintf(me->error, sizeof me->error, "%s", PQresultErrorMessage(r));
        }
        PQclear(r);
    }
}

static void *read_endpoint(void *arg)
{
    struct reader *me = arg;
    const char *const names[] = {"host", "port", "user", "dbname", "password", "options", NULL};
    const char *const values[] = {me->host, me->port, me->user, me->dbname, me->token,
                                  "-c gp_session_role=retrieve", NULL};
    PGconn *conn = PQconnectdbParams(names, values, 0);
    char *name = PQescapeIdentifier(conn, me->endpoint, strlen(me->endpoint));
    char sql[256];
    snprintf(sql, sizeof sql, "RETRIEVE ALL FROM ENDPOINT %s", name == NULL ? "" : name);
    PQfreemem(name);
    if (PQsendQuery(conn, sql) && PQsetSingleRowMode(conn))
        read_rows(conn, me);
    else
        snprintf(me->error, sizeof me->error, "%s", PQerrorMessage(conn));
    PQfinish(conn);
    return NULL;
}

int main(int argc, char **argv)
{
    static struct reader readers[MAX_ENDPOINTS];
    if (argc != 3) {
        fprintf(stderr, "usage: %s CONNINFO QUERY\n", argv[0]);
        return 2;
    }
    PGconn *conn = PQconnectdb(argv[1]);
    if (PQstatus(conn) != CONNECTION_OK)
        fail(conn);
    size_t size = strlen(argv[2]) + 64;
    char *declare = malloc(size);
    snprintf(declare, size, "DECLARE c1 PARALLEL RETRIEVE CURSOR FOR %s", argv[2]);
    PQclear(run(conn, "BEGIN"));
    PQclear(run(conn, declare));
    free(declare);

    PGresult *list = run(conn, "SELECT endpoint_name, auth_token, hostname, port FROM gp_endpoints_info()");
    int n = PQntuples(list) < MAX_ENDPOINTS ? PQntuples(list) : MAX_ENDPOINTS;
    for (int i = 0; i < n; i++) {
        struct reader *me = &readers[i];
        snprintf(me->endpoint, sizeof me->endpoint, "%s", PQgetvalue(list, i, 0));
        snprintf(me->token, sizeof me->token, "%s", PQgetvalue(list, i, 1));
        snprintf(me->host, sizeof me->host, "%s", PQgetvalue(list, i, 2));
        snprintf(me->port, sizeof me->port, "%s", PQgetvalue(list, i, 3));
        snprintf(me->user, sizeof me->user, "%s", PQuser(conn));
        snprintf(me->dbname, sizeof me->dbname, "%s", PQdb(conn));
        pthread_create(&me->thread, NULL, read_endpoint, me);
    }
    PQclear(list);

    /* Returns when all endpoints are read to their end, or with the error of one. */
    PGresult *check = run(conn, "CHECK PARALLEL RETRIEVE CURSOR c1");
    printf("%s\n", PQcmdStatus(check));
    PQclear(check);
    for (int i = 0; i < n; i++) {
        pthread_join(readers[i].thread, NULL);
        printf("%s: %ld rows, %lld bytes%s%s\n", readers[i].endpoint, readers[i].rows, readers[i].bytes,
               readers[i].error[0] == '\0' ? "" : ": ", readers[i].error);
    }
    PQclear(run(conn, "CLOSE c1"));
    PQclear(run(conn, "COMMIT"));
    PQfinish(conn);
    return 0;
}
