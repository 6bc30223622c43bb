/* What the task engine gives a job, and what a task kind gives the engine.
 *
 * A job is a process of its own: `pgveneer job …`, started by the scheduler for one run of one
 * task. It holds the task's lease on a connection that never runs user text (heartbeat 5 s, lease
 * 15 s, session advisory lock) and does its work on a second one, `db`. Every transaction with an
 * effect starts with job_begin and ends with job_commit or job_commit_step. These check the fencing
 * number under a row lock and commit in the same message to the server, so a job that lost its lease
 * commits nothing; job_begin looks too, without lock, so that such a job does no work either. (A
 * lock held from the beginning would keep pg_task_pause and the heartbeat waiting.)
 *
 * After a transient error the engine calls run again, in the same process, on a connection that may
 * be new: `db` may change between calls of run, never within one. */
#ifndef TASK_JOB_H
#define TASK_JOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/json.h"
#include "pgclient/pgclient.h"

struct sealed_key;

struct job_settings {              /* from the configuration; borrowed, constant */
    const char *service;           /* libpq string of the service login */
    const char *hudi_local_roots;  /* comma-separated absolute folders; empty: none */
    int64_t hudi_sync_max_commits; /* -1 and 0: no limit */
    int64_t hudi_scan_max_rows;    /* 0: no limit, as the next */
    int64_t hudi_scan_max_bytes;
    int64_t hudi_scan_keep_s;
    unsigned hudi_readers;               /* 0: by the machine's cores */
    const char *duckdb_library;          /* path of libduckdb.so */
    const char *hudi_cache_dir;          /* local copies of objects; empty: the default folder */
    int64_t hudi_cache_bytes;            /* kept there at most */
    const char *hudi_store_ca_file;      /* PEM; empty: the system's authorities */
    unsigned hudi_store_timeout_s;       /* longest silence of an object store */
    const struct sealed_key *secret_key; /* of encrypted secrets; NULL: none */
};

struct job {
    const char *task_id;
    const char *category;
    const char *dbname;
    const char *owner;             /* role name: who submitted the task */
    const struct json_val *params; /* pgveneer.task.params */
    int64_t fencing;
    struct pgclient *db; /* the work connection */
    const struct job_settings *settings;
    struct job_lease *lease; /* the engine's */
    /* job_commit and job_commit_step do not wait for the disk. The server loses transactions from the end
     * only, and the end of a run is written with a wait: a kind whose effects are all in the database loses
     * nothing that it does not do again. */
    bool commits_late;
};

enum job_outcome {
    JOB_DONE,         /* *result is filled */
    JOB_POSTPONED,    /* nothing to do now; the run saw to it when the task is due again */
    JOB_FAILED,       /* *err: counts as a failure; transient ones are retried inside the run */
    JOB_MISCONFIGURED /* *err: only a person can mend it; the task is suspended at once */
};

/* How long a lease lives without a heartbeat, and how often the heart beats. */
#define JOB_LEASE_S 15
#define JOB_HEARTBEAT_S 5
/* The failure in a row that suspends a task, and the crash in a row that counts as a failure. */
#define JOB_MAX_FAILURES 10
#define JOB_MAX_CRASHES 3

struct job_result {
    bool changed;    /* something was committed: the run gets a history row (see job_commit) */
    char log[1024];  /* last_log after success; empty as a rule */
    char stats[256]; /* task.stats after success: a JSON object of the kind's; empty: none */
};

/* BEGIN (READ COMMITTED) and a look at the lease. Errors: 55000 lease lost, 57014 told to stop. */
MUST_USE bool job_begin(struct job *j, struct err *err);
/* Writes the run's row of pgveneer.task_history in the same transaction, then commits if the lease is
 * still ours; otherwise rolls back. Role and search_path are reset before, deferred constraints
 * checked.
 * rows    what latest_sync_count shows
 * detail  a JSON object for the kind's history view
 * Errors  55000 lease lost, and whatever a deferred constraint says */
MUST_USE bool job_commit(struct job *j, int64_t rows, const char *detail, struct err *err);
/* Commits without a history row (progress of a step). */
MUST_USE bool job_commit_step(struct job *j, struct err *err);
/* The two halves of job_commit, for an effect under locks that others wait for. job_record writes the
 * history row, in the transaction at hand; the task's row stays locked until its end. */
MUST_USE bool job_record(struct job *j, int64_t rows, const char *detail, struct err *err);
/* sql (statements of ours, several) and the commit of job_commit_step in one message. After an error the
 * transaction stands as the server left it: the caller goes back to a savepoint or rolls back. */
MUST_USE bool job_run_and_commit(struct job *j, const char *sql, struct err *err);
/* In the transaction at hand, whose effect no later run repeats: crashes and transient errors from here on are
 * not counted together with those before, so a long run survives many of them. */
MUST_USE bool job_note_progress(struct job *j, struct err *err);
/* Rolls back; harmless outside a transaction. */
void job_rollback(struct job *j);
/* A further connection of the run, as a job of its own: everything that takes a job does its work there, in
 * one thread at a time. It is cancelled with `db` when the run has to stop, and whoever takes the task
 * over ends its server process first. At most JOB_MAX_BESIDE of them.
 * beside  filled, borrows from j, which outlives it; closed with job_close_beside
 * Errors  as pgclient_open; 55000 lease lost; 54000 too many */
#define JOB_MAX_BESIDE 15
MUST_USE bool job_open_beside(const struct job *j, struct job *beside, struct err *err);
/* Harmless for one that is zeroed or closed. */
void job_close_beside(struct job *beside);
/* True once the task was paused or removed, the lease was lost, or the process was told to stop.
 * Ask between batches; statements on `db` are cancelled by the engine at the same time. */
bool job_must_stop(const struct job *j);
/* Test hook: names the phase a run is in ("read", "stage", "apply", "commit"); written to the log
 * at debug level and to the name of the process (/proc/PID/comm: "pgv:read"), so that kill tests can
 * aim. Cut at 11 bytes. */
void job_phase(struct job *j, const char *phase);

struct task_kind {
    const char *category; /* "SQLonHudi" */
    enum job_outcome (*run)(struct job *j, struct job_result *result, struct err *err);
    /* Fills `detail` of the history row of a failed run; may be NULL. */
    void (*describe_failure)(struct job *j, char *detail, size_t size);
    /* Somebody waits for its tasks: they run also when all slots are taken. */
    bool is_awaited;
    /* A statement that workers run in each database every five seconds, whether or not a task runs; quick, and
     * waits for no lock. NULL: none. */
    const char *care;
};

#endif
