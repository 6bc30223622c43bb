/* The inside of an S3-compatible store, shared by s3*.c alone. */
#ifndef OBJSTORE_S3_H
#define OBJSTORE_S3_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "cache.h"
#include "transport.h"
#include "s3_place.h"
#include "sigv4.h"
#include "store.h"

#define S3_PARALLEL 4

struct s3 {
    struct objstore base;
    struct arena arena; /* options */
    struct s3_place place;
    struct sigv4_key key; /* access_key NULL: requests are not signed */
    const char *security_token;
    struct transport *transport;
    struct cache cache;
    struct arena objects_arena;
    struct s3_known *objects; /* what the last listing of the whole table said, by path */
    size_t object_count;
    size_t object_capacity;
    bool has_objects;
    bool old_listing; /* the store does not know ListObjectsV2 */
    bool has_hoodie;  /* there are objects below .hoodie/, which are not among them */
    unsigned seed;    /* of the jitter */
    bool (*must_stop)(void *arg);
    void *arg;
};

struct s3_known {
    const char *path; /* relative to the folder */
    const char *etag;
    int64_t size_bytes;
    int64_t modified_ms;
};

/* ---- s3_call.c: one request and its repetitions ---- */

enum s3_call_state {
    S3_CALL_IDLE,
    S3_CALL_WAITING, /* until start_ms */
    S3_CALL_RUNNING,
    S3_CALL_DONE,
};

struct s3_call {
    /* Set by the caller; the rest zero. */
    const char *method; /* GET or HEAD */
    const char *key;    /* whole key of an object; NULL: the bucket */
    const char *query;  /* canonical; NULL: none */
    bool (*put)(void *arg, struct slice piece, struct err *err);
    bool (*restart)(void *arg, struct err *err); /* what was put is void; it begins anew */
    void *arg;
    /* What object is read: told by the caller if known, else by the first answer. */
    char etag[160];
    int64_t size_bytes; /* -1: unknown */
    /* Private. */
    enum s3_call_state state;
    struct transport_exchange exchange;
    struct arena arena; /* of one exchange */
    struct buf body;    /* of an answer that is an error */
    struct err err;     /* of put or restart */
    int64_t received;   /* content that was put */
    int64_t begun_at;   /* `received` when the exchange began */
    bool begun;         /* the answer was looked at */
    bool changed;
    unsigned attempts; /* without progress */
    unsigned changes;
    unsigned moves;
    int64_t start_ms;
};

void s3_call_init(struct s3_call *c, const char *method, const char *key);
void s3_call_fini(struct s3_call *c);
/* Runs calls until all are done; none goes on after the first error. on_done may be NULL; it is told of
 * each that is done and may set it up for another request (state S3_CALL_WAITING).
 * Errors: s3_error.h, those of put, 57014 told to stop */
MUST_USE bool s3_run(struct s3 *st, struct s3_call *calls, size_t count,
                     bool (*on_done)(void *arg, struct s3_call *c, struct err *err), void *arg,
                     struct err *err);

/* ---- s3_list.c ---- */

MUST_USE bool s3_list(struct objstore *base, struct arena *a, const char *folder,
                      struct objstore_listing *out, struct err *err);
/* What the last listing said of an object; NULL: nothing. */
const struct s3_known *s3_find_known(const struct s3 *st, const char *path);

/* ---- s3_fetch.c ---- */

MUST_USE bool s3_fetch(struct objstore *base, struct arena *a, const char *const *paths,
                       size_t count, const char **local_paths, struct err *err);

/* "prefix/path"; NULL without memory. */
const char *s3_key(struct s3 *st, struct arena *a, const char *path);

#endif
