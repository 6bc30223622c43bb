/* Chunks of DuckDB into the batch's stream. At any time there are a few chunks of 2048 rows in memory
 * and a quarter of a megabyte of encoded rows; DuckDB decodes ahead in its other thread while we
 * encode and send. */
#include "sync.h"

#define STREAM_SQL_BYTES ((size_t)64 << 20)

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

/* Group by group: a value keeps the type that its file gave it. */
bool sync_send_relation(struct sync *s, const struct relation *r, enum columns_part part,
                        const char *where, struct err *err)
{
    bool ok = true;
    for (size_t i = 0; ok && i < r->count; i++) {
        struct buf b;
        buf_init(&b, STREAM_SQL_BYTES);
        buf_append_cstr(&b, "SELECT * FROM (");
        ok = relation_put_group(&b, r, i, part, err);
        buf_printf(&b, ") r%s%s", where == NULL ? "" : " WHERE ", where == NULL ? "" : where);
        const char *sql = buf_cstr(&b);
        if (ok && sql == NULL)
            ok = err_no_memory(err);
        ok = ok && sync_send_query(s, sql, part, err);
        buf_fini(&b);
    }
    return ok;
}
