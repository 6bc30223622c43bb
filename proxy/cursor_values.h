/* Parameters of a DECLARE that came by Parse and Bind, as literals in its text: workers are given a text
 * only. Private to cursor_parallel.c. */
#ifndef PROXY_CURSOR_VALUES_H
#define PROXY_CURSOR_VALUES_H

#include <stddef.h>
#include <stdint.h>

#include "base/slice.h"

struct session;

struct cursor_values {
    unsigned step;
    size_t count;       /* of parameters */
    const char **types; /* their names, schema and all */
    uint32_t *oids;
};

enum cursor_values_state {
    CURSOR_VALUES_ASKED, /* a question is under way: step again when it is answered */
    CURSOR_VALUES_DONE,
    CURSOR_VALUES_FAILED
};

/* Inside of a savepoint that will be rolled back. Begin with a zeroed struct. DONE: *query has no
 * parameters any more; in the dispatch's arena, a NUL behind. */
enum cursor_values_state cursor_values_step(struct session *s, struct cursor_values *v,
                                            struct slice *query);

#endif
