/* The protocol in the server's role, for the few statements that retrieve sessions have.
 *
 *   Query      its statements one after another; an error ends it; one ReadyForQuery at the end
 *   extended   prepared statements and portals by name; after an error everything up to Sync is ignored
 *
 * RETRIEVE takes time: its caller returns, further messages wait (retrieve.c), and retrieve_on_rows_done
 * goes on. Row limits: the portal remembers how many rows it has given; each Execute asks for the rest.
 * Result formats belong to the portal, so they may change in the middle of an endpoint.
 *
 * A transaction has no meaning here, but drivers want to see theirs: BEGIN, COMMIT and errors move the
 * status of ReadyForQuery as a server would. */
#include "retrieve.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include "loop.h"

#define MAX_NAMES 10000u

/* A prepared statement ('S') or a portal ('P'). */
struct retrieve_name {
    UT_hash_handle hh;
    char *key; /* owns: kind, then the name */
    struct arena arena;
    struct retrieve_statement *statement; /* of 'S' in its arena; of 'P' borrowed */
    struct retrieve_portal portal;
    uint16_t nformats;
    struct buf formats;
};

static void put(struct retrieve *r, bool written)
{
    if (!written)
        r->out.failed = true;
}

static void put_empty(struct retrieve *r, char type)
{
    put(r, wire_write_empty(&r->out, type));
}

static void put_ready(struct retrieve *r)
{
    put(r, wire_write_ready(&r->out, r->status));
}

static void put_tag(struct retrieve *r, const char *tag)
{
    put(r, wire_write_command_complete(&r->out, slice_cstr(tag)));
}

/* An error of the statement at hand. raw: the server's words, or empty */
static void put_error(struct retrieve *r, const struct err *err, struct slice raw)
{
    static const struct wire_field_edit edits[] = {
        {'W', NULL}, {'p', NULL}, {'q', NULL}, {'P', NULL}};
    if (raw.len > 0)
        put(r, wire_write_error_edited(&r->out, 'E', raw, edits, ARRAY_LEN(edits)));
    else
        put(r, wire_write_error(&r->out, 'E', "ERROR", err));
    if (r->status == 'T')
        r->status = 'E';
}

/* ---- names ---- */

static void free_name(struct retrieve *r, struct retrieve_name *n)
{
    HASH_DEL(r->names, n);
    arena_fini(&n->arena);
    buf_fini(&n->formats);
    free(n->key);
    free(n);
}

void retrieve_forget_names(struct retrieve *r)
{
    struct retrieve_name *n, *next;
    HASH_ITER(hh, r->names, n, next)
    free_name(r, n);
}

static char *make_key(char kind, struct slice name)
{
    char *key = NULL;
    return asprintf(&key, "%c%.*s", kind, (int)name.len, name.data) < 0 ? NULL : key;
}

static struct retrieve_name *find_name(struct retrieve *r, char kind, struct slice name)
{
    struct retrieve_name *n = NULL;
    char *key = make_key(kind, name);
    if (key != NULL)
        HASH_FIND_STR(r->names, key, n);
    free(key);
    return n;
}

static void drop_name(struct retrieve *r, char kind, struct slice name)
{
    struct retrieve_name *n = find_name(r, kind, name);
    if (n != NULL)
        free_name(r, n);
}

/* Portals that borrow from a statement go with it. */
static void drop_portals_of(struct retrieve *r, const struct retrieve_statement *st)
{
    struct retrieve_name *n, *next;
    HASH_ITER(hh, r->names, n, next)
    if (n->key[0] == 'P' && n->portal.statement == st)
        free_name(r, n);
}

static void drop_statement(struct retrieve *r, struct slice name)
{
    struct retrieve_name *n = find_name(r, 'S', name);
    if (n == NULL)
        return;
    drop_portals_of(r, n->statement);
    free_name(r, n);
}

/* Replaces. NULL: no memory, or too many. */
static struct retrieve_name *add_name(struct retrieve *r, char kind, struct slice name)
{
    struct retrieve_name *n = HASH_COUNT(r->names) >= MAX_NAMES ? NULL : calloc(1, sizeof *n);
    if (n == NULL)
        return NULL;
    arena_init(&n->arena, 0);
    buf_init(&n->formats, 65536 * 2);
    n->key = make_key(kind, name);
    if (n->key == NULL) {
        free(n);
        return NULL;
    }
    HASH_ADD_KEYPTR(hh, r->names, n->key, strlen(n->key), n);
    return n;
}

/* ---- statements ---- */

/* May the statement run in the transaction's state? */
static bool may_run(const struct retrieve *r, const struct retrieve_statement *st, struct err *err)
{
    if (r->status != 'E' || st->kind == RETRIEVE_COMMIT || st->kind == RETRIEVE_ROLLBACK)
        return true;
    return err_set(err, SQLSTATE_IN_FAILED_TRANSACTION,
                   "current transaction is aborted, commands ignored until end of transaction "
                   "block");
}

static bool show(struct retrieve *r, const struct retrieve_statement *st, bool describes,
                 struct err *err)
{
    struct wire_column column = {
        .name = slice_cstr(st->name), .type_oid = 25, .type_bytes = -1, .type_modifier = -1};
    struct buf value;
    buf_init(&value, 65536);
    bool good = retrieve_show(r, st->name, &value) ||
                err_set(err, SQLSTATE_UNDEFINED_OBJECT,
                        "unrecognized configuration parameter \"%s\"", st->name);
    struct wire_value v = {.bytes = buf_slice(&value)};
    if (good && describes)
        put(r, wire_write_row_description(&r->out, &column, 1));
    if (good)
        put(r, wire_write_data_row(&r->out, &v, 1));
    buf_fini(&value);
    return good;
}

/* Everything but RETRIEVE. describes: the row description goes with the rows. */
static bool run_small(struct retrieve *r, const struct retrieve_statement *st, bool describes,
                      struct err *err)
{
    const char *tag = st->tag;
    bool good = true;
    if (!may_run(r, st, err))
        return false;
    switch (st->kind) {
    case RETRIEVE_REFUSED: *err = st->err; return false;
    case RETRIEVE_SET: good = retrieve_set(r, st, err); break;
    case RETRIEVE_SHOW: good = show(r, st, describes, err); break;
    case RETRIEVE_BEGIN: r->status = 'T'; break;
    case RETRIEVE_COMMIT:
        tag = r->status == 'E' ? "ROLLBACK" : tag;
        r->status = 'I';
        break;
    case RETRIEVE_ROLLBACK: r->status = 'I'; break;
    default: break;
    }
    if (good)
        put_tag(r, tag);
    return good;
}

enum outcome { ROWS_FAILED, ROWS_DONE, ROWS_UNDER_WAY };

static void put_rows_tag(struct retrieve *r)
{
    char tag[64];
    snprintf(tag, sizeof tag, "RETRIEVE %llu", (unsigned long long)r->job.sent);
    put_tag(r, tag);
}

/* Begins a RETRIEVE. */
static enum outcome run_rows(struct retrieve *r, struct retrieve_portal *p, uint64_t limit,
                             bool describes, struct err *err)
{
    const struct retrieve_statement *st = p->statement;
    bool finished = false;
    if (!may_run(r, st, err) || !retrieve_rows_attach(r, st->name, &finished, err))
        return ROWS_FAILED;
    if (describes)
        put(r, retrieve_rows_describe(r, r->job.endpoint->cursor, 0, slice_of("", 0)));
    retrieve_flush(r);
    r->job.left = st->count == UINT64_MAX ? UINT64_MAX : st->count - p->sent;
    r->job.limit = limit == 0 ? UINT64_MAX : limit;
    r->job.sent = 0;
    if (!finished && r->job.left > 0 && !p->is_done) {
        retrieve_rows_start(r);
        return ROWS_UNDER_WAY;
    }
    endpoint_detach(r->job.endpoint, finished);
    endpoint_unref(r->job.endpoint);
    r->job.endpoint = NULL;
    put_rows_tag(r);
    return ROWS_DONE;
}

/* ---- Query ---- */

static void end_query(struct retrieve *r)
{
    r->query = NULL;
    arena_reset(&r->arena);
    put_ready(r);
    retrieve_flush(r);
}

static void fail_query(struct retrieve *r, const struct err *err, struct slice raw)
{
    put_error(r, err, raw);
    end_query(r);
}

/* The statements from query_at on, up to one that takes time. */
static void run_query(struct retrieve *r)
{
    while (r->query != NULL && r->query_at < r->query_count && r->state == RETRIEVE_READY) {
        struct retrieve_statement *st = &r->query[r->query_at++];
        struct err err;
        r->query_rows = (struct retrieve_portal){.statement = st};
        r->portal = NULL;
        r->job.nformats = 0;
        buf_clear(&r->job.formats);
        enum outcome outcome = ROWS_DONE;
        if (st->kind == RETRIEVE_ROWS)
            outcome = run_rows(r, &r->query_rows, 0, true, &err);
        else if (!run_small(r, st, true, &err))
            outcome = ROWS_FAILED;
        if (outcome == ROWS_FAILED)
            fail_query(r, &err, slice_of("", 0));
        if (outcome != ROWS_DONE)
            return;
    }
    if (r->query != NULL)
        end_query(r);
}

static void on_query(struct retrieve *r, struct slice body)
{
    struct wire_reader reader;
    struct wire_query m;
    struct err err;
    wire_reader_init(&reader, body);
    r->skipping = false;
    if (!wire_read_query(&reader, &m)) {
        err_set(&err, SQLSTATE_PROTOCOL_VIOLATION, "invalid message format");
        retrieve_refuse(r, &err);
        return;
    }
    drop_statement(r, slice_of("", 0));
    char *text = arena_copy(&r->arena, m.query);
    struct retrieve_statement *all = NULL;
    size_t count = 0;
    err_no_memory(&err);
    if (text == NULL ||
        !retrieve_read(r, &r->arena, slice_of(text, m.query.len), &all, &count, &err)) {
        fail_query(r, &err, slice_of("", 0));
        return;
    }
    if (count == 0) {
        put_empty(r, 'I');
        end_query(r);
        return;
    }
    r->query = all;
    r->query_count = count;
    r->query_at = 0;
    run_query(r);
}

/* ---- the extended protocol ---- */

static void fail_extended(struct retrieve *r, const struct err *err, struct slice raw)
{
    put_error(r, err, raw);
    r->skipping = true;
    retrieve_flush(r);
}

static bool refuse_format(struct err *err)
{
    return err_set(err, SQLSTATE_PROTOCOL_VIOLATION, "invalid message format");
}

static bool on_parse(struct retrieve *r, struct wire_reader *reader, struct err *err)
{
    struct wire_parse m;
    struct retrieve_statement *all = NULL;
    size_t count = 0;
    if (!wire_read_parse(reader, &m))
        return refuse_format(err);
    if (m.name.len == 0)
        drop_statement(r, m.name);
    else if (find_name(r, 'S', m.name) != NULL)
        return err_set(err, "42P05", "prepared statement \"%s\" already exists", m.name.data);
    struct retrieve_name *n = add_name(r, 'S', m.name);
    char *text = n == NULL ? NULL : arena_copy(&n->arena, m.query);
    bool good = text != NULL || err_no_memory(err);
    good = good && retrieve_read(r, &n->arena, slice_of(text, m.query.len), &all, &count, err);
    if (good && count > 1)
        good = err_set(err, SQLSTATE_SYNTAX_ERROR,
                       "cannot insert multiple commands into a prepared statement");
    if (good && count == 1 && all[0].kind == RETRIEVE_REFUSED) {
        *err = all[0].err;
        good = false;
    }
    if (good)
        n->statement = all; /* zeroed where there is none: RETRIEVE_NOTHING */
    else if (n != NULL)
        free_name(r, n);
    if (good)
        put_empty(r, '1');
    return good;
}

static bool on_bind(struct retrieve *r, struct wire_reader *reader, struct err *err)
{
    struct wire_bind m;
    if (!wire_read_bind(reader, &m))
        return refuse_format(err);
    struct retrieve_name *st = find_name(r, 'S', m.statement);
    if (st == NULL)
        return err_set(err, SQLSTATE_INVALID_STATEMENT_NAME,
                       "prepared statement \"%s\" does not exist", m.statement.data);
    if (m.nparams > 0)
        return err_set(err, SQLSTATE_PROTOCOL_VIOLATION,
                       "bind message supplies %u parameters, but prepared statement \"%s\" "
                       "requires 0",
                       m.nparams, m.statement.data);
    drop_name(r, 'P', m.portal);
    struct retrieve_name *p = add_name(r, 'P', m.portal);
    if (p == NULL || !buf_append_slice(&p->formats, m.result_formats))
        return err_no_memory(err);
    p->nformats = m.nresult_formats;
    p->statement = st->statement;
    p->portal.statement = st->statement;
    put_empty(r, '2');
    return true;
}

/* The rows of a RETRIEVE are described before any comes: that takes the endpoint. */
static bool describe_rows(struct retrieve *r, const struct retrieve_name *n, struct err *err)
{
    bool finished;
    if (!retrieve_rows_attach(r, n->statement->name, &finished, err))
        return false;
    put(r, retrieve_rows_describe(r, r->job.endpoint->cursor, n->nformats, buf_slice(&n->formats)));
    endpoint_detach(r->job.endpoint, finished);
    endpoint_unref(r->job.endpoint);
    r->job.endpoint = NULL;
    return true;
}

static bool on_describe(struct retrieve *r, struct wire_reader *reader, struct err *err)
{
    struct wire_target m;
    if (!wire_read_target(reader, &m))
        return refuse_format(err);
    struct retrieve_name *n = find_name(r, m.kind, m.name);
    if (n == NULL && m.kind == 'S')
        return err_set(err, SQLSTATE_INVALID_STATEMENT_NAME,
                       "prepared statement \"%s\" does not exist", m.name.data);
    if (n == NULL)
        return err_set(err, SQLSTATE_INVALID_CURSOR_NAME, "portal \"%s\" does not exist",
                       m.name.data);
    if (m.kind == 'S')
        put(r, buf_append(&r->out, "t\0\0\0\6\0\0", 7)); /* no parameters */
    if (n->statement->kind == RETRIEVE_ROWS)
        return describe_rows(r, n, err);
    struct wire_column column = {.type_oid = 25, .type_bytes = -1, .type_modifier = -1};
    if (n->statement->kind == RETRIEVE_SHOW) {
        column.name = slice_cstr(n->statement->name);
        put(r, wire_write_row_description(&r->out, &column, 1));
    } else {
        put_empty(r, 'n');
    }
    return true;
}

static bool on_execute(struct retrieve *r, struct wire_reader *reader, struct err *err)
{
    struct wire_execute m;
    if (!wire_read_execute(reader, &m))
        return refuse_format(err);
    struct retrieve_name *n = find_name(r, 'P', m.portal);
    if (n == NULL)
        return err_set(err, SQLSTATE_INVALID_CURSOR_NAME, "portal \"%s\" does not exist",
                       m.portal.data);
    if (n->statement->kind == RETRIEVE_NOTHING) {
        put_empty(r, 'I');
        return true;
    }
    if (n->statement->kind != RETRIEVE_ROWS)
        return run_small(r, n->statement, false, err);
    r->portal = &n->portal;
    r->job.nformats = n->nformats;
    buf_clear(&r->job.formats);
    if (!buf_append_slice(&r->job.formats, buf_slice(&n->formats)))
        return err_no_memory(err);
    enum outcome outcome = run_rows(r, &n->portal, m.max_rows, false, err);
    if (outcome != ROWS_UNDER_WAY)
        r->portal = NULL;
    return outcome != ROWS_FAILED;
}

static bool on_close(struct retrieve *r, struct wire_reader *reader, struct err *err)
{
    struct wire_target m;
    if (!wire_read_target(reader, &m))
        return refuse_format(err);
    if (m.kind == 'S')
        drop_statement(r, m.name);
    else
        drop_name(r, 'P', m.name);
    put_empty(r, '3');
    return true;
}

static void drop_portals(struct retrieve *r)
{
    struct retrieve_name *n, *next;
    HASH_ITER(hh, r->names, n, next)
    if (n->key[0] == 'P')
        free_name(r, n);
}

static void on_sync(struct retrieve *r)
{
    r->skipping = false;
    if (r->status == 'I')
        drop_portals(r);
    put_ready(r);
    retrieve_flush(r);
}

static void on_extended(struct retrieve *r, char type, struct slice body)
{
    struct wire_reader reader;
    struct err err;
    bool good = true;
    wire_reader_init(&reader, body);
    switch (type) {
    case 'P': good = on_parse(r, &reader, &err); break;
    case 'B': good = on_bind(r, &reader, &err); break;
    case 'D': good = on_describe(r, &reader, &err); break;
    case 'E': good = on_execute(r, &reader, &err); break;
    case 'C': good = on_close(r, &reader, &err); break;
    default: return;
    }
    if (!good && r->state == RETRIEVE_READY)
        fail_extended(r, &err, slice_of("", 0));
}

/* ---- all messages ---- */

void retrieve_on_message(struct retrieve *r, char type, struct slice body)
{
    struct err err;
    switch (type) {
    case 'X': retrieve_close(r); return;
    case 'S': on_sync(r); return;
    case 'H': retrieve_flush(r); return;
    case 'd':
    case 'c':
    case 'f': return; /* of a COPY that is not there */
    case 'Q': on_query(r, body); return;
    case 'F':
        err_set(&err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                "protocol 'F' is not supported in a retrieve connection");
        put_error(r, &err, slice_of("", 0));
        put_ready(r);
        retrieve_flush(r);
        return;
    case 'P':
    case 'B':
    case 'D':
    case 'E':
    case 'C':
        if (!r->skipping)
            on_extended(r, type, body);
        return;
    default:
        err_set(&err, SQLSTATE_PROTOCOL_VIOLATION, "invalid frontend message type %d", type);
        retrieve_refuse(r, &err);
        return;
    }
}

static void on_query_rows(struct retrieve *r, const struct err *err, struct slice raw)
{
    if (err != NULL) {
        fail_query(r, err, raw);
        return;
    }
    put_rows_tag(r);
    run_query(r);
}

static void on_portal_rows(struct retrieve *r, bool suspended, const struct err *err,
                           struct slice raw)
{
    struct retrieve_portal *p = r->portal;
    r->portal = NULL;
    if (err != NULL) {
        fail_extended(r, err, raw);
        return;
    }
    p->sent += r->job.sent;
    p->is_done = !suspended;
    if (suspended)
        put_empty(r, 's');
    else
        put_rows_tag(r);
}

void retrieve_on_rows_done(struct retrieve *r, bool suspended, const struct err *err,
                           struct slice raw)
{
    if (r->state == RETRIEVE_CLOSING)
        return;
    if (r->portal != NULL)
        on_portal_rows(r, suspended, err, raw);
    else
        on_query_rows(r, err, raw);
    retrieve_resume(r);
}
