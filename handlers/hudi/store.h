/* The store in which a Hudi foreign table lies, opened as its server says. */
#ifndef HUDI_STORE_H
#define HUDI_STORE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "objstore/objstore.h"
#include "task/job.h"

/* Opens the folder of a foreign table with what the registry and the settings say. The rights of who
 * asks are the caller's business.
 * job         its db, owner and settings are used; borrowed by *out, which asks it whether to stop
 * ftable_oid  of the foreign table, as text
 * *out        the caller's, closed with objstore_close
 * Errors      42P01 no such foreign table, 42809 not a Hudi table, 0A000 type of server, and those of
 *             objstore_open_…; hudi_store_is_misconfigured tells which only a person can mend */
MUST_USE bool hudi_store_open(struct arena *a, struct job *job, const char *ftable_oid,
                              struct objstore **out, struct err *err);
bool hudi_store_is_misconfigured(const struct err *err);

#endif
