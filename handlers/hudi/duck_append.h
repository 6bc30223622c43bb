/* Rows of ours into a table of DuckDB, a chunk of columns at a time.
 *
 *   duck_append_open(d, "t", &ap, err)
 *   for each row: fill columns[i] at duck_append_row(ap), then duck_append_next(ap, err)
 *   duck_append_close(ap, err), which also frees */
#ifndef HUDI_DUCK_APPEND_H
#define HUDI_DUCK_APPEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "duck.h"

struct duck_append;

/* A column, or what nests in one, of the chunk that is being filled. */
struct duck_column {
    enum duck_type type;
    enum duck_type carrier;
    unsigned scale;
    void *data;         /* fixed-width values at their row */
    uint64_t *validity; /* all rows are not NULL at first */
    void *vector;       /* DuckDB's */
    struct duck_column *children;
    size_t child_count;
    uint64_t length;   /* lists and maps: rows of the child so far */
    uint64_t capacity; /* and room there */
};

/* The table must exist, as a temporary one. Errors as duck_run. */
MUST_USE bool duck_append_open(struct duck *d, const char *table, struct duck_append **out,
                               struct err *err);
/* Columns in the table's order; the pointers inside change with each row. */
struct duck_column *duck_append_columns(struct duck_append *ap, size_t *count);
/* Where the current row stands in the columns. */
uint64_t duck_append_row(const struct duck_append *ap);
/* The row is complete. Errors as duck_run, 57014 stopped */
MUST_USE bool duck_append_next(struct duck_append *ap, struct err *err);
/* Writes what is left and frees; with NULL instead of an error it only frees. */
bool duck_append_close(struct duck_append *ap, struct err *err);

/* NULL at a row, in all that nests there too. */
void duck_column_put_null(struct duck_append *ap, struct duck_column *c, uint64_t row);
/* Text or bytes. The caller has made sure that a text is UTF-8. */
void duck_column_put_bytes(struct duck_append *ap, struct duck_column *c, uint64_t row,
                           struct slice s);
/* Room for one more row in the child of a list or map; its place, or UINT64_MAX: no memory. */
MUST_USE uint64_t duck_column_add_item(struct duck_append *ap, struct duck_column *c);

#endif
