/* The life of a retrieve session.
 *
 *   FIRST --> PROOF --+--> READY          any state --> CLOSING --> freed
 *          PASSWORD --+
 *
 * It begins where an ordinary session would open its server connection (session_login.c), with the
 * client's connection, and shares nothing with struct session but the loop and the place among the
 * clients. Its messages pass through a relay, one whole message at a time; while a RETRIEVE is under way
 * the next one waits.
 *
 * The struct is an endpoint party: mails that were sent to it keep it alive, `who` says whether anybody
 * is there to hear them.
 *
 * The client's socket is read on while a RETRIEVE runs, within bounds, so that a client that goes away
 * is noticed at once and its endpoint released. */
#include "retrieve.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "protocol/client_msg.h"
#include "protocol/crypto.h"
#include "protocol/server_msg.h"

#include "session.h"

#define MESSAGE_MAX_BYTES ((size_t)1024 * 1024)
#define OUT_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define MAX_HELD_BYTES LOOP_READ_BYTES

static const char *const state_names[] = {
#define X(name, text) #name,
    RETRIEVE_STATES(X)
#undef X
};

static void free_party(struct endpoint_party *p)
{
    free((struct retrieve *)p);
}

/* ---- sending ---- */

void retrieve_flush(struct retrieve *r)
{
    struct err err;
    if (r->state == RETRIEVE_CLOSING)
        return;
    if (r->out.failed) {
        buf_clear(&r->out);
        err_no_memory(&err);
        retrieve_refuse(r, &err);
        return;
    }
    if (buf_length(&r->out) > 0)
        conn_send(r->client, buf_data(&r->out), buf_length(&r->out));
    buf_clear(&r->out);
}

/* ---- the end ---- */

static void on_release(struct loop_task *t)
{
    struct retrieve *r = LIST_ENTRY(t, struct retrieve, release);
    struct session_group *g = r->group;
    conn_free(r->client);
    timer_free(r->timeout);
    timer_free(r->retry);
    relay_fini(&r->up);
    buf_fini(&r->out);
    buf_fini(&r->job.formats);
    arena_fini(&r->arena);
    free(r->who);
    endpoint_receiver_close(g->shared->endpoints, &r->party); /* the last use of r */
    atomic_fetch_sub(&g->retriever_count, 1);
    atomic_fetch_sub(&g->count, 1);
}

void retrieve_close(struct retrieve *r)
{
    if (r->state == RETRIEVE_CLOSING)
        return;
    log_debug(r->who, "%s -> CLOSING", state_names[r->state]);
    log_info(r->who, "retrieve session closed");
    r->state = RETRIEVE_CLOSING;
    relay_stop(&r->up);
    retrieve_rows_forget(r);
    retrieve_forget_names(r);
    retrieve_login_free(r);
    if (r->declarer != NULL)
        endpoint_party_unref(&r->declarer->party);
    r->declarer = NULL;
    session_give_away(&r->client);
    if (r->counted)
        atomic_fetch_sub(&r->group->shared->client_count, 1);
    list_remove(&r->link);
    loop_defer(r->group->loop, &r->release);
}

void retrieve_refuse(struct retrieve *r, const struct err *err)
{
    if (r->state == RETRIEVE_CLOSING)
        return;
    log_err(LOG_LEVEL_DEBUG, r->who, "refused", err);
    struct buf out;
    buf_init(&out, 8192);
    if (wire_write_error(&out, 'E', "FATAL", err))
        conn_send(r->client, buf_data(&out), buf_length(&out));
    buf_fini(&out);
    retrieve_close(r);
}

void retrieve_end_all(struct session_group *g, bool now)
{
    struct err err;
    err_set(&err, SQLSTATE_ADMIN_SHUTDOWN, "terminating connection due to administrator command");
    for (struct list *link = g->retrievers.next, *next = link->next; link != &g->retrievers;
         link = next, next = link->next) {
        struct retrieve *r = LIST_ENTRY(link, struct retrieve, link);
        if (now || !retrieve_is_busy(r))
            retrieve_refuse(r, &err);
    }
}

/* ---- the client's messages ---- */

bool retrieve_is_busy(const struct retrieve *r)
{
    return r->job.endpoint != NULL || r->query != NULL;
}

static void update_reading(struct retrieve *r)
{
    if (r->state == RETRIEVE_CLOSING)
        return;
    if (relay_is_waiting(&r->up) && buf_length(&r->up.held) > MAX_HELD_BYTES)
        conn_pause_reading(r->client);
    else
        conn_resume_reading(r->client);
}

void retrieve_resume(struct retrieve *r)
{
    if (r->state == RETRIEVE_CLOSING)
        return;
    if (r->group->draining && !retrieve_is_busy(r)) {
        retrieve_end_all(r->group, false);
        return;
    }
    relay_resume(&r->up);
    update_reading(r);
}

static enum relay_verdict on_header(void *owner, struct wire_header h)
{
    struct retrieve *r = owner;
    struct err err;
    if (retrieve_is_busy(r))
        return RELAY_WAIT;
    if (h.body_bytes <= MESSAGE_MAX_BYTES)
        return RELAY_WHOLE;
    err_set(&err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "a message to a retrieve session is too long");
    retrieve_refuse(r, &err);
    return RELAY_DROP;
}

static enum relay_verdict on_message(void *owner, struct wire_header h, char *message)
{
    struct retrieve *r = owner;
    struct slice body = slice_of(message + WIRE_HEADER_BYTES, h.body_bytes);
    if (retrieve_is_busy(r))
        return RELAY_WAIT;
    if (r->state == RETRIEVE_READY)
        retrieve_on_message(r, h.type, body);
    else
        retrieve_login_step(r, h.type, body);
    return RELAY_DROP;
}

static void on_bytes(void *owner, const char *data, size_t bytes)
{
    (void)owner;
    (void)data;
    (void)bytes; /* everything is dropped */
}

static void on_unframed(void *owner)
{
    retrieve_close(owner);
}

static void on_no_memory(void *owner)
{
    struct err err;
    err_no_memory(&err);
    retrieve_refuse(owner, &err);
}

static const struct relay_events up_events = {.on_header = on_header,
                                              .on_message = on_message,
                                              .on_bytes = on_bytes,
                                              .on_unframed = on_unframed,
                                              .on_no_memory = on_no_memory};

/* ---- the client's connection ---- */

static void on_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    (void)c;
    struct retrieve *r = owner;
    if (r->state == RETRIEVE_CLOSING)
        return;
    relay_feed(&r->up, data, bytes);
    update_reading(r);
}

static void on_drained(void *owner, struct conn *c)
{
    (void)c;
    struct retrieve *r = owner;
    if (r->state != RETRIEVE_CLOSING)
        retrieve_rows_on_drained(r);
}

static void on_end(void *owner, struct conn *c, const struct err *err)
{
    (void)c;
    (void)err;
    retrieve_close(owner);
}

static const struct conn_events client_events = {
    .on_read = on_read, .on_drained = on_drained, .on_end = on_end};

/* ---- the beginning ---- */

/* An endpoint is gone, or a cancel request came. */
static void on_wake(void *who)
{
    struct retrieve *r = who;
    bool is_canceled = atomic_exchange(&r->party.is_canceled, false);
    if (r->state != RETRIEVE_READY)
        return;
    if (is_canceled && r->job.endpoint != NULL)
        retrieve_rows_cancel(r);
    retrieve_rows_on_wake(r);
}

static void on_timeout(void *arg)
{
    struct err err;
    err_set(&err, SQLSTATE_QUERY_CANCELED, "canceling authentication due to timeout");
    retrieve_refuse(arg, &err);
}

static void init_party(struct retrieve *r, uint32_t number)
{
    struct endpoint_party *p = &r->party;
    atomic_init(&p->refs, 1);
    p->loop = r->group->loop;
    p->who = r;
    p->wake = on_wake;
    p->free_it = free_party;
    p->pid = number;
    p->key_bytes = 4;
    list_init(&p->link);
}

static bool start(struct retrieve *r, const char *who)
{
    unsigned timeout_ms = r->group->shared->config->client_login_timeout_ms;
    r->who = strdup(who);
    r->timeout = timer_new(r->group->loop, on_timeout, r);
    if (r->who == NULL || r->timeout == NULL || !crypto_random(r->party.key, r->party.key_bytes))
        return false;
    if (timeout_ms > 0)
        timer_start(r->timeout, timeout_ms);
    endpoint_receiver_open(r->group->shared->endpoints, &r->party);
    return retrieve_login_start(r);
}

static void copy_name(char *out, struct slice name)
{
    if (name.len < ENDPOINT_NAME_BYTES)
        memcpy(out, name.data, name.len); /* longer ones have no endpoints */
}

void retrieve_open(struct session_group *g, struct conn *client, const char *who, uint32_t number,
                   const struct startup_packet *p, char *rest, size_t rest_bytes)
{
    struct retrieve *r = calloc(1, sizeof *r);
    atomic_fetch_add(&g->count, 1);
    if (r == NULL) {
        conn_free(client);
        atomic_fetch_sub(&g->shared->client_count, 1);
        atomic_fetch_sub(&g->retriever_count, 1);
        atomic_fetch_sub(&g->count, 1);
        return;
    }
    r->group = g;
    r->client = client;
    r->counted = true;
    r->status = 'I';
    r->asks_for_password = p->asks_for_password;
    init_party(r, number);
    copy_name(r->user, p->user);
    copy_name(r->dbname, p->dbname);
    (void)retrieve_name_encoding(p->client_encoding, r->encoding, sizeof r->encoding);
    buf_init(&r->out, OUT_MAX_BYTES);
    buf_init(&r->job.formats, 65536 * 2);
    arena_init(&r->arena, 0);
    list_init(&r->unread);
    list_init(&r->attached);
    relay_init(&r->up, &up_events, r, NULL);
    loop_task_init(&r->release, on_release);
    list_append(&g->retrievers, &r->link);
    conn_set_owner(client, &client_events, r);
    if (!start(r, who)) {
        retrieve_close(r);
        return;
    }
    log_info(r->who, "retrieve session on %s", loop_name(g->loop));
    if (rest_bytes > 0)
        relay_feed(&r->up, rest, rest_bytes);
    update_reading(r);
}
