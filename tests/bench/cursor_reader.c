/* Reads one result as a client does: libpq, a row at a time, each value looked at.
 *
 *   cursor_reader CONNINFO QUERY
 *
 * Says "ready" when it is connected, starts when it reads a line, and prints: rows, bytes of the DataRow
 * messages, CPU seconds of its own. cursor_bench.py runs it for a plain SELECT and for RETRIEVE alike. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include <libpq-fe.h>

/* Type, length, number of columns; and the length of each value. */
#define ROW_BYTES 7
#define VALUE_BYTES 4

struct count {
    unsigned long rows, bytes;
};

static void fail(const char *message)
{
    fprintf(stderr, "%s", message);
    exit(1);
}

static void take_row(struct count *c, const PGresult *r)
{
    c->rows++;
    c->bytes += ROW_BYTES;
    for (int i = 0; i < PQnfields(r); i++)
        c->bytes += VALUE_BYTES + (unsigned long)PQgetlength(r, 0, i);
}

static struct count read_all(PGconn *conn)
{
    struct count c = {0, 0};
    PGresult *r;
    while ((r = PQgetResult(conn)) != NULL) {
        ExecStatusType status = PQresultStatus(r);
        if (status == PGRES_SINGLE_TUPLE)
            take_row(&c, r);
        else if (status != PGRES_TUPLES_OK)
            fail(PQresultErrorMessage(r));
        PQclear(r);
    }
    return c;
}

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

int main(int argc, char **argv)
{
    struct rusage before, after;
    if (argc != 3)
        fail("usage: cursor_reader CONNINFO QUERY\n");
    PGconn *conn = PQconnectdb(argv[1]);
    if (PQstatus(conn) != CONNECTION_OK)
        fail(PQerrorMessage(conn));
    puts("ready");
    fflush(stdout);
    if (getchar() == EOF)
        fail("nobody says when to start\n");
    getrusage(RUSAGE_SELF, &before);
    if (!PQsendQuery(conn, argv[2]) || !PQsetSingleRowMode(conn))
        fail(PQerrorMessage(conn));
    struct count c = read_all(conn);
    getrusage(RUSAGE_SELF, &after);
    printf("%lu %lu %.3f\n", c.rows, c.bytes,
           seconds(after.ru_utime) + seconds(after.ru_stime) - seconds(before.ru_utime) -
               seconds(before.ru_stime));
    PQfinish(conn);
    return 0;
}
