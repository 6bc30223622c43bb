/* Which rows of a table a statement can reach, by its text alone: what a WHERE says of its columns.
 *
 * Only conditions of the form column = < <= > >= constant, IN and BETWEEN, combined by AND, in the WHERE
 * of the one SELECT that names the table. A row that fails one of them is seen by nothing else in the
 * statement. */
#ifndef HUDI_REACH_ROWS_H
#define HUDI_REACH_ROWS_H

#include "reach.h"

struct reach_condition {
    size_t column;       /* of the table's columns */
    const char *op;      /* "=", "<", "<=", ">", ">=" */
    const char **values; /* constants: digits, or the value of a string */
    size_t count;        /* several with "=" only: it is one of them */
    bool is_text;        /* they are strings */
};

/* All conditions that the rows must meet, from `a`; *count is 0 where none is known.
 * tree  as of reach_columns, which must not have said UNKNOWN */
MUST_USE bool reach_rows(struct arena *a, const struct json_val *tree, const struct reach_table *t,
                         struct reach_condition **out, size_t *count, struct err *err);

#endif
