/* DuckDB's only door: SQL over local Parquet files, results as columns, a chunk at a time.
 *
 * The library is loaded at run time by the job process alone (setting duckdb_library). A session is
 * an in-memory database that can reach local files and nothing else: no network, no extensions. It
 * is used by one thread; others open sessions beside it. */
#ifndef HUDI_DUCK_H
#define HUDI_DUCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "protocol/copy_binary.h"

struct duck;        /* owns a session */
struct duck_result; /* owns a running query */

struct duck_settings {
    const char *library;        /* path of libduckdb.so */
    const char *temp_directory; /* a folder where it may spill; borrowed until duck_close */
    unsigned memory_mb;
    unsigned threads;
    bool (*must_stop)(void *arg); /* asked between steps of a query; may be NULL */
    void *arg;
};

/* Errors: 58P01 library missing or not DuckDB, XX000 */
MUST_USE bool duck_open(const struct duck_settings *s, struct duck **out, struct err *err);
/* Another session of the same database, for another thread: it sees the tables of `d`, which must live
 * longer. It stops when its own `must_stop` or that of `d` says so. */
MUST_USE bool duck_open_beside(struct duck *d, bool (*must_stop)(void *arg), void *arg,
                               struct duck **out, struct err *err);
void duck_close(struct duck *d);

/* Statements without rows that matter.
 * Errors  58030 file unreadable, XX001 not a Parquet file or damaged, 53200 memory, 57014 stopped */
MUST_USE bool duck_run(struct duck *d, const char *sql, struct err *err);

enum duck_type {
    DUCK_OTHER, /* nothing below */
    DUCK_BOOL,
    DUCK_INT8,
    DUCK_INT16,
    DUCK_INT32,
    DUCK_INT64,
    DUCK_UINT8,
    DUCK_UINT16,
    DUCK_UINT32,
    DUCK_UINT64,
    DUCK_INT128,
    DUCK_FLOAT,
    DUCK_DOUBLE,
    DUCK_DECIMAL,     /* width, scale; data as `carrier` says: DUCK_INT16, 32, 64 or 128 */
    DUCK_DATE,        /* int32 days since 1970-01-01 */
    DUCK_TIME,        /* int64 microseconds */
    DUCK_TIME_TZ,     /* cast it to TIME before reading */
    DUCK_TIMESTAMP,   /* int64 microseconds since 1970-01-01, no zone */
    DUCK_TIMESTAMPTZ, /* the same, UTC */
    DUCK_TIMESTAMP_S, /* cast these to TIMESTAMP before reading */
    DUCK_TIMESTAMP_MS,
    DUCK_TIMESTAMP_NS,
    DUCK_TEXT, /* duck_text() */
    DUCK_BLOB, /* duck_text() */
    DUCK_UUID, /* int128 with the highest bit flipped */
    DUCK_LIST, /* duck_list_entry; one child */
    DUCK_STRUCT,
    DUCK_MAP, /* as a list of structs {key, value}: one child with two children */
    DUCK_NULL /* a column of NULLs only */
};

struct duck_list_entry {
    uint64_t offset; /* into the child */
    uint64_t length;
};

/* A column of a chunk, or of a result before its first chunk (then without data). */
struct duck_vector {
    const char *name; /* of the column or struct member */
    enum duck_type type;
    enum duck_type carrier; /* DUCK_DECIMAL: physical type; else = type */
    unsigned width, scale;
    const void *data;
    const uint64_t *validity; /* bit per row, 1: not NULL; NULL: no NULLs */
    struct duck_vector *children;
    size_t child_count;
};

struct duck_chunk {
    size_t rows;
    size_t columns;
    struct duck_vector *vectors; /* borrowed until the next chunk */
};

static inline bool duck_is_null(const struct duck_vector *v, uint64_t row)
{
    return v->validity != NULL && (v->validity[row / 64] >> (row % 64) & 1) == 0;
}

/* Bytes of a DUCK_TEXT or DUCK_BLOB, borrowed from the chunk: 12 bytes or fewer lie in the vector,
 * longer ones elsewhere. */
static inline struct slice duck_text(const struct duck_vector *v, uint64_t row)
{
    const char *at = (const char *)v->data + row * 16;
    uint32_t length;
    memcpy(&length, at, sizeof length);
    if (length <= 12)
        return slice_of(at + 4, length);
    const char *elsewhere;
    memcpy(&elsewhere, at + 8, sizeof elsewhere);
    return slice_of(elsewhere, length);
}

/* Starts a query whose rows come as they are made: nothing is kept but a few chunks. One at a time;
 * free it before the next statement of the session. Errors as duck_run. */
MUST_USE bool duck_query(struct duck *d, const char *sql, struct duck_result **out,
                         struct err *err);
/* The next rows; *chunk is NULL behind the last. */
MUST_USE bool duck_next(struct duck_result *r, const struct duck_chunk **chunk, struct err *err);
void duck_result_free(struct duck_result *r);

/* First column of the first row as an integer; 0 without rows or for NULL. */
MUST_USE bool duck_int(struct duck *d, const char *sql, int64_t *out, struct err *err);

/* Columns that a query would give, without running it; names and vectors from `a`. */
MUST_USE bool duck_describe(struct duck *d, struct arena *a, const char *sql,
                            struct duck_vector **columns, size_t *count, struct err *err);

const char *duck_temp_directory(const struct duck *d);
/* A number that the session has not given out before, for names of temporary tables. */
unsigned duck_next_name(struct duck *d);

/* Appends "name" and 'text' quoted for DuckDB. */
void duck_put_name(struct buf *b, const char *name);
void duck_put_text(struct buf *b, const char *text);

/* An integer of any width at a row of a vector's data. Inline: once for each value of a table. */
static inline copy_int128 duck_integer_at(const void *data, enum duck_type type, uint64_t row)
{
    switch (type) {
    case DUCK_INT8: return ((const int8_t *)data)[row];
    case DUCK_INT16: return ((const int16_t *)data)[row];
    case DUCK_INT32: return ((const int32_t *)data)[row];
    case DUCK_INT64: return ((const int64_t *)data)[row];
    case DUCK_UINT8: return ((const uint8_t *)data)[row];
    case DUCK_UINT16: return ((const uint16_t *)data)[row];
    case DUCK_UINT32: return ((const uint32_t *)data)[row];
    case DUCK_UINT64: return ((const uint64_t *)data)[row];
    default: break;
    }
    copy_int128 v;
    memcpy(&v, (const char *)data + row * sizeof v, sizeof v);
    return v;
}

#endif
