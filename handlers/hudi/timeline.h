/* The timeline of a Hudi table: what happened to it, in order, by the names of the files in
 * .hoodie (layout 1) or .hoodie/<timeline path> (layout 2).
 *
 * spec: Apache Hudi technical specification, "Timeline"; HoodieTimeline, InstantFileNameParserV1
 * and V2. */
#ifndef HUDI_TIMELINE_H
#define HUDI_TIMELINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "objstore/objstore.h"

#define INSTANT_KEY_SIZE 18 /* 17 digits and NUL */

enum instant_action {
    INSTANT_COMMIT,
    INSTANT_DELTACOMMIT,
    INSTANT_REPLACECOMMIT,
    INSTANT_CLUSTERING, /* layout 2, pending only: it finishes as a replacecommit */
    INSTANT_COMPACTION, /* pending only: finishes as a commit */
    INSTANT_LOGCOMPACTION,
    INSTANT_CLEAN,
    INSTANT_ROLLBACK,
    INSTANT_RESTORE,
    INSTANT_SAVEPOINT,
    INSTANT_INDEXING
};

enum instant_state { INSTANT_REQUESTED, INSTANT_INFLIGHT, INSTANT_COMPLETED };

/* One file name of the timeline, taken apart. */
struct instant_name {
    struct slice requested; /* 14 or 17 digits */
    struct slice completed; /* layout 2 and COMPLETED, else empty */
    enum instant_action action;
    enum instant_state state;
};

/* Is it the name of an instant's file? False for everything else that lies there (.crc, ._x,
 * hoodie.properties, unknown actions). No I/O, no memory. */
bool instant_name_read(struct slice name, int layout, struct instant_name *out);

/* Time of 14 or 17 digits as 17 digits: of a time without milliseconds the end of its second, so
 * that "up to" includes all of it. False: not a time. */
bool instant_key_read(const char *time, char key[INSTANT_KEY_SIZE]);

struct instant {
    const char *requested;     /* as in the file name */
    const char *completed;     /* layout 2: as in the file name; else NULL */
    const char *requested_key; /* 17 digits */
    const char *order_key;     /* by which the timeline runs: layout 1 requested, 2 completed */
    const char *path; /* of the completed file; of a pending one the requested or inflight file */
    enum instant_action action;
    int64_t modified_ms; /* of the completed file */
};

struct instants {
    struct instant *items;
    size_t count;
};

struct timeline {
    int layout;
    const char *folder;
    struct instants commits;   /* completed commit, deltacommit, replacecommit; by order_key */
    struct instants rollbacks; /* completed rollback and restore; by requested time */
    struct instants
        pending; /* not completed commit, deltacommit, replacecommit, clustering; by requested time */
    bool restoring;         /* a restore is under way: commits vanish one by one */
    size_t cleans;          /* files of clean instants, in any state */
    bool has_archive;       /* older instants were moved to the archive or history */
    const char *oldest_key; /* smallest requested_key of `commits`; NULL: none */
};

/* Lists the timeline so that nothing is missed that was there when the newest listed commit
 * completed.
 * folder          ".hoodie" or ".hoodie/timeline"
 * archive_folder  where older instants go
 * Errors  58030 store (transient), 42501 */
MUST_USE bool timeline_load(struct arena *a, struct objstore *store, int layout, const char *folder,
                            const char *archive_folder, struct timeline *out, struct err *err);
/* Completed commit with this requested time; NULL: none. */
const struct instant *timeline_find(const struct timeline *t, const char *requested);
/* Is the requested time that of a pending instant? */
bool timeline_is_pending(const struct timeline *t, const char *requested);

/* Counts the files of clean instants now; timeline.cleans is what it was. */
MUST_USE bool timeline_count_cleans(struct arena *a, struct objstore *store,
                                    const struct timeline *t, size_t *out, struct err *err);

/* When the data of a completed commit was there: its completion where the timeline tells it in UTC, else
 * the time of its file. Unix milliseconds. */
int64_t instant_flushed_ms(const struct instant *it, bool timeline_is_utc);

/* Unix milliseconds of a time of 14 or 17 digits that counts in UTC. */
int64_t instant_time_ms(const char *key);

#endif
