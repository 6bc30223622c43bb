/* Which columns of a table a statement can reach, by its text alone.
 *
 * The answer errs on one side only: a column that is not among them is reached by no way that the text
 * has. What the text does not show (views, rules, row security, functions that PostgreSQL puts into the
 * statement) whoever asks has excluded (pgveneer.hudi_statement). */
#ifndef HUDI_REACH_H
#define HUDI_REACH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/json.h"

struct reach_table {
    const char *schema, *name;
    const char *const *columns;
    size_t count;
};

enum reach {
    REACH_UNKNOWN, /* the text does not tell how the table is read: all columns, all rows */
    REACH_ROWS,    /* rows are reached as a whole: all columns */
    REACH_COLUMNS
};

/* tree   of inner_sql_read: one or several statements, all of which count
 * names  `count` members. COLUMNS: is the column reached? */
enum reach reach_columns(struct arena *a, const struct json_val *tree, const struct reach_table *t,
                         bool *names);
/* Does this RangeVar of a tree name the table? */
bool reach_is_table(const struct reach_table *t, const struct json_val *range);

#endif
