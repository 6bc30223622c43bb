/* What a commit of a Hudi table did, from its completed file on the timeline. */
#ifndef HUDI_COMMIT_METADATA_H
#define HUDI_COMMIT_METADATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "objstore/objstore.h"

struct write_stat {
    const char *partition; /* "" in a table without partitions */
    const char *file_id;
    const char *path;        /* relative to the table; NULL: no file was written */
    bool is_log;             /* it is a log file */
    const char *prev_commit; /* of the slice that was rewritten; NULL: the group is new */
    int64_t num_writes;      /* -1: not told; so are the next ones */
    int64_t num_deletes;
};

struct replaced_group {
    const char *partition;
    const char *file_id;
};

struct commit_metadata {
    struct write_stat *stats;
    size_t nstats;
    struct replaced_group *replaced; /* of a replacecommit */
    size_t nreplaced;
    const char *operation; /* "UPSERT", …; "" when not told */
    const char *schema;    /* Avro schema of the table; NULL when not told */
    bool compacted;        /* a compaction or log compaction: rows moved, none changed */
};

/* Reads JSON (layout 1) or an Avro object container (layout 2); the first byte decides. Everything
 * is copied into `a`. An object without any member ("{}") is a commit that did nothing.
 * Errors   XX001 empty, cut off, not what it should be */
MUST_USE bool commit_metadata_read(struct arena *a, struct slice content,
                                   struct commit_metadata *out, struct err *err);
/* The same of an object of the store; errors name its path. */
MUST_USE bool commit_metadata_load(struct arena *a, struct objstore *store, const char *path,
                                   struct commit_metadata *out, struct err *err);

/* Requested times of the commits that a completed rollback or restore took back. */
MUST_USE bool rollback_metadata_load(struct arena *a, struct objstore *store, const char *path,
                                     const char ***commits, size_t *count, struct err *err);
/* Does the requested file of a replacecommit plan a clustering? One that cannot be understood (some
 * writers leave it empty) does not. */
MUST_USE bool requested_replace_is_clustering(struct objstore *store, const char *path, bool *out,
                                              struct err *err);

#endif
