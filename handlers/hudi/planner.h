/* The inside of a plan: the timeline, the sets of commits that a run starts from and reaches, and what
 * is loaded of them. Shared by plan.c and plan_window.c alone. */
#ifndef HUDI_PLANNER_H
#define HUDI_PLANNER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "commit_metadata.h"
#include "file_view.h"
#include "plan.h"
#include "timeline.h"

struct planner {
    struct arena *arena;
    const struct hudi_table *table;
    struct timeline timeline;
    struct view view;
    struct commit_metadata *metadata; /* by index of commit */
    bool *loaded;                     /* metadata[i] is filled */
    bool *in_after;                   /* state at `after` */
    bool *window;                     /* (after, to] */
    bool *in_to;                      /* state at `to` */
    size_t usable;                    /* commits[0 .. usable) */
    const bool *until;                /* only these commits may be taken; NULL: all */
    const char *waits_for;            /* the pending commit before the others; NULL */
    struct hudi_plan *plan;
};

/* The position that a run starts from. */
struct position {
    const char *after;
    const char *after_completed;
    char key[INSTANT_KEY_SIZE];
};

static inline struct instant *planner_commit_at(const struct planner *p, size_t i)
{
    return &p->timeline.commits.items[i];
}

MUST_USE bool planner_load_timeline(struct arena *a, const struct hudi_table *t,
                                    struct timeline *out, struct err *err);
/* Loads the timeline; all sets are empty. */
MUST_USE bool planner_start(struct planner *p, struct err *err);
/* Layout 1: makes unusable what lies behind the first pending commit that is later than `after_key`
 * (NULL: than any). */
MUST_USE bool planner_stop_before_pending(struct planner *p, const char *after_key,
                                          struct err *err);
/* A state that outlives the planner: exactly the commits with in[index], and archived ones. */
MUST_USE bool planner_keep_state(struct planner *p, const bool *in, const struct hudi_state **out,
                                 struct err *err);
/* Fills in_after; *reason is set instead when the way from there is lost. */
MUST_USE bool planner_locate(struct planner *p, const struct position *at, const char **reason,
                             struct err *err);
/* Lets the plan go no further than to the state at `upto`, any time of 14 or 17 digits. */
MUST_USE bool planner_stop_at(struct planner *p, const char *upto, struct err *err);
/* Fills window and in_to with the first `limit` usable commits that are not done. Returns how many. */
size_t planner_open_window(struct planner *p, size_t limit);
MUST_USE bool planner_load_metadata(struct planner *p, size_t i, struct err *err);
/* Of all commits, or of those that the window needs: its own, later ones, replacements. A merge-on-read
 * table with later ones needs all: the state's log files must be looked for. */
MUST_USE bool planner_load_needed(struct planner *p, bool all, struct err *err);
/* When files of the state at `to` were cleaned: opens the window up to the newest usable commit. False:
 * that does not help, because a pending commit is in the way. */
MUST_USE bool planner_widen_until_complete(struct planner *p, size_t *commits);
/* Errors: 58P01 a log file that the commit wrote and the state needs is missing */
MUST_USE bool planner_check_logs(const struct planner *p, size_t commit, struct err *err);
/* Largest requested time on the timeline, 17 digits; "" when it is empty. */
const char *planner_newest_key(const struct planner *p);

#endif
