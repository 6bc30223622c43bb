/* Records of Avro data blocks into a table of DuckDB, which has the columns of their schema. */
#ifndef HUDI_LOG_ROWS_H
#define HUDI_LOG_ROWS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "duck.h"
#include "log_schema.h"

/* Columns of the tables beside those of the records. */
#define LOG_SLICE_COLUMN "__slice" /* INTEGER: which slice the row is of */
#define LOG_SEQ_COLUMN "__seq"     /* BIGINT: its place among all rows of the slice's log files */

struct log_rows;

/* Makes the table and starts to fill it.
 * wanted   says which fields become columns; the others are skipped
 * Errors   as duck_run */
MUST_USE bool log_rows_open(struct arena *a, struct duck *d, const char *table,
                            const struct log_type *type,
                            bool (*wanted)(const void *arg, const char *field), const void *arg,
                            struct log_rows **out, struct err *err);
/* Errors   XX001 the bytes are no record of the schema; 57014 stopped */
MUST_USE bool log_rows_put(struct log_rows *r, struct slice datum, int32_t slice, int64_t seq,
                           struct err *err);
/* Writes what is left and frees; with NULL instead of an error it only frees. */
bool log_rows_close(struct log_rows *r, struct err *err);

/* ---- delete blocks ---- */

enum log_order_kind {
    LOG_ORDER_NONE,
    LOG_ORDER_INT, /* also boolean, date (days), time and timestamp (microseconds) */
    LOG_ORDER_LONG,
    LOG_ORDER_REAL,
    LOG_ORDER_TEXT,
    LOG_ORDER_BYTES,
    LOG_ORDER_DECIMAL /* two's complement of up to 16 bytes, `scale` digits behind the point */
};

#define LOG_ORDER_SCALE_MAX 18

struct log_order {
    enum log_order_kind kind;
    int64_t number;
    double real;
    struct slice bytes;
    int scale; /* DECIMAL, 0 to LOG_ORDER_SCALE_MAX */
};

#define LOG_ORDER_MAX 8

struct log_delete {
    struct slice key;
    bool unconditional; /* whatever the stored row's ordering value is */
    struct log_order orders[LOG_ORDER_MAX];
    size_t norders;
};

struct log_content;
struct kryo_deletes;

struct log_deletes {
    struct slice left;
    uint64_t in_block;         /* records of the Avro block that is being read */
    struct kryo_deletes *java; /* versions 1 and 2: then the others are not used */
};

/* The list of a delete block. What it needs is from `a`; texts are borrowed from there or from the block.
 * Errors   0A000 Java objects that are not known, with their class; XX001 damaged */
MUST_USE bool log_deletes_open(struct arena *a, const struct log_content *c,
                               struct log_deletes *out, struct err *err);
/* Its next record; *found is false behind the last.
 * Errors   as above; 0A000 more than LOG_ORDER_MAX ordering values */
MUST_USE bool log_delete_next(struct log_deletes *list, struct log_delete *out, bool *found,
                              struct err *err);

#endif
