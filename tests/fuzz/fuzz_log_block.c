/* A log file of any content: its blocks in their order, what data blocks begin with, lists of deletes. */
#include <stdint.h>
#include <stdlib.h>

#include "log_rows.h"
#include "log_scan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static volatile unsigned sum; /* reads what is pointed at */

static void touch(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        sum += (unsigned char)s.data[i];
}

static void read_deletes(struct arena *a, const struct log_content *c)
{
    struct log_deletes list;
    struct log_delete d;
    struct err err = {0};
    bool found;
    if (!log_deletes_open(a, c, &list, &err)) {
        if (!err_is_set(&err))
            abort();
        return;
    }
    while (log_delete_next(&list, &d, &found, &err) && found) {
        touch(d.key);
        for (size_t i = 0; i < d.norders; i++)
            touch(d.orders[i].bytes);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct err err = {0};
    struct log_blocks blocks;
    struct log_content c;
    struct slice file = slice_of((const char *)data, size);
    arena_init(&a, (size_t)64 << 20);
    bool ok = log_scan(&a, &file, 1, NULL, NULL, &blocks, &err);
    if (!ok && !err_is_set(&err))
        abort();
    for (size_t i = 0; ok && i < blocks.count; i++) {
        touch(blocks.items[i].schema);
        touch(blocks.items[i].content);
        if (log_avro_content_read(blocks.items[i].content, &c, &err))
            touch(c.body);
        if (log_delete_content_read(blocks.items[i].content, &c, &err))
            read_deletes(&a, &c);
    }
    arena_fini(&a);
    return 0;
}
