/* Java properties of any content. */
#include <stdint.h>
#include <stdlib.h>

#include "properties.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct properties p;
    struct err err;
    arena_init(&a, (size_t)64 << 20);
    if (properties_read(&a, slice_of((const char *)data, size), &p, &err)) {
        for (size_t i = 0; i < p.count; i++)
            if (properties_find(&p, p.items[i].key) == NULL)
                abort();
        (void)properties_find_bool(&p, "hoodie.populate.meta.fields", true);
    }
    (void)!properties_read_raw(&a, slice_of((const char *)data, size), &p, &err);
    arena_fini(&a);
    return 0;
}
