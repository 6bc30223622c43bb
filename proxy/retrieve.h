/* Retrieve sessions: clients that read endpoints of parallel retrieve cursors. They have no server: the
 * proxy itself answers, and all it can do for them is RETRIEVE. Private to session_login.c and retrieve*.c:
 *
 *   retrieve.c            life; who hears what from whom
 *   retrieve_login.c      the token as password
 *   retrieve_message.c    the protocol in the server's role
 *   retrieve_statement.c  texts
 *   retrieve_rows.c       rows of an endpoint
 *
 * spec/parallel-cursor.md sections 1.3, 1.4 and 2. */
#ifndef PROXY_RETRIEVE_H
#define PROXY_RETRIEVE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/list.h"
#include "protocol/scram.h"

#include "conn.h"
#include "cursor_fetch.h"
#include "endpoint.h"
#include "relay.h"
#include "startup.h"

struct retrieve_worker;
struct session_group;

#define RETRIEVE_STATES(X)                                                                         \
    X(FIRST, "waits for the client's first SCRAM message")                                         \
    X(PROOF, "waits for the client's proof")                                                       \
    X(PASSWORD, "waits for the token in clear text")                                               \
    X(READY, "takes statements")                                                                   \
    X(CLOSING, "waits to be freed")

enum retrieve_state {
#define X(name, text) RETRIEVE_##name,
    RETRIEVE_STATES(X)
#undef X
};

enum retrieve_kind {
    RETRIEVE_NOTHING, /* an empty statement */
    RETRIEVE_ROWS,
    RETRIEVE_SET,
    RETRIEVE_SHOW,
    RETRIEVE_BEGIN,
    RETRIEVE_COMMIT,
    RETRIEVE_ROLLBACK,
    RETRIEVE_OTHER, /* has no effect here; answered with its tag */
    RETRIEVE_REFUSED
};

/* One statement, as read. Plain value; texts live in the arena of who read it. */
struct retrieve_statement {
    enum retrieve_kind kind;
    const char *name;  /* of the endpoint, or of the parameter */
    const char *value; /* SET: NULL: default */
    uint64_t count;    /* ROWS; UINT64_MAX: ALL */
    const char *tag;   /* static */
    struct err err;    /* REFUSED */
};

/* A RETRIEVE under way, and what is left of one whose portal is suspended. */
struct retrieve_job {
    struct endpoint *endpoint;      /* a reference; NULL: none under way */
    struct retrieve_worker *worker; /* borrows; that reads it; NULL: none */
    struct cursor_fetch *asked;     /* borrowed while it is away, to compare; NULL: none */
    uint64_t left;                  /* rows still wanted */
    uint64_t limit;                 /* rows until the portal is suspended */
    uint64_t sent;
    uint32_t portion; /* rows of the next fetch */
    size_t portion_bytes;
    uint16_t nformats;
    struct buf formats;
    uint64_t gives_up_ms; /* waits for a worker's place until then; 0: does not wait */
    bool is_canceled;
};

/* A portal. */
struct retrieve_portal {
    struct retrieve_statement *statement; /* borrows from the prepared statement's arena */
    uint64_t sent;                        /* rows so far */
    bool is_started;
    bool is_done;
};

struct retrieve {
    struct endpoint_party party; /* first: the struct is freed with its last reference */
    struct list link;            /* in the group */
    struct session_group *group;
    enum retrieve_state state;
    bool counted;
    struct conn *client;
    struct relay up;
    struct buf out;
    struct timer *timeout; /* of the login */
    struct timer *retry;   /* of a RETRIEVE that waits for a worker's place */
    char *who;             /* for the log */
    char user[ENDPOINT_NAME_BYTES];
    char dbname[ENDPOINT_NAME_BYTES];
    struct loop_task release;
    /* login */
    struct endpoint_declarer **candidates; /* references */
    struct scram_server **exchanges;       /* one a candidate, or one for nobody */
    size_t candidate_count;
    size_t exchange_count;
    bool asks_for_password; /* the client cannot do better */
    /* from READY on */
    struct endpoint_declarer *declarer; /* a reference */
    char status;                        /* I, T or E, as the client's BEGIN has it */
    bool skipping;                      /* until Sync */
    char encoding[32];                  /* client_encoding */
    struct retrieve_name *names;        /* prepared statements and portals */
    struct arena arena;                 /* of the Query at hand */
    struct retrieve_statement *query;   /* its statements; NULL: none under way */
    size_t query_count;
    size_t query_at;
    struct retrieve_job job;
    struct retrieve_portal *portal;    /* of the Execute under way; NULL: a Query's */
    struct retrieve_portal query_rows; /* in its place */
    struct list unread;                /* blocks that wait for the client's socket */
    struct list attached;              /* of struct retrieve_attached */
};

/* ---- retrieve.c, retrieve_place.c ---- */

/* Takes the client, whose startup packet asks for a retrieve session, and its place among the clients. */
void retrieve_open(struct session_group *g, struct conn *client, const char *who, uint32_t number,
                   const struct startup_packet *p, char *rest, size_t rest_bytes);
/* The same, on the loop with the fewest retrieve sessions. At the end of the client's on_read: neither
 * client nor packet are the caller's then.
 * home    the loop that it is called on
 * packet  begins with the startup packet, which p borrows from; behind it what was read with it */
void retrieve_place(struct session_group *home, struct conn *client, const char *who,
                    uint32_t number, const struct startup_packet *p, struct buf *packet);
/* The proxy stops: who is between statements ends now. now: everybody does. */
void retrieve_end_all(struct session_group *g, bool now);
/* Ends with the connection sending what it has. */
void retrieve_close(struct retrieve *r);
/* FATAL, then the end. */
void retrieve_refuse(struct retrieve *r, const struct err *err);
/* Sends r->out and empties it. */
void retrieve_flush(struct retrieve *r);
/* The statement under way ended: messages go on. */
void retrieve_resume(struct retrieve *r);
bool retrieve_is_busy(const struct retrieve *r);

/* ---- retrieve_login.c ---- */

/* Asks for the proof. False: no memory. */
MUST_USE bool retrieve_login_start(struct retrieve *r);
void retrieve_login_step(struct retrieve *r, char type, struct slice body);
void retrieve_login_free(struct retrieve *r);

/* ---- retrieve_message.c ---- */

void retrieve_on_message(struct retrieve *r, char type, struct slice body);
void retrieve_forget_names(struct retrieve *r);
/* The RETRIEVE under way ended. err NULL: *sent rows, suspended or complete. raw: the server's own
 * ErrorResponse body, or empty */
void retrieve_on_rows_done(struct retrieve *r, bool suspended, const struct err *err,
                           struct slice raw);

/* ---- retrieve_statement.c ---- */

/* Reads a text. False: it is wrong as a whole; *err says why. */
MUST_USE bool retrieve_read(struct retrieve *r, struct arena *a, struct slice text,
                            struct retrieve_statement **out, size_t *count, struct err *err);
/* SET client_encoding; others have no effect. False: *err. */
MUST_USE bool retrieve_set(struct retrieve *r, const struct retrieve_statement *st,
                           struct err *err);
/* The parameter's value; false: unknown. */
bool retrieve_show(struct retrieve *r, const char *name, struct buf *value);
/* The server's spelling of an encoding's name; false: not a name at all. */
bool retrieve_name_encoding(const char *name, char *out, size_t size);

/* ---- retrieve_rows.c ---- */

/* Once, before any session runs. */
void retrieve_rows_init(void);
/* Takes the endpoint. False: *err. */
MUST_USE bool retrieve_rows_attach(struct retrieve *r, const char *name, bool *finished,
                                   struct err *err);
/* Its RowDescription in these formats, into r->out. */
bool retrieve_rows_describe(struct retrieve *r, const struct endpoint_cursor *c, uint16_t nformats,
                            struct slice formats);
/* Reads on; ends with retrieve_on_rows_done. The job is filled. */
void retrieve_rows_start(struct retrieve *r);
void retrieve_rows_cancel(struct retrieve *r);
/* Endpoints may have been withdrawn: their workers end, and the RETRIEVE of one. */
void retrieve_rows_on_wake(struct retrieve *r);
void retrieve_rows_on_drained(struct retrieve *r);
/* The session ends. */
void retrieve_rows_forget(struct retrieve *r);
/* The cursor of a name that was attached once, for Describe; NULL: unknown. */
struct endpoint *retrieve_find_attached(const struct retrieve *r, const char *name);

#endif
