/* The retry policy: exponential, capped, with jitter so that many jobs that lost one server do not
 * come back in the same moment. A refused login (28xxx) is never tried again: repeating it locks
 * accounts. */
#include <stdlib.h>
#include <string.h>

#include "pgclient/pgclient.h"

static unsigned grown(const struct retry_policy *p, unsigned attempt)
{
    unsigned wait = p->base_ms;
    for (unsigned i = 2; i < attempt && wait < p->cap_ms; i++)
        wait = wait > p->cap_ms / 2 ? p->cap_ms : wait * 2;
    return wait < p->cap_ms ? wait : p->cap_ms;
}

int retry_wait_ms(const struct retry_policy *p, unsigned attempt, const struct err *err)
{
    if (attempt < 2 || attempt > p->attempts || !err_is_transient(err) ||
        strncmp(err->sqlstate, "28", 2) == 0)
        return -1;
    unsigned wait = grown(p, attempt);
    unsigned spread = (unsigned)((unsigned long long)wait * p->jitter_percent / 100);
    if (spread > 0) /* wait - spread ... wait */
        wait -= arc4random_uniform(spread + 1);
    return (int)wait;
}
