/* /metrics is put together from two sources: the counters of this process, read where they lie, and the
 * tasks of the databases, asked for through the control connection (pgveneer.metrics()).
 *
 *   scrape ──► which databases? (asked for anew after five minutes) ──► each is asked ──► answer
 *                                                     │ 5 s ──────────────────────────────► answer
 *
 * One round serves all who ask meanwhile. A database that does not answer in time, or fails, is told as
 * pgveneer_database_up 0: the proxy's own counters come in any case. Everything here happens on the
 * thread of the HTTP interface. */
#include "status.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/arena.h"
#include "base/json.h"
#include "base/log.h"

#define STATUS_ROUND_MS 5000
#define STATUS_LIST_MS 300000
#define STATUS_MAX_DATABASES 256
#define STATUS_MAX_WAITING 64
#define STATUS_MAX_BYTES ((size_t)64 << 20)
#define STATUS_TEXT "text/plain; version=0.0.4; charset=utf-8"

static const char list_query[] =
    "SELECT datname FROM pg_catalog.pg_database WHERE datallowconn AND NOT datistemplate"
    "   AND pg_catalog.has_database_privilege(oid, 'CONNECT') ORDER BY datname";
static const char has_query[] =
    "SELECT pg_catalog.to_regprocedure('pgveneer.metrics()') IS NOT NULL";
static const char metrics_query[] =
    "SELECT name, type, help, labels, value FROM pgveneer.metrics() ORDER BY name";

enum { COLUMN_NAME, COLUMN_TYPE, COLUMN_HELP, COLUMN_LABELS, COLUMN_VALUE, COLUMN_COUNT };

enum database_answer { ANSWER_NONE, ANSWER_GIVEN, ANSWER_FAILED };

struct database {
    struct status *status;
    char *name;      /* owns */
    bool has_schema; /* else it is asked whether it has, when the list is old */
    struct control_ask *ask;
    enum database_answer answer; /* of this round */
};

struct sample {
    const char *name, *type, *help, *line; /* from the round's arena */
};

struct status {
    struct status_settings settings;
    struct loop *loop; /* owns */
    struct http *http; /* owns */
    struct timer *deadline;
    struct http_path paths[2];
    bool is_started;
    time_t started_at;
    /* the databases */
    struct database databases[STATUS_MAX_DATABASES];
    size_t database_count;
    struct control_ask *list_ask;
    uint64_t listed_ms; /* 0: never */
    /* the round */
    struct http_request *waiting[STATUS_MAX_WAITING];
    size_t waiting_count;
    struct arena arena;
    struct sample *samples;
    size_t sample_count, sample_capacity;
};

/* ---- samples ---- */

static char *copy_value(struct arena *a, struct wire_value v)
{
    return v.is_null ? arena_copy_cstr(a, "") : arena_copy(a, v.bytes);
}

/* {"task_id": "…"} as task_id="…" behind database="…" */
static void put_labels(struct buf *b, const char *database, const char *labels)
{
    struct json *doc;
    struct err err;
    buf_append_cstr(b, "{database=\"");
    metrics_put_label(b, database);
    buf_append_byte(b, '"');
    if (json_read(slice_cstr(labels), &doc, &err)) {
        const struct json_val *root = json_root(doc);
        for (void *it = json_first(root); it != NULL; it = json_next(root, it)) {
            const char *value = json_as_text(json_value(it));
            buf_printf(b, ",%s=\"", json_key(it));
            metrics_put_label(b, value == NULL ? "" : value);
            buf_append_byte(b, '"');
        }
        json_free(doc);
    }
    buf_append_byte(b, '}');
}

static bool grow_samples(struct status *st)
{
    if (st->sample_count < st->sample_capacity)
        return true;
    size_t capacity = st->sample_capacity == 0 ? 256 : st->sample_capacity * 2;
    struct sample *larger = realloc(st->samples, capacity * sizeof *larger);
    if (larger == NULL)
        return false;
    st->samples = larger;
    st->sample_capacity = capacity;
    return true;
}

static void add_sample(struct database *d, const struct wire_value *row)
{
    struct status *st = d->status;
    struct buf b;
    struct sample s = {.name = copy_value(&st->arena, row[COLUMN_NAME]),
                       .type = copy_value(&st->arena, row[COLUMN_TYPE]),
                       .help = copy_value(&st->arena, row[COLUMN_HELP])};
    const char *labels = copy_value(&st->arena, row[COLUMN_LABELS]);
    const char *value = copy_value(&st->arena, row[COLUMN_VALUE]);
    if (s.name == NULL || s.type == NULL || s.help == NULL || labels == NULL || value == NULL ||
        !grow_samples(st))
        return;
    buf_init(&b, STATUS_MAX_BYTES);
    buf_append_cstr(&b, s.name);
    put_labels(&b, d->name, labels);
    buf_printf(&b, " %s\n", value);
    s.line = b.failed ? NULL : arena_copy(&st->arena, buf_slice(&b));
    buf_fini(&b);
    if (s.line != NULL)
        st->samples[st->sample_count++] = s;
}

/* ---- the answer ---- */

static int compare_samples(const void *a, const void *b)
{
    const struct sample *x = a, *y = b;
    int c = strcmp(x->name, y->name);
    return c != 0 ? c : strcmp(x->line, y->line);
}

static void put_samples(struct status *st, struct buf *out)
{
    if (st->sample_count > 1)
        qsort(st->samples, st->sample_count, sizeof *st->samples, compare_samples);
    for (size_t i = 0; i < st->sample_count; i++) {
        const struct sample *s = &st->samples[i];
        if (i == 0 || strcmp(s->name, s[-1].name) != 0)
            metrics_put_head(out, s->name, s->type, s->help);
        buf_append_cstr(out, s->line);
    }
}

static void put_gauges(struct status *st, struct buf *out)
{
    metrics_put_head(out, "pgveneer_info", "gauge", "1; the version of pgveneer.");
    buf_printf(out, "pgveneer_info{version=\"%s\"} 1\n", PGVENEER_VERSION);
    metrics_put_head(out, "pgveneer_start_time_seconds", "gauge",
                     "When the proxy was started, Unix time.");
    buf_printf(out, "pgveneer_start_time_seconds %lld\n", (long long)st->started_at);
    metrics_put_head(out, "pgveneer_clients", "gauge", "Clients that are connected.");
    buf_printf(out, "pgveneer_clients %u\n", atomic_load(st->settings.client_count));
}

static void put_databases(struct status *st, struct buf *out)
{
    bool is_first = true;
    for (size_t i = 0; i < st->database_count; i++) {
        const struct database *d = &st->databases[i];
        if (!d->has_schema)
            continue;
        if (is_first)
            metrics_put_head(out, "pgveneer_database_up", "gauge",
                             "1: the database told its tasks in time.");
        is_first = false;
        buf_append_cstr(out, "pgveneer_database_up{database=\"");
        metrics_put_label(out, d->name);
        buf_printf(out, "\"} %d\n", d->answer == ANSWER_GIVEN);
    }
}

static void forget(struct control_ask **ask)
{
    if (*ask != NULL)
        control_forget(*ask);
    *ask = NULL;
}

static void end_round(struct status *st)
{
    struct buf out;
    buf_init(&out, STATUS_MAX_BYTES);
    timer_stop(st->deadline);
    forget(&st->list_ask);
    for (size_t i = 0; i < st->database_count; i++)
        forget(&st->databases[i].ask);
    put_gauges(st, &out);
    metrics_put(&out, st->settings.sets, st->settings.set_count);
    put_databases(st, &out);
    put_samples(st, &out);
    for (size_t i = 0; i < st->waiting_count; i++)
        http_answer(st->waiting[i], 200, STATUS_TEXT, &out);
    st->waiting_count = st->sample_count = 0;
    arena_reset(&st->arena);
    buf_fini(&out);
}

static void end_round_if_all(struct status *st)
{
    if (st->list_ask != NULL || st->waiting_count == 0)
        return;
    for (size_t i = 0; i < st->database_count; i++)
        if (st->databases[i].ask != NULL)
            return;
    end_round(st);
}

static void on_deadline(void *arg)
{
    end_round(arg);
}

/* ---- asking databases ---- */

static struct control_ask *ask(struct status *st, const char *dbname, const char *sql,
                               control_done_fn *done, void *arg)
{
    return control_query(st->settings.control, st->loop, slice_cstr(dbname), sql, NULL, 0, done,
                         arg);
}

static void on_metrics(void *arg, const struct control_result *r, const struct err *err)
{
    struct database *d = arg;
    d->ask = NULL;
    d->answer = err == NULL && r->ncolumns == COLUMN_COUNT ? ANSWER_GIVEN : ANSWER_FAILED;
    if (err != NULL)
        log_err(LOG_LEVEL_DEBUG, "http", d->name, err);
    for (size_t i = 0; d->answer == ANSWER_GIVEN && i < r->nrows; i++)
        add_sample(d, &r->values[i * r->ncolumns]);
    end_round_if_all(d->status);
}

static void ask_metrics(struct database *d)
{
    d->answer = ANSWER_FAILED;
    d->ask = ask(d->status, d->name, metrics_query, on_metrics, d);
}

static void on_has_schema(void *arg, const struct control_result *r, const struct err *err)
{
    struct database *d = arg;
    d->ask = NULL;
    d->has_schema = err == NULL && r->nrows == 1 && slice_equals_cstr(r->values[0].bytes, "t");
    if (d->has_schema)
        ask_metrics(d);
    end_round_if_all(d->status);
}

static void ask_databases(struct status *st, bool anew)
{
    for (size_t i = 0; i < st->database_count; i++) {
        struct database *d = &st->databases[i];
        d->answer = ANSWER_NONE;
        if (d->has_schema)
            ask_metrics(d);
        else if (anew)
            d->ask = ask(st, d->name, has_query, on_has_schema, d);
    }
    end_round_if_all(st);
}

/* ---- which databases ---- */

static void add_database(struct status *st, struct slice name, bool has_schema)
{
    name = slice_trim(name);
    if (slice_is_empty(name) || st->database_count == STATUS_MAX_DATABASES)
        return;
    struct database *d = &st->databases[st->database_count];
    *d = (struct database){
        .status = st, .name = strndup(name.data, name.len), .has_schema = has_schema};
    if (d->name != NULL)
        st->database_count++;
}

static void drop_databases(struct status *st)
{
    for (size_t i = 0; i < st->database_count; i++)
        free(st->databases[i].name);
    st->database_count = 0;
}

static void on_list(void *arg, const struct control_result *r, const struct err *err)
{
    struct status *st = arg;
    st->list_ask = NULL;
    if (err != NULL) {
        log_err(LOG_LEVEL_DEBUG, "http", "databases", err);
        end_round_if_all(st);
        return;
    }
    drop_databases(st);
    for (size_t i = 0; i < r->nrows; i++)
        add_database(st, r->values[i * r->ncolumns].bytes, false);
    st->listed_ms = loop_now_ms();
    ask_databases(st, true);
}

static void list_named(struct status *st)
{
    struct slice rest = slice_cstr(st->settings.databases);
    while (!slice_is_empty(rest)) {
        size_t n = slice_find_byte(rest, ',');
        add_database(st, slice_part(rest, 0, n), true);
        rest = slice_part(rest, n < rest.len ? n + 1 : n, rest.len);
    }
}

static void begin_round(struct status *st)
{
    bool is_old = st->listed_ms == 0 || loop_now_ms() - st->listed_ms > STATUS_LIST_MS;
    timer_start(st->deadline, STATUS_ROUND_MS);
    if (st->settings.databases[0] == '\0' && is_old)
        st->list_ask = ask(st, "postgres", list_query, on_list, st);
    if (st->list_ask == NULL)
        ask_databases(st, false);
}

/* ---- paths ---- */

static void on_get_metrics(void *arg, struct http_request *r)
{
    struct status *st = arg;
    if (st->waiting_count == STATUS_MAX_WAITING) {
        struct buf empty;
        buf_init(&empty, 1);
        http_answer(r, 503, STATUS_TEXT, &empty);
        buf_fini(&empty);
        return;
    }
    st->waiting[st->waiting_count++] = r;
    if (st->waiting_count == 1)
        begin_round(st);
}

static void on_get_healthz(void *arg, struct http_request *r)
{
    struct status *st = arg;
    struct buf out;
    bool stopping = atomic_load(st->settings.stopping);
    buf_init(&out, 64);
    buf_append_cstr(&out, stopping ? "stopping\n" : "ok\n");
    http_answer(r, stopping ? 503 : 200, "text/plain", &out);
    buf_fini(&out);
}

/* ---- life ---- */

bool status_new(const struct status_settings *s, struct status **out, struct err *err)
{
    struct status *st = calloc(1, sizeof *st);
    *out = NULL;
    if (st == NULL)
        return err_no_memory(err);
    st->settings = *s;
    st->started_at = time(NULL);
    st->paths[0] = (struct http_path){"/metrics", on_get_metrics, st};
    st->paths[1] = (struct http_path){"/healthz", on_get_healthz, st};
    arena_init(&st->arena, 0);
    list_named(st);
    if (!loop_new("http", &st->loop, err) ||
        !http_open(st->loop, s->http_addr, s->http_port, st->paths, 2, &st->http, err)) {
        status_free(st);
        return false;
    }
    st->deadline = timer_new(st->loop, on_deadline, st);
    if (st->deadline == NULL) {
        status_free(st);
        return err_no_memory(err);
    }
    *out = st;
    return true;
}

bool status_start(struct status *st, struct err *err)
{
    st->is_started = loop_start(st->loop, err);
    return st->is_started;
}

void status_stop(struct status *st)
{
    if (st == NULL || !st->is_started)
        return;
    loop_stop(st->loop);
    loop_join(st->loop);
}

void status_free(struct status *st)
{
    if (st == NULL)
        return;
    timer_free(st->deadline);
    http_close(st->http);
    for (size_t i = 0; i < st->waiting_count; i++)
        free(st->waiting[i]);
    drop_databases(st);
    arena_fini(&st->arena);
    free(st->samples);
    if (st->loop != NULL)
        loop_free(st->loop);
    free(st);
}
