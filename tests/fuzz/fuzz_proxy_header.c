/* The header of the PROXY protocol: any bytes get a verdict, and every piece of a header that is in order is
 * incomplete, never bad. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *copy =
        malloc(size + 1); /* of nearly its size, so that the sanitizer sees a read beyond it */
    struct proxy_header whole, part;
    memcpy(copy, data, size);
    enum proxy_header_verdict verdict = proxy_header_read(slice_of(copy, size), &whole);
    if (verdict == PROXY_HEADER_OK && (whole.bytes > size || whole.bytes > PROXY_HEADER_MAX_BYTES))
        abort();
    for (size_t cut = 0; cut < size && cut < 300; cut++) {
        enum proxy_header_verdict early = proxy_header_read(slice_of(copy, cut), &part);
        bool is_whole = verdict == PROXY_HEADER_OK && cut >= whole.bytes;
        if (verdict == PROXY_HEADER_OK &&
            early != (is_whole ? PROXY_HEADER_OK : PROXY_HEADER_INCOMPLETE))
            abort();
    }
    free(copy);
    return 0;
}
