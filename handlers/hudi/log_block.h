/* Blocks of a Hudi log file: where each begins and ends, and what its headers say. Pure: no I/O, no
 * memory; everything points into the file's bytes.
 *
 * spec: Apache Hudi technical specification, "Log file format"; HoodieLogFileReader. */
#ifndef HUDI_LOG_BLOCK_H
#define HUDI_LOG_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

enum log_block_type {
    LOG_BLOCK_COMMAND = 0,
    LOG_BLOCK_DELETE = 1,
    LOG_BLOCK_CORRUPT = 2, /* written by a recovery, or found to be cut off */
    LOG_BLOCK_AVRO = 3,
    LOG_BLOCK_HFILE = 4,
    LOG_BLOCK_PARQUET = 5,
    LOG_BLOCK_CDC = 6
};

struct log_block {
    enum log_block_type type;
    size_t offset;                /* of its magic, in the file */
    struct slice instant;         /* empty where the header has none, so are the next ones */
    struct slice target_instant;  /* of a rollback */
    struct slice schema;          /* Avro schema, JSON */
    struct slice command;         /* "0": rollback */
    struct slice compacted_times; /* log compaction: "t1,t2": whose blocks this one replaces */
    bool is_partial;              /* records hold only the columns that change */
    struct slice content;
};

struct log_cursor {
    struct slice file;
    size_t at;
};

/* The next block; *found is false at the end of the file. A block that was not written to its end is
 * LOG_BLOCK_CORRUPT, and reading goes on at the next magic behind its beginning.
 * Errors   XX001 not a log file, or a block whose length is right and whose content is not;
 *          0A000 a format version or block type that is not known */
MUST_USE bool log_block_next(struct log_cursor *c, struct log_block *out, bool *found,
                             struct err *err);

/* What a data or delete block's content begins with. */
struct log_content {
    uint32_t version;
    uint32_t count;    /* Avro data: records */
    struct slice body; /* Avro data: {length, datum} count times; deletes: the list */
};

/* Errors   XX001 cut off; 0A000 a version that cannot be read */
MUST_USE bool log_avro_content_read(struct slice content, struct log_content *out, struct err *err);
MUST_USE bool log_delete_content_read(struct slice content, struct log_content *out,
                                      struct err *err);

/* "." file id "_" instant ".log." version ["_" write token]; layout 1: instant of the slice's base file,
 * layout 2: of the commit that wrote it. */
struct log_file_name {
    struct slice file_id;
    struct slice instant;
    uint32_t version;
    struct slice token; /* empty in old tables */
};

/* Is it the name of a log file? Those with CDC data (".cdc" behind) and .crc are not. */
bool log_file_name_read(struct slice name, struct log_file_name *out);

#endif
