/* A worker's connection:
 *
 *   LOGIN --> SETUP --> DECLARE --> [VERIFY] --> IDLE <--> [ENCODING] BUSY       any state --> LOST
 *
 * Login and setup are a control connection's (control_conn.h). Then the socket is taken over, since rows
 * must stream: they go on as they come, through no memory of ours, and the socket rests while their
 * receiver is full.
 *
 * Rows in text format come by Execute on the portal of the declared cursor, which streams. FETCH ALL
 * would first write the whole result into a temporary file. Other formats need FETCH, whose Bind names
 * them; it is asked for in portions.
 *
 * Rows are passed on without a look at each: how many they were stands in the tag behind them, or is what was
 * asked for, where the portal has more.
 *
 * The snapshot does not hold back ATTACH PARTITION of others: what is planned later reads the new partition's
 * old rows too, one endpoint so, another one not. So a query that reads partitions is explained once
 * more behind its DECLARE, and refused if it reads what the declaring session's plan did not.
 *
 * A request that comes before the connection is ready waits. The query is sent in the encoding of the
 * declaring session, since the text is the client's; then the rows' encoding is set. */
#include "retrieve_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include "cancel.h"
#include "conn.h"
#include "control_conn.h"
#include "cursor_plan.h"
#include "endpoint.h"
#include "relay.h"

#define MESSAGE_MAX_BYTES ((size_t)4 * 1024 * 1024)
#define ERROR_MAX_BYTES ((size_t)1024 * 1024)
#define FETCH_ROWS 5000u
#define CURSOR "pgveneer_worker"

#define STATES(X)                                                                                  \
    X(LOGIN, "logs in")                                                                            \
    X(SETUP, "takes the snapshot and the settings")                                                \
    X(DECLARE, "declares its cursor")                                                              \
    X(VERIFY, "looks whether it reads the same tables")                                            \
    X(IDLE, "takes a request")                                                                     \
    X(ENCODING, "changes the encoding of the rows")                                                \
    X(BUSY, "rows are coming")                                                                     \
    X(LOST, "told its owner")

enum worker_state {
#define X(name, text) WORKER_##name,
    STATES(X)
#undef X
};

struct retrieve_worker {
    enum worker_state state;
    struct loop *loop;
    const struct conn_target *target; /* borrows; of the process */
    struct endpoint *endpoint;        /* a reference */
    const struct retrieve_worker_events *events;
    void *owner;
    struct control_conn *control; /* owns; until DECLARE is done */
    struct control_rows rows;
    struct conn *conn; /* owns; behind it */
    struct relay down;
    struct buf out;
    uint32_t pid;
    char key[256];
    size_t key_bytes;
    char encoding[32]; /* as set */
    bool is_closed;
    struct loop_task release;
    /* the request */
    bool is_asked;
    char wanted_encoding[32];
    uint64_t left;
    uint64_t portion; /* rows of the message under way; UINT64_MAX: all */
    uint64_t portion_rows;
    uint64_t count;
    uint16_t nformats;
    struct buf formats;
    struct buf error;
};

/* ---- telling ---- */

static void done(struct retrieve_worker *w, bool ended, const struct err *err)
{
    if (!w->is_asked || w->is_closed)
        return;
    w->is_asked = false;
    w->events->on_done(w->owner, w->count, ended, err, buf_slice(&w->error));
}

static void lose(struct retrieve_worker *w, const struct err *err)
{
    struct err copy = *err;
    if (w->state == WORKER_LOST)
        return;
    w->state = WORKER_LOST;
    done(w, false, &copy);
}

static void lose_memory(struct retrieve_worker *w)
{
    struct err err;
    err_no_memory(&err);
    lose(w, &err);
}

static void send_out(struct retrieve_worker *w, bool written)
{
    if (written)
        conn_send(w->conn, buf_data(&w->out), buf_length(&w->out));
    buf_clear(&w->out);
    if (!written)
        lose_memory(w);
}

/* ---- requests ---- */

static bool is_text(const struct retrieve_worker *w)
{
    const char *f = buf_data(&w->formats);
    for (size_t i = 0; i < buf_length(&w->formats); i++)
        if (f[i] != 0)
            return false;
    return true;
}

static void send_execute(struct retrieve_worker *w)
{
    uint32_t max = w->left < INT32_MAX ? (uint32_t)w->left : INT32_MAX;
    if (w->left == UINT64_MAX)
        max = 0;
    w->portion = max == 0 ? UINT64_MAX : max;
    send_out(w, wire_write_execute(&w->out, slice_cstr(CURSOR), max) &&
                    wire_write_empty(&w->out, 'S'));
}

static void send_fetch(struct retrieve_worker *w)
{
    char sql[96];
    struct slice unnamed = slice_of("", 0);
    struct wire_parse parse = {.name = unnamed};
    struct wire_bind bind = {.portal = unnamed,
                             .statement = unnamed,
                             .nresult_formats = w->nformats,
                             .result_formats = buf_slice(&w->formats)};
    w->portion = w->left < FETCH_ROWS ? w->left : FETCH_ROWS;
    snprintf(sql, sizeof sql, "FETCH FORWARD %llu FROM " CURSOR, (unsigned long long)w->portion);
    parse.query = slice_cstr(sql);
    send_out(w, wire_write_parse(&w->out, &parse) && wire_write_bind(&w->out, &bind) &&
                    wire_write_execute(&w->out, unnamed, 0) && wire_write_empty(&w->out, 'S'));
}

static void send_portion(struct retrieve_worker *w)
{
    w->state = WORKER_BUSY;
    w->portion_rows = 0;
    if (is_text(w))
        send_execute(w);
    else
        send_fetch(w);
}

static void start(struct retrieve_worker *w)
{
    char sql[96];
    if (w->state != WORKER_IDLE || !w->is_asked)
        return;
    if (strcmp(w->encoding, w->wanted_encoding) == 0) {
        send_portion(w);
        return;
    }
    w->state = WORKER_ENCODING;
    snprintf(w->encoding, sizeof w->encoding, "%s", w->wanted_encoding);
    snprintf(sql, sizeof sql, "SET client_encoding TO '%s'", w->encoding);
    send_out(w, wire_write_query(&w->out, slice_cstr(sql)));
}

void retrieve_worker_read(struct retrieve_worker *w, uint64_t rows, uint16_t nformats,
                          struct slice formats, const char *encoding)
{
    w->is_asked = true;
    w->left = rows;
    w->count = 0;
    w->nformats = nformats;
    buf_clear(&w->formats);
    buf_clear(&w->error);
    snprintf(w->wanted_encoding, sizeof w->wanted_encoding, "%s", encoding);
    if (!buf_append_slice(&w->formats, formats))
        lose_memory(w);
    start(w);
}

/* ---- answers ---- */

/* ReadyForQuery. */
static void on_ready(struct retrieve_worker *w)
{
    struct wire_reader r;
    struct err err;
    if (buf_length(&w->error) > 0) {
        wire_reader_init(&r, buf_slice(&w->error));
        wire_read_error(&r, &err);
        lose(w, &err);
        return;
    }
    bool was_busy = w->state == WORKER_BUSY;
    w->state = WORKER_IDLE;
    if (!was_busy) {
        start(w);
        return;
    }
    bool ended = w->portion_rows < w->portion;
    w->count += w->portion_rows;
    w->left -= w->left == UINT64_MAX ? 0 : w->portion_rows;
    if (ended || w->left == 0)
        done(w, ended, NULL);
    else
        send_portion(w);
}

static const uint8_t plain_down[256] = {['D'] = 1};

static enum relay_verdict on_header(void *owner, struct wire_header h)
{
    (void)owner;
    return strchr("CEZs", h.type) != NULL && h.body_bytes <= ERROR_MAX_BYTES ? RELAY_WHOLE
                                                                             : RELAY_DROP;
}

/* SELECT n, of the portal; FETCH n. */
static uint64_t read_rows(struct slice body)
{
    struct wire_reader r;
    struct wire_command_complete m;
    wire_reader_init(&r, body);
    if (!wire_read_command_complete(&r, &m))
        return 0;
    const char *space = strchr(m.tag.data, ' ');
    return space == NULL ? 0 : strtoull(space, NULL, 10);
}

static enum relay_verdict on_message(void *owner, struct wire_header h, char *message)
{
    struct retrieve_worker *w = owner;
    struct slice body = slice_of(message + WIRE_HEADER_BYTES, h.body_bytes);
    relay_flush(&w->down);
    if (h.type == 'E' && buf_length(&w->error) == 0)
        buf_append_slice(&w->error, body);
    if (h.type == 'C' && w->state == WORKER_BUSY)
        w->portion_rows = read_rows(body);
    if (h.type == 's')
        w->portion_rows = w->portion;
    if (h.type == 'Z' && w->state != WORKER_LOST)
        on_ready(w);
    return RELAY_DROP;
}

static void on_bytes(void *owner, const char *data, size_t bytes)
{
    struct retrieve_worker *w = owner;
    if (!w->is_closed && w->is_asked)
        w->events->on_rows(w->owner, data, bytes);
}

static void on_no_memory(void *owner)
{
    lose_memory(owner);
}

static const struct relay_events down_events = {.on_header = on_header,
                                                .on_message = on_message,
                                                .on_bytes = on_bytes,
                                                .on_no_memory = on_no_memory};

static void on_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    (void)c;
    struct retrieve_worker *w = owner;
    relay_feed(&w->down, data, bytes);
}

/* A FATAL error stands before the end. */
static void on_end(void *owner, struct conn *c, const struct err *err)
{
    (void)c;
    struct retrieve_worker *w = owner;
    struct err lost;
    struct wire_reader r;
    if (buf_length(&w->error) > 0) {
        wire_reader_init(&r, buf_slice(&w->error));
        wire_read_error(&r, &lost);
    } else if (err != NULL) {
        lost = *err;
    } else {
        err_set(&lost, SQLSTATE_CONNECTION_FAILURE,
                "the server closed the connection of an endpoint");
    }
    lose(w, &lost);
}

static const struct conn_events conn_events = {.on_read = on_read, .on_end = on_end};

/* ---- the beginning ---- */

static void on_control_ready(void *owner)
{
    struct retrieve_worker *w = owner;
    w->state = WORKER_SETUP;
    endpoint_set_worker(w->endpoint, control_conn_pid(w->control), false);
    control_conn_send_script(w->control, slice_cstr(w->endpoint->cursor->workers->setup), &w->rows);
}

static void send_query(struct retrieve_worker *w, enum worker_state next, const char *before)
{
    const char *query = w->endpoint->cursor->workers->slices[w->endpoint->number];
    struct buf sql;
    w->state = next;
    buf_init(&sql, strlen(query) + 256);
    buf_append_cstr(&sql, before);
    if (buf_append_cstr(&sql, query))
        control_conn_send_script(w->control, buf_slice(&sql), &w->rows);
    else
        lose_memory(w);
    buf_fini(&sql);
}

/* Does the plan, the only value, read the tables of the declaring session's? */
static bool is_as_declared(struct retrieve_worker *w)
{
    const struct buf *relations = &w->endpoint->cursor->workers->relations;
    struct cursor_plan plan;
    struct wire_reader r;
    struct arena a;
    arena_init(&a, 0);
    wire_reader_init(&r, buf_slice(&w->rows.values));
    bool is = cursor_plan_read(&a, wire_get_value(&r).bytes, &plan) &&
              cursor_plan_is_within(&plan, buf_slice(relations));
    arena_fini(&a);
    return is;
}

static void take_over(struct retrieve_worker *w)
{
    w->conn = control_conn_release(w->control, &w->pid, w->key, &w->key_bytes);
    w->control = NULL;
    conn_set_owner(w->conn, &conn_events, w);
    endpoint_set_worker(w->endpoint, w->pid, true);
    w->state = WORKER_IDLE;
    start(w);
}

static void on_control_done(void *owner, const struct err *err)
{
    struct retrieve_worker *w = owner;
    struct err changed;
    if (err != NULL) {
        lose(w, err);
    } else if (w->state == WORKER_SETUP) {
        send_query(w, WORKER_DECLARE, "DECLARE " CURSOR " NO SCROLL CURSOR FOR ");
    } else if (w->state == WORKER_DECLARE &&
               buf_length(&w->endpoint->cursor->workers->relations) > 0) {
        buf_clear(&w->rows.values);
        send_query(w, WORKER_VERIFY, "EXPLAIN (FORMAT JSON, COSTS OFF) ");
    } else if (w->state == WORKER_VERIFY && !is_as_declared(w)) {
        err_set(&changed, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE,
                "a table of the parallel retrieve cursor has got a new partition");
        err_hint(&changed, "Declare the cursor again.");
        lose(w, &changed);
    } else {
        take_over(w);
    }
}

static void on_control_lost(void *owner, const struct err *err)
{
    lose(owner, err);
}

static const struct control_conn_events control_events = {
    .on_ready = on_control_ready, .on_done = on_control_done, .on_lost = on_control_lost};

static void on_release(struct loop_task *t)
{
    struct retrieve_worker *w = LIST_ENTRY(t, struct retrieve_worker, release);
    relay_fini(&w->down);
    buf_fini(&w->rows.values);
    buf_fini(&w->out);
    buf_fini(&w->formats);
    buf_fini(&w->error);
    endpoint_unref(w->endpoint);
    free(w);
}

struct retrieve_worker *retrieve_worker_open(struct loop *l, const struct conn_target *target,
                                             struct endpoint *e,
                                             const struct retrieve_worker_events *events,
                                             void *owner)
{
    struct retrieve_worker *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->loop = l;
    w->target = target;
    w->endpoint = e;
    atomic_fetch_add(&e->refs, 1);
    w->events = events;
    w->owner = owner;
    loop_task_init(&w->release, on_release);
    relay_init(&w->down, &down_events, w, plain_down);
    buf_init(&w->rows.values, CONTROL_CONN_MAX_RESULT_BYTES);
    buf_init(&w->out, MESSAGE_MAX_BYTES);
    buf_init(&w->formats, 65536 * 2);
    buf_init(&w->error, ERROR_MAX_BYTES);
    snprintf(w->encoding, sizeof w->encoding, "%s", e->cursor->encoding);
    const struct endpoint_workers *how = e->cursor->workers;
    struct control_login login = {how->user, how->dbname, "pgveneer cursor", &how->credential,
                                  e->cursor->encoding};
    w->control = control_conn_new(l, target, &login, &control_events, w);
    if (w->control != NULL)
        return w;
    retrieve_worker_close(w);
    return NULL;
}

/* ---- the end ---- */

static void ignore_done(void *arg)
{
    (void)arg;
}

void retrieve_worker_cancel(struct retrieve_worker *w)
{
    struct wire_cancel m = {w->pid, slice_of(w->key, w->key_bytes)};
    if (w->control != NULL)
        control_conn_cancel(w->control);
    else if ((w->state == WORKER_BUSY || w->state == WORKER_ENCODING) &&
             !cancel_send(w->loop, w->target, &m, ignore_done, NULL))
        log_warning("cursor", "out of memory: the request to cancel a worker was not sent");
}

void retrieve_worker_close(struct retrieve_worker *w)
{
    if (w == NULL || w->is_closed)
        return;
    w->is_closed = true;
    relay_stop(&w->down);
    if (w->state != WORKER_IDLE)
        retrieve_worker_cancel(w);
    control_conn_free(w->control);
    w->control = NULL;
    if (w->conn != NULL && w->state == WORKER_IDLE) {
        conn_send(w->conn, "X\0\0\0\4", 5);
        conn_finish(w->conn);
    } else {
        conn_free(w->conn);
    }
    w->conn = NULL;
    loop_defer(w->loop, &w->release);
}

void retrieve_worker_pause(struct retrieve_worker *w, bool pause)
{
    if (w->conn == NULL)
        return;
    if (pause)
        conn_pause_reading(w->conn);
    else
        conn_resume_reading(w->conn);
}
