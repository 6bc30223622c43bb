/* How a run ended, written into its task's row. */
#ifndef TASK_RECORD_H
#define TASK_RECORD_H

#include "lease.h"

/* The calls use l->conn (opened again if it was lost), so the lease must not be guarded. *ours false:
 * the row belongs to somebody else by now, and nothing was written. */

/* The run did what it should: failures are forgotten, the next start follows. */
MUST_USE bool record_done(struct job_lease *l, const struct job_result *result, bool *ours,
                          struct err *err);
/* The run failed. suspend: only a person can mend it. detail: JSON for the kind's history view. */
MUST_USE bool record_failed(struct job_lease *l, const struct err *why, bool suspend,
                            const char *detail, bool *ours, struct err *err);
/* The run was stopped; the task can be claimed at once. */
MUST_USE bool record_released(struct job_lease *l, bool *ours, struct err *err);

/* The run was stopped because nobody waits for it: the task goes. */
MUST_USE bool record_removed(struct job_lease *l, bool *ours, struct err *err);

/* "message (SQLSTATE); detail: ...; hint: ...", cut to size. */
void record_log_text(const struct err *why, char *out, size_t size);

#endif
