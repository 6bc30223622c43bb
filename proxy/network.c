/* Lists of networks, as they stand in settings. An address of which bits behind the mask are set is
 * refused, since 10.0.0.1/8 is more often a slip than a network. */
#include "network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

static const uint8_t v4_prefix[12] = {[10] = 0xff, [11] = 0xff};

static bool bit_of(const uint8_t *address, unsigned n)
{
    return (address[n / 8] >> (7 - n % 8) & 1) != 0;
}

static bool bad(struct slice text, struct err *err)
{
    return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "\"%.*s\" is no address or network",
                   (int)text.len, text.data);
}

/* One to three digits; false: something else. */
static bool read_bits(struct slice text, unsigned max, unsigned *out)
{
    unsigned n = 0;
    if (text.len == 0 || text.len > 3)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        n = n * 10 + (unsigned)(text.data[i] - '0');
    }
    *out = n;
    return n <= max;
}

static bool read_address(struct slice text, struct network *out, bool *is_v4)
{
    char copy[INET6_ADDRSTRLEN];
    if (text.len >= sizeof copy)
        return false;
    snprintf(copy, sizeof copy, "%.*s", (int)text.len, text.data);
    memcpy(out->address, v4_prefix, sizeof v4_prefix);
    *is_v4 = inet_pton(AF_INET, copy, out->address + sizeof v4_prefix) == 1;
    return *is_v4 || inet_pton(AF_INET6, copy, out->address) == 1;
}

static bool read_network(struct slice text, struct network *out, struct err *err)
{
    size_t slash = slice_find_byte(text, '/');
    bool is_v4;
    unsigned bits;
    if (!read_address(slice_part(text, 0, slash), out, &is_v4))
        return bad(text, err);
    bits = is_v4 ? 32 : 128;
    if (slash < text.len && !read_bits(slice_part(text, slash + 1, text.len), bits, &bits))
        return bad(text, err);
    out->bits = is_v4 ? bits + 96 : bits;
    for (unsigned n = out->bits; n < 128; n++) {
        if (!bit_of(out->address, n))
            continue;
        bad(text, err);
        return err_hint(err, "Bits behind the mask are set.");
    }
    return true;
}

bool network_read_list(struct slice text, struct network_list *out, struct err *err)
{
    out->count = 0;
    while (text.len > 0) {
        size_t n = slice_find_byte(text, ',');
        struct slice one = slice_trim(slice_part(text, 0, n));
        text = slice_part(text, n < text.len ? n + 1 : n, text.len);
        if (one.len == 0)
            continue;
        if (out->count == NETWORK_MAX_LIST)
            return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "more than %d networks",
                           NETWORK_MAX_LIST);
        if (!read_network(one, &out->items[out->count], err))
            return false;
        out->count++;
    }
    return true;
}

static bool contains(const struct network *n, const uint8_t address[16])
{
    for (unsigned i = 0; i < n->bits; i++)
        if (bit_of(n->address, i) != bit_of(address, i))
            return false;
    return true;
}

bool network_list_contains(const struct network_list *list, const struct sockaddr_storage *peer)
{
    uint8_t address[16];
    memcpy(address, v4_prefix, sizeof v4_prefix);
    if (peer->ss_family == AF_INET)
        memcpy(address + sizeof v4_prefix, &((const struct sockaddr_in *)peer)->sin_addr, 4);
    else if (peer->ss_family == AF_INET6)
        memcpy(address, &((const struct sockaddr_in6 *)peer)->sin6_addr, 16);
    else
        return false;
    for (size_t i = 0; i < list->count; i++)
        if (contains(&list->items[i], address))
            return true;
    return false;
}
