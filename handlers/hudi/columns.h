/* From the columns of Parquet files to the columns of a target table.
 *
 * Two halves that must agree, so they stand together: the SQL expression by which DuckDB delivers a
 * column (a cast where a type is wider in PostgreSQL, NULL where the file has no such column), and
 * the encoder that writes what was delivered as a field of binary COPY. The rules are those of
 * spec/hudi.md sections 2.9 and 6. */
#ifndef HUDI_COLUMNS_H
#define HUDI_COLUMNS_H

#include <stdbool.h>
#include <stddef.h>

#include "apply/target.h"
#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "duck.h"

struct column {
    const struct apply_column *target;
    size_t place;       /* in the target's columns */
    const char *source; /* name in the Hudi table; letter case counts only where it must */
};

struct columns {
    struct column *items;
    size_t count;
    const size_t *key; /* places in `items`, in the order of the target's primary key */
    size_t key_count;
    bool commit_fields; /* files have _hoodie_commit_time and _hoodie_commit_seqno */
};

/* The column of a file that carries a name: exactly spelled, or else the only one that differs in
 * letter case alone. NULL: none, or several. */
const struct duck_vector *columns_find(const struct duck_vector *columns, size_t count,
                                       const char *name);

/* Appends the expression for one target column.
 * v        the file's column (columns_find), or NULL: it has none
 * literal  value from the partition path where v is NULL; NULL: the column is NULL
 * Errors   42804 the file's type cannot be stored in the target's */
MUST_USE bool columns_put_expression(struct buf *b, const struct column *c,
                                     const struct duck_vector *v, const char *literal,
                                     struct err *err);

/* Which fields of a row a result has, in this order. */
enum columns_part {
    COLUMNS_ROW,  /* every column; with commit_fields then commit time and sequence number */
    COLUMNS_LOAD, /* every column */
    COLUMNS_KEY   /* the key columns */
};

struct encoder;

/* Binds encoders to a result's columns, which stand in the order of `part`. */
MUST_USE bool encoder_new(const struct columns *cols, enum columns_part part,
                          const struct duck_chunk *chunk, struct encoder **out, struct err *err);
void encoder_free(struct encoder *e);
/* Appends the rows of a chunk of that result.
 * Errors  22003 out of range, 22001 too long, 22021 NUL byte or not UTF-8, 22P02, 23502: with the
 *         column in the message, row key and value in the detail */
MUST_USE bool encoder_put(struct encoder *e, const struct duck_chunk *chunk, struct buf *b,
                          struct err *err);

#endif
