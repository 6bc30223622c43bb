/* DuckDB as a job uses it: with the library of its settings, a folder to spill into, and an ear for being
 * told to stop. */
#ifndef HUDI_DUCK_JOB_H
#define HUDI_DUCK_JOB_H

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/scratch.h"
#include "duck.h"
#include "task/job.h"

/* The setting hudi_readers, with its default worked out: 1 to READERS_MAX. */
unsigned duck_job_readers(const struct job *job);
/* Both are closed in any case, first *out, then *scratch. */
MUST_USE bool duck_job_open(struct job *job, struct arena *a, struct scratch *scratch,
                            struct duck **out, struct err *err);

#endif
