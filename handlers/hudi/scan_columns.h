/* What of a foreign table a query's copy must have: the columns and rows that the statement reaches. */
#ifndef HUDI_SCAN_COLUMNS_H
#define HUDI_SCAN_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "reach_rows.h"
#include "task/job.h"

struct scan_needs {
    bool *
        wanted; /* as many as there are columns, at least one of them true; NULL: all, in doubt too */
    struct reach_condition *conditions; /* that all rows must meet */
    size_t condition_count;
};

/* relid      of the foreign table, as text
 * statement  NULL: nobody knows
 * count      of its columns
 * Errors     those of the catalog query */
MUST_USE bool scan_columns_find(struct arena *a, struct job *job, const char *relid,
                                const char *statement, size_t count, struct scan_needs *out,
                                struct err *err);
/* Their numbers as an array of PostgreSQL, "{1,3}"; NULL for all. */
MUST_USE bool scan_columns_write(struct arena *a, const bool *wanted, size_t count,
                                 const char **out, struct err *err);
/* Adds those of such an array. Either may be NULL: nothing is added. */
void scan_columns_add(bool *wanted, size_t count, const char *array);

#endif
