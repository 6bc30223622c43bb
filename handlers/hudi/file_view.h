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

struct view_group {
    const char *partition;
    const char *file_id;
    struct view_file *files; /* by instant, ascending; borrowed */
    size_t nfiles;
    const int *replaced_by; /* indices of the replacecommits that name it; borrowed */
    size_t nreplaced;
};

struct view {
    const struct timeline *timeline;
    struct view_group *groups; /* by partition, then file id */
    size_t ngroups;
};

/* Lists all partitions and sorts their base files into groups. `metadata` are those of
 * timeline->commits, by index; only those of replacecommits need to be filled.
 * Errors  0A000 a base file in another format; 58030 store (transient); XX001 folders nested beyond
 *         reason */
MUST_USE bool view_load(struct arena *a, const struct hudi_table *t,
                        const struct timeline *timeline, const struct commit_metadata *metadata,
                        struct view *out, struct err *err);
/* NULL: no base file of the group lies there. */
const struct view_group *view_find(const struct view *v, const char *partition,
                                   const char *file_id);
/* The group's slice when exactly the commits with in[index] are done: the newest file of these and
 * of the archived ones, unless one of them replaced the group. NULL: none. */
const struct view_file *view_slice(const struct view_group *g, const bool *in);
/* The same without regard to replacement. */
const struct view_file *view_newest(const struct view_group *g, const bool *in);

#endif
