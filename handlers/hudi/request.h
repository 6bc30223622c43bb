/* The work behind functions that wait for it: one function for each kind of request. */
#ifndef HUDI_REQUEST_H
#define HUDI_REQUEST_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "task/job.h"

/* Appends the answer, a JSON object, to `answer`. Parameters stand in job->params. May be called again
 * after a transient error. Errors are told to who asked. */
typedef bool request_fn(struct job *job, struct arena *a, struct buf *answer, struct err *err);

/* request_info.c: what lies in the store */
MUST_USE request_fn request_options; /* {"options": [[key, value], …]} */
/* The newest commit, or with "after" and "count" the count-th one behind `after`.
 * {"commit": …, "time_ms": …}, both null for a table without commits */
MUST_USE request_fn request_commit;
/* request_sync.c: {"rows": n, "commit": …, "full": bool, "notes": …} */
MUST_USE request_fn request_sync;

/* request_scan.c: the rows of a foreign table as "shown" says, into a copy that queries read; {} */
MUST_USE request_fn request_scan;
/* Drops copies that are old; a task that comes again. {} */
MUST_USE request_fn request_sweep;

/* A parameter that holds the OID of the foreign table, as text. */
MUST_USE bool request_source(struct job *job, struct arena *a, const char **oid, struct err *err);

#endif
