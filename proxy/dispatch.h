/* What a session knows of its vendor statements, and the one that is being prepared. Private to
 * vendor.c, dispatch.c, inject.c and reply.c. */
#ifndef PROXY_DISPATCH_H
#define PROXY_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "proxy/gate.h"

#include "inject.h"
#include "relay.h"
#include "statement.h"

struct control_ask;
struct cursors;
struct session;

#define DISPATCH_STEPS(X)                                                                          \
    X(NONE, "no vendor statement under way")                                                       \
    X(DRAIN, "waits until the server has answered all before it")                                  \
    X(LOOKUP, "asks which vendor names the user's own objects shadow")                             \
    X(PROBE, "asks whether the support schema is there at all")                                    \
    X(INSTALL, "waits for the support schema")                                                     \
    X(ASK, "asks whether the objects named are ours")                                              \
    X(SECRETS, "hands over the secrets")                                                           \
    X(CURSOR, "a statement on parallel retrieve cursors is carried out (cursor_run.c)")            \
    X(REFUSE, "waits for our error to come back from the server")                                  \
    X(DONE, "decided: see `verdict`")

enum dispatch_step {
#define X(name, text) DISPATCH_##name,
    DISPATCH_STEPS(X)
#undef X
};

struct dispatch {
    enum dispatch_step step;
    enum relay_verdict verdict; /* PASS: the client's message as it is; DROP: it was dealt with */
    char type;                  /* 'Q' or 'P'; 'B' or 'E' of a prepared statement on cursors */
    bool in_cycle;              /* it came inside an unfinished extended cycle */
    bool needs_flush;           /* and a Sync of ours would end more than the cycle */
    bool is_answered;           /* the client has its ErrorResponse */
    struct arena arena;         /* owns what follows */
    struct slice body;          /* of the client's message */
    struct slice text;          /* in it */
    struct gate_result result;
    struct statement *statement; /* a reference; of a 'B' or 'E' */
    struct err err;              /* of a refusal */
    const bool *answers;         /* to the gate's questions; NULL: not asked yet */
};

struct vendor {
    struct dispatch dispatch;
    struct inject inject;
    struct statement_map map;
    struct control_ask *control_ask; /* under way; NULL: none */
    struct cursors *cursors;         /* owns; NULL: no parallel retrieve cursor yet */
    uint64_t shadowed;               /* objects that the user's own win over */
    bool shadows_known;
    bool is_installed;  /* the support schema is in this database */
    bool wakes_workers; /* work was made; tell them when the transaction commits */
};

/* A Query or Parse that the prefilter did not clear. body: borrows. */
enum relay_verdict dispatch_start(struct session *s, char type, struct slice body,
                                  struct slice text);
/* A Bind or Execute of a prepared statement that concerns cursors. */
enum relay_verdict dispatch_start_prepared(struct session *s, char type, struct slice body,
                                           struct statement *st);
/* The same message comes again after WAIT: the verdict. */
enum relay_verdict dispatch_take_verdict(struct session *s);
static inline bool dispatch_is_active(const struct vendor *v)
{
    return v->dispatch.step != DISPATCH_NONE;
}
/* The response queue moved: goes on if that was waited for. */
void dispatch_on_advance(struct session *s);
/* The session ends. */
void dispatch_forget(struct vendor *v);

/* For cursor_run.c: how the statement ends … */
void dispatch_decide(struct session *s, enum relay_verdict verdict);
void dispatch_refuse(struct session *s, const struct err *err);
/* Sends the text with all its edits in place of the client's message, and decides. */
void dispatch_send_spliced(struct session *s);
/* … and the form of what it asks before. */
enum inject_form dispatch_question_form(const struct dispatch *d);

/* ---- reply.c ---- */

/* Sends the answer of a rewritten text to the client in the client's terms: tags of CALLs, positions,
 * contexts. PASS: nothing to change. */
enum relay_verdict reply_edited(struct session *s, char type, struct slice body,
                                struct rq_note *note);
/* The error of a statement that we injected becomes the error of the client's own.
 * ours  NULL, or the error that we made the server raise; its position counts in the client's text */
void reply_injected_error(struct session *s, struct slice body, const struct err *ours);
/* The error ('E') or notice ('N') of a statement that we sent in place of the client's: positions are
 * carried back. */
void reply_statement_error(struct session *s, char type, struct slice body,
                           const struct statement *st);

#endif
