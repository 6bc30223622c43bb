/* Log files made by hand, for the tests of their readers. */
#ifndef TEST_HUDI_LOG_FILE_H
#define TEST_HUDI_LOG_FILE_H

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "base/slice.h"

static inline void log_file_int(struct buf *b, uint64_t v, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        buf_append_byte(b, (char)(v >> (8 * i)));
}

struct log_file_header {
    uint32_t key;
    const char *value;
};

static inline void log_file_block(struct buf *b, uint32_t type,
                                  const struct log_file_header *headers, size_t n,
                                  struct slice content)
{
    struct buf body;
    buf_init(&body, 1 << 20);
    log_file_int(&body, 1, 4);
    log_file_int(&body, type, 4);
    log_file_int(&body, n, 4);
    for (size_t i = 0; i < n; i++) {
        log_file_int(&body, headers[i].key, 4);
        log_file_int(&body, strlen(headers[i].value), 4);
        buf_append_cstr(&body, headers[i].value);
    }
    log_file_int(&body, content.len, 8);
    buf_append_slice(&body, content);
    log_file_int(&body, 0, 4);
    buf_append_cstr(b, "#HUDI#");
    log_file_int(b, buf_length(&body) + 8, 8);
    buf_append_slice(b, buf_slice(&body));
    log_file_int(b, buf_length(&body) + 14, 8);
    buf_fini(&body);
}

/* A block of type Avro data with this instant; `content` need not be records. */
static inline void log_file_data(struct buf *b, const char *instant, const char *content)
{
    struct log_file_header h[] = {{0, instant}, {2, "{}"}};
    log_file_block(b, 3, h, 2, slice_cstr(content));
}

static inline void log_file_rollback(struct buf *b, const char *instant, const char *target)
{
    struct log_file_header h[] = {{0, instant}, {1, target}, {3, "0"}};
    log_file_block(b, 0, h, 3, slice_cstr(""));
}

static inline void log_file_compacted(struct buf *b, const char *instant, const char *times,
                                      const char *content)
{
    struct log_file_header h[] = {{0, instant}, {4, times}};
    log_file_block(b, 3, h, 2, slice_cstr(content));
}

#endif
