/* What the HTTP interface tells: /metrics and /healthz. */
#ifndef STATUS_H
#define STATUS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "control.h"
#include "http.h"
#include "loop.h"
#include "metrics.h"

struct status;

struct status_settings { /* borrowed until status_free */
    const char *http_addr;
    uint16_t http_port;
    const char *databases; /* comma-separated; empty: those with the support schema */
    struct control *control;
    const struct metrics *const *sets; /* of the loops */
    size_t set_count;
    const atomic_uint *client_count;
    const atomic_bool *stopping;
};

/* Makes a loop and listens; status_start starts the thread.
 * Errors: 42501, 58030 the address cannot be listened on */
MUST_USE bool status_new(const struct status_settings *s, struct status **out, struct err *err);
MUST_USE bool status_start(struct status *st, struct err *err);
/* Ends the thread; control may still know asks of ours. */
void status_stop(struct status *st);
/* After control is gone. NULL: nothing. */
void status_free(struct status *st);

#endif
