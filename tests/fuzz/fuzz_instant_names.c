/* File names of timelines and partitions. */
#include <stdint.h>
#include <stdlib.h>

#include "file_view.h"
#include "timeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice name = slice_of((const char *)data, size);
    struct instant_name instant;
    struct base_file_name file;
    char key[INSTANT_KEY_SIZE];
    for (int layout = 1; layout <= 2; layout++)
        if (instant_name_read(name, layout, &instant) && instant.requested.len != 14 &&
            instant.requested.len != 17)
            abort();
    if (base_file_name_read(name, &file) &&
        (slice_is_empty(file.file_id) || file.instant.len < 14 || file.instant.len > 17))
        abort();
    char *text = malloc(size + 1);
    if (text == NULL)
        return 0;
    if (size > 0)
        memcpy(text, data, size);
    text[size] = '\0';
    if (instant_key_read(text, key))
        (void)instant_time_ms(text);
    free(text);
    return 0;
}
