/* PostgreSQL's own grammar over a text of a client's. libpg_query's only door.
 *
 * libpg_query recurses without a limit: long texts are refused (on a stack of 8 MB it takes twice
 * this), and it is called in job processes only. Its grammar is that of PostgreSQL 15: what later
 * servers understand besides is refused as well. */
#ifndef HUDI_INNER_SQL_H
#define HUDI_INNER_SQL_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/json.h"
#include "base/slice.h"

#define INNER_SQL_MAX_BYTES ((size_t)16384)

/* The parse tree of one or several statements, written with standard_conforming_strings = on:
 * {"stmts": [{"stmt": {"SelectStmt": {…}}}, …]}. *out is the caller's (json_free).
 * Errors   42601 not in this grammar, 54000 longer or nested deeper than is looked at */
MUST_USE bool inner_sql_read(struct slice text, struct json **out, struct err *err);

#endif
