/* An event loop and its thread. Everything that lives in a loop (conns, sessions, timers) is touched
 * by its thread only; other threads talk to it by loop_post. A loop never blocks.
 *
 * libevent's headers appear in loop.c, listener.c and conn_private.h only. */
#ifndef PROXY_LOOP_H
#define PROXY_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/list.h"
#include "mailbox.h"

struct loop;
struct event_base;

/* Bytes that one read takes from a socket at most. */
#define LOOP_READ_BYTES ((size_t)64 * 1024)
/* Writable bytes in front of what on_read gets: room to put back a piece of a message in front. */
#define LOOP_READ_HEADROOM ((size_t)16)

/* name  for the log; copied. The loop does not run yet: conns and timers may be made by the thread
 *       that made the loop, until loop_start. */
MUST_USE bool loop_new(const char *name, struct loop **out, struct err *err);
/* Starts the thread. All signals are blocked in it. */
MUST_USE bool loop_start(struct loop *l, struct err *err);
/* Or: runs the loop in the calling thread until loop_stop. */
void loop_run(struct loop *l);
/* Any thread: the loop ends after the callback it is in. */
void loop_stop(struct loop *l);
/* Waits for the thread to end. */
void loop_join(struct loop *l);
/* After loop_join, and after everything in it was freed. */
void loop_free(struct loop *l);

const char *loop_name(const struct loop *l);
/* Any thread: runs m->on_receive(m) on the loop's thread. See mailbox.h. */
void loop_post(struct loop *l, struct mail *m);

/* Work that must not run inside the present callback (freeing what the callers still use): it runs
 * on the same thread as soon as the callback returned. The link is the caller's and is out of the
 * list when `run` is called; a task that is already waiting is not added twice. */
struct loop_task {
    struct list link;
    void (*run)(struct loop_task *t);
};
void loop_task_init(struct loop_task *t, void (*run)(struct loop_task *t));
void loop_defer(struct loop *l, struct loop_task *t);

/* A task that loop_free runs unless it was taken out of its list before (list_remove). */
void loop_at_end(struct loop *l, struct loop_task *t);

/* One-shot timer. `fire` runs on the loop's thread, and may start, stop or free it. */
struct timer;
MUST_USE struct timer *timer_new(struct loop *l, void (*fire)(void *arg), void *arg);
void timer_free(struct timer *t); /* NULL: nothing */
/* (Re)starts it. */
void timer_start(struct timer *t, uint64_t timeout_ms);
void timer_stop(struct timer *t);

/* Monotonic milliseconds. */
uint64_t loop_now_ms(void);

/* For conn.c and listener.c. */
struct event_base *loop_base(struct loop *l);
/* LOOP_READ_BYTES, shared by all conns of the loop: what is in it dies when a callback returns. */
char *loop_read_buffer(struct loop *l);
/* What one read takes from the wire under TLS: with the piece of a record that TLS may hold (16 KiB and
 * a little) it is less than LOOP_READ_BYTES in the clear. */
#define LOOP_WIRE_BYTES ((size_t)44 * 1024)
char *loop_wire_buffer(struct loop *l);
/* Where TLS gathers what goes onto the wire in one call: LOOP_READ_BYTES in records, and some room. */
#define LOOP_GATHER_BYTES (LOOP_READ_BYTES + 2048)
char *loop_gather_buffer(struct loop *l);

#endif
