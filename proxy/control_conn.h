/* One login of ours to a database: the protocol in the client's role, one request at a time. It knows
 * nothing of asks, queues and timeouts; those are control.c's. */
#ifndef CONTROL_CONN_H
#define CONTROL_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "conn.h"
#include "credential.h"

struct control_conn;
struct loop;

/* A request's rows, as they came. */
#define CONTROL_CONN_MAX_RESULT_BYTES ((size_t)4 * 1024 * 1024)
struct control_rows {
    struct buf values; /* for wire_get_value, row by row */
    size_t nrows;
    size_t ncolumns;
    char tag[64];
};

/* Any call of this module is allowed inside, control_conn_free included. on_lost may come from within
 * control_conn_send_*, when there is no memory; the others never from within a call. */
struct control_conn_events {
    /* The login succeeded: the first request can be sent. */
    void (*on_ready)(void *owner);
    /* The request ended; err NULL: well. The connection takes the next one. */
    void (*on_done)(void *owner, const struct err *err);
    /* The connection is gone, and with it the request or login under way. The owner frees it. */
    void (*on_lost)(void *owner, const struct err *err);
};

/* Whom to log in as, and where. Copied; the credential's copy is wiped after the login. */
struct control_login {
    const char *user;
    const char *dbname;
    const char *application_name;
    const struct credential *credential; /* NULL: none */
    const char
        *client_encoding; /* NULL: our own settings. Else nothing but this is set: the session
                                    is as the server and the user's defaults have it */
};

/* NULL: no memory. */
MUST_USE struct control_conn *control_conn_new(struct loop *l, const struct conn_target *target,
                                               const struct control_login *login,
                                               const struct control_conn_events *events,
                                               void *owner);
/* Says Terminate and closes. NULL: nothing. */
void control_conn_free(struct control_conn *c);
/* Asks the server to cancel the request under way, by a connection of its own that looks after
 * itself. */
void control_conn_cancel(const struct control_conn *c);

/* Of the server process. */
uint32_t control_conn_pid(const struct control_conn *c);

/* Gives the connection itself away, which must be idle: it is the caller's now, without owner. *key: of
 * the server process. The rest is freed. */
struct conn *control_conn_release(struct control_conn *c, uint32_t *pid, char key[256],
                                  size_t *key_bytes);

/* Any number of statements in one simple Query. rows: borrows until on_done or on_lost. */
void control_conn_send_script(struct control_conn *c, struct slice sql, struct control_rows *rows);
/* One statement with text parameters. */
void control_conn_send_query(struct control_conn *c, struct slice sql, const char *const *params,
                             uint16_t nparams, struct control_rows *rows);

#endif
