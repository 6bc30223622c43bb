/* The verdict on a declared cursor: slices for several workers, one worker, or the session itself.
 *
 *   MARK      SAVEPOINT pgveneer_plan
 *   COSTS     settings that let the planner divide whatever can be divided
 *   EXPLAIN   its plan
 *   SAFE      does the plan use anything that another session would see otherwise? How large is it?
 *   RANGES    settings under which the plan of a slice must be Tid Range Scans
 *   TRY       the plan of a slice
 *   UNDO      ROLLBACK TO SAVEPOINT pgveneer_plan
 *   RELEASE
 *   EXPORT    the snapshot
 *
 * A stage that finds that workers are out of the question goes on with UNDO; the snapshot is exported
 * only when it will be used, since PREPARE TRANSACTION is refused after that.
 *
 * The session itself is right whenever anything of it matters: rows of its own that are not committed,
 * temporary tables, a savepoint, functions that look at clock or session, locks, parameters, or when
 * the proxy cannot log in as its user. Then there is one endpoint. In doubt there is one endpoint.
 *
 * Workers get the settings that differ from what a new session has, and the role of SET ROLE. */
#include "cursor_parallel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "credential.h"
#include "cursor_run.h"
#include "dispatch.h"
#include "session.h"

#define SQL_MAX_BYTES ((size_t)1024 * 1024)
#define PAGE_BYTES 8192u

#define STAGES(X) X(MARK) X(COSTS) X(EXPLAIN) X(SAFE) X(RANGES) X(TRY) X(UNDO) X(RELEASE) X(EXPORT)

enum stage {
#define X(name) STAGE_##name,
    STAGES(X)
#undef X
};
static const char *const stage_names[] = {
#define X(name) #name,
    STAGES(X)
#undef X
};

static struct cursor_parallel *parallel_of(struct session *s)
{
    return &s->vendor->cursors->run.parallel;
}

static struct arena *arena_of(struct session *s)
{
    return &s->vendor->dispatch.arena;
}

/* ---- what is sent ---- */

static void ask(struct session *s, enum stage stage, const char *sql, const char *value)
{
    enum inject_form form = dispatch_question_form(&s->vendor->dispatch);
    parallel_of(s)->stage = stage;
    log_debug(s->who, "parallel retrieve cursor: %s", stage_names[stage]);
    if (sql == NULL)
        cursor_run_refuse_no_memory(s);
    else if (value == NULL)
        inject_query(s, &s->vendor->inject, sql, form);
    else
        inject_query_with(s, &s->vendor->inject, sql, value, form);
}

static void undo(struct session *s)
{
    ask(s, STAGE_UNDO, "ROLLBACK TO SAVEPOINT pgveneer_plan", NULL);
}

static const char *explain(struct session *s, const char *query)
{
    return query == NULL
               ? NULL
               : arena_printf(arena_of(s), "EXPLAIN (FORMAT JSON, VERBOSE, COSTS OFF) %s", query);
}

#define SET(name, value) "pg_catalog.set_config('" name "', '" value "', true)"

static void ask_costs(struct session *s)
{
    ask(s, STAGE_COSTS,
        "SELECT " SET("parallel_setup_cost", "0") ", " SET("parallel_tuple_cost", "0") ", " SET(
            "min_parallel_table_scan_size",
            "0") ", " SET("max_parallel_workers_per_gather",
                          "4") ", " SET("enable_indexscan",
                                        "off") ", " SET("enable_indexonlyscan",
                                                        "off") ", " SET("enable_bitmapscan",
                                                                        "off") ", " SET("enable_"
                                                                                        "tidscan",
                                                                                        "off") ","
                                                                                               " " SET("enable_parallel_hash", "off") ", " SET(
                                                                                                   "enable_parallel_append",
                                                                                                   "on") ", " SET("enable_gathermerge",
                                                                                                                  "off") ", " SET("enable_seqscan",
                                                                                                                                  "on") ", " SET("enable_partitionwise_join",
                                                                                                                                                 "off"),
        NULL);
}

static void ask_ranges(struct session *s)
{
    ask(s, STAGE_RANGES,
        "SELECT " SET("max_parallel_workers_per_gather",
                      "0") ", " SET("enable_tidscan", "on") ", " SET("enable_seqscan", "off"),
        NULL);
}

/* "schema"."name" inside a literal */
static void put_relation(struct buf *b, const struct cursor_plan_scan *scan)
{
    const char *const parts[] = {scan->schema, scan->relation};
    for (size_t i = 0; i < 2; i++) {
        buf_append_cstr(b, i == 0 ? "E'\"" : ".\"");
        for (const char *at = parts[i]; *at != '\0'; at++) {
            if (*at == '"' || *at == '\'' || *at == '\\')
                buf_append_byte(b, *at);
            buf_append_byte(b, *at);
        }
        buf_append_byte(b, '"');
    }
    buf_append_byte(b, '\'');
}

static void put_relations(struct buf *b, const struct cursor_plan *p, bool divided)
{
    const char *separator = "";
    buf_append_cstr(b, "ARRAY[");
    for (size_t i = 0; i < p->scan_count; i++) {
        if (divided && !p->scans[i].is_divided)
            continue;
        buf_append_cstr(b, separator);
        put_relation(b, &p->scans[i]);
        separator = ", ";
    }
    buf_append_cstr(b, "]::pg_catalog.regclass[]");
}

/* Columns: unsafe?; all pages; of the divided scans in order "pages root": -1 where it is no plain table;
 * name of their common root, or NULL. $1: the plan. Functions and operators of users count by their
 * names in the plan's text: one too many costs an endpoint, no more. */
static const char *write_safe(struct session *s)
{
    static const char unsafe[] =
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_proc p WHERE (p.proparallel <> 's' OR "
        "(p.provolatile <> 'i' AND p.oid >= 16384)) AND "
        "pg_catalog.strpos($1, pg_catalog.quote_ident(p.proname) || '(') > 0) "
        "OR EXISTS (SELECT FROM pg_catalog.pg_operator o JOIN pg_catalog.pg_proc p ON p.oid = "
        "o.oprcode "
        "WHERE o.oid >= 16384 AND p.provolatile <> 'i' AND pg_catalog.strpos($1, o.oprname::text) "
        "> 0) "
        "OR EXISTS (SELECT FROM pg_catalog.pg_cast c JOIN pg_catalog.pg_proc p ON p.oid = "
        "c.castfunc "
        "WHERE c.oid >= 16384 AND p.provolatile <> 'i'), ";
    struct buf b;
    buf_init(&b, SQL_MAX_BYTES);
    buf_append_cstr(&b, unsafe);
    buf_append_cstr(
        &b, "(SELECT pg_catalog.sum(pg_catalog.pg_relation_size(r)) FROM pg_catalog.unnest(");
    put_relations(&b, &parallel_of(s)->plan, false);
    buf_append_cstr(&b, ") r), (SELECT pg_catalog.string_agg(pg_catalog.concat_ws(' ', CASE WHEN "
                        "c.relkind = 'r' AND c.relam = 2 AND c.relpersistence <> 't' THEN "
                        "pg_catalog.pg_relation_size(c.oid) / 8192 ELSE -1 END, "
                        "coalesce(pg_catalog.pg_partition_root(c.oid)::pg_catalog.oid, 0)), ',' "
                        "ORDER BY u.n) FROM pg_catalog.unnest(");
    put_relations(&b, &parallel_of(s)->plan, true);
    buf_append_cstr(&b,
                    ") WITH ORDINALITY u (r, n) JOIN pg_catalog.pg_class c ON c.oid = u.r), "
                    "(SELECT pg_catalog.min(c.relname::pg_catalog.text) FROM pg_catalog.unnest(");
    put_relations(&b, &parallel_of(s)->plan, true);
    buf_append_cstr(&b,
                    ") r JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.pg_partition_root(r)), "
                    "pg_catalog.current_setting('block_size')");
    const char *sql = buf_cstr(&b);
    const char *text = sql == NULL ? NULL : arena_copy_cstr(arena_of(s), sql);
    buf_fini(&b);
    return text;
}

/* ---- what is answered ---- */

static bool find(struct session *s, size_t column, struct slice *value)
{
    return inject_find_value(&s->vendor->inject, column, value);
}

static void on_explained(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    struct slice json;
    const char *copy = NULL;
    if (find(s, 0, &json) && !cursor_plan_is_personal(json) &&
        cursor_plan_read(arena_of(s), json, &p->plan) && !p->plan.is_exclusive &&
        p->plan.scan_count > 0)
        copy = arena_copy(arena_of(s), json);
    if (copy == NULL)
        undo(s);
    else
        ask(s, STAGE_SAFE, write_safe(s), copy);
}

/* "pages root,pages root,…" False: one of them is not to be divided, or they have several roots. */
static bool read_sizes(struct session *s, struct slice list, uint32_t *pages, size_t *tables,
                       bool *is_partitioned)
{
    const struct cursor_plan *plan = &parallel_of(s)->plan;
    unsigned long long root = 0;
    *tables = 0;
    for (const char *at = list.data, *end = list.data + list.len; at < end; at++) {
        char *rest;
        long long n = strtoll(at, &rest, 10);
        unsigned long long oid = strtoull(rest, &rest, 10);
        if (n < 0 || n >= UINT32_MAX || *tables == plan->scan_count ||
            (*tables > 0 && (oid != root || oid == 0)))
            return false;
        pages[(*tables)++] = (uint32_t)n;
        root = oid;
        at = rest;
    }
    *is_partitioned = root != 0;
    return *tables > 0;
}

/* The first slice's query for the second plan, when slices look possible. */
static const char *divide(struct session *s, struct slice sizes, struct slice root, uint64_t bytes)
{
    struct cursor_parallel *p = parallel_of(s);
    const struct proxy_config *config = s->group->shared->config;
    const struct cursor_plan_scan *scan = p->plan.scans;
    struct lexer_dialect dialect = {s->standard_conforming_strings,
                                    encoding_find(s->client_encoding)};
    uint32_t *pages = arena_alloc_array(arena_of(s), p->plan.scan_count, sizeof *pages);
    size_t tables;
    bool is_partitioned;
    if (pages == NULL || !p->plan.is_divisible || bytes < config->parallel_cursor_min_bytes ||
        !read_sizes(s, sizes, pages, &tables, &is_partitioned))
        return NULL;
    while (!scan->is_divided)
        scan++;
    const char *relation = is_partitioned ? arena_copy(arena_of(s), root) : scan->relation;
    uint64_t total = 0;
    for (size_t i = 0; i < tables; i++)
        total += pages[i];
    p->count = config->parallel_cursor_endpoints;
    if (total < p->count)
        p->count = total == 0 ? 1 : (unsigned)total;
    p->bounds = arena_alloc_array(arena_of(s), p->count + 1, sizeof *p->bounds);
    if (relation == NULL || p->bounds == NULL || p->count < 2 || (tables > 1 && !is_partitioned) ||
        !cursor_plan_find(arena_of(s), p->query, &dialect, relation,
                          is_partitioned ? NULL : scan->alias, &p->splice))
        return NULL;
    cursor_plan_divide(pages, tables, p->bounds, p->count);
    p->bounds[p->count] = UINT32_MAX;
    return cursor_plan_slice(arena_of(s), &p->splice, p->bounds[1], p->bounds[2]);
}

static void on_safe(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    struct slice unsafe, bytes, block, sizes = {"", 0}, root = {"", 0};
    if (!find(s, 0, &unsafe) || !slice_equals_cstr(unsafe, "f") || !find(s, 1, &bytes) ||
        !find(s, 4, &block) || !slice_equals_cstr(block, "8192")) {
        undo(s);
        return;
    }
    (void)find(s, 2, &sizes);
    (void)find(s, 3, &root);
    const char *size = arena_copy(arena_of(s), bytes); /* with a NUL */
    uint64_t n = size == NULL ? 0 : strtoull(size, NULL, 10);
    p->is_possible = true;
    p->is_large = n >= s->group->shared->config->parallel_cursor_min_bytes;
    const char *list = arena_copy(arena_of(s), sizes);
    const char *slice = list == NULL ? NULL : divide(s, slice_of(list, sizes.len), root, n);
    if (slice == NULL) {
        undo(s);
        return;
    }
    p->trial = slice;
    ask_ranges(s);
}

static void on_tried(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    struct cursor_plan slice;
    struct slice json;
    p->is_confirmed = find(s, 0, &json) && cursor_plan_read(arena_of(s), json, &slice) &&
                      cursor_plan_confirms(&p->plan, &slice);
    undo(s);
}

/* ---- the workers ---- */

static bool copy_slices(struct session *s, struct endpoint_workers *w)
{
    struct cursor_parallel *p = parallel_of(s);
    w->count = p->is_confirmed ? p->count : 1;
    w->slices = calloc(w->count, sizeof *w->slices);
    for (unsigned i = 0; w->slices != NULL && i < w->count; i++) {
        const char *text =
            p->is_confirmed ? cursor_plan_slice(arena_of(s), &p->splice, i == 0 ? 0 : p->bounds[i],
                                                i + 1 == w->count ? UINT32_MAX : p->bounds[i + 1])
                            : arena_copy(arena_of(s), p->query);
        w->slices[i] = text == NULL ? NULL : strdup(text);
        if (w->slices[i] == NULL)
            return false;
    }
    return w->slices != NULL;
}

static struct endpoint_workers *make_workers(struct session *s, struct slice snapshot)
{
    struct cursors *c = s->vendor->cursors;
    struct endpoint_workers *w = calloc(1, sizeof *w);
    if (w == NULL)
        return NULL;
    w->credential = *session_credential(s);
    w->user = strdup(s->user);
    w->dbname = strdup(s->dbname);
    if (asprintf(
            &w->setup,
            "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '%.*s'; "
            "%s",
            (int)snapshot.len, snapshot.data, c->run.settings) < 0)
        w->setup = NULL;
    if (w->user != NULL && w->dbname != NULL && w->setup != NULL && copy_slices(s, w))
        return w;
    endpoint_workers_free(w);
    return NULL;
}

static void on_exported(struct session *s)
{
    struct endpoint_cursor *shared = s->vendor->cursors->run.declared;
    struct slice snapshot;
    if (find(s, 0, &snapshot))
        shared->workers = make_workers(s, snapshot);
    cursor_declare_publish(s, shared->workers == NULL ? 1 : shared->workers->count);
}

/* ---- the walk ---- */

/* Does the server get the query as the client wrote it? */
static bool is_unchanged(struct session *s, const struct handler_cursor *what)
{
    const struct dispatch *d = &s->vendor->dispatch;
    if (d->type == 'E')
        return d->statement->edit_count == what->edit_count;
    size_t start = (size_t)(what->query.data - d->text.data);
    for (size_t i = 0; i < d->result.edit_count; i++)
        if (d->result.edits[i].start >= start && d->result.edits[i].start < start + what->query.len)
            return false;
    return true;
}

/* May a worker be thought of at all? */
static bool is_open(struct session *s, const struct handler_cursor *what)
{
    return s->vendor->cursors->run.may_have_workers && !s->may_have_savepoint &&
           what->query.len > 0 && is_unchanged(s, what) &&
           session_credential(s)->kind != CREDENTIAL_NONE && strcmp(s->user, s->session_user) == 0;
}

void cursor_parallel_start(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    const struct handler_cursor *what = cursor_declare_what(s);
    if (!is_open(s, what)) {
        cursor_declare_publish(s, 1);
        return;
    }
    p->query = what->query;
    cursor_run_enter(s, CURSOR_PLAN);
    ask(s, STAGE_MARK, "SAVEPOINT pgveneer_plan", NULL);
}

void cursor_parallel_on_injected(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    const char *query;
    switch ((enum stage)p->stage) {
    case STAGE_MARK: ask_costs(s); return;
    case STAGE_COSTS:
        query = arena_copy(arena_of(s), p->query);
        ask(s, STAGE_EXPLAIN, explain(s, query), NULL);
        return;
    case STAGE_EXPLAIN: on_explained(s); return;
    case STAGE_SAFE: on_safe(s); return;
    case STAGE_RANGES: ask(s, STAGE_TRY, explain(s, p->trial), NULL); return;
    case STAGE_TRY: on_tried(s); return;
    case STAGE_UNDO: ask(s, STAGE_RELEASE, "RELEASE SAVEPOINT pgveneer_plan", NULL); return;
    case STAGE_RELEASE:
        if (p->is_confirmed || (p->is_possible && p->is_large))
            ask(s, STAGE_EXPORT, "SELECT pg_catalog.pg_export_snapshot()", NULL);
        else
            cursor_declare_publish(s, 1);
        return;
    case STAGE_EXPORT: on_exported(s); return;
    }
}
