/* Sixteen bytes: a signature that no protocol begins with, version and command, family and transport, the
 * length of the rest. Then source and destination address, then extensions (type, length, value), whose
 * layout is checked and whose meaning is not ours. */
#include "proxy_header.h"

#include <netinet/in.h>
#include <string.h>

#define FIXED_BYTES 16u

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";
#define SIGNATURE_BYTES (sizeof signature - 1)

enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { UNSPECIFIED = 0x00, TCP_V4 = 0x11, TCP_V6 = 0x21, UNIX_STREAM = 0x31 };

static size_t number_at(struct slice data, size_t at)
{
    const unsigned char *p = (const unsigned char *)data.data + at;
    return (size_t)p[0] << 8 | p[1];
}

/* Bytes of both addresses and ports; false: a family that a stream does not have. */
static bool address_bytes(unsigned family, size_t *out)
{
    switch (family) {
    case UNSPECIFIED: *out = 0; return true;
    case TCP_V4: *out = 12; return true;
    case TCP_V6: *out = 36; return true;
    case UNIX_STREAM: *out = 216; return true;
    default: return false;
    }
}

static bool extensions_fit(struct slice rest)
{
    while (rest.len > 0) {
        if (rest.len < 3 || number_at(rest, 1) > rest.len - 3)
            return false;
        rest = slice_part(rest, 3 + number_at(rest, 1), rest.len);
    }
    return true;
}

static void read_source(struct slice body, unsigned family, struct proxy_header *out)
{
    if (family == TCP_V4) {
        struct sockaddr_in *v4 = (struct sockaddr_in *)&out->source;
        v4->sin_family = AF_INET;
        memcpy(&v4->sin_addr, body.data, 4);
        memcpy(&v4->sin_port, body.data + 8, 2);
    } else if (family == TCP_V6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&out->source;
        v6->sin6_family = AF_INET6;
        memcpy(&v6->sin6_addr, body.data, 16);
        memcpy(&v6->sin6_port, body.data + 32, 2);
    }
    out->has_address = family == TCP_V4 || family == TCP_V6;
}

enum proxy_header_verdict proxy_header_read(struct slice data, struct proxy_header *out)
{
    size_t n = data.len < SIGNATURE_BYTES ? data.len : SIGNATURE_BYTES;
    size_t addresses;
    memset(out, 0, sizeof *out);
    if (n > 0 && memcmp(data.data, signature, n) != 0)
        return PROXY_HEADER_BAD;
    if (data.len < FIXED_BYTES)
        return PROXY_HEADER_INCOMPLETE;
    unsigned command = (unsigned char)data.data[12], family = (unsigned char)data.data[13];
    size_t length = number_at(data, 14);
    if ((command != COMMAND_LOCAL && command != COMMAND_PROXY) ||
        FIXED_BYTES + length > PROXY_HEADER_MAX_BYTES)
        return PROXY_HEADER_BAD;
    if (data.len < FIXED_BYTES + length)
        return PROXY_HEADER_INCOMPLETE;
    out->bytes = FIXED_BYTES + length;
    if (command == COMMAND_LOCAL)
        return PROXY_HEADER_OK;
    struct slice body = slice_part(data, FIXED_BYTES, out->bytes);
    if (!address_bytes(family, &addresses) || body.len < addresses ||
        (family != UNSPECIFIED && !extensions_fit(slice_part(body, addresses, body.len))))
        return PROXY_HEADER_BAD;
    read_source(body, family, out);
    return PROXY_HEADER_OK;
}
