/* Avro schemas of log blocks: JSON to a tree of types, logical types included (avro-c drops these).
 *
 * spec: Apache Avro 1.11 specification, "Schema Declaration", "Logical Types". */
#ifndef HUDI_LOG_SCHEMA_H
#define HUDI_LOG_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

enum log_kind {
    LOG_NULL,
    LOG_BOOLEAN,
    LOG_INT,
    LOG_LONG,
    LOG_FLOAT,
    LOG_DOUBLE,
    LOG_BYTES,
    LOG_STRING,
    LOG_FIXED,
    LOG_ENUM,
    LOG_RECORD,
    LOG_ARRAY,
    LOG_MAP,
    LOG_UNION
};

enum log_logical {
    LOG_PLAIN,
    LOG_DECIMAL,
    LOG_DATE,
    LOG_TIME_MILLIS,
    LOG_TIME_MICROS,
    LOG_TIMESTAMP_MILLIS,
    LOG_TIMESTAMP_MICROS,
    LOG_LOCAL_TIMESTAMP_MILLIS,
    LOG_LOCAL_TIMESTAMP_MICROS
};

struct log_type;

struct log_field {
    const char *name;
    const struct log_type *type;
    const char *default_text; /* of a scalar that is not null, as text; else NULL */
};

struct log_type {
    enum log_kind kind;
    enum log_logical logical;
    unsigned precision, scale; /* LOG_DECIMAL */
    size_t size;               /* LOG_FIXED: bytes; LOG_ENUM: symbols */
    const char **symbols;
    struct log_field *fields; /* LOG_RECORD */
    size_t nfields;
    const struct log_type *item;      /* LOG_ARRAY, LOG_MAP: values */
    const struct log_type **branches; /* LOG_UNION */
    size_t nbranches;
};

/* Parses the schema of a record.
 * Errors   XX001 not a schema, or not of a record; 0A000 a type that contains itself, a union of several
 *          types, a decimal of more than 38 digits: with the field's name */
MUST_USE bool log_schema_read(struct arena *a, struct slice text, const struct log_type **out,
                              struct err *err);
/* The type of a value that may be NULL: the other branch of ["null", T]; the type itself if it is no
 * union. */
const struct log_type *log_type_value(const struct log_type *t);
/* Appends DuckDB's name of the type, the same that it gives the same column in a Parquet file. */
void log_type_put_sql(struct buf *b, const struct log_type *t);

#endif
