/* Tasks of category REBUILD, for the list of task kinds of a job process. */
#ifndef REBUILD_JOB_H
#define REBUILD_JOB_H

#include "task/job.h"

extern const struct task_kind rebuild_task_kind;

#endif
