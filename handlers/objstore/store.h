/* What kinds of stores implement, behind objstore.h. */
#ifndef OBJSTORE_STORE_H
#define OBJSTORE_STORE_H

#include "objstore/objstore.h"

struct store_ops {
    bool (*list)(struct objstore *st, struct arena *a, const char *folder,
                 struct objstore_listing *out, struct err *err);
    bool (*read)(struct objstore *st, const char *path, struct buf *out, struct err *err);
    bool (*fetch)(struct objstore *st, struct arena *a, const char *const *paths, size_t count,
                  const char **local_paths, struct err *err);
    void (*close)(struct objstore *st);
};

struct objstore { /* first member of each kind */
    const struct store_ops *ops;
    size_t fetched;
};

/* Entries of a listing while it is made. */
struct store_listing {
    struct arena *arena; /* borrows; holds the entries */
    struct objstore_entry *items;
    size_t count;
    size_t capacity;
};
MUST_USE bool store_listing_add(struct store_listing *l, const struct objstore_entry *entry,
                                struct err *err);
/* By path, byte order. */
void store_listing_take(struct store_listing *l, struct objstore_listing *out);

/* "a/b/c" or "": no empty part, no "." or "..", not absolute. Nothing honest contains these (they
 * would come from damaged or hostile table metadata). */
bool store_path_is_plain(const char *path);

#endif
