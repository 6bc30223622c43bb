/* Rows of an endpoint. Either a worker reads them (retrieve_worker.h): it is opened by the first RETRIEVE,
 * kept between two of them, and closed at the end, with its cursor, or with this session. Or they come out
 * of the declaring session (cursor_fetch.h): portion after portion, until the RETRIEVE has what it wants,
 * or there is no more.
 *
 * A portion begins with few rows and grows to about PORTION_BYTES, by the size of the rows so far: large
 * enough to cost little, small enough not to hold up the declaring session's client.
 *
 * Blocks of rows go to the client's socket as they come. While the socket is full they are kept, unread,
 * which is what stops the other side. */
#include "retrieve.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/server_msg.h"

#include "loop.h"
#include "retrieve_worker.h"
#include "session.h"

#define FIRST_PORTION 64u
#define MAX_PORTION 65536u
#define PORTION_BYTES ((size_t)512 * 1024)
#define PLACE_WAIT_MS 5000
#define PLACE_RETRY_MS 50

struct retrieve_attached {
    struct list link;
    struct endpoint *endpoint;      /* a reference */
    struct retrieve_worker *worker; /* owns; NULL: not open */
};

/* ---- endpoints of this session ---- */

static struct retrieve_attached *find_attached(const struct retrieve *r, const char *name)
{
    for (struct list *l = r->attached.prev; l != &r->attached; l = l->prev) {
        struct retrieve_attached *a = LIST_ENTRY(l, struct retrieve_attached, link);
        if (strcmp(a->endpoint->name, name) == 0)
            return a;
    }
    return NULL;
}

struct endpoint *retrieve_find_attached(const struct retrieve *r, const char *name)
{
    const struct retrieve_attached *a = find_attached(r, name);
    return a == NULL ? NULL : a->endpoint;
}

static void drop_worker(struct retrieve_attached *a)
{
    if (a->worker == NULL)
        return;
    retrieve_worker_close(a->worker);
    a->worker = NULL;
    endpoint_set_worker(a->endpoint, 0, false);
    endpoint_give_place(a->endpoint->registry, a->endpoint->declarer->user);
}

/* Of the endpoint of the job. */
static void close_worker(struct retrieve *r)
{
    struct retrieve_attached *a = find_attached(r, r->job.endpoint->name);
    if (a == NULL || a->endpoint != r->job.endpoint)
        return;
    drop_worker(a);
    r->job.worker = NULL;
}

static bool remember(struct retrieve *r, struct endpoint *e)
{
    if (retrieve_find_attached(r, e->name) == e)
        return true;
    struct retrieve_attached *a = calloc(1, sizeof *a);
    if (a == NULL)
        return false;
    atomic_fetch_add(&e->refs, 1);
    a->endpoint = e;
    list_append(&r->attached, &a->link);
    return true;
}

bool retrieve_rows_attach(struct retrieve *r, const char *name, bool *finished, struct err *err)
{
    struct endpoint *e;
    if (!endpoint_attach(r->group->shared->endpoints, r->declarer, &r->party, name, &e, finished,
                         err)) {
        if (retrieve_find_attached(r, name) != NULL)
            endpoint_refuse_gone(err);
        return false;
    }
    if (!remember(r, e)) {
        endpoint_unref(e);
        return err_no_memory(err);
    }
    r->job.endpoint = e;
    return true;
}

/* ---- descriptions ---- */

/* Format of column i by the rules of Bind: none means text, one counts for all. */
static uint16_t format_of(uint16_t nformats, struct slice formats, uint16_t i)
{
    size_t at = nformats == 1 ? 0 : i;
    if (at >= nformats)
        return 0;
    return (uint16_t)((uint8_t)formats.data[2 * at] << 8 | (uint8_t)formats.data[2 * at + 1]);
}

bool retrieve_rows_describe(struct retrieve *r, const struct endpoint_cursor *c, uint16_t nformats,
                            struct slice formats)
{
    struct wire_reader reader;
    struct wire_row_description m;
    wire_reader_init(&reader, buf_slice(&c->description));
    if (!wire_read_row_description(&reader, &m))
        return false;
    struct wire_column *columns = calloc(m.ncolumns + (size_t)1, sizeof *columns);
    if (columns == NULL)
        return false;
    wire_reader_init(&reader, m.columns);
    for (uint16_t i = 0; i < m.ncolumns; i++) {
        columns[i] = wire_get_column(&reader);
        columns[i].format = format_of(nformats, formats, i);
    }
    bool good = wire_write_row_description(&r->out, columns, m.ncolumns);
    free(columns);
    return good;
}

/* ---- the end of a RETRIEVE ---- */

static void end_job(struct retrieve *r)
{
    endpoint_unref(r->job.endpoint);
    r->job.endpoint = NULL;
    r->job.asked = NULL;
    r->job.worker = NULL;
}

/* All came that was wanted, or there is no more. */
static void finish(struct retrieve *r, bool ended)
{
    if (ended)
        close_worker(r);
    endpoint_detach(r->job.endpoint, ended);
    end_job(r);
    retrieve_on_rows_done(r, !ended && r->job.left > 0, NULL, slice_of("", 0));
}

/* What CHECK tells: a RETRIEVE that was stopped, or the error of the query itself. */
static void fail(struct retrieve *r, const struct err *err, struct slice raw)
{
    struct err failure = *err;
    close_worker(r);
    if (r->job.is_canceled)
        err_set(&failure, SQLSTATE_QUERY_CANCELED,
                "canceling MPP operation: \"Endpoint retrieve statement aborted\"");
    endpoint_release(r->job.endpoint, &failure);
    end_job(r);
    retrieve_on_rows_done(r, false, err, raw);
}

/* ---- workers ---- */

static void on_worker_rows(void *owner, const char *data, size_t bytes)
{
    struct retrieve *r = owner;
    conn_send(r->client, data, bytes);
    if (conn_backlog(r->client) > 0 && r->job.worker != NULL)
        retrieve_worker_pause(r->job.worker, true);
}

static void on_worker_done(void *owner, uint64_t rows, bool ended, const struct err *err,
                           struct slice raw)
{
    struct retrieve *r = owner;
    r->job.sent = rows;
    r->job.left -= r->job.left == UINT64_MAX ? 0 : rows;
    if (err != NULL)
        fail(r, err, raw);
    else
        finish(r, ended);
}

static const struct retrieve_worker_events worker_events = {.on_rows = on_worker_rows,
                                                            .on_done = on_worker_done};

static uint64_t min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static void start_worker(struct retrieve *r);

static void on_retry(void *arg)
{
    struct retrieve *r = arg;
    if (r->job.endpoint != NULL && r->job.gives_up_ms != 0)
        start_worker(r);
}

/* No place is free: again in a moment, for some seconds. */
static void wait_for_place(struct retrieve *r)
{
    struct err err;
    uint64_t now = loop_now_ms();
    if (r->job.gives_up_ms == 0)
        r->job.gives_up_ms = now + PLACE_WAIT_MS;
    if (r->retry == NULL)
        r->retry = timer_new(r->group->loop, on_retry, r);
    if (r->retry != NULL && now < r->job.gives_up_ms && !r->job.is_canceled) {
        timer_start(r->retry, PLACE_RETRY_MS);
        return;
    }
    r->job.gives_up_ms = 0;
    if (r->job.is_canceled)
        err_set(&err, SQLSTATE_QUERY_CANCELED, "canceling statement due to user request");
    else
        err_set(&err, SQLSTATE_TOO_MANY_CONNECTIONS,
                "too many connections for parallel retrieve cursors");
    fail(r, &err, slice_of("", 0));
}

static bool open_worker(struct retrieve *r, struct retrieve_attached *a)
{
    const struct session_shared *shared = r->group->shared;
    if (!endpoint_take_place(shared->endpoints, r->user,
                             shared->config->parallel_cursor_max_user_workers,
                             shared->config->parallel_cursor_max_workers)) {
        wait_for_place(r);
        return false;
    }
    a->worker =
        retrieve_worker_open(r->group->loop, &shared->backend, a->endpoint, &worker_events, r);
    if (a->worker != NULL)
        return true;
    struct err err;
    endpoint_give_place(shared->endpoints, r->user);
    err_no_memory(&err);
    fail(r, &err, slice_of("", 0));
    return false;
}

static void start_worker(struct retrieve *r)
{
    struct retrieve_attached *a = find_attached(r, r->job.endpoint->name);
    if (a->worker == NULL && !open_worker(r, a))
        return;
    r->job.gives_up_ms = 0;
    r->job.worker = a->worker;
    retrieve_worker_read(a->worker, min_of(r->job.left, r->job.limit), r->job.nformats,
                         buf_slice(&r->job.formats), r->encoding);
}

/* ---- portions ---- */

static void ask(struct retrieve *r);

static void on_fetched(void *who, struct cursor_fetch *f)
{
    struct retrieve *r = who;
    struct retrieve_job *job = &r->job;
    struct err err = f->err;
    if (job->asked != f) {
        cursor_fetch_free(f);
        return;
    }
    job->asked = NULL;
    bool ended = f->count < f->rows;
    job->sent += f->count;
    job->left -= job->left == UINT64_MAX ? 0 : f->count;
    job->limit -= job->limit == UINT64_MAX ? 0 : f->count;
    if (buf_length(&f->error) > 0) {
        struct wire_reader reader;
        wire_reader_init(&reader, buf_slice(&f->error));
        wire_read_error(&reader, &err);
        fail(r, &err, buf_slice(&f->error));
    } else if (err_is_set(&err)) {
        fail(r, &err, slice_of("", 0));
    } else if (ended || job->left == 0 || job->limit == 0) {
        finish(r, ended);
    } else {
        if (job->portion_bytes < PORTION_BYTES / 2 && job->portion < MAX_PORTION)
            job->portion *= 2;
        else if (job->portion_bytes > PORTION_BYTES && job->portion > 1)
            job->portion /= 2;
        ask(r);
    }
    cursor_fetch_free(f);
}

static void ask(struct retrieve *r)
{
    struct retrieve_job *job = &r->job;
    struct cursor_fetch *f = cursor_fetch_new(job->endpoint, &r->party);
    if (f != NULL && !buf_append_slice(&f->formats, buf_slice(&job->formats))) {
        cursor_fetch_free(f);
        f = NULL;
    }
    if (f == NULL) {
        struct err err;
        err_no_memory(&err);
        fail(r, &err, slice_of("", 0));
        return;
    }
    f->rows = (uint32_t)min_of(job->portion, min_of(job->left, job->limit));
    f->nformats = job->nformats;
    memcpy(f->encoding, r->encoding, sizeof f->encoding);
    f->on_done = on_fetched;
    job->portion_bytes = 0;
    job->asked = f;
    cursor_fetch_send(f);
}

void retrieve_rows_start(struct retrieve *r)
{
    r->job.portion = FIRST_PORTION;
    r->job.gives_up_ms = 0;
    r->job.is_canceled = false;
    r->job.sent = 0;
    if (r->job.endpoint->cursor->workers != NULL)
        start_worker(r);
    else
        ask(r);
}

void retrieve_rows_cancel(struct retrieve *r)
{
    r->job.is_canceled = true;
    if (r->job.worker != NULL)
        retrieve_worker_cancel(r->job.worker);
    else if (r->job.asked != NULL)
        cursor_fetch_cancel(r->job.endpoint, &r->party);
}

void retrieve_rows_on_wake(struct retrieve *r)
{
    struct err err;
    for (struct list *l = r->attached.next; l != &r->attached; l = l->next) {
        struct retrieve_attached *a = LIST_ENTRY(l, struct retrieve_attached, link);
        if (a->worker == NULL || !endpoint_is_withdrawn(a->endpoint))
            continue;
        bool is_reading = r->job.worker == a->worker;
        drop_worker(a);
        if (!is_reading)
            continue;
        r->job.worker = NULL;
        endpoint_refuse_gone(&err);
        fail(r, &err, slice_of("", 0));
        l = &r->attached; /* from the front: the list may have changed */
        if (r->state != RETRIEVE_READY)
            return;
    }
}

/* ---- blocks ---- */

/* From the mail: on this session's loop. */
static void on_block(void *who, struct cursor_block *b)
{
    struct retrieve *r = who;
    if (r->job.asked != b->fetch) {
        cursor_block_return(b);
        return;
    }
    r->job.portion_bytes += b->bytes;
    conn_send(r->client, b->data, b->bytes);
    if (conn_backlog(r->client) > 0)
        list_append(&r->unread, &b->link);
    else
        cursor_block_return(b);
}

void retrieve_rows_init(void)
{
    cursor_block_receive = on_block;
}

void retrieve_rows_on_drained(struct retrieve *r)
{
    while (!list_is_empty(&r->unread))
        cursor_block_return(LIST_ENTRY(list_first(&r->unread), struct cursor_block, link));
    if (r->job.worker != NULL)
        retrieve_worker_pause(r->job.worker, false);
}

void retrieve_rows_forget(struct retrieve *r)
{
    retrieve_rows_on_drained(r);
    if (r->job.endpoint != NULL) {
        if (r->job.asked != NULL)
            cursor_fetch_cancel(r->job.endpoint, &r->party);
        end_job(r);
    }
    while (!list_is_empty(&r->attached)) {
        struct retrieve_attached *a =
            LIST_ENTRY(list_first(&r->attached), struct retrieve_attached, link);
        list_remove(&a->link);
        drop_worker(a);
        endpoint_unref(a->endpoint);
        free(a);
    }
}
