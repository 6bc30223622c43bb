/* A client's life: its connection, the server connection that belongs to it, and what passes between
 * them. Private to proxy/: session.c (life), session_login.c, session_header.c and
 * session_tls.c (its beginning),
 * session_relay.c (messages), vendor.c, dispatch.c and reply.c (vendor statements), inject.c (our own
 * statements) and asking.c (functions that ask) share the struct. */
#ifndef PROXY_SESSION_H
#define PROXY_SESSION_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/list.h"
#include "proxy/gate.h"
#include "proxy/server.h"

#include "auth.h"
#include "conn.h"
#include "loop.h"
#include "metrics.h"
#include "network.h"
#include "relay.h"
#include "response_queue.h"
#include "tls.h"

struct asking;
struct control;
struct credential;
struct endpoint_registry;
struct startup_packet;
struct vendor;

/* What all sessions of the process share. Constant while loops run, but for the counters and for what
 * lies in the slots. */
struct session_shared {
    const struct proxy_config *config;
    struct conn_target backend;    /* tls points at server_tls */
    struct network_list balancers; /* whose connections begin with a PROXY header */
    struct tls_slot client_tls;
    struct tls_slot server_tls;
    const struct gate *gate; /* NULL: nothing is ours */
    struct control *control;
    struct endpoint_registry *endpoints;
    struct session_group *groups; /* one a loop */
    size_t group_count;
    uint16_t listen_port;     /* the one in use */
    atomic_uint client_count; /* behind their startup packet; limited by max_client_conn */
    atomic_ullong last_id;
};

/* The sessions of one loop. Touched by its thread only, but for the counts. */
struct session_group {
    struct session_shared *shared;
    struct loop *loop;
    struct list sessions;   /* of struct session */
    struct list retrievers; /* of struct retrieve */
    struct metrics metrics;
    bool draining;
    atomic_uint count;           /* sessions and cancel requests that live here */
    atomic_uint retriever_count; /* retrieve sessions among them, and on their way here */
};

#define SESSION_STATES(X)                                                                          \
    X(STARTUP, "waits for StartupMessage, SSLRequest or CancelRequest")                            \
    X(LOGIN, "connects to the server and passes authentication messages")                          \
    X(READY, "messages flow; who answers which stands in the response queue")                      \
    X(DRAINING, "the proxy stops: ends with the client's transaction")                             \
    X(CLOSING, "connections are given away; waits to be freed")

enum session_state {
#define X(name, text) SESSION_##name,
    SESSION_STATES(X)
#undef X
};

/* What only a login needs. */
struct login {
    struct buf packet; /* what came before the session was open */
    struct timer *timeout;
    struct auth auth;
    bool ssl_done;
    bool gss_done;
    bool awaits_header; /* of the PROXY protocol, in front of everything else */
    bool heard_client;  /* its first bytes are here */
    bool tls_begun;
    bool is_direct;  /* TLS without SSLRequest before it */
    bool plain_rest; /* something that is no TLS came behind SSLRequest in the clear */
    bool connected;  /* to the server */
    bool heard;      /* something from the server */
};

struct session {
    struct list link; /* in group->sessions */
    struct session_group *group;
    enum session_state state;
    bool counted;      /* in client_count */
    bool gate_off;     /* a replication connection: another grammar */
    bool client_ended; /* it will send nothing more, but may still read */
    bool is_superuser;
    bool may_have_savepoint;  /* since the transaction began */
    bool prepares_savepoints; /* so it may have one at any time */
    char session_user[64];    /* as the server tells it */
    uint32_t number;          /* the 42 of "s42" */
    uint32_t server_pid;      /* for a cancel request of ours */
    char server_key[256];
    size_t server_key_bytes;
    bool standard_conforming_strings;
    char client_encoding[16]; /* the server's name of it */
    struct conn *client;      /* owns; NULL when given away */
    struct conn *server;      /* owns; NULL before LOGIN and when given away */
    struct relay up;          /* client to server */
    struct relay down;        /* server to client */
    struct response_queue owed;
    struct login *login;   /* owns; NULL from READY on */
    struct vendor *vendor; /* owns; NULL until the first vendor statement */
    struct asking *asking; /* owns; NULL until a function asked the proxy */
    char *who;             /* owns; for the log: "s42 app@db 10.0.0.7:5123" */
    char *user;            /* owns, as the startup packet has it; and the next */
    char *dbname;
    struct credential *credential; /* owns; NULL: nothing was kept */
    struct loop_task release;
};

/* ---- session.c ---- */

/* Takes fd. On the group's thread. Without memory the client is closed. */
void session_open(struct session_group *g, int fd);
/* The proxy stops: idle sessions end, others with their transaction. */
void session_drain_all(struct session_group *g);
/* All end now. */
void session_end_all(struct session_group *g);

/* The only writer of s->state: checks the move and logs it at debug level. */
void session_enter(struct session *s, enum session_state next);
/* Ends the session; the memory goes when the present callback has returned. Connections that are
 * still ours are closed then. */
void session_close(struct session *s);
/* The connection sends what it has, then closes, without us. */
void session_give_away(struct conn **c);
/* The client gets a FATAL error, then both connections are closed. */
void session_refuse(struct session *s, const struct err *err);
/* The client cannot be served any more (gone, or no memory): what it sent is still delivered. */
void session_client_gone(struct session *s);
/* What the login gave and the settings allow to keep, as long as the session lives; never NULL. Valid
 * only from READY on. */
const struct credential *session_credential(const struct session *s);
/* The first ReadyForQuery came. */
void session_login_done(struct session *s);
/* Reads from both sides as far as back-pressure allows. Call after whatever sent or waited. */
void session_update_reading(struct session *s);

/* Of the server connection; for conn_connect. */
extern const struct conn_events session_server_events;

/* ---- session_login.c ---- */

/* What the client sends in STARTUP. */
void session_read_startup(struct session *s, const char *data, size_t bytes);
/* FATAL 57P03. why: NULL if the server closed without a word. */
void session_refuse_unreachable(struct session *s, const struct err *why);
/* FATAL 08P01: bytes in the clear behind a request for encryption ("SSL request"). */
void session_refuse_unencrypted(struct session *s, const char *request);

/* ---- session_header.c ---- */

/* Is this a balancer's connection, so that a PROXY header must come? */
void session_expect_header(struct session *s);
/* Takes the header off the packet buffer; false: it is not whole yet, or the session was closed. */
bool session_take_header(struct session *s);

/* ---- session_tls.c ---- */

/* SSLRequest is the first packet: answers it and starts TLS; false: this client gets none. */
bool session_begin_tls(struct session *s, size_t request_bytes);
/* The client's first bytes may be a handshake: then starts TLS. */
bool session_begin_direct_tls(struct session *s);
/* The handshake is complete; for struct conn_events. */
void session_on_client_secure(void *owner, struct conn *c);
/* The client's conn ended: logs it if that was in the handshake. */
void session_tell_tls_failure(struct session *s, const struct err *err);
/* Does the client have the encryption and the certificate that the mode demands? If not it is
 * refused (28000). */
MUST_USE bool session_check_tls(struct session *s, const struct startup_packet *p);

/* ---- session_auth.c ---- */

/* A message of the client in LOGIN. WHOLE: session_auth_on_request wants it. PASS: it is no matter of
 * authentication. */
enum relay_verdict session_auth_on_header(struct session *s, struct wire_header h);
enum relay_verdict session_auth_on_request(struct session *s, struct slice body);
/* An Authentication message of the server. */
enum relay_verdict session_auth_on_answer(struct session *s, struct slice body);

/* ---- session_relay.c ---- */

extern const struct relay_events session_up_events;
extern const struct relay_events session_down_events;
/* Message types that the server may send without anything to be done about it, by type. */
extern const uint8_t session_plain_down[256];
extern const uint8_t session_plain_up[256];

/* The client's messages go on after RELAY_WAIT, or the server's. */
void session_resume_client(struct session *s);
void session_resume_server(struct session *s);
/* Sends to the server and records what it owes for it; takes note. */
void session_request(struct session *s, const void *message, size_t bytes, enum rq_kind kind,
                     enum rq_fate fate, struct rq_note *note);
/* Sends to the client, behind what the server has sent so far. */
void session_reply(struct session *s, const void *message, size_t bytes);

#endif
