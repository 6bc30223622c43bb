/* Tasks of category SQLonHudi, for the list of task kinds of a job process. */
#ifndef HUDI_JOB_H
#define HUDI_JOB_H

#include "task/job.h"

extern const struct task_kind hudi_task_kind;

#endif
