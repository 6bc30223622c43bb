/* Can workers read the cursor that is being declared, and how? Private to cursor_declare.c. */
#ifndef PROXY_CURSOR_PARALLEL_H
#define PROXY_CURSOR_PARALLEL_H

#include <stdbool.h>

#include "cursor_plan.h"
#include "cursor_splice.h"
#include "cursor_values.h"

struct session;

/* What is found out in CURSOR_PLAN; in the dispatch's arena. */
struct cursor_parallel {
    unsigned stage;
    struct slice
        query; /* what stands behind FOR; without parameters and views that were put in; a NUL
                           follows */
    struct cursor_values values;
    struct cursor_plan plan;
    bool is_possible;    /* a worker may read the whole of it */
    bool is_large;       /* and that is worth a connection */
    bool is_confirmed;   /* slices are exact */
    bool has_partitions; /* of which there may be more when a worker comes */
    const char **tables; /* of the divided scans: names by which a query knows them */
    size_t table_count;
    bool is_one_table; /* or the partitions of one */
    struct cursor_places places;
    bool *chosen;           /* of the places: restricted in the slices that are tried */
    size_t tried;           /* places up to here */
    unsigned views_inlined; /* rounds */
    bool has_ranges;        /* the settings for the plan of a slice are made */
    uint32_t *bounds;       /* of count slices */
    unsigned count;
};

/* The plain cursor is there. Ends with cursor_declare_publish. */
void cursor_parallel_start(struct session *s);
/* The statement of the present stage was answered, without error. */
void cursor_parallel_on_injected(struct session *s);

#endif
