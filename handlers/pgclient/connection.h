/* What the files of pgclient share: a libpq connection and what we know about it. */
#ifndef PGCLIENT_CONNECTION_H
#define PGCLIENT_CONNECTION_H

#include <libpq-fe.h>
#include <stdbool.h>
#include <stdint.h>

#include "pgclient/pgclient.h"

struct pgclient {
    PGconn *conn;     /* owns */
    PGcancel *cancel; /* owns; made at login, so that any thread can use it at any time */
    bool lost;        /* we gave the connection up: no answer in time, or an unexpected COPY */
    int timeout_ms;   /* 0: none */
    void (*on_notice)(void *arg, const char *severity, const char *message);
    void *on_notice_arg;
};

/* Milliseconds of a clock that never jumps. */
int64_t connection_clock_ms(void);
/* Waits for POLLIN or POLLOUT on the connection; timeout_ms < 0: for ever. Returns poll's result. */
int connection_poll(PGconn *conn, short events, int timeout_ms);
/* Sets *err from a failed result, or from the connection when res is NULL; returns false. */
bool connection_error(struct pgclient *c, const PGresult *res, struct err *err);
/* The next result of what was sent, waiting at most the connection's time; NULL: no more. False:
 * lost. *out is the caller's. */
MUST_USE bool connection_take_result(struct pgclient *c, PGresult **out, struct err *err);
/* Takes all results; keeps the first error in *err, or else the last result in *out (may be NULL). */
MUST_USE bool connection_finish(struct pgclient *c, PGresult **out, struct err *err);

#endif
