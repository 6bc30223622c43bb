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
#include "proxy/lexer.h"

/* --- the claims: entries of the handler's table ---------------------------------------------------- */

typedef enum handler_claim parse_claim(struct arena *a, const struct handler_text *statement,
                                       struct handler_answer *answer, struct err *err);

parse_claim parse_create_server, parse_alter_server, parse_drop_server;    /* parse_server.c */
parse_claim parse_grant_server, parse_revoke_server, parse_alter_user;     /* parse_grant.c */
parse_claim parse_create_mapping, parse_alter_mapping, parse_drop_mapping; /* parse_grant.c */
parse_claim parse_create_table, parse_alter_table, parse_drop_table;       /* parse_table.c */

/* --- reading ---------------------------------------------------------------------------------------- */

/* A walk over the tokens of a statement. The first mistake sticks: from then on nothing is accepted,
 * every reader returns false, and parse_end says what to do. */
struct parse {
    struct arena *arena;
    const struct handler_text *statement;
    size_t at; /* token */
    bool failed;
    bool no_memory;
    bool ours; /* certainly: a mistake is refused; otherwise the server may judge it */
    struct err *err;
};

struct parse parse_begin(struct arena *a, const struct handler_text *statement, struct err *err);
/* What the claim returns: HANDLER_PASS, HANDLER_REFUSE or HANDLER_NO_MEMORY after a mistake,
 * HANDLER_ANSWER when the statement was read to its end. */
enum handler_claim parse_end(struct parse *p);

/* The token at hand, or NULL behind the last. */
const struct token *parse_peek(const struct parse *p);
bool parse_is_end(const struct parse *p);
/* Is the word (lower case) at hand, `ahead` tokens further on? */
bool parse_is_word(const struct parse *p, size_t ahead, const char *word);

/* Takes these words (lower case, separated by single spaces) if all of them are at hand. */
bool parse_accept(struct parse *p, const char *words);
bool parse_accept_symbol(struct parse *p, char symbol);
/* As above, and a mistake if they are not. */
bool parse_expect(struct parse *p, const char *words);
bool parse_expect_symbol(struct parse *p, char symbol);

/* A single name. NULL: mistake. */
const char *parse_name(struct parse *p);
/* A qualified name as a NULL-terminated array of its parts. NULL: mistake. */
const char *const *parse_qualified_name(struct parse *p);
/* name {, name}, NULL-terminated. NULL: mistake. */
const char *const *parse_name_list(struct parse *p);
/* A role: its name, or CURRENT_USER, SESSION_USER, PUBLIC. NULL: mistake. */
const char *parse_role(struct parse *p);
/* The value of a string literal. False: mistake. */
bool parse_string(struct parse *p, struct slice *value);

/* Marks a mistake at the token at hand: `syntax error at or near "…"`. Returns false. */
bool parse_mistake(struct parse *p);
/* Any other mistake, at a token. Returns false. */
bool parse_mistake_at(struct parse *p, const struct token *t, const char *sqlstate, const char *fmt,
                      ...) PRINTF_LIKE(4, 5);
/* An allocation failed. Returns false. */
bool parse_no_memory(struct parse *p);

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
bool parse_options(struct parse *p, bool changes, struct parse_options *o);
/* Has an option of this name? */
bool parse_options_have(const struct parse_options *o, const char *name);
/* Adds one. */
bool parse_options_add(struct parse *p, struct parse_options *o, struct parse_option item);
/* The secret values as a JSON object for handler_answer.secrets; NULL when there are none. */
const char *parse_secrets(struct parse *p, const struct parse_options *o);

/* --- writing ---------------------------------------------------------------------------------------- */

/* Literals are quoted so that standard_conforming_strings does not matter. */
void parse_put_text(struct parse *p, struct buf *b, struct slice value);
void parse_put_cstr(struct parse *p, struct buf *b, const char *value); /* NULL: the word NULL */
void parse_put_bool(struct buf *b, bool value);
/* ARRAY['a', 'b']::pg_catalog.text[] */
void parse_put_list(struct parse *p, struct buf *b, const char *const *names);
/* {"name": "value"}; secrets have '********', which tells the procedure to take them from the setting
 * that came beside the statement, and nothing else that may still be in it. */
void parse_put_options(struct parse *p, struct buf *b, const struct parse_options *o);
/* [{"action", "name", "value"}]; the value of a secret is null. */
void parse_put_changes(struct parse *p, struct buf *b, const struct parse_options *o);
/* pgveneer.question('name') joined by AND, as an ask. */
const char *parse_ask(struct parse *p, const char *question, const char *const *names);
/* Moves the text into the arena and releases the buffer. NULL: no memory, noted in *p. */
const char *parse_take(struct parse *p, struct buf *b);

#endif
