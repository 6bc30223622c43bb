/* Ordering values of rows from different sources, brought to one type so that they can be compared. */
#ifndef HUDI_MERGE_ORDER_H
#define HUDI_MERGE_ORDER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "relation.h"

struct merge_order_field {
    const char *name;
    enum merge_order_class {
        MERGE_ORDER_NONE, /* no source has the field */
        MERGE_ORDER_INT,  /* also times, as microseconds, and dates, as days */
        MERGE_ORDER_DECIMAL,
        MERGE_ORDER_REAL,
        MERGE_ORDER_TEXT,
        MERGE_ORDER_BYTES
    } class;
    unsigned scale;
    bool counts_millis; /* deletes give its longs in milliseconds */
};

struct merge_orders {
    struct merge_order_field *items;
    size_t count;
};

/* Looks at the columns of all groups of the relation. */
MUST_USE bool merge_orders_read(struct arena *a, const struct relation *r, struct merge_orders *out,
                                struct err *err);
/* Appends the ordering value of a group's rows, NULL when all its fields are. */
void merge_orders_put(struct buf *b, const struct merge_orders *o, const struct relation_group *g);
/* The same of <p>delete. */
void merge_orders_put_delete(struct buf *b, const struct merge_orders *o);

#endif
