/* Objects as local files, four at a time.
 *
 *   unknown ──HEAD──► known ──in the cache?──► a link of this run
 *                               └── no ──GET──► a file of this run, and kept for others
 *
 * What the last listing said of an object is enough to look for it in the cache, so a run that finds
 * all its files there asks the store for nothing. Content goes from the network to the file a piece at
 * a time; nothing is held in memory. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "s3.h"

struct item {
    const char *path, *key;
    char etag[160];
    int64_t size_bytes;
    const char *local; /* NULL: not here yet */
    bool known;
};

struct slot { /* of a call in a batch */
    struct item *item;
    struct cache_file file;
};

struct batch {
    struct s3 *st;
    struct arena *arena; /* of the results */
    struct arena own;
    struct item *items;
    size_t count;
    size_t next; /* item to look at */
    struct s3_call calls[S3_PARALLEL];
    struct slot slots[S3_PARALLEL];
    bool gets; /* else asks for heads */
};

static bool write_bytes(void *arg, struct slice piece, struct err *err)
{
    struct slot *s = arg;
    while (piece.len > 0) {
        ssize_t n = write(s->file.fd, piece.data, piece.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_set_errno(err, errno, "could not write \"%s\"", s->file.path);
        piece = slice_part(piece, (size_t)n, piece.len);
    }
    return true;
}

static bool write_anew(void *arg, struct err *err)
{
    struct slot *s = arg;
    if (ftruncate(s->file.fd, 0) == 0 && lseek(s->file.fd, 0, SEEK_SET) == 0)
        return true;
    return err_set_errno(err, errno, "could not write \"%s\"", s->file.path);
}

static struct item *take_next(struct batch *b)
{
    while (b->next < b->count) {
        struct item *i = &b->items[b->next++];
        if (b->gets ? i->local == NULL : !i->known)
            return i;
    }
    return NULL;
}

/* Sets the slot's call up for the next item; idle when there is none. */
static bool begin_next(struct batch *b, size_t slot, struct err *err)
{
    struct s3_call *c = &b->calls[slot];
    struct slot *s = &b->slots[slot];
    s3_call_fini(c);
    *s = (struct slot){.item = take_next(b), .file = {.fd = -1}};
    s3_call_init(c, b->gets ? "GET" : "HEAD", s->item == NULL ? NULL : s->item->key);
    if (s->item == NULL) {
        c->state = S3_CALL_IDLE;
        return true;
    }
    if (!b->gets)
        return true;
    memcpy(c->etag, s->item->etag, sizeof c->etag);
    c->size_bytes = s->item->size_bytes;
    c->put = write_bytes;
    c->restart = write_anew;
    c->arg = s;
    return cache_begin(&b->st->cache, b->arena, &s->file, err);
}

static bool put_name(struct batch *b, const struct item *i, char name[CACHE_NAME_BYTES],
                     struct err *err)
{
    const struct s3 *st = b->st;
    const char *who = st->key.access_key == NULL ? "" : st->key.access_key;
    const char *text =
        arena_printf(&b->own, "%s\n%s\n%s\n%s\n%lld\n%s", st->place.host, st->place.bucket, i->key,
                     i->etag, (long long)i->size_bytes, who);
    return (text != NULL && cache_name_write(slice_cstr(text), name)) || err_no_memory(err);
}

/* Without ETag one state of an object cannot be told from the next: such are not kept. */
static bool can_be_kept(const struct item *i)
{
    return i->etag[0] != '\0' && i->size_bytes >= 0;
}

static bool end_get(struct batch *b, struct slot *s, const struct s3_call *c, struct err *err)
{
    char name[CACHE_NAME_BYTES];
    struct item *i = s->item;
    memcpy(i->etag, c->etag, sizeof i->etag);
    i->size_bytes = c->received;
    i->local = s->file.path;
    if (!cache_end(&s->file, err))
        return false;
    if (!can_be_kept(i) || b->st->cache.limit_bytes == 0)
        return true;
    if (!put_name(b, i, name, err))
        return false;
    cache_keep(&b->st->cache, &s->file, name, i->size_bytes);
    return true;
}

static bool on_done(void *arg, struct s3_call *c, struct err *err)
{
    struct batch *b = arg;
    size_t slot = (size_t)(c - b->calls);
    struct slot *s = &b->slots[slot];
    if (b->gets) {
        if (!end_get(b, s, c, err))
            return false;
    } else {
        memcpy(s->item->etag, c->etag, sizeof s->item->etag);
        s->item->size_bytes = c->size_bytes;
        s->item->known = true;
    }
    return begin_next(b, slot, err);
}

static bool run(struct batch *b, bool gets, struct err *err)
{
    bool ok = true;
    b->gets = gets;
    b->next = 0;
    for (size_t i = 0; i < S3_PARALLEL; i++)
        s3_call_init(&b->calls[i], "", NULL);
    for (size_t i = 0; ok && i < S3_PARALLEL; i++)
        ok = begin_next(b, i, err);
    ok = ok && s3_run(b->st, b->calls, S3_PARALLEL, on_done, b, err);
    for (size_t i = 0; i < S3_PARALLEL; i++) {
        cache_drop(&b->slots[i].file);
        s3_call_fini(&b->calls[i]);
    }
    return ok;
}

static bool list_items(struct batch *b, const char *const *paths, struct err *err)
{
    b->items = arena_alloc_array(&b->own, b->count + 1, sizeof *b->items);
    if (b->items == NULL)
        return err_no_memory(err);
    for (size_t n = 0; n < b->count; n++) {
        struct item *i = &b->items[n];
        const struct s3_known *k = s3_find_known(b->st, paths[n]);
        *i = (struct item){
            .path = paths[n], .key = s3_key(b->st, &b->own, paths[n]), .size_bytes = -1};
        if (i->key == NULL)
            return err_no_memory(err);
        if (paths[n][0] == '\0' || !store_path_is_plain(paths[n]))
            return err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE,
                           "object \"%s\" is outside the table's folder", paths[n]);
        if (k == NULL || strlen(k->etag) >= sizeof i->etag)
            continue;
        memcpy(i->etag, k->etag, strlen(k->etag) + 1);
        i->size_bytes = k->size_bytes;
        i->known = true;
    }
    return true;
}

static bool find_cached(struct batch *b, struct err *err)
{
    char name[CACHE_NAME_BYTES];
    int64_t missing = 0;
    for (size_t n = 0; n < b->count; n++) {
        struct item *i = &b->items[n];
        if (can_be_kept(i) &&
            (!put_name(b, i, name, err) ||
             !cache_find(&b->st->cache, b->arena, name, i->size_bytes, &i->local, err)))
            return false;
        if (i->local == NULL && i->size_bytes > 0)
            missing += i->size_bytes;
    }
    if (missing > 0)
        cache_make_room(&b->st->cache, missing);
    return true;
}

bool s3_fetch(struct objstore *base, struct arena *a, const char *const *paths, size_t count,
              const char **local_paths, struct err *err)
{
    struct batch b = {.st = (struct s3 *)base, .arena = a, .count = count};
    arena_init(&b.own, 0);
    bool ok = list_items(&b, paths, err) && run(&b, false, err) && find_cached(&b, err) &&
              run(&b, true, err);
    for (size_t i = 0; ok && i < count; i++)
        local_paths[i] = b.items[i].local;
    arena_fini(&b.own);
    return ok;
}
