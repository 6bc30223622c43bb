/* A NoticeResponse that may be a function's question: whatever the body is, what is taken for a message
 * lies inside it and holds nothing but the characters that are let through. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "asking.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice message;
    char *copy = malloc(size + 1); /* of its exact size but for a byte that is never read */
    if (copy == NULL)
        return 0;
    memcpy(copy, data, size);
    copy[size] = '!';
    if (asking_read(slice_of(copy, size), &message)) {
        if (message.data < copy || message.data + message.len > copy + size || message.len > 32768)
            abort();
        for (size_t i = 0; i < message.len; i++)
            if (strchr("'\"\\;-$ \n", message.data[i]) != NULL)
                abort();
    }
    free(copy);
    return 0;
}
