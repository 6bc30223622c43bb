/* The first packets of a client: whatever arrives, in whatever pieces, the verdict is the same and
 * points into the packet. The first byte chooses what was done before. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "startup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_slice(struct slice s, struct slice packet)
{
    if (s.data == NULL && s.len == 0)
        return;
    if (s.data < packet.data || s.data + s.len > packet.data + packet.len)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    bool ssl_done = (data[0] & 1) != 0;
    bool gss_done = (data[0] & 2) != 0;
    char *copy = malloc(size); /* of its exact size, so that the sanitizer sees a read beyond it */
    memcpy(copy, data + 1, size - 1);
    struct slice all = slice_of(copy, size - 1);
    struct startup_packet whole = startup_read(all, ssl_done, gss_done);
    if (whole.bytes > all.len)
        abort();
    check_slice(whole.user, all);
    check_slice(whole.dbname, all);
    for (size_t cut = 0; cut < all.len && cut < 64; cut++) {
        struct startup_packet part = startup_read(slice_of(all.data, cut), ssl_done, gss_done);
        if (part.kind != STARTUP_INCOMPLETE && part.kind != whole.kind)
            abort();
        if (part.kind == STARTUP_INCOMPLETE && whole.kind != STARTUP_INCOMPLETE &&
            whole.kind != STARTUP_NONSENSE && cut >= whole.bytes)
            abort();
    }
    free(copy);
    return 0;
}
