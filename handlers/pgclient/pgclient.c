/* What one asks of an open connection beside its statements: state, cancel, notices, notifications,
 * quoting. */
#include <poll.h>
#include <string.h>

#include "connection.h"

int pgclient_backend_pid(const struct pgclient *c)
{
    return PQbackendPID(c->conn);
}

bool pgclient_cancel(struct pgclient *c, struct err *err)
{
    char why[256] = "";
    if (PQcancel(c->cancel, why, sizeof why))
        return true;
    return err_set(err, SQLSTATE_CONNECTION_FAILURE, "could not send a cancel request: %s", why);
}

bool pgclient_is_alive(const struct pgclient *c)
{
    return !c->lost && PQstatus(c->conn) == CONNECTION_OK;
}

bool pgclient_is_in_transaction(const struct pgclient *c)
{
    PGTransactionStatusType status = PQtransactionStatus(c->conn);
    return status == PQTRANS_INTRANS || status == PQTRANS_INERROR || status == PQTRANS_ACTIVE;
}

int pgclient_socket(const struct pgclient *c)
{
    return pgclient_is_alive(c) ? PQsocket(c->conn) : -1;
}

void pgclient_set_timeout(struct pgclient *c, int timeout_ms)
{
    c->timeout_ms = timeout_ms;
}

void pgclient_on_notice(struct pgclient *c,
                        void (*on_notice)(void *arg, const char *severity, const char *message),
                        void *arg)
{
    c->on_notice = on_notice;
    c->on_notice_arg = arg;
}

static bool take_notifies(struct pgclient *c)
{
    bool any = false;
    for (PGnotify *n = PQnotifies(c->conn); n != NULL; n = PQnotifies(c->conn)) {
        any = true;
        PQfreemem(n);
    }
    return any;
}

bool pgclient_wait_notify(struct pgclient *c, int timeout_ms, bool *got, struct err *err)
{
    int64_t deadline = connection_clock_ms() + timeout_ms;
    *got = !c->lost && take_notifies(c); /* may have come with an earlier answer */
    for (;;) {
        int64_t left = *got ? 0 : deadline - connection_clock_ms();
        if (c->lost)
            return connection_error(c, NULL, err);
        int n = connection_poll(c->conn, POLLIN, left < 0 ? 0 : (int)left);
        if (n > 0 && !PQconsumeInput(c->conn))
            return connection_error(c, NULL, err);
        if (n > 0 && take_notifies(c))
            *got = true;
        if (*got || left <= 0)
            return true;
    }
}

char *pgclient_quote_name(struct arena *a, const char *name)
{
    size_t n = strlen(name);
    char *out = arena_alloc(a, 2 * n + 3);
    char *at = out;
    if (out == NULL)
        return NULL;
    *at++ = '"';
    for (; *name != '\0'; name++) {
        if (*name == '"')
            *at++ = '"';
        *at++ = *name;
    }
    *at++ = '"';
    return out;
}

/* standard_conforming_strings is on, yet E'' reads a backslash alike either way. */
char *pgclient_quote_text(struct arena *a, const char *text)
{
    size_t n = strlen(text);
    char *out = arena_alloc(a, 2 * n + 5);
    char *at = out;
    if (out == NULL)
        return NULL;
    if (strchr(text, '\\') != NULL) {
        *at++ = ' ';
        *at++ = 'E';
    }
    *at++ = '\'';
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            *at++ = *text;
        *at++ = *text;
    }
    *at++ = '\'';
    return out;
}
