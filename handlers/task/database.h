/* A database whose tasks a worker runs: one connection that listens, claims and frees. */
#ifndef TASK_DATABASE_H
#define TASK_DATABASE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "pgclient/pgclient.h"

struct database {
    char name[64];
    struct pgclient *conn; /* owns; NULL: not connected */
    bool has_tasks;        /* pgveneer.task is there */
    bool complained;       /* its failure was logged; again only after a success */
    bool keep;             /* used by databases_find */
};

struct databases {
    struct database *items; /* owns */
    size_t count;
    const char *service; /* borrows */
};

struct claim {
    char task_id[128];
    int64_t fencing;
};

/* Keeps the list up to date: those named (comma-separated), or each that has the support schema. */
void databases_find(struct databases *list, const char *named);
void databases_fini(struct databases *list);
struct database *databases_get(struct databases *list, const char *name);

/* Connects where needed; true: claims can be made. Complains once, to the log. */
bool database_is_ready(struct database *d, const char *service);
/* Takes the notifications that came. */
void database_drain(struct database *d);
/* Claims the task that has been due for the longest time; false: none, or a failure that is logged.
 * categories  array literal of those that may be claimed
 * worker      who claims, for the row */
bool database_claim(struct database *d, const char *categories, const char *worker,
                    struct claim *out);
/* Shortens the leases of owners whose connection is gone. */
void database_doubt(struct database *d);
/* Runs a statement of a task kind's (struct task_kind, care). */
void database_care(struct database *d, const char *sql);
/* A job process ended without settling its lease: frees the row at once; the server processes in it
 * stay for the successor to end. crash: how the process ended, counted; NULL: it was told to stop.
 * False: try again later. */
bool database_free_claim(struct database *d, const struct claim *claim, const char *crash);

#endif
