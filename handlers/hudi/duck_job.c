/* As many threads of its own as there are readers: they compare and merge what is not only streamed. What
 * does not fit into the memory is spilled. */
#include "duck_job.h"

#include <unistd.h>

#include "readers.h"

#define DUCK_MEMORY_MB 256
#define DUCK_READERS_DEFAULT_MAX 4

static bool must_stop(void *arg)
{
    return job_must_stop(arg);
}

unsigned duck_job_readers(const struct job *job)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (job->settings->hudi_readers > 0)
        return job->settings->hudi_readers < READERS_MAX ? job->settings->hudi_readers
                                                         : READERS_MAX;
    if (cores < 1)
        return 1;
    return cores < DUCK_READERS_DEFAULT_MAX ? (unsigned)cores : DUCK_READERS_DEFAULT_MAX;
}

bool duck_job_open(struct job *job, struct arena *a, struct scratch *scratch, struct duck **out,
                   struct err *err)
{
    if (!scratch_open(a, NULL, scratch, err))
        return false;
    struct duck_settings settings = {.library = job->settings->duckdb_library,
                                     .temp_directory = scratch->folder,
                                     .memory_mb = DUCK_MEMORY_MB,
                                     .threads = duck_job_readers(job),
                                     .must_stop = must_stop,
                                     .arg = job};
    return duck_open(&settings, out, err);
}
