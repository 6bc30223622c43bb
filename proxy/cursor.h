/* Parallel retrieve cursors of a declaring session. Private to vendor.c, dispatch.c, session*.c and
 * cursor*.c:
 *
 *   cursor.c        which are open; what the server's messages tell about that
 *   cursor_run.c    DECLARE, CHECK and the lists of endpoints: statements that need more than a rewrite
 *   cursor_explain.c  where the endpoints of a DECLARE would be
 *   cursor_age.c    cursors that are open too long
 *   cursor_watch.c  statements that wait for the session's own workers
 *   cursor_fetch.c  rows for retrieve sessions out of the declaring session's own cursor
 *
 * DESIGN.md section 2, ORCHESTRATE; spec/parallel-cursor.md section 4. */
#ifndef PROXY_CURSOR_H
#define PROXY_CURSOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/slice.h"
#include "proxy/gate.h"

#include "cursor_fetch.h"
#include "cursor_parallel.h"
#include "endpoint.h"
#include "inject.h"

struct session;
struct statement;
struct vendor;

/* A cursor that the server has, as far as we know. */
struct cursor_open {
    struct list link;
    struct endpoint_cursor *shared; /* a reference */
    char created[40];               /* as pg_cursors tells: the name may come again */
    uint64_t ends_ms;               /* where there is an age limit */
};

/* A part of a Query: a statement on cursors, or all that stands between two of them. */
struct cursor_item {
    size_t start; /* byte offsets in the client's text */
    size_t end;
    const struct handler_cursor *cursor; /* NULL: plain statements */
};

#define CURSOR_STEPS(X)                                                                            \
    X(NONE, "no statement on cursors under way")                                                   \
    X(PIECE, "plain statements of the client's text are at the server")                            \
    X(DECLARE, "the DECLARE is at the server")                                                     \
    X(FACTS, "asks what the endpoints must know of the session")                                   \
    X(DESCRIBE, "asks for the description of the cursor's rows")                                   \
    X(NAME, "asks whether there is a plain cursor of that name")                                   \
    X(PLAN, "finds out whether workers can read the cursor (cursor_parallel.c)")                   \
    X(LIMIT, "asks for statement_timeout")                                                         \
    X(WAIT, "waits for the retrieve sessions")                                                     \
    X(FEED, "hands the list of endpoints to the session")

enum cursor_step {
#define X(name, text) CURSOR_##name,
    CURSOR_STEPS(X)
#undef X
};

/* The statement under way. */
struct cursor_run {
    enum cursor_step step;
    struct cursor_item *items; /* of a Query; in the dispatch's arena */
    size_t item_count;
    size_t at;
    struct statement *statement; /* a reference; of the item, for positions */
    bool piece_failed;
    struct endpoint_cursor *declared;
    char created[40];
    bool explains;         /* EXPLAIN of a DECLARE: only the plan stages are gone through */
    bool may_have_workers; /* nothing of the session speaks against it */
    const char *settings;  /* what makes a new session like this one, as SQL; in the arena */
    struct cursor_parallel parallel;
    const char *wait_for; /* name of a cursor; in the arena */
    bool is_check;        /* the wait is that of CHECK, else that of a function */
    uint64_t deadline_ms; /* 0: none */
    bool ends_in_error;   /* at the deadline; else the wait just ends */
};

struct cursors {
    struct endpoint_declarer *declarer; /* a reference; NULL: none declared yet */
    struct list open;                   /* of struct cursor_open */
    struct cursor_run run;
    const char *tag;     /* of the CHECK that was executed last: static */
    char line[64];       /* of the EXPLAIN that was executed last; "": none */
    struct timer *timer; /* of a wait */
    struct inject inject;
    bool must_reconcile; /* a cursor may be gone */
    bool is_reconciling;
    bool holds_ready; /* the client has not got its ReadyForQuery */
    struct cursor_fetches fetches;
    struct timer *age;   /* of cursor_age.c */
    struct timer *watch; /* of cursor_watch.c */
    struct control_ask *watch_ask;
    bool was_busy; /* at the last look */
};

/* ---- cursor.c ---- */

void cursor_free(struct cursors *c); /* NULL: nothing */
/* The session ends: its token and endpoints die. NULL: nothing. */
void cursor_forget(struct session *s, struct cursors *c);
/* NULL: no memory. */
struct cursors *cursor_need(struct session *s);
bool cursor_has_open(const struct vendor *v);
struct cursor_open *cursor_find(const struct cursors *c, const char *name);
/* The server has it and all is known: it is open. Takes shared. */
MUST_USE bool cursor_add(struct session *s, struct endpoint_cursor *shared, const char *created,
                         unsigned endpoints, struct err *err);

/* A text that could leave the session in a savepoint. Cheap. True: it is nothing else. */
bool cursor_note_savepoint(struct session *s, char type, struct slice name, struct slice text);
/* The tag of a command of the client. */
void cursor_on_tag(struct cursors *c, struct slice tag);
/* ReadyForQuery came, the response queue knows it. True: it must not go to the client now. */
bool cursor_on_ready(struct session *s);
/* The response queue moved. True: something of ours is still under way. */
bool cursor_on_advance(struct session *s);
/* Must the client's messages wait? */
bool cursor_blocks(const struct session *s);
/* Is the answer to a SKIP entry ours? Then it is taken. */
bool cursor_takes_answer(struct session *s, char type, struct slice body);
/* As vendor_wants_answer, for SKIP entries. */
bool cursor_wants_answer(const struct session *s, char type);
/* Waits for something that may take long: the client's socket must be watched meanwhile. */
bool cursor_may_take_long(const struct session *s);

/* ---- cursor_watch.c ---- */

/* A cursor that workers read is open. False: no memory. */
MUST_USE bool cursor_watch_start(struct session *s);
void cursor_watch_stop(struct cursors *c);

/* ---- cursor_age.c ---- */

/* A cursor is there, and will be appended to those that are open. False: no memory. */
MUST_USE bool cursor_age_start(struct session *s, struct cursor_open *o);
void cursor_age_stop(struct cursors *c);

/* ---- cursor_run.c ---- */

/* The dispatched message concerns cursors or endpoints; all other preparations are made. Ends by
 * dispatch_decide or dispatch_refuse. */
void cursor_run_start(struct session *s);
/* Our statement for the present step was answered, without error. */
void cursor_run_on_injected(struct session *s);
/* A plain piece was answered: the last one, or one that failed, ends the Query. True: more to come. */
bool cursor_run_on_ready(struct session *s);
/* The queue moved, or an endpoint did. */
void cursor_run_go_on(struct session *s);
void cursor_run_end(struct cursors *c);

#endif
