/* File groups of a Hudi table and what they held at a given set of commits, by file names alone.
 *
 * spec: Apache Hudi technical specification, "File layout"; HoodieTableFileSystemView. */
#ifndef HUDI_FILE_VIEW_H
#define HUDI_FILE_VIEW_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "commit_metadata.h"
#include "log_block.h"
#include "plan.h"
#include "timeline.h"

/* "<file id>_<write token>_<instant>.parquet", taken apart. */
struct base_file_name {
    struct slice file_id;
    struct slice token;
    struct slice instant;
    struct slice extension;
};

/* Is it the name of a base file? (Log files, markers, .crc and the litter of file managers are
 * not.) No I/O, no memory. */
bool base_file_name_read(struct slice name, struct base_file_name *out);

struct view_file {
    struct hudi_slice slice;
    const char *key; /* the instant with 17 digits */
    int commit;      /* index in timeline.commits; VIEW_ARCHIVED or VIEW_HIDDEN */
};

enum {
    VIEW_ARCHIVED = -1, /* older than every commit of the timeline: in every set */
    VIEW_HIDDEN = -2    /* of a commit that is not completed: in none */
};

struct view_log {
    const char *path;
    const char *partition;
    const char *file_id;
    const char *instant; /* as in the name */
    const char *key;     /* layout 1: the name's instant; layout 2: when that commit completed */
    const char *token;
    uint32_t version;
    int commit; /* of the name's instant, as in view_file */
};

struct view_group {
    const char *partition;
    const char *file_id;
    struct view_file *files; /* by instant, ascending; borrowed */
    size_t nfiles;
    struct view_log *logs; /* in the order in which they are merged; borrowed */
    size_t nlogs;
    const int *replaced_by; /* indices of the replacecommits that name it; borrowed */
    size_t nreplaced;
};

struct view {
    const struct hudi_table *table;
    const struct timeline *timeline;
    struct view_group *groups; /* by partition, then file id */
    size_t ngroups;
};

/* Lists all partitions and sorts their files into groups. `metadata` are those of
 * timeline->commits, by index; only those of replacecommits need to be filled.
 * Errors  0A000 a base file in another format; 58030 store (transient); XX001 folders nested beyond
 *         reason */
MUST_USE bool view_load(struct arena *a, const struct hudi_table *t,
                        const struct timeline *timeline, const struct commit_metadata *metadata,
                        struct view *out, struct err *err);
/* NULL: no file of the group lies there. */
const struct view_group *view_find(const struct view *v, const char *partition,
                                   const char *file_id);
/* The group's newest base file when exactly the commits with in[index] are done: of these and of the
 * archived ones, replaced or not. NULL: none. */
const struct view_file *view_newest(const struct view_group *g, const bool *in);
bool view_is_replaced(const struct view_group *g, const bool *in);
/* view_newest, unless one of the commits replaced the group. */
const struct view_file *view_slice(const struct view_group *g, const bool *in);
/* Does the group hold anything in that state, replaced or not? */
bool view_exists(const struct view *v, const struct view_group *g, const bool *in);
/* The group's slice in that state, replaced or not: base file, and the log files behind it. Call it
 * when view_exists says so. */
MUST_USE bool view_read(struct arena *a, const struct view *v, const struct view_group *g,
                        const bool *in, struct hudi_slice *out, struct err *err);
/* Is the log file of this name, which commit `index` wrote, part of the group's slice in that state? */
bool view_needs_log(const struct view *v, const struct view_group *g, const bool *in,
                    const struct log_file_name *name, size_t index);
/* Is there a log file of this path? */
bool view_has_log(const struct view_group *g, const char *path);

#endif
