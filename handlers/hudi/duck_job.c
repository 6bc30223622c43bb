/* Two threads: one decodes ahead while the other's rows are encoded and sent. What does not fit into
 * the memory is spilled. */
#include "duck_job.h"

#define DUCK_MEMORY_MB 256
#define DUCK_THREADS 2

static bool must_stop(void *arg)
{
    return job_must_stop(arg);
}

bool duck_job_open(struct job *job, struct arena *a, struct scratch *scratch, struct duck **out,
                   struct err *err)
{
    if (!scratch_open(a, NULL, scratch, err))
        return false;
    struct duck_settings settings = {.library = job->settings->duckdb_library,
                                     .temp_directory = scratch->folder,
                                     .memory_mb = DUCK_MEMORY_MB,
                                     .threads = DUCK_THREADS,
                                     .must_stop = must_stop,
                                     .arg = job};
    return duck_open(&settings, out, err);
}
