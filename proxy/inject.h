/* Our own statements on the client's connection. One at a time in a session; the client's messages
 * wait meanwhile, and the response queue is empty when it starts. */
#ifndef PROXY_INJECT_H
#define PROXY_INJECT_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/slice.h"

struct session;
struct wire_bind;
struct wire_parse;

#define INJECT_PREPARED "pgveneer_prepared"

/* How it ends, which decides what an error leaves behind. */
enum inject_form {
    INJECT_SYNC,    /* with Sync: a transaction of its own unless the client is in one. Only where a
                       cycle has executed nothing. After an error a ReadyForQuery follows. */
    INJECT_FLUSH,   /* with Flush: part of the client's cycle. After an error the server ignores
                       everything up to the next Sync. */
    INJECT_FUNCTION /* a FunctionCall: its arguments appear in no log. After an error a ReadyForQuery
                       follows. It ends an implicit transaction like a simple query. */
};

struct inject {
    bool is_active;
    bool has_failed;
    enum inject_form form;
    struct buf row;         /* body of the first DataRow */
    struct buf description; /* body of the RowDescription */
    struct buf error;       /* body of the ErrorResponse */
};

void inject_init(struct inject *i);
void inject_fini(struct inject *i);

/* Sends it. Text results. The end shows in inject_is_done. */
void inject_query(struct session *s, struct inject *i, const char *sql, enum inject_form form);
/* The same with $1, a text. */
void inject_query_with(struct session *s, struct inject *i, const char *sql, const char *value,
                       enum inject_form form);
/* A client's query and types, prepared as INJECT_PREPARED, which stays until the next of these. */
void inject_prepare(struct session *s, struct inject *i, const struct wire_parse *parse,
                    enum inject_form form);
/* The query and types of `parse` with the parameters of a client's Bind, as INJECT_PREPARED, which is
 * gone behind it. */
void inject_query_bound(struct session *s, struct inject *i, const struct wire_parse *parse,
                        const struct wire_bind *bind, enum inject_form form);
/* Describe of a portal that is there. */
void inject_describe(struct session *s, struct inject *i, const char *portal,
                     enum inject_form form);
/* The client's own Execute message, header included, in our name; always the Flush form. */
void inject_execute(struct session *s, struct inject *i, struct slice message);
/* pg_catalog.set_config(name, value, false) */
void inject_setting(struct session *s, struct inject *i, const char *name, const char *value);
/* Sends a DO block that raises exactly this error. */
struct err;
void inject_error(struct session *s, struct inject *i, const struct err *err,
                  enum inject_form form);

/* An answer to it came. */
void inject_on_answer(struct inject *i, char type, struct slice body);
/* Was all of it answered? Then it is no longer active. Call after the response queue moved. */
MUST_USE bool inject_is_done(struct session *s, struct inject *i);
/* Value of a column of the first row; false: no row, no such column, or NULL. */
bool inject_find_value(const struct inject *i, size_t column, struct slice *value);

#endif
