/* The scheduler of long jobs: one process, which finds due tasks, claims their leases and starts
 * one job process for each run. */
#ifndef TASK_WORKER_H
#define TASK_WORKER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "task/job.h"

struct worker_settings {   /* all borrowed, constant */
    const char *service;   /* libpq string of the service login */
    const char *databases; /* comma-separated; NULL or empty: each that has the support schema */
    unsigned task_slots;   /* jobs that run at the same time; 0 counts as 1 */
    /* What is started for a run, with these arguments:
     *     <program> job -c /dev/fd/N --dbname D --task-id T --fencing F
     * "/proc/self/exe" for the own binary. */
    const char *program;
    /* The configuration that N holds: text of a configuration file with the worker's effective
     * settings. It goes through memory because it may hold a password, which a command line or a
     * temporary file would show. */
    const char *config;
    const struct task_kind *const *kinds; /* tasks of other categories are left alone */
    size_t kind_count;
};

/* Works until SIGTERM or SIGINT: claims nothing more, asks its jobs to stop, waits for them (30 s;
 * a second signal: at once) and returns true. Call it in a process that has no other threads; it
 * handles SIGCHLD, SIGTERM and SIGINT itself. A database that does not answer is tried again for
 * ever.
 * Errors     F0000 service is empty; 53xxx */
MUST_USE bool worker_run(const struct worker_settings *settings, struct err *err);

#endif
