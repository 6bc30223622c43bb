/* A folder of a bucket of an S3-compatible store: opening it, and reading small objects. The rest:
 *
 *   s3_place    where it lies and how it is addressed     s3_list    folders out of keys
 *   s3_call     requests and their repetitions            s3_fetch   objects as local files
 *   s3_answer   headers, listings, errors as they come    s3_error   errors as we tell them
 *   sigv4, xml, transport, cache
 *
 * Nothing is asked of the store when it is opened; what is wrong shows at the first listing. */
#include "s3.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "protocol/crypto.h"

const char *s3_key(struct s3 *st, struct arena *a, const char *path)
{
    return arena_printf(a, "%s%s", st->place.prefix, path);
}

/* ---- reading ---- */

struct read {
    struct buf *out;
    size_t before; /* what was in it */
    const char *path;
};

static bool put_content(void *arg, struct slice piece, struct err *err)
{
    struct read *r = arg;
    return buf_append_slice(r->out, piece) ||
           err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                   "\"%s\" is larger than the limit of %zu bytes", r->path, r->out->max_bytes);
}

static bool drop_content(void *arg, struct err *err)
{
    struct read *r = arg;
    (void)err;
    r->out->end = r->out->start + r->before;
    return true;
}

static bool s3_read(struct objstore *base, const char *path, struct buf *out, struct err *err)
{
    struct s3 *st = (struct s3 *)base;
    struct read r = {.out = out, .before = buf_length(out), .path = path};
    struct s3_call c;
    struct arena own;
    if (path[0] == '\0' || !store_path_is_plain(path))
        return err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE,
                       "object \"%s\" is outside the table's folder", path);
    arena_init(&own, 0);
    s3_call_init(&c, "GET", s3_key(st, &own, path));
    c.put = put_content;
    c.restart = drop_content;
    c.arg = &r;
    bool ok = (c.key != NULL || err_no_memory(err)) && s3_run(st, &c, 1, NULL, NULL, err);
    s3_call_fini(&c);
    arena_fini(&own);
    return ok;
}

/* ---- opening ---- */

/* NULL without memory, and for a text that is not there. */
static const char *copy(struct s3 *st, const char *text)
{
    return text == NULL || text[0] == '\0' ? NULL : arena_copy_cstr(&st->arena, text);
}

static void wipe(const char *secret)
{
    if (secret != NULL)
        crypto_wipe((char *)secret, strlen(secret)); /* in our arena */
}

static void s3_close(struct objstore *base)
{
    struct s3 *st = (struct s3 *)base;
    transport_close(st->transport);
    cache_close(&st->cache);
    wipe(st->key.secret_access_key);
    wipe(st->security_token);
    free(st->objects);
    arena_fini(&st->objects_arena);
    arena_fini(&st->arena);
    free(st);
}

/* What would end a header line could smuggle another one in. */
static bool is_header_value(const char *text)
{
    for (const char *p = text == NULL ? "" : text; *p != '\0'; p++)
        if ((unsigned char)*p < ' ' || *p == 127)
            return false;
    return true;
}

static bool take_keys(struct s3 *st, const struct objstore_s3_options *o, struct err *err)
{
    st->key = (struct sigv4_key){.access_key = copy(st, o->access_key),
                                 .secret_access_key = copy(st, o->secret_access_key),
                                 .service = "s3"};
    st->security_token = copy(st, o->security_token);
    if ((st->key.access_key == NULL) != (st->key.secret_access_key == NULL))
        return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
                       "options \"access_key\" and \"secret_access_key\" go together");
    if (is_header_value(o->access_key) && is_header_value(o->security_token))
        return true;
    return err_set(
        err, SQLSTATE_INVALID_PARAMETER_VALUE,
        "options \"access_key\" and \"security_token\" must not hold control characters");
}

static bool set_up(struct s3 *st, const struct objstore_s3_options *o, struct err *err)
{
    struct objstore_s3_options mine = *o;
    struct transport_settings transport = {.ca_file = o->ca_file, .timeout_s = o->timeout_s};
    mine.root = arena_copy_cstr(&st->arena, o->root); /* the place borrows from it */
    return (mine.root != NULL || err_no_memory(err)) && s3_place_read(&mine, &st->place, err) &&
           take_keys(st, o, err) && transport_open(&transport, &st->transport, err) &&
           cache_open(&st->cache, &st->arena, o->cache_folder, o->cache_bytes, err);
}

bool objstore_open_s3(const struct objstore_s3_options *o, struct objstore **out, struct err *err)
{
    static const struct store_ops ops = {s3_list, s3_read, s3_fetch, s3_close};
    *out = NULL;
    struct s3 *st = calloc(1, sizeof *st);
    if (st == NULL)
        return err_no_memory(err);
    st->base.ops = &ops;
    st->cache.run.lock_fd = -1;
    st->seed = (unsigned)time(NULL) ^ (unsigned)getpid() << 8;
    st->must_stop = o->must_stop;
    st->arg = o->arg;
    arena_init(&st->arena, 0);
    arena_init(&st->objects_arena, 0);
    if (!set_up(st, o, err)) {
        s3_close(&st->base);
        return false;
    }
    *out = &st->base;
    return true;
}
