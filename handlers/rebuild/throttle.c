/* rebuild_guc_hg_rebuild_throttle_replica_lag_mb: copying writes as much log as the server can, and a replica that
 * cannot follow would serve ever older rows. So before each piece of work the replicas are looked at, and
 * while one is too far behind the rebuild rests. The step's message says for whom it waits. */
#include <poll.h>

#include "rebuild.h"

#define REST_MS 1000

bool throttle_rest(struct rebuild *r, bool *rested, struct err *err)
{
    struct pgresult *res;
    *rested = false;
    if (!r->throttles)
        return true;
    if (!rebuild_query(r, "SELECT hologres.replica_behind($1)", &res, err))
        return false;
    const char *behind = pgresult_value(res, 0, 0);
    *rested = behind != NULL;
    bool ok = behind == NULL || step_tell(r, err, "%s", behind);
    pgresult_free(res);
    if (ok && *rested)
        poll(NULL, 0, REST_MS);
    return ok;
}

bool throttle_wait(struct rebuild *r, struct err *err)
{
    bool rested;
    do {
        if (!throttle_rest(r, &rested, err))
            return false;
    } while (rested && !job_must_stop(r->job));
    return true;
}
