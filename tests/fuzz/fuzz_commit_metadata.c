/* Commit metadata of any content: JSON and Avro containers. */
#include <stdint.h>
#include <stdlib.h>

#include "commit_metadata.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct commit_metadata m;
    struct err err;
    arena_init(&a, (size_t)256 << 20);
    if (commit_metadata_read(&a, slice_of((const char *)data, size), &m, &err)) {
        for (size_t i = 0; i < m.nstats; i++)
            if (m.stats[i].file_id == NULL || m.stats[i].partition == NULL)
                abort();
        for (size_t i = 0; i < m.nreplaced; i++)
            if (m.replaced[i].file_id == NULL)
                abort();
    } else if (!err_is_set(&err)) {
        abort();
    }
    arena_fini(&a);
    return 0;
}
