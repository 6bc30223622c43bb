/* What the client is still owed: one entry for each request whose answer has not been seen.
 *
 * A pure model of the server's side of the protocol: no sockets, no bytes. Tell it every request that
 * goes to the server (response_queue_request) and every message that comes from there
 * (response_queue_peek, then response_queue_advance); it says whose answer the message is. */
#ifndef PROXY_RESPONSE_QUEUE_H
#define PROXY_RESPONSE_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

enum rq_kind {
    RQ_LOGIN,    /* the startup packet: ends with the first ReadyForQuery */
    RQ_QUERY,    /* 'Q' */
    RQ_PARSE,    /* 'P' */
    RQ_BIND,     /* 'B' */
    RQ_DESCRIBE, /* 'D' */
    RQ_EXECUTE,  /* 'E' */
    RQ_CLOSE,    /* 'C' */
    RQ_SYNC,     /* 'S' */
    RQ_FUNCTION, /* 'F' */
    RQ_FLUSH,    /* 'H' with a body, which it must not have: answered by an error or not at all */
    RQ_COPY_END  /* 'c' or 'f': has no answer, but decides what a Sync before it meant */
};

enum rq_fate {
    RQ_FORWARD, /* from the server to the client */
    RQ_SKIP     /* ours: the client did not ask */
};

struct rq_note; /* whatever the owner wants to know again when the answer comes */

struct rq_entry {
    enum rq_kind kind;
    enum rq_fate fate;
    struct rq_note *note; /* owns; NULL: nothing */
};

struct response_queue {
    struct rq_entry *ring; /* owns; capacity is a power of two, or 0 */
    uint32_t capacity;
    uint32_t head;
    uint32_t count;
    uint32_t skip_count; /* entries with RQ_SKIP */
    char status;         /* of the last ReadyForQuery: I, T or E; 0 before the first */
    bool skipping;       /* after an error in the extended protocol: until the next Sync */
    bool copying_in;     /* the server takes CopyData now; no CopyDone or CopyFail is under way */
    bool completed;      /* a command of the client ended since the last ReadyForQuery: what comes now
                            is in a transaction with it */
    bool in_cycle;       /* extended messages were sent that no Sync has closed, */
    bool has_bound;      /* and among them a Bind, */
    bool has_executed;   /* or an Execute: a Sync would end more than the cycle */
    void (*free_note)(struct rq_note *note);
};

/* More than the server can leave unanswered without flushing (see response_queue.c). */
#define RQ_MAX_ENTRIES 16384u

/* free_note  called for each note when its entry goes; may be NULL when no notes are used */
void response_queue_init(struct response_queue *q, void (*free_note)(struct rq_note *note));
void response_queue_fini(struct response_queue *q);

/* A request of this kind goes to the server. Takes note, also when the request will have no answer
 * (then it is freed at once). False: no room or no memory. */
MUST_USE bool response_queue_request(struct response_queue *q, enum rq_kind kind, enum rq_fate fate,
                                     struct rq_note *note);
static inline bool response_queue_is_full(const struct response_queue *q)
{
    return q->count >= RQ_MAX_ENTRIES;
}
static inline bool response_queue_is_empty(const struct response_queue *q)
{
    return q->count == 0;
}
/* The oldest entry; NULL: the client is owed nothing. Borrowed until the next call. */
struct rq_entry *response_queue_head(const struct response_queue *q);

/* Whose is a message of this type that the server sends now? RQ_FORWARD when nobody asked for it.
 * *note borrows until response_queue_advance; may be NULL. */
enum rq_fate response_queue_peek(const struct response_queue *q, char type, struct rq_note **note);
/* The message came. status is that of a 'Z', else ignored. */
void response_queue_advance(struct response_queue *q, char type, char status);

/* Entries that are SKIP become FORWARD: the client gets what is left of the answer to ours. */
void response_queue_forward_rest(struct response_queue *q);

#endif
