/* The PROXY header of version 2: every kind, every truncation, and what must be refused. */
#include "proxy_header.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"

static char header[8192];

/* Builds one; `length` is what the length word says. */
static struct slice make(unsigned command, unsigned family, const void *body, size_t bytes,
                         size_t length)
{
    memcpy(header, "\r\n\r\n\0\r\nQUIT\n", 12);
    header[12] = (char)command;
    header[13] = (char)family;
    header[14] = (char)(length >> 8);
    header[15] = (char)length;
    memcpy(header + 16, body, bytes);
    return slice_of(header, 16 + bytes);
}

static const char v4[] = "\xc0\0\x02\x07\x0a\0\0\x01\xc8\x22\x19\x20";
static const char tlv[] = "\xc0\0\x02\x07\x0a\0\0\x01\xc8\x22\x19\x20\x02\0\x02hi\x04\0";

static void check_v4(const struct proxy_header *h)
{
    const struct sockaddr_in *a = (const struct sockaddr_in *)&h->source;
    assert_true(h->has_address);
    assert_int_equal(a->sin_family, AF_INET);
    assert_int_equal(ntohl(a->sin_addr.s_addr), 0xc0000207);
    assert_int_equal(ntohs(a->sin_port), 0xc822);
}

static void test_addresses(void **state)
{
    (void)state;
    struct proxy_header h;
    assert_int_equal(proxy_header_read(make(0x21, 0x11, v4, 12, 12), &h), PROXY_HEADER_OK);
    assert_int_equal(h.bytes, 28);
    check_v4(&h);
    assert_int_equal(proxy_header_read(make(0x21, 0x11, tlv, 20, 20), &h), PROXY_HEADER_OK);
    check_v4(&h);
    char v6[36] = {[0] = (char)0xfd, [15] = 9, [32] = 1, [33] = 2};
    assert_int_equal(proxy_header_read(make(0x21, 0x21, v6, 36, 36), &h), PROXY_HEADER_OK);
    const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&h.source;
    assert_int_equal(a->sin6_family, AF_INET6);
    assert_memory_equal(&a->sin6_addr, v6, 16);
    assert_int_equal(ntohs(a->sin6_port), 0x0102);
}

static void test_without_address(void **state)
{
    (void)state;
    struct proxy_header h;
    char body[216] = {0};
    assert_int_equal(proxy_header_read(make(0x20, 0x00, "", 0, 0), &h), PROXY_HEADER_OK);
    assert_false(h.has_address);
    assert_int_equal(h.bytes, 16);
    assert_int_equal(proxy_header_read(make(0x20, 0x11, v4, 12, 12), &h), PROXY_HEADER_OK);
    assert_false(h.has_address); /* LOCAL: the connection is the balancer's own */
    assert_int_equal(proxy_header_read(make(0x21, 0x00, "any", 3, 3), &h), PROXY_HEADER_OK);
    assert_false(h.has_address);
    assert_int_equal(proxy_header_read(make(0x21, 0x31, body, 216, 216), &h), PROXY_HEADER_OK);
    assert_false(h.has_address);
}

static void test_every_truncation_is_incomplete(void **state)
{
    (void)state;
    struct proxy_header h;
    struct slice all = make(0x21, 0x11, tlv, 20, 20);
    for (size_t n = 0; n < all.len; n++)
        assert_int_equal(proxy_header_read(slice_part(all, 0, n), &h), PROXY_HEADER_INCOMPLETE);
}

static void test_refused(void **state)
{
    (void)state;
    struct proxy_header h;
    char big[5000] = {0};
    assert_int_equal(proxy_header_read(slice_cstr("PROXY TCP4 1.2.3.4"), &h), PROXY_HEADER_BAD);
    assert_int_equal(proxy_header_read(slice_of("\0\0\0\x08\x04\xd2\x16\x2f", 8), &h),
                     PROXY_HEADER_BAD);
    assert_int_equal(proxy_header_read(slice_cstr("\r\n\r"), &h), PROXY_HEADER_INCOMPLETE);
    assert_int_equal(proxy_header_read(slice_cstr("\r\n\rx"), &h), PROXY_HEADER_BAD);
    static const struct {
        unsigned command, family;
        size_t bytes;
    } bad[] = {
        {0x11, 0x11, 12}, /* version 1 */
        {0x22, 0x11, 12}, /* no such command */
        {0x21, 0x12, 12}, /* UDP */
        {0x21, 0x41, 12}, /* no such family */
        {0x21, 0x11, 11}, /* too short for its addresses */
        {0x21, 0x21, 35},
        {0x21, 0x31, 215},
        {0x21, 0x11, 13}, /* an extension without a length */
        {0x20, 0x11, PROXY_HEADER_MAX_BYTES - 15},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(
            proxy_header_read(make(bad[i].command, bad[i].family, big, bad[i].bytes, bad[i].bytes),
                              &h),
            PROXY_HEADER_BAD);
    char too_long[20];
    memcpy(too_long, tlv, sizeof too_long);
    too_long[14] = 6; /* an extension that is longer than the header */
    assert_int_equal(proxy_header_read(make(0x21, 0x11, too_long, 20, 20), &h), PROXY_HEADER_BAD);
    assert_int_equal(
        proxy_header_read(
            make(0x20, 0x11, big, PROXY_HEADER_MAX_BYTES - 16, PROXY_HEADER_MAX_BYTES - 16), &h),
        PROXY_HEADER_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_without_address),
        cmocka_unit_test(test_every_truncation_is_incomplete),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
