/* Partitions that come and go. Triggers that follow rows reach a partition from its parent the moment it is
 * attached, so no change is missed; what such a partition held before, and what one that went leaves in the
 * copy, is put into the log here, and the next round works it off. sql/009_rebuild_children.sql tells how.
 *
 * A round reads the source only while nobody can attach or detach (children_hold): rows of a partition
 * that is not known yet are never copied, so none is left behind when it goes again unseen. */
#include "children.h"

#include "copy.h"

static bool try_sync(struct rebuild *r, struct lock_attempts *l, struct err *err)
{
    const char *body;
    return job_begin(r->job, err) && lock_attempt(r, l, err) &&
           copy_run_each(r, "SELECT hologres.hold_statements($1)", err) &&
           copy_run_each(r, "SELECT hologres.truncate_statements($1)", err) &&
           rebuild_fetch(r, "SELECT hologres.children_body($1)", &body, err) &&
           owner_prepare(r, 0, r->owner, body, err) && owner_run(r, 0, err) &&
           owner_drop(r, 0, err) &&
           rebuild_query(r, "SELECT hologres.take_children($1)", NULL, err) &&
           job_commit_step(r->job, err);
}

static bool sync_all(struct rebuild *r, struct err *err)
{
    struct lock_attempts l = {0};
    do {
        if (try_sync(r, &l, err))
            return true;
    } while (lock_again(r, &l, err));
    return false;
}

bool children_sync(struct rebuild *r, struct err *err)
{
    const char *known;
    bool cut;
    enum rebuild_step step = r->step;
    if (!rebuild_fetch(r, "SELECT hologres.children_known($1)", &known, err))
        return false;
    if (known[0] == 't')
        return true;
    if (!step_is_done(r, STEP_GET_SRC_TABLE_SNAPSHOT, &cut, err) ||
        (cut && !step_start(r, STEP_CHECK_CHILDREN, "", err)) || !sync_all(r, err))
        return false;
    r->step = step;
    return true;
}

bool children_hold(struct rebuild *r, struct err *err)
{
    return copy_run_each(r, "SELECT hologres.hold_statements($1)", err) &&
           rebuild_query(r, "SELECT hologres.check_children($1)", NULL, err);
}
