/* Lists and gets objects of a store: a local directory, or a bucket of an S3-compatible store.
 * Paths are relative to the root that was opened, with "/" between parts, never with ".." in them. */
#ifndef OBJSTORE_OBJSTORE_H
#define OBJSTORE_OBJSTORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

struct objstore;

/* root           absolute path of a folder
 * allowed_roots  comma-separated absolute folders; `root`, resolved through symbolic links, must lie
 *                in one of them, and so must every object that is opened (no link leads out)
 * Errors         42501 outside the allowed roots, 58P01 no such folder, 58030 unreadable (transient) */
MUST_USE bool objstore_open_local(const char *root, const char *allowed_roots,
                                  struct objstore **out, struct err *err);
void objstore_close(struct objstore *st);

struct objstore_entry {
    const char *path; /* relative to the root */
    int64_t size_bytes;
    int64_t modified_ms; /* Unix time */
    bool is_folder;
};

struct objstore_listing {
    struct objstore_entry *items; /* by path, byte order */
    size_t count;
};

/* Entries of one folder ("" is the root). A folder that does not exist lists as empty. */
MUST_USE bool objstore_list(struct objstore *st, struct arena *a, const char *folder,
                            struct objstore_listing *out, struct err *err);
/* Whole object, for small ones; out's maximum bounds it. Errors: 58P01 no such object. */
MUST_USE bool objstore_read(struct objstore *st, const char *path, struct buf *out,
                            struct err *err);
/* A local file with the object's content, for readers that need one; borrowed from `a`, stays until
 * objstore_close. Counts the object as opened. */
MUST_USE bool objstore_fetch(struct objstore *st, struct arena *a, const char *path,
                             const char **local_path, struct err *err);

/* The same for many, some at a time at once. local_paths has `count` members. */
MUST_USE bool objstore_fetch_all(struct objstore *st, struct arena *a, const char *const *paths,
                                 size_t count, const char **local_paths, struct err *err);

/* Objects fetched since it was opened (tests assert that a run opens only the files it must). */
size_t objstore_fetch_count(const struct objstore *st);

#endif
