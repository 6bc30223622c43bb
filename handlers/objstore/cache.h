/* Local copies of immutable objects, kept between runs up to a limit, shared by all jobs on a machine. */
#ifndef OBJSTORE_CACHE_H
#define OBJSTORE_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/scratch.h"
#include "base/slice.h"

#define CACHE_NAME_BYTES 65 /* SHA-256 in hex */

struct cache {
    const char *folder;      /* from the arena */
    struct scratch run;      /* this run's own names of the files that it uses */
    int64_t limit_bytes;     /* 0: nothing is kept */
    unsigned long next_file; /* in run */
};

struct cache_file {
    const char *path; /* of this run's name; stays until cache_close */
    int fd;           /* owns; write-only */
};

/* folder  NULL or empty: one for the user below /var/tmp
 * Errors  42501 the folder belongs to somebody else or others may write there; 58030 and its like */
MUST_USE bool cache_open(struct cache *c, struct arena *a, const char *folder, int64_t limit_bytes,
                         struct err *err);
/* Removes this run's names. Harmless when nothing was opened. */
void cache_close(struct cache *c);

/* Name of an object's state in the cache. */
MUST_USE bool cache_name_write(struct slice identity, char out[CACHE_NAME_BYTES]);
/* A name of this run's for the object if the cache has it whole; *path NULL if not. */
MUST_USE bool cache_find(struct cache *c, struct arena *a, const char *name, int64_t size_bytes,
                         const char **path, struct err *err);
/* An empty file of this run's. */
MUST_USE bool cache_begin(struct cache *c, struct arena *a, struct cache_file *f, struct err *err);
/* Closes it; its content can be read from f->path. */
MUST_USE bool cache_end(struct cache_file *f, struct err *err);
/* Closes it after a failure. */
void cache_drop(struct cache_file *f);
/* Lets others have it too. What cannot be kept is not: the run has its file. */
void cache_keep(struct cache *c, const struct cache_file *f, const char *name, int64_t size_bytes);
/* Makes room for so many bytes by removing what was not used for the longest time. */
void cache_make_room(struct cache *c, int64_t bytes);

#endif
