/* Header lines, listings and errors of stores, whole and damaged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "s3_answer.h"

static struct arena arena;

static int setup(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_fini(&arena);
    return 0;
}

static struct s3_head read_head(const char *const *lines, size_t count)
{
    struct s3_head h;
    s3_head_init(&h);
    for (size_t i = 0; i < count; i++)
        s3_head_read(&h, slice_cstr(lines[i]));
    return h;
}
#define HEAD(...)                                                                                  \
    read_head((const char *const[]){__VA_ARGS__},                                                  \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

static void test_headers(void **state)
{
    (void)state;
    struct s3_head h =
        HEAD("HTTP/1.1 206 Partial Content\r\n", "ETag: \"abc-2\"\r\n", "content-length:  100\r\n",
             "Content-Range: bytes 100-199/5000\r\n", "X-Amz-Bucket-Region: eu-west-1\r\n",
             "Retry-After: 3\r\n", "Date: Fri, 24 May 2013 00:00:00 GMT\r\n",
             "x-obs-request-id: 7\r\n", "\r\n");
    assert_int_equal(h.status, 206);
    assert_string_equal(h.etag, "abc-2");
    assert_int_equal(h.length, 100);
    assert_int_equal(h.range_from, 100);
    assert_int_equal(h.total, 5000);
    assert_string_equal(h.region, "eu-west-1");
    assert_int_equal(h.retry_after_s, 3);
    assert_string_equal(h.date, "Fri, 24 May 2013 00:00:00 GMT");
    assert_string_equal(h.request_id, "7");
}

static void test_odd_headers(void **state)
{
    (void)state;
    struct s3_head h = HEAD("HTTP/1.1 100 Continue", "ETag: \"old\"", "HTTP/1.1 200 OK",
                            "Content-Length: -5", "ETag: W/\"weak\"", "Content-Range: bytes */50",
                            "Retry-After: Fri, 24 May 2013 00:00:00 GMT", "nonsense", ": x", "");
    assert_int_equal(h.status, 200);
    assert_int_equal(h.length, -1);
    assert_string_equal(h.etag, "weak");
    assert_int_equal(h.range_from, -1);
    assert_int_equal(h.retry_after_s, -1);
    h = HEAD("HTTP/1.1 ", "Content-Length: 99999999999999999999", "ETag: plain",
             "Content-Range: bytes 5-9/x");
    assert_int_equal(h.status, 0);
    assert_int_equal(h.length, -1);
    assert_string_equal(h.etag, "plain");
    assert_int_equal(h.range_from, 5);
    assert_int_equal(h.total, -1);
}

static void test_page(void **state)
{
    (void)state;
    struct s3_page p;
    struct err err;
    const char *xml =
        "<?xml version='1.0'?>\n<ListBucketResult xmlns='http://s3.amazonaws.com/doc/2006-03-01/'>"
        "<Name>lake</Name><Prefix>t/</Prefix><KeyCount>2</KeyCount><IsTruncated>true</IsTruncated>"
        "<NextContinuationToken>a+/=</NextContinuationToken>"
        "<Contents><Size>12</Size><ETag>&quot;e1&quot;</ETag><Key>t/dt=1 &amp; 2/&lt;a&gt;</Key>"
        "<LastModified>2009-10-12T17:50:30.250Z</LastModified>"
        "<Owner><ID>x</ID><DisplayName>Key</DisplayName></Owner></Contents>"
        "<Contents><Key>t/b</Key><Size>0</Size></Contents>"
        "<CommonPrefixes><Prefix>t/c/</Prefix></CommonPrefixes></ListBucketResult>";
    assert_true(s3_page_read(&arena, slice_cstr(xml), &p, &err));
    assert_int_equal(p.count, 2);
    assert_string_equal(p.objects[0].key, "t/dt=1 & 2/<a>");
    assert_string_equal(p.objects[0].etag, "e1");
    assert_int_equal(p.objects[0].size_bytes, 12);
    assert_int_equal(p.objects[0].modified_ms, 1255369830250);
    assert_string_equal(p.objects[1].key, "t/b");
    assert_string_equal(p.objects[1].etag, "");
    assert_int_equal(p.objects[1].modified_ms, 0);
    assert_int_equal(p.prefix_count, 1);
    assert_string_equal(p.prefixes[0], "t/c/");
    assert_true(p.more);
    assert_string_equal(p.next_token, "a+/=");
    assert_null(p.next_marker);
}

static void test_many_entries(void **state)
{
    (void)state;
    struct s3_page p;
    struct err err;
    struct buf b;
    buf_init(&b, (size_t)1 << 20);
    buf_append_cstr(&b, "<s3:ListBucketResult xmlns:s3='x'>");
    for (int i = 0; i < 1000; i++)
        buf_printf(&b, "<s3:Contents><s3:Key>k%d</s3:Key><s3:Size>%d</s3:Size></s3:Contents>", i,
                   i);
    buf_append_cstr(&b, "</s3:ListBucketResult>");
    assert_true(s3_page_read(&arena, buf_slice(&b), &p, &err));
    assert_int_equal(p.count, 1000);
    assert_string_equal(p.objects[999].key, "k999");
    assert_int_equal(p.objects[999].size_bytes, 999);
    assert_false(p.more);
    buf_fini(&b);
}

static void expect_bad_page(const char *xml)
{
    struct s3_page p;
    struct err err;
    if (s3_page_read(&arena, slice_cstr(xml), &p, &err))
        fail_msg("taken: %s", xml);
    assert_string_equal(err.sqlstate, SQLSTATE_IO_ERROR);
}

static void test_bad_pages(void **state)
{
    (void)state;
    expect_bad_page("");
    expect_bad_page("<ListBucketResult>");
    expect_bad_page("<html><body>login</body></html>");
    expect_bad_page("<ListBucketResult><Contents><Key>a</Key></Contents></ListBucketResult>");
    expect_bad_page("<ListBucketResult><Contents><Key>a</Key><Size>1e9</Size></Contents>"
                    "</ListBucketResult>");
    expect_bad_page("<ListBucketResult><Contents><Size>1</Size></Contents></ListBucketResult>");
    expect_bad_page("<!DOCTYPE x [<!ENTITY a 'aaaa'>]><ListBucketResult>&a;</ListBucketResult>");
    expect_bad_page("<!DOCTYPE x SYSTEM 'file:///etc/passwd'><ListBucketResult/>");
    expect_bad_page("<ListBucketResult>&nosuch;</ListBucketResult>");
    expect_bad_page(
        "<a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a><a></a></a></a></a></a></a></a>"
        "</a></a></a></a></a></a></a></a></a></a>");
}

static void test_faults(void **state)
{
    (void)state;
    struct s3_fault f;
    s3_fault_read(slice_cstr("<Error><Code>RequestTimeTooSkewed</Code><Message> late </Message>"
                             "<Region>eu-west-1</Region><Endpoint>b.example</Endpoint>"
                             "<ServerTime>2013-05-24T00:00:00Z</ServerTime></Error>"),
                  &f);
    assert_string_equal(f.code, "RequestTimeTooSkewed");
    assert_string_equal(f.message, "late");
    assert_string_equal(f.region, "eu-west-1");
    assert_string_equal(f.endpoint, "b.example");
    assert_string_equal(f.server_time, "2013-05-24T00:00:00Z");
    s3_fault_read(slice_cstr("<Error><Code>Slow"), &f);
    assert_string_equal(f.code, "");
    s3_fault_read(slice_cstr("busy"), &f);
    assert_string_equal(f.code, "");
    s3_fault_read(slice_cstr(""), &f);
    assert_string_equal(f.code, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),   cmocka_unit_test(test_odd_headers),
        cmocka_unit_test(test_page),      cmocka_unit_test(test_many_entries),
        cmocka_unit_test(test_bad_pages), cmocka_unit_test(test_faults),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
