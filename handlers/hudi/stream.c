/* Chunks of DuckDB into the batch's stream. One reader encodes and sends in turn. Several (readers.h)
 * decode and encode side by side, and the order of the rows is nobody's; they all go into the one
 * stream of the run's transaction. At any time there are a few chunks of 2048 rows and half a megabyte of
 * encoded rows a reader in memory. */
#include "sync.h"

#include <stdio.h>

#include "base/log.h"
#include "duck_job.h"
#include "readers.h"

#define STREAM_SQL_BYTES ((size_t)64 << 20)
#define STREAM_PIECES 4 /* of a group's files for each reader: who is done early takes another */

bool sync_open_relation(struct sync *s, const struct hudi_slices *slices, struct relation *out,
                        struct err *err)
{
    return relation_open(&s->a, s->duck, &s->table, &s->columns, slices, out, err);
}

/* The vendor's rule, which only matters where the files have such a column at all. */
bool sync_check_ordering(struct sync *s, const struct relation *r, struct err *err)
{
    if (s->missing_ordering == NULL || !relation_has(r, s->missing_ordering))
        return true;
    err_set(err, SQLSTATE_INVALID_TABLE_DEFINITION,
            "target table %s lacks the ordering (precombine) field \"%s\" of the Hudi table",
            s->target.name, s->missing_ordering);
    err_hint(err, "Add that column to the target and to the columns of the task.");
    s->misconfigured = true;
    return false;
}

/* ---- one reader ---- */

static bool send_chunks(struct sync *s, struct duck_result *r, enum columns_part part,
                        struct err *err)
{
    struct encoder *e = NULL;
    const struct duck_chunk *chunk;
    bool ok = duck_next(r, &chunk, err);
    if (ok && chunk != NULL)
        ok = encoder_new(&s->columns, part, chunk, &e, err);
    while (ok && chunk != NULL)
        ok = encoder_put(e, chunk, apply_buffer(s->apply), err) && apply_flush(s->apply, err) &&
             duck_next(r, &chunk, err);
    encoder_free(e);
    return ok;
}

bool sync_send_query(struct sync *s, const char *sql, enum columns_part part, struct err *err)
{
    struct duck_result *r;
    if (!duck_query(s->duck, sql, &r, err))
        return false;
    bool ok = send_chunks(s, r, part, err);
    duck_result_free(r);
    return ok;
}

/* ---- a relation as queries ---- */

struct queries {
    const char **items;
    size_t count;
};

struct asked { /* what sync_send_relation was asked for */
    const struct relation *r;
    enum columns_part part;
    const char *where;
    unsigned readers;
};

/* One group at a time: a value keeps the type that its file gave it. */
static bool add_query(struct sync *s, const struct asked *q, size_t group, size_t from, size_t to,
                      struct queries *out, struct err *err)
{
    struct buf b;
    buf_init(&b, STREAM_SQL_BYTES);
    buf_append_cstr(&b, "SELECT * FROM (");
    bool ok = relation_put_files(&b, q->r, group, from, to, q->part, err);
    buf_printf(&b, ") r%s%s", q->where == NULL ? "" : " WHERE ", q->where == NULL ? "" : q->where);
    const char *sql = buf_cstr(&b);
    const char *kept = sql == NULL ? NULL : arena_copy_cstr(&s->a, sql);
    buf_fini(&b);
    if (!ok)
        return false;
    out->items[out->count++] = kept;
    return kept != NULL || err_no_memory(err);
}

/* Files can be read apart; what log files hold lies in tables. */
static size_t pieces_of(const struct asked *q, const struct relation_group *g)
{
    size_t most = q->readers < 2 ? 1 : (size_t)q->readers * STREAM_PIECES;
    bool has_files = g->source == RELATION_FILES || g->source == RELATION_MERGED_FILES;
    if (!has_files)
        return 1;
    return g->count < most ? g->count : most;
}

static bool make_queries(struct sync *s, const struct asked *q, struct queries *out,
                         struct err *err)
{
    size_t total = 0;
    for (size_t i = 0; i < q->r->count; i++)
        total += pieces_of(q, &q->r->groups[i]);
    *out = (struct queries){arena_alloc_array(&s->a, total + 1, sizeof *out->items), 0};
    if (out->items == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < q->r->count; i++) {
        size_t files = q->r->groups[i].count, n = pieces_of(q, &q->r->groups[i]);
        for (size_t k = 0; k < n; k++)
            if (!add_query(s, q, i, files * k / n, files * (k + 1) / n, out, err))
                return false;
    }
    return true;
}

/* ---- several readers ---- */

static bool send_rows(void *arg, struct slice rows, struct err *err)
{
    struct sync *s = arg;
    buf_append_slice(apply_buffer(s->apply), rows);
    return apply_flush(s->apply, err);
}

static void tell_readers(const struct sync *s, const struct readers_work *w)
{
    char who[80];
    snprintf(who, sizeof who, "task %s", s->job->task_id);
    for (unsigned i = 0; i < w->readers; i++)
        log_debug(who, "reader %u of %u: %zu queries, %llu rows", i + 1, w->readers,
                  w->done[i].queries, (unsigned long long)w->done[i].rows);
}

static bool send_by_readers(struct sync *s, const struct queries *queries, enum columns_part part,
                            unsigned readers, struct err *err)
{
    struct readers_work w = {.duck = s->duck,
                             .columns = &s->columns,
                             .part = part,
                             .queries = queries->items,
                             .count = queries->count,
                             .readers = readers,
                             .send = send_rows,
                             .arg = s};
    if (!readers_run(&w, err))
        return false;
    tell_readers(s, &w);
    return true;
}

bool sync_send_relation(struct sync *s, const struct relation *r, enum columns_part part,
                        const char *where, struct err *err)
{
    struct queries queries;
    struct asked q = {r, part, where, duck_job_readers(s->job)};
    if (!make_queries(s, &q, &queries, err))
        return false;
    if (q.readers > queries.count)
        q.readers = (unsigned)queries.count;
    if (q.readers > 1)
        return send_by_readers(s, &queries, part, q.readers, err);
    bool ok = true;
    for (size_t i = 0; ok && i < queries.count; i++)
        ok = sync_send_query(s, queries.items[i], part, err);
    return ok;
}
