/* Which rows an incremental query shows: those that commits of its window wrote. */
#ifndef HUDI_SCAN_WINDOW_H
#define HUDI_SCAN_WINDOW_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "plan.h"

/* Is a time of 14 or 17 digits later than another? */
bool scan_window_is_behind(const char *time, const char *limit);
/* *where   a condition in DuckDB's SQL on the column ct, the commit time; NULL: all rows
 * after    start of the window, which `plan` was made with; NULL: there is none */
MUST_USE bool scan_window_write(struct arena *a, const struct hudi_table *t,
                                const struct hudi_plan *plan, const char *after, const char **where,
                                struct err *err);

#endif
