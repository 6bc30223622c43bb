/* Streams of rows on their way into the database.
 *
 * A staging table lives until the transaction ends or apply_write drops it. It has base types, no
 * constraint and no default, so a COPY into it runs nothing of the user's, and neither does a direct
 * load, which is only made into plain tables (target.c). Bytes leave in pieces of a quarter of a
 * megabyte, so memory does not grow with the batch. */
#include "apply/apply.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/copy_binary.h"
#include "stage.h"

#define APPLY_FLUSH_BYTES ((size_t)256 << 10)
#define APPLY_BUFFER_BYTES ((size_t)1 << 30) /* PostgreSQL's limit of a value, with room to spare */
#define APPLY_SQL_BYTES ((size_t)4 << 20)

bool apply_new(struct pgclient *c, const struct apply_spec *spec, struct apply **out,
               struct err *err)
{
    struct apply *ap = calloc(1, sizeof *ap);
    if (ap == NULL)
        return err_no_memory(err);
    ap->c = c;
    ap->spec = spec;
    arena_init(&ap->a, 0);
    buf_init(&ap->rows, APPLY_BUFFER_BYTES);
    *out = ap;
    return true;
}

void apply_free(struct apply *ap)
{
    if (ap == NULL)
        return;
    buf_fini(&ap->rows);
    arena_fini(&ap->a);
    free(ap);
}

size_t apply_place(const struct apply *ap, size_t target_column)
{
    for (size_t i = 0; i < ap->spec->count; i++)
        if (ap->spec->columns[i] == target_column)
            return i;
    assert(!"column is not among those of the batch");
    return 0;
}

bool apply_run(struct apply *ap, struct buf *b, struct err *err)
{
    const char *sql = buf_cstr(b);
    bool ok = sql == NULL ? err_no_memory(err) : pgclient_run(ap->c, sql, err);
    buf_fini(b);
    return ok;
}

bool apply_become_owner(struct apply *ap, struct err *err)
{
    char *owner = pgclient_quote_name(&ap->a, ap->spec->target->owner);
    char *sql = owner == NULL ? NULL : arena_printf(&ap->a, "SET LOCAL ROLE %s", owner);
    if (sql == NULL)
        return err_no_memory(err);
    if (!pgclient_run(ap->c, sql, err)) {
        if (strcmp(err->sqlstate, SQLSTATE_INSUFFICIENT_PRIVILEGE) == 0)
            err_hint(err,
                     "The service login must be a member of the role that owns the target: "
                     "GRANT %s TO …",
                     owner);
        return false;
    }
    ap->is_owner = true;
    return true;
}

bool apply_become_service(struct apply *ap, struct err *err)
{
    ap->is_owner = false;
    return pgclient_run(ap->c, "SET LOCAL ROLE NONE", err);
}

bool apply_is_empty(struct apply *ap, bool *empty, struct err *err)
{
    struct pgresult *r = NULL;
    const char *name = ap->spec->target->name;
    char *lock = arena_printf(&ap->a, "LOCK TABLE %s IN ROW EXCLUSIVE MODE", name);
    char *look = arena_printf(&ap->a, "SELECT NOT EXISTS (SELECT FROM %s)", name);
    if (lock == NULL || look == NULL)
        return err_no_memory(err);
    /* row_security off: an error instead of the user's policy, where one would apply. */
    bool ok = apply_become_owner(ap, err) && pgclient_run(ap->c, lock, err) &&
              pgclient_run(ap->c, "SET LOCAL row_security = off", err) &&
              pgclient_query(ap->c, look, 0, NULL, &r, err);
    if (!ok)
        return false;
    *empty = pgresult_bool(r, 0, 0);
    pgresult_free(r);
    return apply_become_service(ap, err);
}

static void put_staged_columns(struct apply *ap, struct buf *b)
{
    for (size_t i = 0; i < ap->spec->count; i++)
        buf_printf(b, "%s" APPLY_ROW_COLUMN "%zu %s", i == 0 ? "" : ", ", i,
                   apply_column_at(ap, i)->stage_type);
    if (ap->spec->commit_fields)
        buf_append_cstr(b, ", commit_time pg_catalog.text, seqno pg_catalog.text");
}

static void put_key_columns(struct apply *ap, struct buf *b)
{
    for (size_t i = 0; i < ap->spec->target->key_count; i++)
        buf_printf(b, "%s" APPLY_KEY_COLUMN "%zu %s", i == 0 ? "" : ", ", i,
                   apply_key_at(ap, i)->stage_type);
}

static bool create_stage(struct apply *ap, struct err *err)
{
    struct buf b;
    buf_init(&b, APPLY_SQL_BYTES);
    if (ap->stream == APPLY_ROWS) {
        buf_append_cstr(&b, "CREATE TEMPORARY TABLE " APPLY_STAGE_ROWS " (");
        put_staged_columns(ap, &b);
        ap->has_rows = true;
    } else {
        buf_append_cstr(&b, "CREATE TEMPORARY TABLE " APPLY_STAGE_KEYS " (");
        put_key_columns(ap, &b);
        ap->has_keys = true;
    }
    buf_append_cstr(&b, ") ON COMMIT DROP");
    return apply_run(ap, &b, err);
}

static bool copy_direct(struct apply *ap, struct err *err)
{
    struct buf b;
    buf_init(&b, APPLY_SQL_BYTES);
    buf_printf(&b, "COPY %s (", ap->spec->target->name);
    for (size_t i = 0; i < ap->spec->count; i++) {
        char *name = pgclient_quote_name(&ap->a, apply_column_at(ap, i)->name);
        buf_printf(&b, "%s%s", i == 0 ? "" : ", ", name == NULL ? "" : name);
    }
    buf_append_cstr(&b, ") FROM STDIN (FORMAT binary)");
    const char *sql = buf_cstr(&b);
    bool ok = sql == NULL ? err_no_memory(err)
                          : apply_become_owner(ap, err) && pgclient_copy_begin(ap->c, sql, err);
    buf_fini(&b);
    return ok;
}

bool apply_begin(struct apply *ap, enum apply_stream stream, struct err *err)
{
    assert(!ap->streaming);
    ap->stream = stream;
    bool ok;
    if (stream == APPLY_DIRECT)
        ok = copy_direct(ap, err);
    else if (stream == APPLY_ROWS)
        ok =
            create_stage(ap, err) &&
            pgclient_copy_begin(ap->c, "COPY " APPLY_STAGE_ROWS " FROM STDIN (FORMAT binary)", err);
    else
        ok =
            create_stage(ap, err) &&
            pgclient_copy_begin(ap->c, "COPY " APPLY_STAGE_KEYS " FROM STDIN (FORMAT binary)", err);
    ap->streaming = ok;
    buf_clear(&ap->rows);
    copy_put_header(&ap->rows);
    return ok;
}

struct buf *apply_buffer(struct apply *ap)
{
    return &ap->rows;
}

static bool send(struct apply *ap, struct err *err)
{
    if (ap->rows.failed)
        return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "rows are too large to be sent");
    bool ok = pgclient_copy_put(ap->c, buf_data(&ap->rows), buf_length(&ap->rows), err);
    buf_clear(&ap->rows);
    return ok;
}

bool apply_flush(struct apply *ap, struct err *err)
{
    if (!ap->rows.failed && buf_length(&ap->rows) < APPLY_FLUSH_BYTES)
        return true;
    return send(ap, err);
}

bool apply_end(struct apply *ap, int64_t *rows, struct err *err)
{
    copy_put_trailer(&ap->rows);
    ap->streaming = false;
    if (!send(ap, err) || !pgclient_copy_end(ap->c, rows, err))
        return false;
    return ap->stream != APPLY_DIRECT || apply_become_service(ap, err);
}

void apply_abort(struct apply *ap, const char *reason)
{
    if (ap->streaming)
        pgclient_copy_abort(ap->c, reason);
    ap->streaming = false;
}
