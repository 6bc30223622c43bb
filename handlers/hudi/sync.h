/* One run of a SQLonHudi task: what its parts share. */
#ifndef HUDI_SYNC_H
#define HUDI_SYNC_H

#include <stdbool.h>
#include <stdint.h>

#include "apply/apply.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/scratch.h"
#include "columns.h"
#include "duck.h"
#include "objstore/objstore.h"
#include "pgclient/pgclient.h"
#include "plan.h"
#include "relation.h"
#include "task/job.h"

struct sync_position { /* a row of hudi.hudi_sync_state */
    bool exists;
    const char *commit;    /* NULL: from the beginning */
    const char *completed; /* its completion time, NULL: set by hand */
    bool filled_by_sync;   /* all rows of the target are this sync's */
};

struct sync {
    struct job *job;                     /* borrows */
    struct pgclient *db;                 /* borrows */
    struct arena a;                      /* of the run; owns all below that is not said otherwise */
    const char *target_oid, *source_oid; /* as text, for parameters */
    const char *source_name;
    struct objstore *store;
    struct hudi_table table;
    struct sync_position position;
    struct hudi_plan plan;
    struct apply_target target;
    struct columns columns;
    struct apply_spec spec;
    const char *missing_ordering; /* an ordering field that is not synchronised, or NULL */
    struct apply *apply;
    struct duck *duck;
    struct scratch scratch; /* where DuckDB spills */
    struct buf log;         /* notes for last_log */
    int64_t rows;           /* written and deleted by what was committed */
    bool misconfigured;     /* the error is one that only a person can mend */
};

/* job.c: brings the target to the newest commit. After sync_init in any case sync_close. */
void sync_init(struct sync *s, struct job *j);
MUST_USE bool sync_run(struct sync *s, struct err *err);

/* setup.c: reads the task's parameters, opens the table and checks what only the store knows.
 * Errors are errors of configuration where s->misconfigured is set. */
MUST_USE bool sync_open(struct sync *s, struct err *err);
/* Starts DuckDB and the batch. */
MUST_USE bool sync_start(struct sync *s, struct err *err);
void sync_close(struct sync *s);

/* position.c */
MUST_USE bool sync_read_position(struct sync *s, struct err *err);
/* Locks the row and makes sure that it still says what the run started from. Errors: 40001 */
MUST_USE bool sync_lock_position(struct sync *s, struct err *err);
MUST_USE bool sync_write_position(struct sync *s, bool filled_by_sync, struct err *err);
/* Commits with the history row. */
MUST_USE bool sync_commit(struct sync *s, int64_t rows, struct err *err);

/* stream.c: from files into a stream of the batch. */
MUST_USE bool sync_open_relation(struct sync *s, const struct hudi_slices *slices,
                                 struct relation *out, struct err *err);
/* Is the table's ordering field synchronised, if its files have it? */
MUST_USE bool sync_check_ordering(struct sync *s, const struct relation *r, struct err *err);
/* All rows of a relation; `where` (SQL over c0…, ct, sn) may be NULL. Needs an open stream. */
MUST_USE bool sync_send_relation(struct sync *s, const struct relation *r, enum columns_part part,
                                 const char *where, struct err *err);
/* The rows of a query with the columns of `part`. */
MUST_USE bool sync_send_query(struct sync *s, const char *sql, enum columns_part part,
                              struct err *err);

/* full.c: the whole snapshot, as a first run or because the way from the position is lost. */
MUST_USE bool sync_full(struct sync *s, struct err *err);
MUST_USE bool sync_reconcile(struct sync *s, struct err *err);
/* delta.c: what the commits behind the position changed. */
MUST_USE bool sync_changes(struct sync *s, struct err *err);

/* A note for last_log. */
void sync_note(struct sync *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

#endif
