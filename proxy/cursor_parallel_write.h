/* Texts of the questions by which cursor_parallel.c comes to its verdict. In the arena; NULL: no memory, or
 * too long. Private to it. */
#ifndef PROXY_CURSOR_PARALLEL_WRITE_H
#define PROXY_CURSOR_PARALLEL_WRITE_H

#include "base/arena.h"
#include "base/attr.h"
#include "proxy/lexer.h"

#include "cursor_plan.h"
#include "cursor_splice.h"

#define CURSOR_PARALLEL_EXPLAIN "EXPLAIN (FORMAT JSON, VERBOSE, COSTS OFF) "

/* Columns: unsafe?; bytes of all tables; of each divided scan a line "pages root name", pages -1 where it
 * is no plain table, and the name by which a query knows it; size of a page; may DO be used?; are
 * there partitions? $1: the plan. Functions and operators of users count by their names in the plan's text, temporary objects by
 * theirs in the query's too, as not all of it is in the plan: one too many costs an endpoint, no more.
 * The last column is there for what it does: without it this statement would be divided among
 * parallel workers itself, which take fifty times its time to start. */
MUST_USE const char *cursor_parallel_write_safe(struct arena *a, const struct cursor_plan *p,
                                                struct slice query, enum encoding e);
/* A JSON object: the definitions of those FROM items, by number, that are views and may be put into the
 * text. */
MUST_USE const char *cursor_parallel_write_views(struct arena *a, const struct cursor_places *p,
                                                 enum encoding e);
/* The plan of a text that may be wrong, into a setting that goes with the savepoint.
 * slice: NULL gives NULL. */
MUST_USE const char *cursor_parallel_write_try(struct arena *a, const char *slice, enum encoding e);

#endif
