/* How rows of log files and of base files are brought together, from the table's properties. */
#ifndef HUDI_MERGE_MODE_H
#define HUDI_MERGE_MODE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "properties.h"

enum merge_order {
    MERGE_COMMIT_TIME, /* what was written later wins */
    MERGE_EVENT_TIME   /* the higher ordering value wins; equal ones: the later */
};

enum merge_partial {
    MERGE_WHOLE,           /* the winner's row is the result */
    MERGE_IGNORE_NULLS,    /* NULLs of the winner keep the older value */
    MERGE_IGNORE_DEFAULTS, /* so does the schema's default, which is NULL where it names none */
    MERGE_FILL_UNAVAILABLE /* so does the marker of values that the source did not send */
};

struct merge_mode {
    enum merge_order order;
    enum merge_partial partial;
    const char *unavailable;  /* the marker, MERGE_FILL_UNAVAILABLE */
    const char *delete_field; /* rows with delete_marker in this column are deletes; NULL: none */
    const char *delete_marker;
    bool delete_any_case; /* the marker in whatever case */
    const char *ordering; /* fields that the payload class orders by; NULL: the table's */
};

/* version       of the table
 * has_ordering  the table names ordering (precombine) fields
 * Errors        0A000 a merger or payload class that is not known, by name */
MUST_USE bool merge_mode_read(struct arena *a, const struct properties *p, int version,
                              bool has_ordering, struct merge_mode *out, struct err *err);

#endif
