/* Tasks of the categories SQLonHudi and HudiRequest, for the list of task kinds of a job process. */
#ifndef HUDI_JOB_H
#define HUDI_JOB_H

#include "task/job.h"

extern const struct task_kind hudi_task_kind;
/* Functions that wait for an answer (handlers/task/sql/003_asking.sql). */
extern const struct task_kind hudi_request_kind;

#endif
