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

/* A folder of a bucket. Texts are copied; NULL and empty are the same. */
struct objstore_s3_options {
    const char *root;       /* "/bucket/path/" */
    const char *address;    /* "host", "host:port", "https://host:port" */
    const char *encrypt;    /* "on": TLS, where the address does not say it; default off */
    const char *region;     /* of the signature; default: out of the host's name, or us-east-1 */
    const char *addressing; /* "path" or "virtual"; default: as the host needs it */
    const char *access_key, *secret_access_key; /* none: requests are not signed */
    const char *security_token;                 /* of temporary keys */
    const char *ca_file;                        /* PEM; default: the system's */
    const char *cache_folder;     /* local copies; default: /var/tmp/pgveneer-cache-<uid> */
    int64_t cache_bytes;          /* kept there at most; 0: nothing is kept */
    unsigned timeout_s;           /* to connect, and longest silence of an answer */
    bool (*must_stop)(void *arg); /* asked while we wait; may be NULL */
    void *arg;
};

/* Errors   22023 an option is wrong, 42501 or 58030 the cache folder. The store itself is asked later;
 *          then: 08001 nobody answers or an untrusted certificate, 28P01 wrong keys, 28000 token
 *          expired or clock wrong, 42501 access denied, 58P01 no such bucket or object, 58030 busy or
 *          cut (transient, after some attempts), 57014 told to stop */
MUST_USE bool objstore_open_s3(const struct objstore_s3_options *options, struct objstore **out,
                               struct err *err);

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
