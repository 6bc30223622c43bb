/* The verdict on a declared cursor: slices for several workers, one worker, or the session itself.
 *
 *   MARK      SAVEPOINT pgveneer_plan
 *   COSTS     settings that let the planner divide whatever can be divided
 *   VALUES    of parameters, which become literals (cursor_values.c)
 *   CHECK     of an EXPLAIN only, whose query may be wrong: as TRY
 *   EXPLAIN   its plan
 *   SAFE      does the plan use anything that another session would see otherwise? How large is it?
 *   VIEWS     definitions of the views in the text, where it does not name the tables to be divided
 *   RANGES    settings under which the plan of a slice must be Tid Range Scans
 *   TRY       explains a slice; a text that is none fails without harm
 *   SEE       the plan of the slice. Another try, if there is another place; or VIEWS
 *   UNDO      ROLLBACK TO SAVEPOINT pgveneer_plan
 *   RELEASE
 *   EXPORT    the snapshot
 *
 * A stage that finds that workers are out of the question goes on with UNDO; the snapshot is exported
 * only when it will be used, since PREPARE TRANSACTION is refused after that.
 *
 * The session itself is right whenever anything of it matters: rows of its own that are not committed,
 * temporary tables, a savepoint, functions that look at clock or session, locks, or when the proxy cannot
 * log in as its user. Then there is one endpoint. In doubt there is one endpoint.
 *
 * A view's text stands for the view only where it reads with the same rights: it is the current user's
 * own, or no barrier, and he may read all its tables and none of them has row security.
 *
 * Workers get the settings that differ from what a new session has, and the role of SET ROLE. */
#include "cursor_parallel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "base/log.h"

#include "credential.h"
#include "cursor_moment.h"
#include "cursor_parallel_write.h"
#include "cursor_run.h"
#include "dispatch.h"
#include "session.h"

#define PAGE_BYTES 8192u

#define MAX_VIEW_ROUNDS 3
#define RELATIONS_MAX_BYTES ((size_t)CURSOR_PLAN_MAX_SCANS * 128)

#define STAGES(X)                                                                                  \
    X(MARK)                                                                                        \
    X(COSTS)                                                                                       \
    X(VALUES)                                                                                      \
    X(CHECK)                                                                                       \
    X(EXPLAIN) X(SAFE) X(VIEWS) X(RANGES) X(TRY) X(SEE) X(UNDO) X(RELEASE) X(EXPORT)

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

static struct lexer_dialect dialect_of(const struct session *s)
{
    return (struct lexer_dialect){s->standard_conforming_strings,
                                  encoding_find(s->client_encoding)};
}

static void ask_costs(struct session *s)
{
    ask(s, STAGE_COSTS,
        "SELECT pg_catalog.set_config('parallel_setup_cost', '0', true), "
        "pg_catalog.set_config('parallel_tuple_cost', '0', true), "
        "pg_catalog.set_config('min_parallel_table_scan_size', '0', true), "
        "pg_catalog.set_config('max_parallel_workers_per_gather', '4', true), "
        "pg_catalog.set_config('enable_indexscan', 'off', true), "
        "pg_catalog.set_config('enable_indexonlyscan', 'off', true), "
        "pg_catalog.set_config('enable_bitmapscan', 'off', true), "
        "pg_catalog.set_config('enable_tidscan', 'off', true), "
        "pg_catalog.set_config('enable_parallel_hash', 'off', true), "
        "pg_catalog.set_config('enable_parallel_append', 'on', true), "
        "pg_catalog.set_config('enable_gathermerge', 'off', true), "
        "pg_catalog.set_config('enable_seqscan', 'on', true), "
        "pg_catalog.set_config('enable_partitionwise_join', 'off', true)",
        NULL);
}

static void ask_ranges(struct session *s)
{
    ask(s, STAGE_RANGES,
        "SELECT pg_catalog.set_config('max_parallel_workers_per_gather', '0', true), "
        "pg_catalog.set_config('enable_tidscan', 'on', true), "
        "pg_catalog.set_config('enable_seqscan', 'off', true)",
        NULL);
}

#define SEE "SELECT pg_catalog.current_setting('pgveneer.plan', true)"

/* What a cursor was declared for is right; what is only explained may be anything. */
static void ask_plan(struct session *s)
{
    const char *query = parallel_of(s)->query.data;
    if (s->vendor->cursors->run.explains)
        ask(s, STAGE_CHECK, cursor_parallel_write_try(arena_of(s), query, dialect_of(s).encoding),
            NULL);
    else
        ask(s, STAGE_EXPLAIN, arena_printf(arena_of(s), CURSOR_PARALLEL_EXPLAIN "%s", query), NULL);
}

/* ---- places ---- */

static bool is_table(const struct cursor_parallel *p, const char *name)
{
    for (size_t i = 0; i < p->table_count; i++)
        if (strcmp(p->tables[i], name) == 0)
            return true;
    return false;
}

/* One table is divided at one place, whichever it is, so they are tried one by one. Several tables, or
 * one that is read several times, at all their places together: that is tried last. False: all were. */
static bool choose(struct cursor_parallel *p)
{
    size_t i = p->tried, count = p->places.count;
    bool found = false;
    if (p->chosen == NULL || i > count)
        return false;
    while (p->is_one_table && i < count && !is_table(p, p->places.places[i].relation))
        i++;
    for (size_t k = 0; k < count; k++) {
        bool is = is_table(p, p->places.places[k].relation);
        p->chosen[k] = is && (k == i || !p->is_one_table || i == count);
        found = found || p->chosen[k];
    }
    p->tried = (p->is_one_table ? i : count) + 1;
    return found;
}

static void look_for_places(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    struct lexer_dialect d = dialect_of(s);
    p->tried = 0;
    p->chosen = NULL;
    if (cursor_splice_find(arena_of(s), p->query, &d, &p->places))
        p->chosen = arena_alloc_array(arena_of(s), p->places.count + 1, sizeof *p->chosen);
}

static void try_next(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    bool has_choice = choose(p);
    if (!has_choice && p->chosen != NULL && !p->places.has_with && p->places.count > 0 &&
        p->views_inlined++ < MAX_VIEW_ROUNDS)
        ask(s, STAGE_VIEWS,
            cursor_parallel_write_views(arena_of(s), &p->places, dialect_of(s).encoding), NULL);
    else if (!has_choice)
        undo(s);
    else if (!p->has_ranges)
        ask_ranges(s);
    else
        ask(s, STAGE_TRY,
            cursor_parallel_write_try(
                arena_of(s),
                cursor_splice_slice(arena_of(s), &p->places, p->chosen, p->bounds[1], p->bounds[2]),
                dialect_of(s).encoding),
            NULL);
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
    struct lexer_dialect d = dialect_of(s);
    if (find(s, 0, &json) && !cursor_plan_is_personal(json) &&
        !cursor_moment_is_named(arena_of(s), p->query, &d) &&
        cursor_plan_read(arena_of(s), json, &p->plan) && !p->plan.is_exclusive &&
        p->plan.scan_count > 0)
        copy = arena_copy(arena_of(s), json);
    if (copy == NULL)
        undo(s);
    else
        ask(s, STAGE_SAFE, cursor_parallel_write_safe(arena_of(s), &p->plan, p->query, d.encoding),
            copy);
}

/* Lines "pages root name". False: one of them is not to be divided. */
static bool read_tables(struct cursor_parallel *p, char *lines, uint32_t *pages)
{
    unsigned long long root = 0;
    char *rest;
    p->is_one_table = true;
    for (char *line = strtok_r(lines, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char *name;
        long long n = strtoll(line, &name, 10);
        unsigned long long oid = strtoull(name, &name, 10);
        if (n < 0 || n >= UINT32_MAX || p->table_count == p->plan.scan_count || *name != ' ')
            return false;
        p->is_one_table = p->is_one_table && (p->table_count == 0 || (oid == root && oid != 0));
        pages[p->table_count] = (uint32_t)n;
        p->tables[p->table_count++] = name + 1;
        root = oid;
    }
    return p->table_count > 0;
}

/* Bounds of the slices, when they look possible. */
static bool divide(struct session *s, struct slice lines)
{
    struct cursor_parallel *p = parallel_of(s);
    struct arena *a = arena_of(s);
    uint32_t *pages = arena_alloc_array(a, p->plan.scan_count, sizeof *pages);
    char *copy = arena_copy(a, lines);
    uint64_t total = 0;
    p->tables = arena_alloc_array(a, p->plan.scan_count, sizeof *p->tables);
    if (pages == NULL || copy == NULL || p->tables == NULL || !read_tables(p, copy, pages))
        return false;
    for (size_t i = 0; i < p->table_count; i++)
        total += pages[i];
    p->count = s->group->shared->config->parallel_cursor_endpoints;
    if (total < p->count)
        p->count = total == 0 ? 1 : (unsigned)total;
    p->bounds = arena_alloc_array(a, p->count + 1, sizeof *p->bounds);
    if (p->bounds == NULL || p->count < 2)
        return false;
    cursor_plan_divide(pages, p->table_count, p->bounds, p->count);
    p->bounds[p->count] = UINT32_MAX;
    return true;
}

static void on_safe(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    struct slice unsafe, bytes, lines, block, may_do, partitions;
    if (!find(s, 0, &unsafe) || !slice_equals_cstr(unsafe, "f") || !find(s, 1, &bytes) ||
        !find(s, 3, &block) || !slice_equals_cstr(block, "8192") || !find(s, 4, &may_do) ||
        !find(s, 5, &partitions)) {
        undo(s);
        return;
    }
    const char *size = arena_copy(arena_of(s), bytes); /* with a NUL */
    uint64_t n = size == NULL ? 0 : strtoull(size, NULL, 10);
    p->is_possible = true;
    p->has_partitions = slice_equals_cstr(partitions, "t");
    p->is_large = n >= s->group->shared->config->parallel_cursor_min_bytes;
    if (!p->is_large || !p->plan.is_divisible || !slice_equals_cstr(may_do, "t") ||
        !find(s, 2, &lines) || !divide(s, lines)) {
        undo(s);
        return;
    }
    look_for_places(s);
    try_next(s);
}

/* The definitions take the places of the views. */
static void on_views(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    struct lexer_dialect d = dialect_of(s);
    const char **definitions = arena_alloc_array(arena_of(s), p->places.count, sizeof *definitions);
    struct slice json, text;
    struct json *doc;
    struct err err;
    if (definitions == NULL || !find(s, 0, &json) || !json_read(json, &doc, &err)) {
        undo(s);
        return;
    }
    const struct json_val *root = json_root(doc);
    for (void *it = json_first(root); it != NULL; it = json_next(root, it)) {
        size_t i = strtoul(json_key(it), NULL, 10);
        if (i < p->places.count)
            definitions[i] = json_as_text(json_value(it));
    }
    bool good = cursor_splice_inline(arena_of(s), &p->places, &d, definitions, &text);
    json_free(doc);
    const char *query = good ? arena_copy(arena_of(s), text) : NULL;
    if (query == NULL) {
        undo(s);
        return;
    }
    p->query = slice_of(query, text.len);
    look_for_places(s);
    try_next(s);
}

static void on_tried(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    struct cursor_plan slice;
    struct slice json;
    p->is_confirmed = find(s, 0, &json) && json.len > 0 &&
                      cursor_plan_read(arena_of(s), json, &slice) &&
                      cursor_plan_confirms(&p->plan, &slice);
    if (p->is_confirmed)
        undo(s);
    else
        try_next(s);
}

/* ---- the workers ---- */

static bool copy_slices(struct session *s, struct endpoint_workers *w)
{
    struct cursor_parallel *p = parallel_of(s);
    w->count = p->is_confirmed ? p->count : 1;
    w->slices = calloc(w->count, sizeof *w->slices);
    for (unsigned i = 0; w->slices != NULL && i < w->count; i++) {
        const char *text =
            p->is_confirmed
                ? cursor_splice_slice(arena_of(s), &p->places, p->chosen, i == 0 ? 0 : p->bounds[i],
                                      i + 1 == w->count ? UINT32_MAX : p->bounds[i + 1])
                : p->query.data;
        w->slices[i] = text == NULL ? NULL : strdup(text);
        if (w->slices[i] == NULL)
            return false;
    }
    return w->slices != NULL;
}

static struct endpoint_workers *make_workers(struct session *s, struct slice snapshot)
{
    struct cursors *c = s->vendor->cursors;
    const struct cursor_parallel *p = parallel_of(s);
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
    buf_init(&w->relations, RELATIONS_MAX_BYTES);
    bool has_relations = !p->has_partitions || cursor_plan_write_relations(&p->plan, &w->relations);
    if (w->user != NULL && w->dbname != NULL && w->setup != NULL && has_relations &&
        copy_slices(s, w))
        return w;
    endpoint_workers_free(w);
    return NULL;
}

/* The cursor gets so many endpoints, or would. */
static void conclude(struct session *s, unsigned endpoints)
{
    if (s->vendor->cursors->run.explains)
        cursor_explain_conclude(s, endpoints);
    else
        cursor_declare_publish(s, endpoints);
}

static void on_exported(struct session *s)
{
    struct endpoint_cursor *shared = s->vendor->cursors->run.declared;
    struct slice snapshot;
    if (find(s, 0, &snapshot))
        shared->workers = make_workers(s, snapshot);
    conclude(s, shared->workers == NULL ? 1 : shared->workers->count);
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
    const char *query = is_open(s, what) ? arena_copy(arena_of(s), what->query) : NULL;
    if (query == NULL) {
        conclude(s, 1);
        return;
    }
    p->query = slice_of(query, what->query.len);
    cursor_run_enter(s, CURSOR_PLAN);
    ask(s, STAGE_MARK, "SAVEPOINT pgveneer_plan", NULL);
}

/* Parameters are asked for in several statements. */
static void find_values(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    p->stage = STAGE_VALUES;
    switch (cursor_values_step(s, &p->values, &p->query)) {
    case CURSOR_VALUES_ASKED: return;
    case CURSOR_VALUES_DONE: ask_plan(s); return;
    case CURSOR_VALUES_FAILED: undo(s); return;
    }
}

static void on_released(struct session *s)
{
    const struct cursor_parallel *p = parallel_of(s);
    if (s->vendor->cursors->run.explains)
        conclude(s, p->is_confirmed ? p->count : 1);
    else if (p->is_confirmed || (p->is_possible && p->is_large))
        ask(s, STAGE_EXPORT, "SELECT pg_catalog.pg_export_snapshot()", NULL);
    else
        conclude(s, 1);
}

void cursor_parallel_on_injected(struct session *s)
{
    struct cursor_parallel *p = parallel_of(s);
    switch ((enum stage)p->stage) {
    case STAGE_MARK: ask_costs(s); return;
    case STAGE_COSTS:
    case STAGE_VALUES: find_values(s); return;
    case STAGE_CHECK: ask(s, STAGE_EXPLAIN, SEE, NULL); return;
    case STAGE_EXPLAIN: on_explained(s); return;
    case STAGE_SAFE: on_safe(s); return;
    case STAGE_VIEWS: on_views(s); return;
    case STAGE_RANGES:
        p->has_ranges = true;
        p->tried = 0;
        try_next(s);
        return;
    case STAGE_TRY: ask(s, STAGE_SEE, SEE, NULL); return;
    case STAGE_SEE: on_tried(s); return;
    case STAGE_UNDO: ask(s, STAGE_RELEASE, "RELEASE SAVEPOINT pgveneer_plan", NULL); return;
    case STAGE_RELEASE: on_released(s); return;
    case STAGE_EXPORT: on_exported(s); return;
    }
}
