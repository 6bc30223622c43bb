/* Several threads that read: each runs queries of its own session of the job's DuckDB and encodes what
 * they give, while the caller's thread sends it. */
#ifndef HUDI_READERS_H
#define HUDI_READERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "columns.h"
#include "duck.h"

#define READERS_MAX 64

struct readers_done {
    size_t queries;
    uint64_t rows;
};

struct readers_work {
    struct duck *duck; /* its tables can be read; the caller leaves it alone meanwhile */
    const struct columns *columns; /* of the queries' rows, as is `part` */
    enum columns_part part;
    const char *const *queries; /* taken by whoever is free; reader i begins with the i-th */
    size_t count;
    unsigned readers; /* 1 to READERS_MAX and to `count` */
    /* Gets rows in binary COPY form, whole ones, in any order; called by the caller's thread. */
    bool (*send)(void *arg, struct slice rows, struct err *err);
    void *arg;
    struct readers_done done[READERS_MAX]; /* out: what each reader did */
};

/* Ends when all rows were sent, or at the first error of anybody; no thread is left then. A reader has
 * at most two buffers of a quarter of a megabyte, or of the rows of one chunk where these take more.
 * Errors   as duck_query and encoder_put, of send, and of the system (no thread) */
MUST_USE bool readers_run(struct readers_work *w, struct err *err);

#endif
