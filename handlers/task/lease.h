/* The lease of one run, held by its job process. */
#ifndef TASK_LEASE_H
#define TASK_LEASE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "task/job_main.h"

/* Why a run has to stop. */
#define LEASE_STOPS(X)                                                                             \
    X(NONE, "goes on")                                                                             \
    X(PAUSED, "the task was paused or suspended")                                                  \
    X(UNASKED, "nobody waits for it any more")                                                     \
    X(LOST, "the task was removed, or somebody else has its lease")                                \
    X(SILENT, "the server has not answered for too long to be sure of the lease")                  \
    X(SIGNAL, "the worker told the process to stop, or ended")

enum lease_stop {
#define X(name, text) LEASE_STOP_##name,
    LEASE_STOPS(X)
#undef X
};

#define LEASE_TARGETS (1 + JOB_MAX_BESIDE)

struct job_lease {
    const char *service; /* borrows, as the next two */
    const char *dbname;
    const char *task_id;
    char fencing[24];
    char who[96];          /* "task 64479410-…", for the log */
    char purpose[64];      /* application_name */
    char run_start[40];    /* server's time at which the run began */
    struct pgclient *conn; /* owns; the thread's between lease_guard and lease_unguard */
    int64_t beat_ms;       /* when the server last confirmed the lease */
    pthread_t thread;
    bool guarded;    /* the thread runs */
    int signal_fd;   /* SIGTERM and SIGINT */
    int over_fd;     /* eventfd: lease_unguard wakes the thread */
    atomic_int stop; /* enum lease_stop */
    atomic_bool over;
    atomic_bool progressed; /* since the last failure: job_note_progress */
    pthread_mutex_t target_lock;
    struct pgclient *targets[LEASE_TARGETS]; /* borrows: cancelled when the run has to stop */
};

/* Opens the lease connection, ends the predecessor's server processes, takes the advisory lock and
 * writes the own process into the row. *held false: the claim is not ours any more (no error).
 * Blocks SIGTERM and SIGINT for the process. */
MUST_USE bool lease_open(struct job_lease *l, const char *service, const struct job_call *call,
                         bool *held, struct err *err);
void lease_close(struct job_lease *l);

/* Starts and ends the thread that keeps the lease. In between l->conn is not the caller's. */
MUST_USE bool lease_guard(struct job_lease *l, struct err *err);
void lease_unguard(struct job_lease *l);

/* What is cancelled, too, from now on when the run has to stop; false: there are too many. */
bool lease_aim(struct job_lease *l, struct pgclient *target);
/* Not any more; nothing where it was not. */
void lease_unaim(struct job_lease *l, const struct pgclient *target);
/* Waits; true: the time is over, false: the run has to stop. */
bool lease_sleep(struct job_lease *l, int wait_ms);
/* The first reason counts. */
void lease_request_stop(struct job_lease *l, enum lease_stop why);
enum lease_stop lease_stop_of(const struct job_lease *l);
const char *lease_stop_text(enum lease_stop stop);

#endif
