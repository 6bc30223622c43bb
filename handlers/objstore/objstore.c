/* What all kinds of stores share: the way to their functions, and listings. */
#include "objstore/objstore.h"

#include <stdlib.h>
#include <string.h>

#include "store.h"

void objstore_close(struct objstore *st)
{
    if (st != NULL)
        st->ops->close(st);
}

bool objstore_list(struct objstore *st, struct arena *a, const char *folder,
                   struct objstore_listing *out, struct err *err)
{
    *out = (struct objstore_listing){0};
    return st->ops->list(st, a, folder, out, err);
}

bool objstore_read(struct objstore *st, const char *path, struct buf *out, struct err *err)
{
    return st->ops->read(st, path, out, err);
}

bool objstore_fetch(struct objstore *st, struct arena *a, const char *path, const char **local_path,
                    struct err *err)
{
    return objstore_fetch_all(st, a, &path, 1, local_path, err);
}

bool objstore_fetch_all(struct objstore *st, struct arena *a, const char *const *paths,
                        size_t count, const char **local_paths, struct err *err)
{
    if (!st->ops->fetch(st, a, paths, count, local_paths, err))
        return false;
    st->fetched += count;
    return true;
}

size_t objstore_fetch_count(const struct objstore *st)
{
    return st->fetched;
}

bool store_listing_add(struct store_listing *l, const struct objstore_entry *entry, struct err *err)
{
    if (l->count == l->capacity) {
        size_t capacity = l->capacity == 0 ? 64 : l->capacity * 2;
        struct objstore_entry *items = arena_alloc_array(l->arena, capacity, sizeof *items);
        if (items == NULL)
            return err_no_memory(err);
        if (l->count > 0)
            memcpy(items, l->items, l->count * sizeof *items);
        l->items = items;
        l->capacity = capacity;
    }
    l->items[l->count++] = *entry;
    return true;
}

static int compare_entries(const void *a, const void *b)
{
    return strcmp(((const struct objstore_entry *)a)->path,
                  ((const struct objstore_entry *)b)->path);
}

void store_listing_take(struct store_listing *l, struct objstore_listing *out)
{
    if (l->count > 1)
        qsort(l->items, l->count, sizeof *l->items, compare_entries);
    *out = (struct objstore_listing){l->items, l->count};
}

/* "a/b/c"; "" is the root itself. */
bool store_path_is_plain(const char *path)
{
    if (path[0] == '\0')
        return true;
    struct slice rest = slice_cstr(path);
    for (;;) {
        size_t n = slice_find_byte(rest, '/');
        struct slice part = slice_part(rest, 0, n);
        if (slice_is_empty(part) || slice_equals_cstr(part, ".") || slice_equals_cstr(part, ".."))
            return false;
        if (n == rest.len)
            return true;
        rest = slice_part(rest, n + 1, rest.len);
    }
}
