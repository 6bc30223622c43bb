/* Statements of online rebuilds: text to CALL. Private to the rebuild gate. No I/O. */
#ifndef REBUILD_PARSE_H
#define REBUILD_PARSE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "proxy/handler.h"
#include "proxy/lexer.h"

typedef enum handler_claim rebuild_claim(struct arena *a, const struct handler_text *statement,
                                         struct handler_answer *answer, struct err *err);

rebuild_claim rebuild_parse_submit;                        /* parse_submit.c */
rebuild_claim rebuild_parse_suspend, rebuild_parse_resume; /* parse_table.c */
rebuild_claim rebuild_parse_alter, rebuild_parse_create;   /* parse_table.c */

/* A walk over the tokens of one statement. The first mistake sticks: nothing is accepted any more. */
struct reader {
    struct arena *arena;
    const struct handler_text *statement;
    struct buf *call; /* what is written on the way */
    size_t at;        /* token */
    bool failed;
    bool no_memory;
    struct err *err;
};

/* Starts to read, and to write `call`, which the caller initializes and reader_end releases. */
struct reader reader_begin(struct arena *a, const struct handler_text *statement, struct buf *call,
                           struct err *err);
/* What the claim returns, and the CALL in the arena. `ours`: a mistake is refused here, otherwise the
 * server may judge the text. */
enum handler_claim reader_end(struct reader *r, bool ours, struct handler_answer *answer);

const struct token *reader_peek(const struct reader *r, size_t ahead); /* NULL: behind the last */
bool reader_is_end(const struct reader *r);
/* Takes these words (lower case, single spaces) if all are at hand. */
bool reader_accept(struct reader *r, const char *words);
bool reader_accept_symbol(struct reader *r, char symbol);
/* As above, and a mistake if not. */
bool reader_expect(struct reader *r, const char *words);
bool reader_expect_symbol(struct reader *r, char symbol);
/* `syntax error at or near "…"` at the token at hand. Returns false. */
bool reader_mistake(struct reader *r);
/* Any other mistake there. Returns false. */
bool reader_refuse(struct reader *r, const char *sqlstate, const char *message);

const char *reader_name(struct reader *r); /* NULL: mistake */
bool reader_string(struct reader *r, struct slice *value);
/* The text up to a comma, closing bracket or (unless NULL) the word `stop` outside brackets, at least
 * one token. */
bool reader_text(struct reader *r, const char *stop, struct slice *text);
/* The value of a parameter: a string's value, or a word or number as it is written. */
bool reader_value(struct reader *r, struct slice *value);

/* Appends to the call. */
void reader_put(struct reader *r, const char *sql);
void reader_put_text(struct reader *r, struct slice value); /* as a literal */
void reader_put_name(struct reader *r, const char *value);  /* the same; NULL: the word NULL */
/* name {. name} as ARRAY['a', 'b']::pg_catalog.text[] */
bool reader_copy_qualified(struct reader *r);
/* (name {, name}), as jsonb */
bool reader_copy_columns(struct reader *r);

/* Is it a table property of the vendor, with dots or underscores? */
bool rebuild_is_property(const char *name);
/* [name] [= value] {, …} up to the closing bracket: [{"name", "value"}] as jsonb; the value is null
 * where there is none. */
bool reader_copy_parameters(struct reader *r);
/* The name of a parameter: words joined by dots, "binlog.level". NULL: mistake. */
const char *reader_parameter_name(struct reader *r);

#endif
