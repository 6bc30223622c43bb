/* The model of what the server still owes.
 *
 * The server reads requests in order and answers in order, so a ring of entries is enough, with
 * these rules of PostgreSQL's main loop (tcop/postgres.c, commands/copyfromparse.c):
 *
 *   request      answer                                     the entry goes with
 *   Query        (T D* C | C | I | G…C | H d* c C)* [E] Z   Z
 *   FunctionCall V Z, or E Z                                Z
 *   Parse Bind Close      1   2   3                         that
 *   Describe     t T, t n, T, n                             T or n
 *   Execute      D* and C, s or I; G…C; H d* c C            C, s or I
 *   Sync         Z, or E Z                                  Z
 *   Flush        nothing; it is not in the ring, but for one with a body, whose answer is E
 *
 *   Error          In a Query, FunctionCall or Sync only Z follows. In the other messages the server
 *                  drops everything up to the next Sync, a Query included: those entries go, and
 *                  without a Sync in the ring `skipping` drops the requests to come.
 *   COPY IN        After G the server reads the copy stream itself. It ignores Sync and Flush there,
 *                  so a Sync that was sent behind the Execute yields no Z, up to CopyDone or
 *                  CopyFail; these two have entries for this reason. An error ends the copy; the
 *                  copy messages behind it are ignored. When no copy is on, they always are.
 *
 *            G, no CopyDone under way               CopyDone or CopyFail sent, or E
 *     (none) ----------------------> copying_in ----------------------------------> (none)
 *
 *            E in P, B, D, E, C without Sync behind          Sync sent, or Z
 *     (none) -----------------------------------> skipping ------------------> (none)
 *
 *   Async          Notice, ParameterStatus, NotificationResponse may come at any time and change
 *                  nothing. A notice while our own statement runs is ours.
 *   FATAL          is an error behind which the connection ends; nothing to model.
 *
 * One thing cannot be known: a COPY error that the server finds before it read anything from the
 * stream (a cancel) makes a Sync count that we took for ignored. So the model tolerates: a message
 * that the head cannot have caused is forwarded and moves nothing, and an entry of ours swallows
 * only what it can have caused.
 *
 * Bounds: the server flushes after 8 KiB at the latest and each answer has 5 bytes or more, so at most
 * some 1600 entries can wait for a flush that only the client could ask for; a reader that stops at
 * RQ_MAX_ENTRIES never waits for ever. */
#include "response_queue.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 8u

void response_queue_init(struct response_queue *q, void (*free_note)(struct rq_note *note))
{
    *q = (struct response_queue){.free_note = free_note};
}

static void free_note(struct response_queue *q, struct rq_note *note)
{
    if (note != NULL && q->free_note != NULL)
        q->free_note(note);
}

static struct rq_entry *at(const struct response_queue *q, uint32_t i)
{
    return &q->ring[(q->head + i) & (q->capacity - 1)];
}

static void pop(struct response_queue *q)
{
    struct rq_entry *e = at(q, 0);
    free_note(q, e->note);
    if (e->fate == RQ_SKIP)
        q->skip_count--;
    q->head = (q->head + 1) & (q->capacity - 1);
    q->count--;
}

void response_queue_fini(struct response_queue *q)
{
    while (q->count > 0)
        pop(q);
    free(q->ring);
    q->ring = NULL;
    q->capacity = 0;
}

static bool grow(struct response_queue *q)
{
    uint32_t capacity = q->capacity == 0 ? FIRST_CAPACITY : q->capacity * 2;
    struct rq_entry *ring = calloc(capacity, sizeof *ring);
    if (ring == NULL)
        return false;
    for (uint32_t i = 0; i < q->count; i++)
        ring[i] = *at(q, i);
    free(q->ring);
    q->ring = ring;
    q->capacity = capacity;
    q->head = 0;
    return true;
}

/* A burst is over: a ring that it made large is given back. */
static void shrink(struct response_queue *q)
{
    if (q->count > 0 || q->capacity <= 8 * FIRST_CAPACITY)
        return;
    free(q->ring);
    q->ring = NULL;
    q->capacity = q->head = 0;
}

static bool push(struct response_queue *q, struct rq_entry e)
{
    if (q->count == q->capacity && (response_queue_is_full(q) || !grow(q)))
        return false;
    q->ring[(q->head + q->count) & (q->capacity - 1)] = e;
    q->count++;
    if (e.fate == RQ_SKIP)
        q->skip_count++;
    return true;
}

/* Puts an entry back where one was popped, so there is room. */
static void push_front(struct response_queue *q, struct rq_entry e)
{
    q->head = (q->head - 1) & (q->capacity - 1);
    q->ring[q->head] = e;
    q->count++;
    if (e.fate == RQ_SKIP)
        q->skip_count++;
}

/* ---- requests ---- */

static bool is_extended(enum rq_kind kind)
{
    return kind == RQ_PARSE || kind == RQ_BIND || kind == RQ_DESCRIBE || kind == RQ_EXECUTE ||
           kind == RQ_CLOSE || kind == RQ_FLUSH;
}

/* Will the server act on a request that reaches it now, as far as we know? */
static bool has_answer(struct response_queue *q, enum rq_kind kind)
{
    if (q->copying_in && kind == RQ_COPY_END) {
        q->copying_in = false;
        return false;
    }
    if (q->copying_in && (kind == RQ_SYNC || kind == RQ_FLUSH))
        return false;
    if (q->skipping)
        return kind == RQ_SYNC;
    return kind != RQ_COPY_END || q->count > 0; /* with nothing owed there is no copy to end */
}

bool response_queue_request(struct response_queue *q, enum rq_kind kind, enum rq_fate fate,
                            struct rq_note *note)
{
    if (!has_answer(q, kind)) {
        free_note(q, note);
        return true;
    }
    if (!push(q, (struct rq_entry){kind, fate, note})) {
        free_note(q, note);
        return false;
    }
    if (kind == RQ_SYNC)
        q->skipping = q->in_cycle = q->has_bound = q->has_executed = false;
    else if (is_extended(kind))
        q->in_cycle = true;
    q->has_bound |= kind == RQ_BIND;
    q->has_executed |= kind == RQ_EXECUTE;
    return true;
}

/* ---- answers ---- */

struct rq_entry *response_queue_head(const struct response_queue *q)
{
    return q->count == 0 ? NULL : at(q, 0);
}

/* Can an entry of this kind have caused a message of this type? */
static bool can_cause(enum rq_kind kind, char type)
{
    static const char *const types[] = {
        [RQ_LOGIN] = "REZvK",   [RQ_QUERY] = "TDCIEZGHWdcs",
        [RQ_PARSE] = "1E",      [RQ_BIND] = "2E",
        [RQ_DESCRIBE] = "tTnE", [RQ_EXECUTE] = "DCsIEGHWdcT",
        [RQ_CLOSE] = "3E",      [RQ_SYNC] = "ZE",
        [RQ_FUNCTION] = "VEZ",  [RQ_FLUSH] = "E",
        [RQ_COPY_END] = "",
    };
    return type != '\0' && strchr(types[kind], type) != NULL;
}

enum rq_fate response_queue_peek(const struct response_queue *q, char type, struct rq_note **note)
{
    struct rq_entry *e = response_queue_head(q);
    *note = NULL;
    if (e == NULL || (type != 'N' && !can_cause(e->kind, type)))
        return RQ_FORWARD;
    *note = e->note;
    return e->fate;
}

/* Copy messages behind the end of their copy are ignored by the server. */
static void drop_stale_copy_ends(struct response_queue *q)
{
    while (q->count > 0 && at(q, 0)->kind == RQ_COPY_END)
        pop(q);
    shrink(q);
}

static void finish(struct response_queue *q)
{
    pop(q);
    drop_stale_copy_ends(q);
}

static void on_error(struct response_queue *q)
{
    q->copying_in = false;
    if (q->count == 0 || !is_extended(at(q, 0)->kind))
        return;
    while (q->count > 0 && at(q, 0)->kind != RQ_SYNC)
        pop(q);
    q->skipping = q->count == 0;
    shrink(q);
}

static void on_ready(struct response_queue *q, char status)
{
    bool is_end = q->count > 0 && at(q, 0)->kind == RQ_SYNC;
    q->status = status;
    q->completed = false;
    if (q->count > 0 && can_cause(at(q, 0)->kind, 'Z'))
        finish(q);
    if (q->count > 0)
        return;
    q->skipping = q->copying_in = false;
    if (is_end || status == 'I') /* since PostgreSQL 18 a cycle goes on behind a Query: 'T' */
        q->in_cycle = q->has_bound = q->has_executed = false;
}

/* The server reads the copy stream now. What stands behind the head was sent before the client could
 * know: Syncs up to the end of the copy are ignored. */
static void on_copy_in(struct response_queue *q)
{
    if (q->count == 0)
        return;
    struct rq_entry copy = *at(q, 0);
    if (copy.kind != RQ_QUERY && copy.kind != RQ_EXECUTE)
        return;
    bool ended = false;
    uint32_t behind = 1;
    while (behind < q->count && !ended) {
        enum rq_kind kind = at(q, behind)->kind;
        if (kind != RQ_SYNC && kind != RQ_FLUSH && kind != RQ_COPY_END)
            break; /* a protocol violation: the server ends the connection */
        ended = kind == RQ_COPY_END;
        behind++;
    }
    q->copying_in = !ended && behind == q->count;
    at(q, 0)->note = NULL; /* it stays with `copy` */
    for (uint32_t i = 0; i < behind; i++)
        pop(q);
    push_front(q, copy);
    if (copy.kind == RQ_EXECUTE && q->count == 1)
        q->in_cycle = q->has_bound = q->has_executed = true; /* again: the Sync was ignored */
}

void response_queue_advance(struct response_queue *q, char type, char status)
{
    struct rq_entry *e = response_queue_head(q);
    switch (type) {
    case 'E': on_error(q); return;
    case 'Z': on_ready(q, status); return;
    case 'G': on_copy_in(q); return;
    case '1':
    case '2':
    case '3':
    case 'n':
        if (e != NULL && can_cause(e->kind, type))
            finish(q);
        return;
    case 'T':
        if (e != NULL && e->kind == RQ_DESCRIBE)
            finish(q);
        return;
    case 'C':
    case 's':
    case 'I':
        if (e != NULL && e->fate == RQ_FORWARD && can_cause(e->kind, type))
            q->completed = true;
        if (e != NULL && e->kind == RQ_EXECUTE) {
            q->copying_in = false;
            finish(q);
        }
        return;
    default: return;
    }
}

void response_queue_forward_rest(struct response_queue *q)
{
    for (uint32_t i = 0; i < q->count; i++)
        at(q, i)->fate = RQ_FORWARD;
    q->skip_count = 0;
}
