/* Addresses, folders and regions out of the options of a server. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "s3_place.h"

static struct s3_place read_place(struct objstore_s3_options o)
{
    struct s3_place p;
    struct err err;
    if (o.root == NULL)
        o.root = "/lake/t/";
    if (!s3_place_read(&o, &p, &err))
        fail_msg("%s %s: %s", o.address, o.root, err.message);
    return p;
}

static void expect_url(struct objstore_s3_options o, const char *key, const char *expected)
{
    struct s3_place p = read_place(o);
    struct buf b;
    buf_init(&b, 4096);
    buf_printf(&b, "%s://", p.tls ? "https" : "http");
    s3_place_put_host(&p, &b);
    s3_place_put_path(&p, key, &b);
    assert_string_equal(expected, buf_cstr(&b));
    buf_fini(&b);
}
#define OPTIONS(...) ((struct objstore_s3_options){__VA_ARGS__})

static void test_urls(void **state)
{
    (void)state;
    expect_url(OPTIONS(.address = "127.0.0.1:9000"), "t/dt=1/a",
               "http://127.0.0.1:9000/lake/t/dt%3D1/a");
    expect_url(OPTIONS(.address = "127.0.0.1:9000"), NULL, "http://127.0.0.1:9000/lake");
    expect_url(OPTIONS(.address = "store.local", .encrypt = "on"), "k",
               "https://store.local/lake/k");
    expect_url(OPTIONS(.address = "https://store.local:443/"), "k", "https://store.local/lake/k");
    expect_url(OPTIONS(.address = "http://store.local:443"), "k", "http://store.local:443/lake/k");
    expect_url(OPTIONS(.address = "[::1]:9000"), "k", "http://[::1]:9000/lake/k");
    expect_url(OPTIONS(.address = "s3.amazonaws.com"), NULL, "http://lake.s3.amazonaws.com/");
    expect_url(OPTIONS(.address = "obs.cn-north-4.myhuaweicloud.com", .encrypt = "on"), "a b",
               "https://lake.obs.cn-north-4.myhuaweicloud.com/a%20b");
    expect_url(OPTIONS(.address = "s3.amazonaws.com", .addressing = "path"), "k",
               "http://s3.amazonaws.com/lake/k");
    expect_url(OPTIONS(.address = "store.local", .addressing = "virtual"), "k",
               "http://lake.store.local/k");
    expect_url(OPTIONS(.address = "s3.amazonaws.com", .encrypt = "on", .root = "/my.lake/"), "k",
               "https://s3.amazonaws.com/my.lake/k");
}

static void test_prefix(void **state)
{
    (void)state;
    struct s3_place p = read_place(OPTIONS(.address = "h", .root = "/bucket/a/b=c/"));
    assert_string_equal(p.bucket, "bucket");
    assert_string_equal(p.prefix, "a/b=c/");
    p = read_place(OPTIONS(.address = "h", .root = "/bucket/"));
    assert_string_equal(p.prefix, "");
}

static void expect_region(const char *address, const char *region, const char *expected)
{
    struct s3_place p = read_place(OPTIONS(.address = address, .region = region));
    assert_string_equal(expected, p.region);
}

static void test_regions(void **state)
{
    (void)state;
    expect_region("127.0.0.1:9000", NULL, "us-east-1");
    expect_region("s3.store-x.local", NULL, "us-east-1");
    expect_region("s3.amazonaws.com", NULL, "us-east-1");
    expect_region("s3.eu-central-1.amazonaws.com", NULL, "eu-central-1");
    expect_region("s3-eu-west-1.amazonaws.com", NULL, "eu-west-1");
    expect_region("s3.dualstack.eu-west-1.amazonaws.com", NULL, "eu-west-1");
    expect_region("obs.cn-north-4.myhuaweicloud.com", NULL, "cn-north-4");
    expect_region("oss-cn-hangzhou-internal.aliyuncs.com", NULL, "cn-hangzhou");
    expect_region("s3.eu-central-1.amazonaws.com", "us-west-2", "us-west-2");
}

static void test_move(void **state)
{
    (void)state;
    struct s3_place p = read_place(OPTIONS(.address = "s3.amazonaws.com"));
    assert_false(s3_place_move(&p, "us-east-1"));
    assert_false(s3_place_move(&p, "evil.example/"));
    assert_true(s3_place_move(&p, "eu-west-1"));
    assert_string_equal(p.host, "s3.eu-west-1.amazonaws.com");
    assert_string_equal(p.region, "eu-west-1");
    p = read_place(OPTIONS(.address = "minio.local:9000"));
    assert_true(s3_place_move(&p, "rack-7"));
    assert_string_equal(p.host, "minio.local:9000");
}

static void expect_refused(struct objstore_s3_options o, const char *option)
{
    struct s3_place p;
    struct err err;
    if (o.root == NULL)
        o.root = "/lake/t/";
    if (s3_place_read(&o, &p, &err))
        fail_msg("taken: %s %s", o.address, o.root);
    assert_string_equal(err.sqlstate, SQLSTATE_INVALID_PARAMETER_VALUE);
    if (strstr(err.message, option) == NULL)
        fail_msg("%s", err.message);
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused(OPTIONS(.address = NULL), "address");
    expect_refused(OPTIONS(.address = "h:0"), "address");
    expect_refused(OPTIONS(.address = "h:70000"), "address");
    expect_refused(OPTIONS(.address = "h:8x"), "address");
    expect_refused(OPTIONS(.address = "user@h"), "address");
    expect_refused(OPTIONS(.address = "h/path"), "address");
    expect_refused(OPTIONS(.address = "h\r\nX: y"), "address");
    expect_refused(OPTIONS(.address = "ftp://h"), "address");
    expect_refused(OPTIONS(.address = "[::1"), "address");
    expect_refused(OPTIONS(.address = "https://h", .encrypt = "off"), "encrypt");
    expect_refused(OPTIONS(.address = "h", .root = "lake/t/"), "foldername");
    expect_refused(OPTIONS(.address = "h", .root = "/lake/t"), "foldername");
    expect_refused(OPTIONS(.address = "h", .root = "/lake"), "foldername");
    expect_refused(OPTIONS(.address = "h", .root = "/"), "foldername");
    expect_refused(OPTIONS(.address = "h", .root = "/la ke/t/"), "foldername");
    expect_refused(OPTIONS(.address = "h", .root = "/lake/../t/"), "foldername");
    expect_refused(OPTIONS(.address = "h", .root = "/lake/a//t/"), "foldername");
    expect_refused(OPTIONS(.address = "h", .region = "a/b"), "region");
    expect_refused(OPTIONS(.address = "h", .addressing = "x"), "addressing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_urls), cmocka_unit_test(test_prefix),  cmocka_unit_test(test_regions),
        cmocka_unit_test(test_move), cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
