/* Signatures that Amazon published: the examples of "Authenticating Requests: Using the Authorization
 * Header" (S3 API reference) and the test suite of Signature Version 4, with their public keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "sigv4.h"

struct vector {
    const char *name;
    struct sigv4_request request;
    const char *time;
    const char *region, *service;
    const char *access_key, *secret;
    const char *signature;
};

#define HEADERS(...) ((const struct sigv4_header[]){__VA_ARGS__})
#define COUNT(...) (sizeof(HEADERS(__VA_ARGS__)) / sizeof(struct sigv4_header))
#define REQUEST(m, p, q, hash, ...)                                                                \
    {                                                                                              \
        m, p, q, HEADERS(__VA_ARGS__), COUNT(__VA_ARGS__), hash                                    \
    }
#define S3_HOST                                                                                    \
    {                                                                                              \
        "host", "examplebucket.s3.amazonaws.com"                                                   \
    }
#define S3_DATE                                                                                    \
    {                                                                                              \
        "x-amz-date", "20130524T000000Z"                                                           \
    }
#define S3_EMPTY                                                                                   \
    {                                                                                              \
        "x-amz-content-sha256", SIGV4_EMPTY_HASH                                                   \
    }
#define PUT_HASH "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
#define S3_KEYS                                                                                    \
    "20130524T000000Z", "us-east-1", "s3", "AKIAIOSFODNN7EXAMPLE",                                 \
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
#define SUITE_HOST                                                                                 \
    {                                                                                              \
        "host", "example.amazonaws.com"                                                            \
    }
#define SUITE_DATE                                                                                 \
    {                                                                                              \
        "x-amz-date", "20150830T123600Z"                                                           \
    }
#define SUITE_KEYS                                                                                 \
    "20150830T123600Z", "us-east-1", "service", "AKIDEXAMPLE",                                     \
        "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

static const struct vector vectors[] = {
    {"GET object",
     REQUEST("GET", "/test.txt", "", SIGV4_EMPTY_HASH, S3_HOST, {"range", "bytes=0-9"}, S3_EMPTY,
             S3_DATE),
     S3_KEYS, "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"},
    {"PUT object",
     REQUEST("PUT", "/test%24file.text", "", PUT_HASH, {"date", "Fri, 24 May 2013 00:00:00 GMT"},
             S3_HOST, {"x-amz-content-sha256", PUT_HASH}, S3_DATE,
             {"x-amz-storage-class", "REDUCED_REDUNDANCY"}),
     S3_KEYS, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"},
    {"GET bucket lifecycle",
     REQUEST("GET", "/", "lifecycle=", SIGV4_EMPTY_HASH, S3_HOST, S3_EMPTY, S3_DATE), S3_KEYS,
     "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"},
    {"GET bucket (list objects)",
     REQUEST("GET", "/", "max-keys=2&prefix=J", SIGV4_EMPTY_HASH, S3_HOST, S3_EMPTY, S3_DATE),
     S3_KEYS, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"},
    {"get-vanilla", REQUEST("GET", "/", "", SIGV4_EMPTY_HASH, SUITE_HOST, SUITE_DATE), SUITE_KEYS,
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"},
    {"get-vanilla-query-order-key-case",
     REQUEST("GET", "/", "Param1=value1&Param2=value2", SIGV4_EMPTY_HASH, SUITE_HOST, SUITE_DATE),
     SUITE_KEYS, "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500"},
    {"get-utf8", REQUEST("GET", "/%E1%88%B4", "", SIGV4_EMPTY_HASH, SUITE_HOST, SUITE_DATE),
     SUITE_KEYS, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
};

static void test_published(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        const struct vector *v = &vectors[i];
        struct sigv4_key key = {v->access_key, v->secret, v->region, v->service};
        struct buf b;
        buf_init(&b, 4096);
        assert_true(sigv4_write(&v->request, &key, v->time, &b));
        const char *text = buf_cstr(&b);
        const char *signature = strstr(text, "Signature=");
        assert_non_null(signature);
        if (strcmp(signature + 10, v->signature) != 0)
            fail_msg("%s: %s", v->name, text);
        buf_fini(&b);
    }
}

/* The whole header, as the S3 API reference prints it (there with line breaks). */
static void test_header(void **state)
{
    (void)state;
    const struct vector *v = &vectors[0];
    struct sigv4_key key = {v->access_key, v->secret, v->region, v->service};
    struct buf b;
    buf_init(&b, 4096);
    assert_true(sigv4_write(&v->request, &key, v->time, &b));
    assert_string_equal(buf_cstr(&b),
                        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/"
                        "aws4_request, SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, "
                        "Signature="
                        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
    buf_fini(&b);
}

static void test_limits(void **state)
{
    (void)state;
    char secret[600];
    memset(secret, 'x', sizeof secret);
    secret[sizeof secret - 1] = '\0';
    struct sigv4_key key = {"a", secret, "r", "s3"};
    struct buf b;
    buf_init(&b, 4096);
    assert_false(sigv4_write(&vectors[0].request, &key, "20130524T000000Z", &b));
    key.secret_access_key = "s";
    assert_false(sigv4_write(&vectors[0].request, &key, "2013", &b));
    buf_fini(&b);
}

static void expect_encoded(const char *text, bool keep_slash, const char *expected)
{
    struct buf b;
    buf_init(&b, 4096);
    sigv4_put_encoded(&b, slice_cstr(text), keep_slash);
    assert_string_equal(expected, buf_cstr(&b));
    buf_fini(&b);
}

/* Hudi's paths have "=" and "%" in them. */
static void test_encoding(void **state)
{
    (void)state;
    expect_encoded("dt=2024-01-01/a b", true, "dt%3D2024-01-01/a%20b");
    expect_encoded("a%2Fb/c+d", false, "a%252Fb%2Fc%2Bd");
    expect_encoded("\xc3\xa9~_-.", true, "%C3%A9~_-.");
    expect_encoded("", true, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published),
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
