/* Statements of SQL on Hudi that have no SQL form on a stock server: text to CALL. Private to the
 * hudi gate. No I/O. */
#ifndef HUDI_PARSE_H
#define HUDI_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "proxy/handler.h"
#include "proxy/statement_reader.h"

/* --- the claims: entries of the handler's table ---------------------------------------------------- */

typedef enum handler_claim parse_claim(struct arena *a, const struct handler_text *statement,
                                       struct handler_answer *answer, struct err *err);

parse_claim parse_create_server, parse_alter_server, parse_drop_server;    /* parse_server.c */
parse_claim parse_grant_server, parse_revoke_server, parse_alter_user;     /* parse_grant.c */
parse_claim parse_create_mapping, parse_alter_mapping, parse_drop_mapping; /* parse_grant.c */
parse_claim parse_create_table, parse_alter_table, parse_drop_table;       /* parse_table.c */

/* --- reading ---------------------------------------------------------------------------------------- */

/* A reader whose error texts hide string literals: they may be secrets. */
struct reader parse_begin(struct arena *a, const struct handler_text *statement, struct err *err);
/* A qualified name as a NULL-terminated array of its parts. NULL: mistake. */
const char *const *parse_qualified_name(struct reader *p);
/* name {, name}, NULL-terminated. NULL: mistake. */
const char *const *parse_name_list(struct reader *p);
/* A role: its name, or CURRENT_USER, SESSION_USER, PUBLIC. NULL: mistake. */
const char *parse_role(struct reader *p);

/* --- OPTIONS ( … ) ------------------------------------------------------------------------------------ */

struct parse_option {
    const char *action; /* "add", "set", "drop" */
    const char *name;
    struct slice value; /* empty for drop */
    bool is_secret;
};
struct parse_options {
    struct parse_option *items; /* borrows from the arena */
    size_t count;
    size_t capacity;
};

/* The word OPTIONS is at hand. changes: ADD, SET and DROP may stand before a name.
 * Which names are secret: those with a part key, secret, token, password, …, between underscores. */
bool parse_options(struct reader *p, bool changes, struct parse_options *o);
/* Has an option of this name? */
bool parse_options_have(const struct parse_options *o, const char *name);
/* Adds one. */
bool parse_options_add(struct reader *p, struct parse_options *o, struct parse_option item);
/* The secret values as a JSON object for handler_answer.secrets; NULL when there are none. */
const char *parse_secrets(struct reader *p, const struct parse_options *o);

/* --- writing ---------------------------------------------------------------------------------------- */

void parse_put_bool(struct buf *b, bool value);
/* ARRAY['a', 'b']::pg_catalog.text[] */
void parse_put_list(struct reader *p, struct buf *b, const char *const *names);
/* {"name": "value"}; secrets have '********', which tells the procedure to take them from the setting
 * that came beside the statement, and nothing else that may still be in it. */
void parse_put_options(struct reader *p, struct buf *b, const struct parse_options *o);
/* [{"action", "name", "value"}]; the value of a secret is null. */
void parse_put_changes(struct reader *p, struct buf *b, const struct parse_options *o);
/* pgveneer.question('name') joined by AND, as an ask. */
const char *parse_ask(struct reader *p, const char *question, const char *const *names);

#endif
