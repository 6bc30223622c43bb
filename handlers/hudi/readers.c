/* Reading is decoding Parquet and encoding rows, which costs CPU; sending is one connection's COPY, since
 * a run is one transaction. So the threads share the former, and the caller does the latter:
 *
 *   reader 0   query ──► rows ──► full ──┐
 *   reader 1   query ──► rows ──► full ──┼──► the caller: send
 *   …                                   ─┘
 *
 * A reader fills `rows`; when there is enough of it the two buffers change places, as soon as the caller
 * has sent the last one. Nothing else is shared: the place in the list of queries, `full` and its flag,
 * and the verdict, all under one lock. A buffer belongs to the reader while is_full is false, and to the
 * caller while it is true.
 *
 * The first error ends everything: readers look at `stop` wherever DuckDB looks whether it must stop,
 * and when they hand over. */
#include "readers.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define HAND_OVER_BYTES ((size_t)256 << 10)
#define ROWS_BYTES ((size_t)1 << 30) /* as the stream that it goes into */

struct group;

struct reader {
    struct group *group;
    struct duck *duck; /* owns */
    pthread_t thread;
    struct buf rows; /* being filled */
    struct buf full;
    bool is_full;
    size_t query; /* the one at work */
    struct readers_done done;
};

struct group {
    const struct readers_work *work;
    struct reader readers[READERS_MAX];
    unsigned started;
    pthread_mutex_t lock;
    pthread_cond_t news; /* for everybody: a buffer is full or empty, somebody ended, stop */
    size_t next;         /* query */
    unsigned running;
    atomic_bool stop;
    struct err err; /* the first one */
};

/* ---- the readers ---- */

static bool must_stop(void *arg)
{
    struct group *g = arg;
    return atomic_load(&g->stop);
}

static void fail(struct group *g, const struct err *err)
{
    pthread_mutex_lock(&g->lock);
    if (!atomic_load(&g->stop))
        g->err = *err;
    atomic_store(&g->stop, true);
    pthread_cond_broadcast(&g->news);
    pthread_mutex_unlock(&g->lock);
}

/* False: somebody failed. */
static bool hand_over(struct reader *r)
{
    struct group *g = r->group;
    pthread_mutex_lock(&g->lock);
    while (r->is_full && !atomic_load(&g->stop))
        pthread_cond_wait(&g->news, &g->lock);
    bool ok = !atomic_load(&g->stop);
    if (ok) {
        struct buf filled = r->rows;
        r->rows = r->full;
        r->full = filled;
        r->is_full = true;
        pthread_cond_broadcast(&g->news);
    }
    pthread_mutex_unlock(&g->lock);
    buf_clear(&r->rows);
    return ok;
}

static bool put_chunk(struct reader *r, struct encoder *e, const struct duck_chunk *chunk,
                      struct err *err)
{
    if (!encoder_put(e, chunk, &r->rows, err))
        return false;
    if (r->rows.failed)
        return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "rows are too large to be sent");
    r->done.rows += chunk->rows;
    if (buf_length(&r->rows) >= HAND_OVER_BYTES && !hand_over(r))
        return err_set(err, SQLSTATE_QUERY_CANCELED, "another reader failed"); /* not the first */
    return true;
}

static bool read_rows(struct reader *r, struct duck_result *result, struct err *err)
{
    const struct readers_work *w = r->group->work;
    struct encoder *e = NULL;
    const struct duck_chunk *chunk;
    bool ok = duck_next(result, &chunk, err);
    if (ok && chunk != NULL)
        ok = encoder_new(w->columns, w->part, chunk, &e, err);
    while (ok && chunk != NULL)
        ok = put_chunk(r, e, chunk, err) && duck_next(result, &chunk, err);
    encoder_free(e);
    return ok;
}

static bool read_query(struct reader *r, struct err *err)
{
    struct duck_result *result;
    if (!duck_query(r->duck, r->group->work->queries[r->query], &result, err))
        return false;
    bool ok = read_rows(r, result, err);
    duck_result_free(result);
    r->done.queries++;
    return ok;
}

static bool take_query(struct reader *r)
{
    struct group *g = r->group;
    pthread_mutex_lock(&g->lock);
    bool found = g->next < g->work->count && !atomic_load(&g->stop);
    if (found)
        r->query = g->next++;
    pthread_mutex_unlock(&g->lock);
    return found;
}

static void *run(void *arg)
{
    struct reader *r = arg;
    struct group *g = r->group;
    struct err err;
    bool ok;
    do
        ok = read_query(r, &err);
    while (ok && take_query(r));
    if (!ok)
        fail(g, &err);
    else if (buf_length(&r->rows) > 0)
        (void)hand_over(r);
    pthread_mutex_lock(&g->lock);
    g->running--;
    pthread_cond_broadcast(&g->news);
    pthread_mutex_unlock(&g->lock);
    return NULL;
}

/* ---- the caller ---- */

/* A reader whose buffer is full; waits for one. NULL: all have ended, or one failed. */
static struct reader *wait_for_rows(struct group *g)
{
    struct reader *found = NULL;
    pthread_mutex_lock(&g->lock);
    for (;;) {
        for (unsigned i = 0; i < g->started && found == NULL; i++)
            if (g->readers[i].is_full)
                found = &g->readers[i];
        if (found != NULL || g->running == 0 || atomic_load(&g->stop))
            break;
        pthread_cond_wait(&g->news, &g->lock);
    }
    bool stopped = atomic_load(&g->stop);
    pthread_mutex_unlock(&g->lock);
    return stopped ? NULL : found;
}

static void give_back(struct reader *r)
{
    struct group *g = r->group;
    pthread_mutex_lock(&g->lock);
    r->is_full = false;
    pthread_cond_broadcast(&g->news);
    pthread_mutex_unlock(&g->lock);
}

static void send_all(struct group *g)
{
    const struct readers_work *w = g->work;
    struct reader *r;
    struct err err;
    while ((r = wait_for_rows(g)) != NULL) {
        if (!w->send(w->arg, buf_slice(&r->full), &err))
            fail(g, &err);
        give_back(r);
    }
}

static bool start_reader(struct group *g, struct err *err)
{
    struct reader *r = &g->readers[g->started];
    *r = (struct reader){.group = g, .query = g->started};
    buf_init(&r->rows, ROWS_BYTES);
    buf_init(&r->full, ROWS_BYTES);
    if (!duck_open_beside(g->work->duck, must_stop, g, &r->duck, err))
        return false;
    int failed = pthread_create(&r->thread, NULL, run, r);
    if (failed == 0) {
        g->started++;
        return true;
    }
    duck_close(r->duck);
    return err_set_errno(err, failed, "could not start a reader's thread");
}

static void start_all(struct group *g)
{
    struct err err;
    bool ok = true;
    pthread_mutex_lock(&g->lock); /* `running` is right before the first one ends */
    for (unsigned i = 0; ok && i < g->work->readers; i++) {
        ok = start_reader(g, &err);
        g->running = g->started;
    }
    pthread_mutex_unlock(&g->lock);
    if (!ok)
        fail(g, &err);
}

static void end_all(struct group *g, struct readers_done *done)
{
    for (unsigned i = 0; i < g->started; i++) {
        struct reader *r = &g->readers[i];
        pthread_join(r->thread, NULL);
        done[i] = r->done;
        duck_close(r->duck);
        buf_fini(&r->rows);
        buf_fini(&r->full);
    }
}

bool readers_run(struct readers_work *w, struct err *err)
{
    struct group *g = calloc(1, sizeof *g);
    if (g == NULL)
        return err_no_memory(err);
    g->work = w;
    g->next = w->readers;
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->news, NULL);
    start_all(g);
    send_all(g);
    end_all(g, w->done);
    bool ok = !atomic_load(&g->stop);
    if (!ok)
        *err = g->err;
    pthread_cond_destroy(&g->news);
    pthread_mutex_destroy(&g->lock);
    free(g);
    return ok;
}
