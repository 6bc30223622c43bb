/* Which blocks of a slice's log files count, and in which order they are merged. */
#ifndef HUDI_LOG_SCAN_H
#define HUDI_LOG_SCAN_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"
#include "log_block.h"

struct log_blocks {
    struct log_block *items; /* Avro, Parquet and delete blocks */
    size_t count;
};

/* files   contents of the slice's log files in their order; the blocks point into them
 * counts  is the commit of this requested time part of the state?
 * Errors  of log_block_next; 0A000 HFile blocks, unknown commands */
MUST_USE bool log_scan(struct arena *a, const struct slice *files, size_t nfiles,
                       bool (*counts)(const void *arg, struct slice instant), const void *arg,
                       struct log_blocks *out, struct err *err);

#endif
