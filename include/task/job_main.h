/* The process of one run: `pgveneer job …`, started by a worker and by nobody else. */
#ifndef TASK_JOB_MAIN_H
#define TASK_JOB_MAIN_H

#include <stddef.h>
#include <stdint.h>

#include "task/job.h"

struct job_call { /* from the command line; borrowed */
    const char *dbname;
    const char *task_id;
    int64_t fencing; /* number of the claim: the run does nothing once the row has another */
};

enum job_exit {
    JOB_EXIT_SETTLED = 0,     /* the run's end is recorded, or the lease was given back or lost */
    JOB_EXIT_USAGE = 2,       /* wrong arguments or configuration; for main.c */
    JOB_EXIT_NO_DATABASE = 3, /* the end could not be recorded: the server does not answer */
    JOB_EXIT_STUCK = 4        /* told to stop, and did not within 10 s */
};

/* Runs the task and returns the exit code of the process. Call it in a process that has no other
 * threads, right after the configuration was read. The end of the calling worker (parent process)
 * stops the run as SIGTERM does. */
int job_main(const struct job_settings *settings, const struct task_kind *const *kinds,
             size_t kind_count, const struct job_call *call);

#endif
