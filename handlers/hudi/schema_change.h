/* Did a commit change the meaning of columns that were there before? */
#ifndef HUDI_SCHEMA_CHANGE_H
#define HUDI_SCHEMA_CHANGE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"

/* Compares two Avro schemas of a table, as commits carry them. *changed: a column of the older one is
 * missing in the newer one, or has another type there. Columns that are new do not count.
 * Errors: XX001 a text is not JSON */
MUST_USE bool schema_change_find(const char *older, const char *newer, bool *changed,
                                 struct err *err);

#endif
