/* Where in the grammar does a token stand? Enough of it to say whether a name is a call or a
 * relation that is read, and no more. Private to the gate. */
#ifndef CONTEXT_H
#define CONTEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "proxy/lexer.h"

enum spot_kind {
    SPOT_NONE,
    SPOT_CALL,      /* name( … ) in an expression, in FROM or behind CALL */
    SPOT_RELATION,  /* an item of FROM or JOIN, or behind TABLE */
    SPOT_REFERENCE, /* pg_catalog.name.column: reads a relation that stands in FROM */
    SPOT_CTE        /* the name of a common table expression */
};

/* What the token that was fed last is, when it is a name. */
struct spot {
    enum spot_kind kind;
    bool behind_catalog; /* pg_catalog.name */
    size_t catalog_start, catalog_end;
};

struct context_frame;

struct context {
    struct arena *arena;
    struct context_frame *frames; /* the statement, and one for each open parenthesis */
    size_t depth;                 /* index of the innermost frame */
    size_t capacity;
    const struct token *before[2]; /* borrowed from the caller; 0 is the last; NULL: none */
    /* a dotted name that is being read */
    size_t path_parts; /* 0: none */
    bool path_may_call;
    bool path_catalog;
    size_t catalog_start, catalog_end;
    bool altering;         /* the statement is ALTER … */
    bool declaring;        /* the statement is CREATE FUNCTION or PROCEDURE */
    bool expects_argument; /* a parenthesis was closed behind which an expression starts */
};

MUST_USE bool context_init(struct context *c, struct arena *a);
/* A new top-level statement. */
void context_start(struct context *c);
/* Would a semicolon end the statement here? Not inside parentheses (CREATE RULE … DO (a; b)) and not
 * in BEGIN ATOMIC … END. */
bool context_is_top(const struct context *c);
/* Takes the next token. next: the one behind it, or NULL. The token must stay where it is until two more
 * were taken. False: no memory. */
MUST_USE bool context_feed(struct context *c, const struct token *t, const struct token *next,
                           struct spot *spot);

#endif
