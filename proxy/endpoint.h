/* Endpoints of parallel retrieve cursors: who has declared them, who reads them, how far that is.
 *
 * The one table that sessions of all threads share; the lock is inside. What it hands out is a copy or
 * a counted reference. Spec: spec/parallel-cursor.md sections 1.2 to 1.5.
 *
 *   declarer   a session that has declared such a cursor; has the token
 *   cursor     what all endpoints of one cursor have in common; constant once it is published
 *   endpoint   one share of a cursor's rows
 *   receiver   a retrieve session
 *
 *   READY ──> RETRIEVING <──> ATTACHED          (one RETRIEVE runs; between two of them)
 *                  └────────────┴──> FINISHED   the end was seen
 *             any of them ─────────> RELEASED   the receiver left or failed midway; no longer listed
 *
 * Files: endpoint.c, endpoint_receive.c, endpoint_worker.c, endpoint_list.c.
 *
 * Declarers and receivers are parties: they live on loops of their own, and are told by endpoint_wake
 * that something of theirs changed. */
#ifndef PROXY_ENDPOINT_H
#define PROXY_ENDPOINT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "protocol/scram.h"

#include "credential.h"
#include "mailbox.h"

struct endpoint_registry;
struct loop;

#define ENDPOINT_NAME_BYTES 64  /* NAMEDATALEN */
#define ENDPOINT_TOKEN_BYTES 35 /* "tk", 32 digits and a NUL */
#define ENDPOINT_KEY_BYTES 256
#define ENDPOINT_HOST_BYTES 256

#define ENDPOINT_STATES(X)                                                                         \
    /*                seed           Greenplum 6.20+ */                                            \
    X(READY, "READY", "READY")                                                                     \
    X(RETRIEVING, "RETRIEVING", "RETRIEVING")                                                      \
    X(ATTACHED, "RETRIEVING", "ATTACHED")                                                          \
    X(FINISHED, "FINISHED", "FINISHED")                                                            \
    X(RELEASED, "RELEASED", "RELEASED")

enum endpoint_state {
#define X(name, seed, newer) ENDPOINT_##name,
    ENDPOINT_STATES(X)
#undef X
};

/* Somebody on a loop. */
struct endpoint_party {
    atomic_uint refs;
    struct loop *loop;
    void *who; /* touched on its loop only; NULL: gone */
    void (*wake)(void *who);
    struct mail mail; /* under way while is_woken */
    atomic_bool is_woken;
    atomic_bool is_canceled; /* by a CancelRequest with its key; the party takes it back */
    uint32_t pid;            /* constant once the party is in the registry */
    char key[ENDPOINT_KEY_BYTES];
    size_t key_bytes;
    struct list link; /* of the registry's parties */
    bool is_receiver;
    void (*free_it)(struct endpoint_party *p);
};

/* Takes a reference. */
struct endpoint_party *endpoint_party_ref(struct endpoint_party *p);
void endpoint_party_unref(struct endpoint_party *p); /* NULL: nothing */
/* Any thread: p->wake(who) will be called on its loop, once for any number of calls. */
void endpoint_wake(struct endpoint_party *p);

struct endpoint_declarer {
    struct endpoint_party party;
    uint32_t number; /* of the session */
    char token[ENDPOINT_TOKEN_BYTES];
    struct scram_verifier verifier; /* of the token */
    char user[ENDPOINT_NAME_BYTES]; /* session user */
    char dbname[ENDPOINT_NAME_BYTES];
    char host[ENDPOINT_HOST_BYTES]; /* as told to the client */
    uint16_t port;
    struct buf parameters; /* ParameterStatus messages for retrieve sessions; under the lock */
    struct list endpoints; /* of struct endpoint; under the lock */
    struct list link;
};

/* How connections of their own read the cursor's rows; spec/parallel-cursor.md section 4.2. */
struct endpoint_workers {
    char *user; /* who logs in */
    char *dbname;
    struct credential credential;
    char *setup;   /* statements that make the connection's transaction like the declaring one */
    char **slices; /* queries, one an endpoint */
    unsigned count;
    struct buf relations; /* that the query reads (cursor_plan.h); empty: they cannot change */
};

struct endpoint_cursor {
    atomic_uint refs;
    struct endpoint_workers *workers; /* owns; NULL: the declaring session gives the rows */
    char name[ENDPOINT_NAME_BYTES];
    uint32_t number;        /* in its session; tells cursors of one name apart */
    struct buf description; /* body of the RowDescription, all in text format */
    char encoding[32];      /* client_encoding of the declaring session */
};
MUST_USE struct endpoint_cursor *endpoint_cursor_new(const char *name);
/* All of it, and the struct. NULL: nothing. */
void endpoint_workers_free(struct endpoint_workers *w);
void endpoint_cursor_unref(struct endpoint_cursor *c); /* NULL: nothing */

struct endpoint {
    atomic_uint refs;
    struct endpoint_registry *registry;
    struct endpoint_declarer *declarer; /* a reference */
    struct endpoint_cursor *cursor;     /* a reference */
    char name[ENDPOINT_NAME_BYTES];
    unsigned number; /* from 0 */
    /* under the lock */
    enum endpoint_state state;
    struct endpoint_party *receiver; /* a reference; NULL: nobody has touched it */
    bool is_withdrawn;               /* the cursor is gone, or the endpoint was taken away */
    uint32_t worker_pid;             /* server process that reads it; 0: none */
    bool worker_reads;               /* it has declared its cursor */
    unsigned worker_looks;           /* how often it was seen that it has not */
    struct err failure;              /* of RELEASED, for CHECK */
    struct list link;                /* in the declarer's list */
};
void endpoint_unref(struct endpoint *e); /* NULL: nothing */

MUST_USE bool endpoint_registry_new(struct endpoint_registry **out, struct err *err);
void endpoint_registry_free(struct endpoint_registry *r);

/* ---- of declaring sessions ---- */

/* A new token and a place in the registry. The strings are copied; key: of the server process.
 * Errors: 53200 */
struct endpoint_declarer_info {
    struct loop *loop;
    void *who;
    void (*wake)(void *who);
    uint32_t number;
    uint32_t pid;
    struct slice key, user, dbname, host;
    uint16_t port;
};
MUST_USE bool endpoint_declarer_open(struct endpoint_registry *r,
                                     const struct endpoint_declarer_info *info,
                                     struct endpoint_declarer **out, struct err *err);
/* The session ends: its endpoints are withdrawn, its token dies. Takes the reference. */
void endpoint_declarer_close(struct endpoint_registry *r, struct endpoint_declarer *d);
/* What retrieve sessions of this declarer tell their clients. Takes the bytes. */
void endpoint_set_parameters(struct endpoint_registry *r, struct endpoint_declarer *d,
                             struct buf *parameters);

/* Makes `count` endpoints of the cursor, all at once. Errors: 53200; 53400 over a limit */
MUST_USE bool endpoint_publish(struct endpoint_registry *r, struct endpoint_declarer *d,
                               struct endpoint_cursor *c, unsigned count, struct err *err);
/* The cursor is gone: receivers that read from it are woken. */
void endpoint_withdraw(struct endpoint_registry *r, struct endpoint_declarer *d,
                       const struct endpoint_cursor *c);

/* CHECK: is all of the cursor read? False: *err says which error ended an endpoint. */
MUST_USE bool endpoint_check(struct endpoint_registry *r, struct endpoint_declarer *d,
                             const char *cursor, bool *exists, bool *finished, struct err *err);
/* Does a worker read from the declarer's cursors? */
bool endpoint_has_workers(struct endpoint_registry *r, struct endpoint_declarer *d);
/* Workers that have not declared their cursors in the last `looks` calls. Their number. */
size_t endpoint_find_stuck(struct endpoint_registry *r, struct endpoint_declarer *d, unsigned looks,
                           uint32_t *pids, size_t max);
/* Takes away the endpoints of the declarer that these server processes read. Their number. */
size_t endpoint_expel(struct endpoint_registry *r, struct endpoint_declarer *d,
                      const uint32_t *pids, size_t count);
/* All endpoints of the database, or those of one user, as the JSON array that the support schema's
 * functions read. d: own session's; may be NULL */
MUST_USE bool endpoint_list(struct endpoint_registry *r, const char *dbname, const char *user,
                            bool is_superuser, const struct endpoint_declarer *d, struct buf *out);

/* ---- of retrieve sessions ---- */

/* Puts a receiver where CancelRequests find it. */
void endpoint_receiver_open(struct endpoint_registry *r, struct endpoint_party *p);
/* It quits: endpoints that it has not finished are released, with the error that CHECK tells. */
void endpoint_receiver_close(struct endpoint_registry *r, struct endpoint_party *p);

/* Declarers with this session user and database, as references in out[max]; their number. */
size_t endpoint_find_declarers(struct endpoint_registry *r, struct slice user, struct slice dbname,
                               struct endpoint_declarer **out, size_t max);
/* A verifier that no token has. */
void endpoint_copy_nobody(struct endpoint_registry *r, struct scram_verifier *out);
/* ParameterStatus messages of the declarer. */
MUST_USE bool endpoint_copy_parameters(struct endpoint_registry *r, struct endpoint_declarer *d,
                                       struct buf *out);
/* Takes the endpoint of this name for the receiver, and begins a RETRIEVE. *finished: its end was
 * seen already. The caller owns a reference.
 * Errors: 22023 no such endpoint, or somebody else's; XX000 its cursor is gone */
MUST_USE bool endpoint_attach(struct endpoint_registry *r, struct endpoint_declarer *d,
                              struct endpoint_party *receiver, const char *name,
                              struct endpoint **out, bool *finished, struct err *err);
/* The RETRIEVE is over: ATTACHED or FINISHED. */
void endpoint_detach(struct endpoint *e, bool finished);
/* The RETRIEVE failed: RELEASED; err is what CHECK tells. */
void endpoint_release(struct endpoint *e, const struct err *err);
/* Which server process reads it now, or is about to; 0: none. */
void endpoint_set_worker(struct endpoint *e, uint32_t pid, bool reads);
/* Places for workers' connections; max_user and max: 0: no limit. False: none is free. */
MUST_USE bool endpoint_take_place(struct endpoint_registry *r, const char *user, unsigned max_user,
                                  unsigned max);
void endpoint_give_place(struct endpoint_registry *r, const char *user);
/* XX000: what a receiver is told whose cursor is gone. Returns false. */
bool endpoint_refuse_gone(struct err *err);
bool endpoint_is_withdrawn(struct endpoint *e);

/* ---- CancelRequest ---- */

/* Marks and wakes the party with this key. True: it is a receiver, the server knows nothing of it. */
bool endpoint_cancel(struct endpoint_registry *r, uint32_t pid, struct slice key);

#endif
