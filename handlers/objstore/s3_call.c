/* A request to an S3-compatible store, repeated until it has an answer that stays.
 *
 *   WAITING ──► RUNNING ──► DONE
 *      ^           │
 *      └───────────┘  busy, broken, cut: after a pause; moved: to the other region; changed: from the
 *                     beginning
 *
 * Content that came before a stream was cut is kept: the next request asks for the rest (Range), and for
 * the same object (If-Match with its ETag). So an object that somebody replaced meanwhile is noticed,
 * by the store or, where it ignores such conditions, by us: ETag and size of each answer are compared
 * with the first ones. It is then read anew from its beginning.
 *
 * Pauses double from 0.2 s to 5 s, with jitter, so that many workers do not come back as one; a store
 * that says Retry-After is obeyed within reason. An attempt that brought something is no failure. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "s3.h"
#include "s3_error.h"

#define CALL_ATTEMPTS 6
#define CALL_BASE_MS 200
#define CALL_CAP_MS 5000
#define CALL_RETRY_AFTER_CAP_S 30
#define CALL_PROGRESS_BYTES ((int64_t)64 << 10)
#define CALL_MAX_CHANGES 3
#define CALL_MAX_MOVES 2
#define CALL_ERROR_BYTES ((size_t)64 << 10)
#define CALL_TURN_MS 200
#define CALL_MAX_HEADERS 8

static int64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

void s3_call_init(struct s3_call *c, const char *method, const char *key)
{
    *c = (struct s3_call){.method = method, .key = key, .size_bytes = -1};
    arena_init(&c->arena, 0);
    buf_init(&c->body, CALL_ERROR_BYTES);
    c->state = S3_CALL_WAITING;
}

void s3_call_fini(struct s3_call *c)
{
    arena_fini(&c->arena);
    buf_fini(&c->body);
}

/* ---- the request ---- */

struct request {
    struct sigv4_header headers[CALL_MAX_HEADERS]; /* by name */
    size_t count;
    const char *authorization;
};

static void add_header(struct request *r, const char *name, const char *value)
{
    r->headers[r->count++] = (struct sigv4_header){name, value};
}

static const char *text_of(struct arena *a, struct buf *b)
{
    const char *text = buf_cstr(b);
    const char *copy = text == NULL ? NULL : arena_copy_cstr(a, text);
    buf_clear(b);
    return copy;
}

static bool authorize(const struct s3 *st, struct s3_call *c, const char *path, struct request *r,
                      struct buf *b)
{
    char now[SIGV4_TIME_BYTES + 8];
    struct tm tm;
    time_t t = time(NULL);
    if (gmtime_r(&t, &tm) == NULL || strftime(now, sizeof now, "%Y%m%dT%H%M%SZ", &tm) == 0)
        return false;
    struct sigv4_request signed_part = {.method = c->method,
                                        .path = path,
                                        .query = c->query == NULL ? "" : c->query,
                                        .headers = r->headers,
                                        .payload_hash = SIGV4_EMPTY_HASH};
    struct sigv4_key key = st->key;
    key.region = st->place.region;
    add_header(r, "x-amz-content-sha256", SIGV4_EMPTY_HASH);
    add_header(r, "x-amz-date", arena_copy_cstr(&c->arena, now));
    if (st->security_token != NULL)
        add_header(r, "x-amz-security-token", st->security_token);
    signed_part.header_count = r->count;
    if (r->headers[r->count - 1].value == NULL || !sigv4_write(&signed_part, &key, now, b))
        return false;
    r->authorization = text_of(&c->arena, b);
    return r->authorization != NULL;
}

/* Headers "name: value"; Host stands first. */
static bool put_headers(struct s3_call *c, const struct request *r)
{
    size_t count = r->count + (r->authorization != NULL ? 1 : 0);
    const char **lines = arena_alloc_array(&c->arena, count, sizeof *lines);
    if (lines == NULL)
        return false;
    for (size_t i = 0; i < r->count; i++)
        lines[i] = arena_printf(&c->arena, "%s: %s", r->headers[i].name, r->headers[i].value);
    if (r->authorization != NULL)
        lines[r->count] = arena_printf(&c->arena, "authorization: %s", r->authorization);
    for (size_t i = 0; i < count; i++)
        if (lines[i] == NULL)
            return false;
    c->exchange.headers = lines;
    c->exchange.header_count = count;
    return true;
}

static bool write_request(const struct s3 *st, struct s3_call *c, struct buf *b)
{
    struct request r = {.count = 0};
    const struct s3_place *p = &st->place;
    s3_place_put_host(p, b);
    const char *host = text_of(&c->arena, b);
    s3_place_put_path(p, c->key, b);
    const char *path = text_of(&c->arena, b);
    if (host == NULL || path == NULL)
        return false;
    add_header(&r, "host", host);
    if (c->etag[0] != '\0')
        add_header(&r, "if-match", arena_printf(&c->arena, "\"%s\"", c->etag));
    if (c->received > 0)
        add_header(&r, "range", arena_printf(&c->arena, "bytes=%lld-", (long long)c->received));
    for (size_t i = 0; i < r.count; i++)
        if (r.headers[i].value == NULL)
            return false;
    if (st->key.access_key != NULL && !authorize(st, c, path, &r, b))
        return false;
    buf_printf(b, "%s://%s%s%s%s", p->tls ? "https" : "http", host, path,
               c->query == NULL ? "" : "?", c->query == NULL ? "" : c->query);
    c->exchange.url = text_of(&c->arena, b);
    return c->exchange.url != NULL && put_headers(c, &r);
}

/* ---- the answer ---- */

static bool has_content(const struct transport_exchange *x)
{
    return x->head.status == 200 || x->head.status == 206;
}

/* The first look at an answer with content: is it what was asked for? */
static bool begin_content(struct s3_call *c)
{
    const struct s3_head *h = &c->exchange.head;
    int64_t total = h->status == 206 ? h->total : h->length;
    c->begun = true;
    if (c->etag[0] != '\0' && h->etag[0] != '\0' && strcmp(c->etag, h->etag) != 0)
        c->changed = true;
    if (c->size_bytes >= 0 && total >= 0 && total != c->size_bytes)
        c->changed = true;
    if (c->changed || (h->status == 206 && h->range_from != c->received))
        return false;
    if (h->status == 200 && c->received > 0) { /* the range was ignored */
        c->received = c->begun_at = 0;
        if (!c->restart(c->arg, &c->err))
            return false;
    }
    if (c->etag[0] == '\0' && c->key != NULL)
        memcpy(c->etag, h->etag, sizeof c->etag);
    if (c->size_bytes < 0)
        c->size_bytes = total;
    return true;
}

static bool on_body(void *arg, struct transport_exchange *x, struct slice piece)
{
    struct s3_call *c = arg;
    if (!has_content(x)) {
        buf_append(&c->body, piece.data, piece.len); /* what does not fit is not needed */
        return true;
    }
    if (!c->begun && !begin_content(c))
        return false;
    if (!c->put(c->arg, piece, &c->err))
        return false;
    c->received += (int64_t)piece.len;
    return true;
}

/* ---- moves ---- */

static bool start(struct s3 *st, struct s3_call *c, struct err *err)
{
    struct buf b;
    arena_reset(&c->arena);
    buf_clear(&c->body);
    err_clear(&c->err);
    c->begun = c->changed = false;
    c->begun_at = c->received;
    c->exchange = (struct transport_exchange){.method = c->method, .on_body = on_body, .arg = c};
    buf_init(&b, (size_t)64 << 10);
    bool ok = write_request(st, c, &b) || err_no_memory(err);
    buf_fini(&b);
    if (!ok || !transport_start(st->transport, &c->exchange, err))
        return false;
    c->state = S3_CALL_RUNNING;
    return true;
}

static int64_t pause_ms(struct s3 *st, const struct s3_call *c)
{
    int64_t wait = CALL_BASE_MS;
    for (unsigned i = 1; i < c->attempts && wait < CALL_CAP_MS; i++)
        wait *= 2;
    if (wait > CALL_CAP_MS)
        wait = CALL_CAP_MS;
    wait = wait / 2 + rand_r(&st->seed) % (wait / 2 + 1);
    int64_t told = c->exchange.head.retry_after_s;
    if (told > CALL_RETRY_AFTER_CAP_S)
        told = CALL_RETRY_AFTER_CAP_S;
    return told * 1000 > wait ? told * 1000 : wait;
}

static void wait_for(struct s3_call *c, int64_t ms)
{
    c->state = S3_CALL_WAITING;
    c->start_ms = clock_ms() + ms;
}

/* A listing is made for each request; an object without ETag cannot be told from its successor. */
static bool can_resume(const struct s3_call *c)
{
    return c->key != NULL && c->etag[0] != '\0';
}

static bool forget(struct s3_call *c, struct err *err)
{
    c->received = 0;
    if (c->key == NULL)
        c->size_bytes = -1;
    return c->restart == NULL || c->restart(c->arg, err);
}

static bool try_again(struct s3 *st, struct s3_call *c, const struct s3_fault *fault,
                      struct err *err)
{
    const struct transport_exchange *x = &c->exchange;
    if (c->received - c->begun_at >= CALL_PROGRESS_BYTES)
        c->attempts = 0;
    if (++c->attempts >= CALL_ATTEMPTS)
        return s3_set_error(&st->place, c->key, x, fault, err);
    if (c->received > 0 && !can_resume(c) && !forget(c, err))
        return false;
    int64_t ms = pause_ms(st, c);
    log_debug("objstore", "%s/%s: %s%s%d, again in %lld ms from byte %lld", st->place.bucket,
              c->key == NULL ? "" : c->key, x->trouble, x->trouble[0] == '\0' ? "" : ", ",
              x->head.status, (long long)ms, (long long)c->received);
    wait_for(c, ms);
    return true;
}

static bool begin_anew(struct s3 *st, struct s3_call *c, struct err *err)
{
    if (++c->changes > CALL_MAX_CHANGES)
        return err_set(err, SQLSTATE_IO_ERROR, "object \"%s/%s\" changes while it is read",
                       st->place.bucket, c->key == NULL ? "" : c->key);
    c->etag[0] = '\0';
    c->size_bytes = -1;
    if (!forget(c, err))
        return false;
    wait_for(c, CALL_BASE_MS);
    return true;
}

static bool move(struct s3 *st, struct s3_call *c, const struct s3_fault *fault, struct err *err)
{
    const char *region = s3_told_region(&c->exchange, fault);
    bool is_new = strcmp(region, st->place.region) != 0;
    if (++c->moves > CALL_MAX_MOVES || (is_new && !s3_place_move(&st->place, region)))
        return s3_set_error(&st->place, c->key, &c->exchange, fault, err);
    if (is_new)
        log_info("objstore", "bucket %s lies in region %s", st->place.bucket, region);
    else if (c->moves == CALL_MAX_MOVES) /* it names the region that we asked in */
        return s3_set_error(&st->place, c->key, &c->exchange, fault, err);
    wait_for(c, 0);
    return true;
}

/* The content is whole? Stores that tell no length end it by closing. */
static bool is_whole(const struct s3_call *c)
{
    return c->size_bytes < 0 || c->received == c->size_bytes || strcmp(c->method, "HEAD") == 0;
}

static bool finish(struct s3 *st, struct s3_call *c, struct err *err)
{
    const struct s3_fault none = {.code = ""};
    if (!c->begun && !begin_content(c))
        return c->changed ? begin_anew(st, c, err) : try_again(st, c, &none, err);
    if (!is_whole(c)) {
        c->exchange.end = TRANSPORT_CUT;
        return try_again(st, c, &none, err);
    }
    c->state = S3_CALL_DONE;
    return true;
}

static bool on_end(struct s3 *st, struct s3_call *c, struct err *err)
{
    struct s3_fault fault;
    if (err_is_set(&c->err)) {
        *err = c->err;
        return false;
    }
    s3_fault_read(buf_slice(&c->body), &fault);
    if (c->changed)
        return begin_anew(st, c, err);
    if (c->exchange.end == TRANSPORT_STOPPED) { /* another range than the one asked for */
        c->exchange.end = TRANSPORT_CUT;
        if (!forget(c, err))
            return false;
    }
    switch (s3_judge(&c->exchange, &fault)) {
    case S3_OK: return finish(st, c, err);
    case S3_AGAIN: return try_again(st, c, &fault, err);
    case S3_CHANGED: return begin_anew(st, c, err);
    case S3_MOVED: return move(st, c, &fault, err);
    case S3_REFUSED: break;
    }
    return s3_set_error(&st->place, c->key, &c->exchange, &fault, err);
}

/* ---- all of them ---- */

/* Starts those whose time has come; *next_ms is how long until the next one's. *open: not done. */
static bool start_due(struct s3 *st, struct s3_call *calls, size_t count, int *next_ms, bool *open,
                      struct err *err)
{
    int64_t now = clock_ms();
    *next_ms = CALL_TURN_MS;
    *open = false;
    for (size_t i = 0; i < count; i++) {
        struct s3_call *c = &calls[i];
        if (c->state == S3_CALL_WAITING && c->start_ms <= now && !start(st, c, err))
            return false;
        if (c->state == S3_CALL_WAITING && c->start_ms - now < *next_ms)
            *next_ms = (int)(c->start_ms - now);
        if (c->state == S3_CALL_WAITING || c->state == S3_CALL_RUNNING)
            *open = true;
    }
    return true;
}

static bool run_all(struct s3 *st, struct s3_call *calls, size_t count,
                    bool (*on_done)(void *arg, struct s3_call *c, struct err *err), void *arg,
                    struct err *err)
{
    int next_ms;
    bool open = true;
    while (open) {
        struct transport_exchange *x;
        if (st->must_stop != NULL && st->must_stop(st->arg))
            return err_set(err, SQLSTATE_QUERY_CANCELED, "told to stop while reading objects");
        if (!start_due(st, calls, count, &next_ms, &open, err) ||
            (open && !transport_wait(st->transport, next_ms, &x, err)))
            return false;
        if (!open || x == NULL)
            continue;
        struct s3_call *c = x->arg;
        if (!on_end(st, c, err))
            return false;
        if (c->state == S3_CALL_DONE && on_done != NULL && !on_done(arg, c, err))
            return false;
    }
    return true;
}

bool s3_run(struct s3 *st, struct s3_call *calls, size_t count,
            bool (*on_done)(void *arg, struct s3_call *c, struct err *err), void *arg,
            struct err *err)
{
    bool ok = run_all(st, calls, count, on_done, arg, err);
    for (size_t i = 0; i < count; i++)
        transport_drop(st->transport, &calls[i].exchange);
    return ok;
}
