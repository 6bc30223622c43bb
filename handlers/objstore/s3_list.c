/* Folders of a store that has none: keys with slashes in them.
 *
 * The timeline's folders (.hoodie/…) are listed one at a time with a delimiter. The rest, where a table
 * may have a thousand partitions, is listed as a whole when its root is asked for, a thousand objects a
 * request, and the folders are made of that; .hoodie, which may hold a metadata table with many
 * objects, is jumped over. A table's files are looked for after its timeline was read, beginning at the
 * root, so what is remembered is never older than the timeline that it is judged by.
 *
 * Stores that do not know ListObjectsV2 answer as to its predecessor: more to come, and no token. The
 * rest is then asked for in that way, with a marker. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3.h"
#include "s3_answer.h"

#define LIST_PAGE_BYTES ((size_t)32 << 20)
#define LIST_MAX_OBJECTS ((size_t)5000000)
#define LIST_HOODIE ".hoodie/"
#define LIST_BEHIND_HOODIE ".hoodie0" /* '0' follows '/' */

struct lister {
    struct s3 *st;
    const char *prefix; /* of the keys */
    bool by_folder;     /* with delimiter */
    const char *token, *marker, *start_after;
    struct arena arena; /* of one page and the way to the next */
    struct buf xml;
};

/* ---- pages ---- */

static void put_parameter(struct buf *b, const char *name, const char *value)
{
    if (value == NULL)
        return;
    buf_printf(b, "%s%s=", buf_length(b) == 0 ? "" : "&", name);
    sigv4_put_encoded(b, slice_cstr(value), false);
}

/* By name, as the signature wants them. */
static const char *write_query(struct lister *l, struct arena *a)
{
    struct buf b;
    bool v2 = !l->st->old_listing;
    buf_init(&b, (size_t)64 << 10);
    put_parameter(&b, "continuation-token", v2 ? l->token : NULL);
    put_parameter(&b, "delimiter", l->by_folder ? "/" : NULL);
    put_parameter(&b, "list-type", v2 ? "2" : NULL);
    put_parameter(&b, "marker", v2 ? NULL : l->marker);
    put_parameter(&b, "max-keys", "1000");
    put_parameter(&b, "prefix", l->prefix);
    put_parameter(&b, "start-after", v2 && l->token == NULL ? l->start_after : NULL);
    const char *text = buf_cstr(&b);
    const char *query = text == NULL ? NULL : arena_copy_cstr(a, text);
    buf_fini(&b);
    return query;
}

static bool put_xml(void *arg, struct slice piece, struct err *err)
{
    struct lister *l = arg;
    return buf_append_slice(&l->xml, piece) ||
           err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                   "a page of the object store's listing is larger than %zu bytes",
                   LIST_PAGE_BYTES);
}

static bool drop_xml(void *arg, struct err *err)
{
    struct lister *l = arg;
    (void)err;
    buf_clear(&l->xml);
    return true;
}

/* The answer of a listing has no ETag worth comparing: a cut one is asked for anew. */
static bool read_xml(struct lister *l, const char *query, struct err *err)
{
    struct s3_call c;
    s3_call_init(&c, "GET", NULL);
    c.query = query;
    c.put = put_xml;
    c.restart = drop_xml;
    c.arg = l;
    buf_clear(&l->xml);
    bool ok = s3_run(l->st, &c, 1, NULL, NULL, err);
    s3_call_fini(&c);
    return ok;
}

static const char *last_key(const struct s3_page *page)
{
    const char *last = page->count > 0 ? page->objects[page->count - 1].key : NULL;
    if (page->prefix_count == 0)
        return last;
    const char *prefix = page->prefixes[page->prefix_count - 1];
    return last == NULL || strcmp(prefix, last) > 0 ? prefix : last;
}

/* Keeps where to go on, beyond the page's memory. */
static bool keep(const char **place, const char *text, char *buffer, size_t size)
{
    if (text == NULL || strlen(text) >= size || (*place != NULL && strcmp(*place, text) == 0))
        return false;
    memcpy(buffer, text, strlen(text) + 1);
    *place = buffer;
    return true;
}

struct place {
    char text[4096];
};

static bool go_on(struct lister *l, const struct s3_page *page, struct place *place,
                  struct err *err)
{
    if (!l->st->old_listing && page->next_token == NULL)
        l->st->old_listing = true;
    bool ok = l->st->old_listing
                  ? keep(&l->marker, page->next_marker != NULL ? page->next_marker : last_key(page),
                         place->text, sizeof place->text)
                  : keep(&l->token, page->next_token, place->text, sizeof place->text);
    return ok || err_set(err, SQLSTATE_IO_ERROR,
                         "the listing of bucket \"%s\" says that it goes on, and not where",
                         l->st->place.bucket);
}

/* All pages, each told to `take`, which sets *stop to end early. */
static bool walk(struct lister *l,
                 bool (*take)(void *arg, const struct s3_page *p, bool *stop, struct err *err),
                 void *arg, struct err *err)
{
    struct place place;
    struct s3_page page = {.more = true};
    bool ok = true, stop = false;
    arena_init(&l->arena, 0);
    buf_init(&l->xml, LIST_PAGE_BYTES);
    while (ok && page.more && !stop) {
        arena_reset(&l->arena);
        const char *query = write_query(l, &l->arena);
        ok = (query != NULL || err_no_memory(err)) && read_xml(l, query, err) &&
             s3_page_read(&l->arena, buf_slice(&l->xml), &page, err) &&
             take(arg, &page, &stop, err) && (!page.more || stop || go_on(l, &page, &place, err));
    }
    buf_fini(&l->xml);
    arena_fini(&l->arena);
    return ok;
}

/* The part behind the prefix; NULL: not an object of ours (a marker of a folder, "a//b", "a/../b"). */
static const char *relative(const char *key, const char *prefix)
{
    size_t n = strlen(prefix);
    if (strncmp(key, prefix, n) != 0 || key[n] == '\0' || !store_path_is_plain(key + n))
        return NULL;
    return key + n;
}

/* ---- one folder ---- */

struct folder_taker {
    struct store_listing listing;
    const char *prefix; /* of the keys */
    const char *folder; /* "" or relative to the root */
};

static bool add(struct folder_taker *t, const char *name, struct objstore_entry e, struct err *err)
{
    struct arena *a = t->listing.arena;
    e.path =
        t->folder[0] == '\0' ? arena_copy_cstr(a, name) : arena_printf(a, "%s/%s", t->folder, name);
    return e.path == NULL ? err_no_memory(err) : store_listing_add(&t->listing, &e, err);
}

static bool take_folder(void *arg, const struct s3_page *page, bool *stop, struct err *err)
{
    struct folder_taker *t = arg;
    (void)stop;
    for (size_t i = 0; i < page->count; i++) {
        const struct s3_object *o = &page->objects[i];
        const char *name = relative(o->key, t->prefix);
        struct objstore_entry e = {.size_bytes = o->size_bytes, .modified_ms = o->modified_ms};
        if (name != NULL && strchr(name, '/') == NULL && !add(t, name, e, err))
            return false;
    }
    for (size_t i = 0; i < page->prefix_count; i++) {
        char name[1024];
        size_t n = strlen(page->prefixes[i]), before = strlen(t->prefix);
        if (n <= before + 1 || n - before > sizeof name)
            continue;
        memcpy(name, page->prefixes[i] + before, n - before - 1); /* without the slash */
        name[n - before - 1] = '\0';
        if (strncmp(page->prefixes[i], t->prefix, before) == 0 && strchr(name, '/') == NULL &&
            store_path_is_plain(name) &&
            !add(t, name, (struct objstore_entry){.is_folder = true}, err))
            return false;
    }
    return true;
}

static bool list_folder(struct s3 *st, struct arena *a, const char *folder,
                        struct objstore_listing *out, struct err *err)
{
    const char *key = s3_key(st, a, folder);
    const char *prefix = key == NULL ? NULL : arena_printf(a, "%s/", key);
    if (prefix == NULL)
        return err_no_memory(err);
    struct lister l = {.st = st, .prefix = prefix, .by_folder = true};
    struct folder_taker t = {.listing = {.arena = a}, .prefix = prefix, .folder = folder};
    bool ok = walk(&l, take_folder, &t, err);
    store_listing_take(&t.listing, out);
    return ok;
}

/* ---- the whole table ---- */

static bool remember(struct s3 *st, const char *path, const struct s3_object *o, struct err *err)
{
    if (st->object_count == LIST_MAX_OBJECTS)
        return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                       "there are more than %zu objects in the table's folder", LIST_MAX_OBJECTS);
    if (st->object_count == st->object_capacity) {
        size_t capacity = st->object_capacity == 0 ? 1024 : st->object_capacity * 2;
        struct s3_known *larger = realloc(st->objects, capacity * sizeof *larger);
        if (larger == NULL)
            return err_no_memory(err);
        st->objects = larger;
        st->object_capacity = capacity;
    }
    struct s3_known *k = &st->objects[st->object_count];
    *k = (struct s3_known){.path = arena_copy_cstr(&st->objects_arena, path),
                           .etag = arena_copy_cstr(&st->objects_arena, o->etag),
                           .size_bytes = o->size_bytes,
                           .modified_ms = o->modified_ms};
    if (k->path == NULL || k->etag == NULL)
        return err_no_memory(err);
    st->object_count++;
    return true;
}

/* First round: up to .hoodie/. Second: what is behind it; a store that ignores start-after begins anew. */
struct table_taker {
    struct s3 *st;
    bool is_second;
    char last[1024]; /* key */
};

/* A jump over .hoodie is right only where keys come in order, as the interface promises. */
static bool check_order(struct table_taker *t, const char *key, struct err *err)
{
    if (strcmp(key, t->last) < 0)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "object store \"%s\" does not list keys in order", t->st->place.host);
    snprintf(t->last, sizeof t->last, "%s", key);
    return true;
}

static bool take_table(void *arg, const struct s3_page *page, bool *stop, struct err *err)
{
    struct table_taker *t = arg;
    for (size_t i = 0; i < page->count; i++) {
        const char *path = relative(page->objects[i].key, t->st->place.prefix);
        if (!check_order(t, page->objects[i].key, err))
            return false;
        if (path == NULL || (t->is_second && strcmp(path, LIST_BEHIND_HOODIE) < 0))
            continue;
        if (strncmp(path, LIST_HOODIE, strlen(LIST_HOODIE)) == 0) {
            t->st->has_hoodie = *stop = true;
            return true;
        }
        if (!remember(t->st, path, &page->objects[i], err))
            return false;
    }
    return true;
}

static int compare_known(const void *a, const void *b)
{
    return strcmp(((const struct s3_known *)a)->path, ((const struct s3_known *)b)->path);
}

static bool load_table(struct s3 *st, struct arena *a, struct err *err)
{
    const char *behind = arena_printf(a, "%s" LIST_BEHIND_HOODIE, st->place.prefix);
    struct lister l = {.st = st, .prefix = st->place.prefix};
    struct table_taker t = {.st = st};
    arena_reset(&st->objects_arena);
    st->object_count = 0;
    st->has_objects = st->has_hoodie = false;
    if (behind == NULL)
        return err_no_memory(err);
    if (!walk(&l, take_table, &t, err))
        return false;
    if (st->has_hoodie) {
        l = (struct lister){
            .st = st, .prefix = st->place.prefix, .start_after = behind, .marker = behind};
        t = (struct table_taker){.st = st, .is_second = true};
        if (!walk(&l, take_table, &t, err))
            return false;
    }
    if (st->object_count > 1)
        qsort(st->objects, st->object_count, sizeof *st->objects, compare_known);
    st->has_objects = true;
    return true;
}

/* First object whose path is not before `path`. */
static size_t lower_bound(const struct s3 *st, const char *path)
{
    size_t low = 0, high = st->object_count;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(st->objects[mid].path, path) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct s3_known *s3_find_known(const struct s3 *st, const char *path)
{
    size_t i = lower_bound(st, path);
    return i < st->object_count && strcmp(st->objects[i].path, path) == 0 ? &st->objects[i] : NULL;
}

/* Objects in the folder, and one entry for each folder in it. */
static bool add_remembered(struct s3 *st, struct folder_taker *t, struct err *err)
{
    size_t before = strlen(t->prefix);
    for (size_t i = lower_bound(st, t->prefix); i < st->object_count;) {
        const struct s3_known *k = &st->objects[i];
        if (strncmp(k->path, t->prefix, before) != 0)
            break;
        const char *name = k->path + before, *slash = strchr(name, '/');
        if (slash == NULL) {
            struct objstore_entry e = {.size_bytes = k->size_bytes, .modified_ms = k->modified_ms};
            if (!add(t, name, e, err))
                return false;
            i++;
            continue;
        }
        char *folder = arena_copy(t->listing.arena, slice_of(name, (size_t)(slash - name)));
        char *behind = arena_printf(t->listing.arena, "%.*s0", (int)(slash - k->path), k->path);
        if (folder == NULL || behind == NULL)
            return err_no_memory(err);
        if (!add(t, folder, (struct objstore_entry){.is_folder = true}, err))
            return false;
        i = lower_bound(st, behind);
    }
    return true;
}

static bool list_remembered(struct s3 *st, struct arena *a, const char *folder,
                            struct objstore_listing *out, struct err *err)
{
    const char *prefix = folder[0] == '\0' ? "" : arena_printf(a, "%s/", folder);
    struct folder_taker t = {.listing = {.arena = a}, .prefix = prefix, .folder = folder};
    if (prefix == NULL)
        return err_no_memory(err);
    if (folder[0] == '\0' && st->has_hoodie &&
        !add(&t, ".hoodie", (struct objstore_entry){.is_folder = true}, err))
        return false;
    bool ok = add_remembered(st, &t, err);
    store_listing_take(&t.listing, out);
    return ok;
}

bool s3_list(struct objstore *base, struct arena *a, const char *folder,
             struct objstore_listing *out, struct err *err)
{
    struct s3 *st = (struct s3 *)base;
    bool is_timeline =
        strcmp(folder, ".hoodie") == 0 || strncmp(folder, LIST_HOODIE, strlen(LIST_HOODIE)) == 0;
    if (!store_path_is_plain(folder))
        return err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE,
                       "folder \"%s\" is outside the table's folder", folder);
    if (folder[0] == '\0' && !load_table(st, a, err))
        return false;
    return is_timeline || !st->has_objects ? list_folder(st, a, folder, out, err)
                                           : list_remembered(st, a, folder, out, err);
}
