/* A walk over the tokens of one statement, for the parsers of the handlers, and the writing of the CALL
 * that it becomes. No I/O.
 *
 *   struct reader r = reader_begin(arena, statement, err);
 *   reader_expect(&r, "drop server");
 *   bool if_exists = reader_accept(&r, "if exists");
 *   const char *name = reader_name(&r);
 *   …
 *   return reader_end(&r);
 *
 * The first mistake sticks: from then on nothing is accepted, every function returns false or NULL, and
 * reader_end says what to do. Whose statement is it? A CREATE FOREIGN TABLE may belong to postgres_fdw,
 * and then a construct unknown to us is no mistake: the server shall judge. Only once the statement is
 * certainly ours (r.ours) is a mistake refused.
 *
 * Words are given in lower case, separated by single spaces. Names and texts that are returned live in
 * the arena. */
#ifndef PROXY_STATEMENT_READER_H
#define PROXY_STATEMENT_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "proxy/handler.h"
#include "proxy/lexer.h"

struct reader {
    struct arena *arena;
    const struct handler_text *statement;
    struct buf *call; /* for parsers that write while they read; else NULL */
    size_t at;        /* token */
    bool failed;
    bool no_memory;
    bool ours;          /* certainly: a mistake is refused; otherwise the server may judge it */
    bool hides_strings; /* error texts never show a string literal: it may be a secret */
    struct err *err;
};

struct reader reader_begin(struct arena *a, const struct handler_text *statement, struct err *err);
/* What a claim returns: HANDLER_ANSWER when the statement was read to its end; after a mistake
 * HANDLER_REFUSE with *err set (ours), or HANDLER_PASS with *err clear; HANDLER_NO_MEMORY. */
enum handler_claim reader_end(struct reader *r);

/* --- reading ---------------------------------------------------------------------------------------- */

/* The token at hand, or one further on; NULL behind the last. */
const struct token *reader_peek(const struct reader *r, size_t ahead);
bool reader_is_end(const struct reader *r);
bool reader_is_word(const struct reader *r, size_t ahead, const char *word);

/* Takes these words if all are at hand. */
bool reader_accept(struct reader *r, const char *words);
bool reader_accept_symbol(struct reader *r, char symbol);
/* As above, and a mistake if not, at the first word that is not. */
bool reader_expect(struct reader *r, const char *words);
bool reader_expect_symbol(struct reader *r, char symbol);

/* A single name. NULL: mistake. */
const char *reader_name(struct reader *r);
/* The value of a string literal. False: mistake. */
bool reader_string(struct reader *r, struct slice *value);

/* --- mistakes; all return false --------------------------------------------------------------------- */

/* `syntax error at or near "…"` at the token at hand, 42601. */
bool reader_mistake(struct reader *r);
/* Any other, at a token (NULL: at the end). */
bool reader_mistake_at(struct reader *r, const struct token *t, const char *sqlstate,
                       const char *fmt, ...) PRINTF_LIKE(4, 5);
bool reader_no_memory(struct reader *r);

/* --- writing ---------------------------------------------------------------------------------------- */

/* Appends a literal, quoted so that standard_conforming_strings does not matter. */
void reader_put_text(struct reader *r, struct buf *b, struct slice value);
void reader_put_cstr(struct reader *r, struct buf *b, const char *value); /* NULL: the word NULL */
/* Moves the text into the arena and releases the buffer. NULL: no memory, noted in *r. */
const char *reader_take(struct reader *r, struct buf *b);

#endif
