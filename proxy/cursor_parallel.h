/* Can workers read the cursor that is being declared, and how? Private to cursor_declare.c. */
#ifndef PROXY_CURSOR_PARALLEL_H
#define PROXY_CURSOR_PARALLEL_H

#include <stdbool.h>

#include "cursor_plan.h"

struct session;

/* What is found out in CURSOR_PLAN; in the dispatch's arena. */
struct cursor_parallel {
    unsigned stage;
    struct slice query; /* what stands behind FOR */
    struct cursor_plan plan;
    bool is_possible;  /* a worker may read the whole of it */
    bool is_large;     /* and that is worth a connection */
    bool is_confirmed; /* slices are exact */
    struct cursor_splice splice;
    uint32_t *bounds; /* of count slices */
    unsigned count;
    const char *trial; /* query of a slice */
};

/* The plain cursor is there. Ends with cursor_declare_publish. */
void cursor_parallel_start(struct session *s);
/* The statement of the present stage was answered, without error. */
void cursor_parallel_on_injected(struct session *s);

#endif
