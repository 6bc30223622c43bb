/* Our own connection to a database: the support schema, NOTIFY to the workers, small queries. It
 * speaks the protocol as a client with the login of the setting `service`, and never blocks.
 *
 * One `struct control` serves the process. It lives on one loop, and any loop may ask it: an ask
 * travels to its loop by mailbox and comes back the same way, so that `done` is called on the thread
 * that asked, never from within the asking call. There is one connection a database, made at the
 * first ask, made again when it was lost, closed when nobody asked for a minute. An ask that is not
 * answered after 15 s, the time to connect included, ends with an error. */
#ifndef PROXY_CONTROL_H
#define PROXY_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/migration.h"
#include "base/slice.h"
#include "protocol/wire_reader.h"

struct control;
struct control_ask; /* an ask under way; lives on the loop that asked */
struct loop;

/* What a query gave. */
struct control_result {
    size_t nrows;
    size_t ncolumns;
    const struct wire_value *values; /* borrows until `done` returns; row by row, in text format */
    const char *tag;                 /* of the last command: "SELECT 3"; "" if there was none */
};

/* result  NULL when the ask failed
 * err     NULL when it succeeded. Errors of the server keep their SQLSTATE, message, detail, hint.
 *         08001, 08006 no connection, 28P01 login refused, 57014 timeout, 55000 no `service` set */
typedef void control_done_fn(void *arg, const struct control_result *result, const struct err *err);

/* home     the loop whose thread owns the connections; outlives the control
 * service  libpq connection string (host, hostaddr, port, user, password, passfile; dbname is ignored,
 *          sslmode, sslrootcert, sslcert, sslkey as in libpq); "": every ask fails with 55000 and a
 *          hint. Copied.
 * lists    migrations of all features in their order; constant for the process
 * Errors   F0000 the string does not parse; what tls_policy_new says of its files */
MUST_USE bool control_new(struct loop *home, const char *service,
                          const struct migration_list *lists, size_t list_count,
                          struct control **out, struct err *err);
/* Only on home's thread, or after all loops have stopped. Asks under way get no answer. */
void control_free(struct control *c);

/* Reads the files of TLS again, for connections to come; with an error those in force stay. Any
 * thread. */
MUST_USE bool control_load_tls(struct control *c, struct err *err);

/* Other limits than 15 s and 60 s for what is asked from now on, for tests. Any thread. */
void control_set_timeouts(struct control *c, uint64_t ask_ms, uint64_t idle_ms);

/* Brings the support schema of the database up to date: once a process and database, all that ask
 * meanwhile wait for the same run; later asks are answered at once (from the loop, as always). A
 * failure is told to all that wait and is tried again by the next ask.
 * Returns NULL without memory; `done` is not called then. */
MUST_USE struct control_ask *control_install(struct control *c, struct loop *from,
                                             struct slice dbname, control_done_fn *done, void *arg);

/* NOTIFY pgveneer_task in the database. Asks that find one waiting are one. Failures are logged; the
 * workers poll anyway. */
void control_notify(struct control *c, struct loop *from, struct slice dbname);

/* One statement with text parameters ($1…; NULL is SQL NULL), in a transaction of its own. The texts
 * are copied. At most 4 MiB of result: 54000 beyond it.
 * Returns NULL without memory; `done` is not called then. */
MUST_USE struct control_ask *control_query(struct control *c, struct loop *from,
                                           struct slice dbname, const char *sql,
                                           const char *const *params, uint16_t nparams,
                                           control_done_fn *done, void *arg);

/* The asker goes away: `done` will not be called. What was asked may happen all the same. Only on the
 * thread that asked, before `done` was called. */
void control_forget(struct control_ask *ask);

#endif
