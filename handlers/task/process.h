/* A job process as its worker sees it. */
#ifndef TASK_PROCESS_H
#define TASK_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/attr.h"
#include "base/err.h"
#include "database.h"

/*   FREE --> RUNNING --> ENDED --> FREE     ENDED: its lease is still to be freed */
enum process_state { PROCESS_FREE, PROCESS_RUNNING, PROCESS_ENDED };

struct process {
    enum process_state state;
    pid_t pid;
    char dbname[64];
    struct claim claim;
    bool told_to_stop; /* its end is no crash */
    char crash[96];    /* how it ended, when that was a crash; else empty */
    int64_t ended_ms;
};

/* The configuration in a file that has no name and cannot be changed; -1 and *err. */
int process_config_open(const char *config, struct err *err);
/* Starts `program job …`. Its signals are as at login, its end of life is the worker's. */
MUST_USE bool process_start(struct process *p, const char *program, int config_fd,
                            const char *dbname, const struct claim *claim, struct err *err);
/* Takes note of what waitpid said; goes to FREE or ENDED. */
void process_on_end(struct process *p, int status, int64_t now_ms);

#endif
