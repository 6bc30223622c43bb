/* Can a query's result be divided, and by which scans? From the server's own plan for parallel workers.
 * Pure: JSON in, verdict out. The texts of slices: cursor_splice.h. spec/parallel-cursor.md section 4.3. */
#ifndef PROXY_CURSOR_PLAN_H
#define PROXY_CURSOR_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/slice.h"

#define CURSOR_PLAN_MAX_SCANS 1024

struct cursor_plan_scan {
    const char *schema;
    const char *relation;
    const char *alias;    /* of the scan; children of one parent have numbered ones */
    const char *type;     /* "Seq Scan", "Tid Range Scan", … */
    bool is_divided;      /* the planner would divide it among workers */
    const char *tid_cond; /* or NULL */
};

struct cursor_plan {
    struct cursor_plan_scan *scans; /* all base relations of the plan, in the arena */
    size_t scan_count;
    bool is_exclusive; /* only the declaring session can run it: not a plain read of tables */
    bool is_divisible; /* dividing the divided scans divides the result */
};

/* json  of EXPLAIN (FORMAT JSON, VERBOSE). False: no memory, or not such a plan. */
MUST_USE bool cursor_plan_read(struct arena *a, struct slice json, struct cursor_plan *out);
/* Does the plan's text name anything that another session would see otherwise? */
bool cursor_plan_is_personal(struct slice json);
/* The names of the relations, for cursor_plan_is_within: of tables that have partitions. */
MUST_USE bool cursor_plan_write_relations(const struct cursor_plan *p, struct buf *out);
/* Reads the plan only relations of those? */
bool cursor_plan_is_within(const struct cursor_plan *p, struct slice relations);
/* Do the same scans of `slice`, and no others, read a range of pages? */
bool cursor_plan_confirms(const struct cursor_plan *whole, const struct cursor_plan *slice);

/* Bounds of `count` slices with about the same number of pages over all tables: bounds[1 … count - 1]. */
void cursor_plan_divide(const uint32_t *pages, size_t tables, uint32_t *bounds, size_t count);

#endif
