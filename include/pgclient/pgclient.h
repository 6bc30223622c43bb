/* libpq for jobs: blocking, errors as struct err with the server's SQLSTATE, detail and hint.
 * libpq's only door. One connection is used by one thread at a time. */
#ifndef PGCLIENT_PGCLIENT_H
#define PGCLIENT_PGCLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

struct pgclient; /* owns a connection */
struct pgresult; /* owns rows */

/* conninfo   libpq string, without dbname (the setting `service`)
 * dbname     database; NULL: the one that conninfo names, else "postgres"
 * purpose    shown as application_name: "pgveneer job 64479410-…"
 * After login: search_path = '' (pg_catalog and pg_temp stay reachable), client_encoding UTF8,
 * DateStyle ISO, IntervalStyle postgres, extra_float_digits 3, standard_conforming_strings on,
 * idle_in_transaction_session_timeout 0, statement_timeout 0, bytea_output hex, TimeZone UTC.
 * A silent network is noticed after 10 s (connect_timeout, tcp_user_timeout and keepalives, unless
 * conninfo says otherwise).
 * Errors     08001 nobody answers, 28xxx, 3D000, 57P03 and others as the server tells them; F0000
 *            conninfo is malformed (its text, which may hold a password, is not repeated) */
MUST_USE bool pgclient_open(const char *conninfo, const char *dbname, const char *purpose,
                            struct pgclient **out, struct err *err);
void pgclient_close(struct pgclient *c);
/* All settings as after the login, whatever statements of a user changed. */
MUST_USE bool pgclient_reset(struct pgclient *c, struct err *err);
/* The same as statements, for a message of several; constant. */
const char *pgclient_reset_text(void);

/* Backend's process id, and a thread-safe cancel of what runs on it. */
int pgclient_backend_pid(const struct pgclient *c);
bool pgclient_cancel(struct pgclient *c, struct err *err);
/* False once the connection was lost: every call then fails with 08006. */
bool pgclient_is_alive(const struct pgclient *c);
/* Inside a transaction block, in error or not. */
bool pgclient_is_in_transaction(const struct pgclient *c);
/* For poll(2) beside other descriptors; readable: call pgclient_wait_notify with 0. -1: lost. */
int pgclient_socket(const struct pgclient *c);
/* A statement that takes longer loses the connection (08006); 0, the default: no limit. For
 * statements that are quick by nature, as a heartbeat. */
void pgclient_set_timeout(struct pgclient *c, int timeout_ms);

/* Runs statements without parameters (may be several); rows are dropped. */
MUST_USE bool pgclient_run(struct pgclient *c, const char *sql, struct err *err);
/* Runs one statement with text parameters ($1…); values[i] NULL is SQL NULL. *out may be NULL when
 * rows do not matter; else the caller frees it with pgresult_free. */
MUST_USE bool pgclient_query(struct pgclient *c, const char *sql, size_t count,
                             const char *const *values, struct pgresult **out, struct err *err);
void pgresult_free(struct pgresult *r);
size_t pgresult_rows(const struct pgresult *r);
size_t pgresult_columns(const struct pgresult *r);
/* Text form, borrowed from the result; NULL is SQL NULL. */
const char *pgresult_value(const struct pgresult *r, size_t row, size_t column);
int64_t pgresult_int(const struct pgresult *r, size_t row, size_t column, int64_t fallback);
bool pgresult_bool(const struct pgresult *r, size_t row, size_t column);
/* Rows that an INSERT, UPDATE, DELETE or COPY touched. */
int64_t pgresult_affected(const struct pgresult *r);

/* COPY … FROM STDIN: begin, any number of puts (each any bytes), then end, which tells the number
 * of rows; or abort with a reason, after which the transaction is in error. */
MUST_USE bool pgclient_copy_begin(struct pgclient *c, const char *sql, struct err *err);
MUST_USE bool pgclient_copy_put(struct pgclient *c, const void *data, size_t bytes,
                                struct err *err);
MUST_USE bool pgclient_copy_end(struct pgclient *c, int64_t *rows, struct err *err);
void pgclient_copy_abort(struct pgclient *c, const char *reason);

/* A function that gets every NOTICE and WARNING of the server; default: debug log. */
void pgclient_on_notice(struct pgclient *c,
                        void (*on_notice)(void *arg, const char *severity, const char *message),
                        void *arg);
/* Waits up to timeout_ms for a NOTIFY on a channel that was LISTENed to, and takes all that came.
 * *got tells; false only for a lost connection. */
MUST_USE bool pgclient_wait_notify(struct pgclient *c, int timeout_ms, bool *got, struct err *err);

/* "name" and 'text' quoted for SQL; NULL without memory. */
char *pgclient_quote_name(struct arena *a, const char *name);
char *pgclient_quote_text(struct arena *a, const char *text);

/* When and how often to try again: a value, not a loop with a sleep. */
struct retry_policy {
    unsigned attempts; /* in all; 1: no retry */
    unsigned base_ms;  /* wait before the second attempt; doubles each time */
    unsigned cap_ms;   /* longest wait */
    unsigned jitter_percent;
};
/* Wait before attempt number `attempt` (2, 3, …), or -1: give up. Only transient errors are tried
 * again; 28xxx never. */
int retry_wait_ms(const struct retry_policy *p, unsigned attempt, const struct err *err);

#endif
