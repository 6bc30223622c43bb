/* COPY … FROM STDIN. The server tells an error in the middle at the end only; what is put until then
 * is thrown away by it, which costs time and nothing else. */
#include "connection.h"

bool pgclient_copy_begin(struct pgclient *c, const char *sql, struct err *err)
{
    PGresult *res;
    if (c->lost || !PQsendQuery(c->conn, sql))
        return connection_error(c, NULL, err);
    if (!connection_take_result(c, &res, err))
        return false;
    if (PQresultStatus(res) == PGRES_COPY_IN) {
        PQclear(res);
        return true;
    }
    if (PQresultStatus(res) != PGRES_FATAL_ERROR)
        err_set(err, SQLSTATE_PROTOCOL_VIOLATION, "the statement started no COPY FROM STDIN");
    else
        connection_error(c, res, err);
    PQclear(res);
    struct err ignored;
    if (connection_finish(c, &res, &ignored))
        PQclear(res);
    return false;
}

bool pgclient_copy_put(struct pgclient *c, const void *data, size_t bytes, struct err *err)
{
    const char *at = data;
    while (bytes > 0) {
        int piece = bytes > (1 << 20) ? 1 << 20 : (int)bytes; /* libpq counts in int */
        if (c->lost || PQputCopyData(c->conn, at, piece) != 1)
            return connection_error(c, NULL, err);
        at += piece;
        bytes -= (size_t)piece;
    }
    return true;
}

bool pgclient_copy_end(struct pgclient *c, int64_t *rows, struct err *err)
{
    PGresult *res;
    if (c->lost || PQputCopyEnd(c->conn, NULL) != 1)
        return connection_error(c, NULL, err);
    if (!connection_finish(c, &res, err))
        return false;
    *rows = 0;
    for (const char *digit = PQcmdTuples(res); *digit >= '0' && *digit <= '9'; digit++)
        *rows = *rows * 10 + (*digit - '0');
    PQclear(res);
    return true;
}

void pgclient_copy_abort(struct pgclient *c, const char *reason)
{
    PGresult *res;
    struct err expected;
    if (c->lost || PQputCopyEnd(c->conn, reason) != 1)
        return;
    if (connection_finish(c, &res, &expected))
        PQclear(res);
}
