/* Statements and their results.
 *
 * Everything is sent with libpq's asynchronous calls and awaited here with poll(2), so that a
 * connection can have a time limit: a heartbeat must notice a silent network before its lease ends,
 * and PQexec would wait for ever. From outside it is blocking.
 *
 * An error keeps what the server said. A result without SQLSTATE means that libpq itself failed,
 * which is a lost connection (08006) but for lack of memory. After a loss each call fails at once; the
 * caller opens a new connection. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "connection.h"

struct pgresult {
    PGresult *res;
};

int64_t connection_clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int connection_poll(PGconn *conn, short events, int timeout_ms)
{
    struct pollfd fd = {.fd = PQsocket(conn), .events = events};
    int n = poll(&fd, 1, timeout_ms);
    return n < 0 && errno == EINTR ? 0 : n;
}

static bool error_of_connection(const char *text, struct err *err)
{
    struct slice line = slice_trim(slice_cstr(text));
    line.len = slice_find_byte(line, '\n');
    if (slice_is_empty(line))
        line = slice_cstr("the connection to the server was lost");
    return err_set(err, SQLSTATE_CONNECTION_FAILURE, "%.*s", (int)line.len, line.data);
}

bool connection_error(struct pgclient *c, const PGresult *res, struct err *err)
{
    const char *sqlstate = PQresultErrorField(res, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    const char *detail = PQresultErrorField(res, PG_DIAG_MESSAGE_DETAIL);
    const char *hint = PQresultErrorField(res, PG_DIAG_MESSAGE_HINT);
    if (c->lost)
        return err_set(err, SQLSTATE_CONNECTION_FAILURE, "the connection to the server was lost");
    if (sqlstate == NULL || message == NULL) {
        if (PQstatus(c->conn) == CONNECTION_BAD)
            return error_of_connection(PQerrorMessage(c->conn), err);
        error_of_connection(PQerrorMessage(c->conn), err);
        memcpy(err->sqlstate, SQLSTATE_INTERNAL_ERROR, sizeof err->sqlstate);
        return false;
    }
    err_set(err, sqlstate, "%s", message);
    if (detail != NULL)
        err_detail(err, "%s", detail);
    if (hint != NULL)
        err_hint(err, "%s", hint);
    return false;
}

/* Reads until libpq has a whole result, or the time is over. */
static bool await_result(struct pgclient *c, struct err *err)
{
    int64_t deadline = connection_clock_ms() + c->timeout_ms;
    while (PQisBusy(c->conn)) {
        int64_t left = c->timeout_ms == 0 ? -1 : deadline - connection_clock_ms();
        if (c->timeout_ms != 0 && left <= 0) {
            c->lost = true;
            return err_set(err, SQLSTATE_CONNECTION_FAILURE,
                           "the server did not answer within %d ms", c->timeout_ms);
        }
        if (connection_poll(c->conn, POLLIN, (int)left) != 0 && !PQconsumeInput(c->conn))
            return true; /* PQgetResult now returns the error, with what the server said before */
    }
    return true;
}

bool connection_take_result(struct pgclient *c, PGresult **out, struct err *err)
{
    *out = NULL;
    if (c->lost)
        return connection_error(c, NULL, err);
    if (!await_result(c, err))
        return false;
    *out = PQgetResult(c->conn);
    return true;
}

static bool is_good(const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY;
}

static bool is_copy(const PGresult *res)
{
    ExecStatusType status = PQresultStatus(res);
    return status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH;
}

bool connection_finish(struct pgclient *c, PGresult **out, struct err *err)
{
    PGresult *last = NULL;
    PGresult *res;
    bool ok = true;
    *out = NULL;
    for (;;) {
        struct err lost;
        if (!connection_take_result(c, &res, &lost)) {
            if (ok)
                *err = lost;
            ok = false;
            break;
        }
        if (res == NULL)
            break;
        if (is_copy(res)) { /* nobody would end it */
            PQclear(res);
            c->lost = true;
            ok =
                err_set(err, SQLSTATE_PROTOCOL_VIOLATION, "a COPY was started where none is meant");
            break;
        }
        if (!is_good(res) && ok)
            ok = connection_error(c, res, err);
        PQclear(last);
        last = res;
    }
    if (!ok) {
        PQclear(last);
        return false;
    }
    *out = last;
    return true;
}

bool pgclient_run(struct pgclient *c, const char *sql, struct err *err)
{
    PGresult *res;
    if (c->lost || !PQsendQuery(c->conn, sql))
        return connection_error(c, NULL, err);
    if (!connection_finish(c, &res, err))
        return false;
    PQclear(res);
    return true;
}

bool pgclient_query(struct pgclient *c, const char *sql, size_t count, const char *const *values,
                    struct pgresult **out, struct err *err)
{
    PGresult *res;
    if (out != NULL)
        *out = NULL;
    if (c->lost || !PQsendQueryParams(c->conn, sql, (int)count, NULL, values, NULL, NULL, 0))
        return connection_error(c, NULL, err);
    if (!connection_finish(c, &res, err))
        return false;
    if (out == NULL) {
        PQclear(res);
        return true;
    }
    *out = calloc(1, sizeof **out);
    if (*out == NULL) {
        PQclear(res);
        return err_no_memory(err);
    }
    (*out)->res = res;
    return true;
}

void pgresult_free(struct pgresult *r)
{
    if (r == NULL)
        return;
    PQclear(r->res);
    free(r);
}

size_t pgresult_rows(const struct pgresult *r)
{
    return (size_t)PQntuples(r->res);
}

size_t pgresult_columns(const struct pgresult *r)
{
    return (size_t)PQnfields(r->res);
}

const char *pgresult_value(const struct pgresult *r, size_t row, size_t column)
{
    if (row >= pgresult_rows(r) || column >= pgresult_columns(r) ||
        PQgetisnull(r->res, (int)row, (int)column))
        return NULL;
    return PQgetvalue(r->res, (int)row, (int)column);
}

static int64_t read_int(const char *text, int64_t fallback)
{
    char *end;
    if (text == NULL || *text == '\0')
        return fallback;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    return *end == '\0' && errno == 0 ? n : fallback;
}

int64_t pgresult_int(const struct pgresult *r, size_t row, size_t column, int64_t fallback)
{
    return read_int(pgresult_value(r, row, column), fallback);
}

bool pgresult_bool(const struct pgresult *r, size_t row, size_t column)
{
    const char *text = pgresult_value(r, row, column);
    return text != NULL && text[0] == 't';
}

int64_t pgresult_affected(const struct pgresult *r)
{
    return read_int(PQcmdTuples(r->res), 0);
}
