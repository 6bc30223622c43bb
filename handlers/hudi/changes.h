/* Which file groups the commits of a window touched, and which may have lost keys. */
#ifndef HUDI_CHANGES_H
#define HUDI_CHANGES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "commit_metadata.h"
#include "file_view.h"
#include "timeline.h"

struct change {
    const char *partition;
    const char *file_id;
    const struct view_group *group; /* NULL: none of its files lies there any more */
    bool seen;                      /* an event of the window was applied to it */
    bool existed;                   /* it held rows before the window */
    bool touched;                   /* rows were written into it */
    bool replaced;                  /* a commit of the window took it away as a whole */
    bool may_lose;                  /* keys that it held before the window may be gone */
    const char *old_instant;        /* of its slice before the window, when a commit names it */
    int clustered_by;               /* commit of the window that made it out of others; -1 */
    int last_commit;                /* last commit of the window that wrote a base file; -1 */
};

struct changes {
    struct change *items; /* by partition, then file id */
    size_t count;
};

/* Walks the commits of the window in order.
 * window      the commits in it, by index in timeline->commits; `before`: those before it
 * metadata    of all commits of the window
 * all_certain false: every touched group may have lost keys (tables without meta fields) */
MUST_USE bool changes_collect(struct arena *a, const struct view *v, const bool *window,
                              const bool *before, const struct commit_metadata *metadata,
                              bool all_certain, struct changes *out, struct err *err);

#endif
