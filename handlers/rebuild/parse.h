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
#include "proxy/statement_reader.h"

typedef enum handler_claim rebuild_claim(struct arena *a, const struct handler_text *statement,
                                         struct handler_answer *answer, struct err *err);

rebuild_claim rebuild_parse_submit;                        /* parse_submit.c */
rebuild_claim rebuild_parse_suspend, rebuild_parse_resume; /* parse_table.c */
rebuild_claim rebuild_parse_alter, rebuild_parse_create;   /* parse_table.c */

/* Starts to read, and to write `call`, which it initializes and rebuild_end releases. */
struct reader rebuild_begin(struct arena *a, const struct handler_text *statement, struct buf *call,
                            struct err *err);
/* What the claim returns (reader_end), and the CALL. */
enum handler_claim rebuild_end(struct reader *r, struct handler_answer *answer);

/* The text up to a comma, closing bracket or (unless NULL) the word `stop` outside brackets, at least
 * one token. */
bool reader_text(struct reader *r, const char *stop, struct slice *text);
/* The value of a parameter: a string's value, or a word or number as it is written. */
bool reader_value(struct reader *r, struct slice *value);

/* Appends to the call. */
void call_put(struct reader *r, const char *sql);
void call_put_text(struct reader *r, struct slice value); /* as a literal */
void call_put_name(struct reader *r, const char *value);  /* the same; NULL: the word NULL */
/* name {. name} as ARRAY['a', 'b']::pg_catalog.text[] */
bool call_copy_qualified(struct reader *r);
/* (name {, name}), as jsonb */
bool call_copy_columns(struct reader *r);

/* Is it a table property of the vendor, with dots or underscores? */
bool rebuild_is_property(const char *name);
/* [name] [= value] {, …} up to the closing bracket: [{"name", "value"}] as jsonb; the value is null
 * where there is none. */
bool call_copy_parameters(struct reader *r);
/* The name of a parameter: words joined by dots, "binlog.level". NULL: mistake. */
const char *reader_parameter_name(struct reader *r);

#endif
