/* Rows of an endpoint, out of the declaring session (cursor_fetch.h): portion after portion, until the
 * RETRIEVE has what it wants, or there is no more.
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
#include "session.h"

#define FIRST_PORTION 64u
#define MAX_PORTION 65536u
#define PORTION_BYTES ((size_t)512 * 1024)

struct retrieve_attached {
    struct list link;
    struct endpoint *endpoint; /* a reference */
};

/* ---- endpoints of this session ---- */

struct endpoint *retrieve_find_attached(const struct retrieve *r, const char *name)
{
    for (struct list *l = r->attached.prev; l != &r->attached; l = l->prev) {
        struct retrieve_attached *a = LIST_ENTRY(l, struct retrieve_attached, link);
        if (strcmp(a->endpoint->name, name) == 0)
            return a->endpoint;
    }
    return NULL;
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
}

/* All came that was wanted, or there is no more. */
static void finish(struct retrieve *r, bool ended)
{
    endpoint_detach(r->job.endpoint, ended);
    end_job(r);
    retrieve_on_rows_done(r, !ended && r->job.left > 0, NULL, slice_of("", 0));
}

/* What CHECK tells: a RETRIEVE that was stopped, or the error of the query itself. */
static void fail(struct retrieve *r, const struct err *err, struct slice raw)
{
    struct err failure = *err;
    if (r->job.is_canceled)
        err_set(&failure, SQLSTATE_QUERY_CANCELED,
                "canceling MPP operation: \"Endpoint retrieve statement aborted\"");
    endpoint_release(r->job.endpoint, &failure);
    end_job(r);
    retrieve_on_rows_done(r, false, err, raw);
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

static uint64_t min_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
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
    r->job.is_canceled = false;
    r->job.sent = 0;
    ask(r);
}

void retrieve_rows_cancel(struct retrieve *r)
{
    r->job.is_canceled = true;
    cursor_fetch_cancel(r->job.endpoint, &r->party);
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
}

void retrieve_rows_forget(struct retrieve *r)
{
    retrieve_rows_on_drained(r);
    if (r->job.endpoint != NULL) {
        cursor_fetch_cancel(r->job.endpoint, &r->party);
        end_job(r);
    }
    while (!list_is_empty(&r->attached)) {
        struct retrieve_attached *a =
            LIST_ENTRY(list_first(&r->attached), struct retrieve_attached, link);
        list_remove(&a->link);
        endpoint_unref(a->endpoint);
        free(a);
    }
}
