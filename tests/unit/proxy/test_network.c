/* Networks and lists of them; IPv4 compares with IPv4 in IPv6. */
#include "network.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool contains(const char *list, const char *address)
{
    struct network_list networks;
    struct err err;
    struct sockaddr_storage peer = {0};
    struct sockaddr_in *v4 = (struct sockaddr_in *)&peer;
    struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)&peer;
    if (!network_read_list(slice_cstr(list), &networks, &err))
        fail_msg("%s: %s", list, err.message);
    if (inet_pton(AF_INET, address, &v4->sin_addr) == 1)
        v4->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, address, &v6->sin6_addr) == 1)
        v6->sin6_family = AF_INET6;
    else
        peer.ss_family = AF_UNIX;
    return network_list_contains(&networks, &peer);
}

static void test_contains(void **state)
{
    (void)state;
    assert_true(contains("10.0.0.7", "10.0.0.7"));
    assert_false(contains("10.0.0.7", "10.0.0.6"));
    assert_true(contains("10.0.0.0/8", "10.255.0.1"));
    assert_false(contains("10.0.0.0/8", "11.0.0.1"));
    assert_true(contains("192.0.2.128/25", "192.0.2.200"));
    assert_false(contains("192.0.2.128/25", "192.0.2.100"));
    assert_true(contains("0.0.0.0/0", "1.2.3.4"));
    assert_false(contains("0.0.0.0/0", "::1"));
    assert_true(contains("::/0", "::1"));
    assert_true(contains(" fd00::/8 , 10.0.0.7,", "fd12::1"));
    assert_true(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
    assert_true(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
    assert_false(contains("", "10.0.0.7"));
    assert_false(contains("::/0", "a unix socket"));
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "10.0.0",        "10.0.0.0/33", "::/129",     "10.0.0.1/8", "10.0.0.0/",
        "10.0.0.0/0008", "name",        "10.0.0.0/x", "fd00::1/8",  "/8"};
    struct network_list networks;
    struct err err;
    char many[1024] = "";
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (network_read_list(slice_cstr(bad[i]), &networks, &err))
            fail_msg("\"%s\" was read", bad[i]);
        assert_string_equal(err.sqlstate, SQLSTATE_CONFIG_FILE_ERROR);
    }
    for (size_t i = 0; i <= NETWORK_MAX_LIST; i++) {
        assert_int_equal(network_read_list(slice_cstr(many), &networks, &err), true);
        snprintf(many + strlen(many), sizeof many - strlen(many), "10.0.0.7,");
    }
    assert_false(network_read_list(slice_cstr(many), &networks, &err));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_contains),
                                       cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
