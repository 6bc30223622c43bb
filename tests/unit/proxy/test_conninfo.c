/* Connection strings in both forms, and password files. */
#include "conninfo.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static struct conninfo reads(const char *text)
{
    struct conninfo c;
    struct err err;
    if (!conninfo_read(text, &c, &err))
        fail_msg("%s: %s", text, err.message);
    return c;
}

static void test_pairs(void **state)
{
    (void)state;
    struct conninfo c =
        reads("  host=10.0.0.7 port = 5433 user='the user'\tpassword='it\\'s \\\\'  ");
    assert_string_equal(c.host, "10.0.0.7");
    assert_int_equal(c.port, 5433);
    assert_string_equal(c.user, "the user");
    assert_string_equal(c.password, "it's \\");
    c = reads("user=u hostaddr=::1 host=name dbname=x connect_timeout=3 sslmode=prefer");
    assert_string_equal(c.host, "::1");
    assert_string_equal(c.named_host, "name");
    assert_int_equal(c.port, 5432);
    c = reads("user=u");
    assert_string_equal(c.host, "/var/run/postgresql");
    c = reads("host='' port='' user=u password=a\\ b");
    assert_string_equal(c.host, "/var/run/postgresql");
    assert_string_equal(c.password, "a b");
}

static void test_uris(void **state)
{
    (void)state;
    struct conninfo c =
        reads("postgresql://us%65r:p%40ss%3Aword@db.example:6000/any?sslmode=disable");
    assert_string_equal(c.host, "db.example");
    assert_int_equal(c.port, 6000);
    assert_string_equal(c.user, "user");
    assert_string_equal(c.password, "p@ss:word");
    c = reads("postgres://u@[::1]:7/");
    assert_string_equal(c.host, "::1");
    assert_int_equal(c.port, 7);
    c = reads("postgresql:///db?host=/run/pg&user=u&passfile=/x");
    assert_string_equal(c.host, "/run/pg");
    assert_string_equal(c.passfile, "/x");
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "host=h",
        "user",
        "user=",
        "user='u",
        "user=u port=0",
        "user=u port=65536",
        "user=u port=5432x",
        "user=u host=a,b",
        "user=u nonsense=1",
        "user=u service=x",
        "postgresql://u:%4@h",
        "postgresql://u:%zz@h",
        "postgresql://u:a%00b@h",
        "postgresql://u@h1,h2/",
        "postgresql://u@h:port/",
    };
    struct conninfo c;
    struct err err;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (conninfo_read(bad[i], &c, &err))
            fail_msg("\"%s\" was read", bad[i]);
        assert_string_equal(err.sqlstate, SQLSTATE_CONFIG_FILE_ERROR);
    }
}

static void test_tls(void **state)
{
    (void)state;
    struct tls_settings s;
    struct conninfo c = reads("user=u host=h");
    assert_int_equal(c.sslmode, TLS_PREFER);
    c = reads(
        "user=u host=h sslmode=require channel_binding=prefer ssl_min_protocol_version=TLSv1.3");
    conninfo_tls(&c, &s);
    assert_int_equal(s.mode, TLS_REQUIRE);
    assert_string_equal(s.protocols, "tlsv1.3");
    c = reads(
        "postgresql://u@h/?sslmode=require&sslrootcert=/ca&sslcert=/crt&sslkey=/key&hostaddr=::1");
    conninfo_tls(&c, &s); /* the authority makes it verify-ca, as in libpq */
    assert_int_equal(s.mode, TLS_VERIFY_CA);
    assert_string_equal(s.ca_file, "/ca");
    assert_string_equal(s.cert_file, "/crt");
    assert_string_equal(s.key_file, "/key");
    assert_string_equal(s.host, "h");
    c = reads("user=u host=h sslmode=verify-full sslrootcert=system");
    struct err err;
    static const char *const bad[] = {
        "user=u sslmode=x",
        "user=u sslmode=verify-ca",
        "user=u sslmode=verify-ca sslrootcert=system",
        "user=u sslcrl=/crl",
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(conninfo_read(bad[i], &c, &err));
        assert_string_equal(err.sqlstate, SQLSTATE_CONFIG_FILE_ERROR);
    }
    assert_false(conninfo_read("user=u channel_binding=require", &c, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED);
}

static void test_long_values(void **state)
{
    (void)state;
    char text[2048] = "user=u password=";
    struct conninfo c;
    struct err err;
    size_t n = strlen(text);
    memset(text + n, 'x', CONNINFO_VALUE_BYTES - 1);
    assert_true(conninfo_read(text, &c, &err));
    memset(text + n, 'x', CONNINFO_VALUE_BYTES);
    assert_false(conninfo_read(text, &c, &err));
}

static void test_passfile(void **state)
{
    (void)state;
    static const char content[] = "# comment\n"
                                  "\n"
                                  "other:5432:*:u:no\n"
                                  "h\\:x:5432:*:u:no\n"
                                  "h:5432:db:u:fo\\:ur\\\\\r\n"
                                  "h:5432:*:u:any\n"
                                  "*:*:*:*:last";
    struct conninfo c = reads("host=h user=u");
    char out[64];
    struct slice file = slice_cstr(content);
    assert_true(conninfo_find_password(file, &c, slice_cstr("db"), out, sizeof out));
    assert_string_equal(out, "fo:ur\\");
    assert_true(conninfo_find_password(file, &c, slice_cstr("x"), out, sizeof out));
    assert_string_equal(out, "any");
    c = reads("host=other2 user=v");
    assert_true(conninfo_find_password(file, &c, slice_cstr("x"), out, sizeof out));
    assert_string_equal(out, "last");
    assert_false(conninfo_find_password(slice_cstr("h:1:2"), &c, slice_cstr("x"), out, 64));
    assert_false(conninfo_find_password(slice_of(NULL, 0), &c, slice_cstr("x"), out, 64));
    c = reads("user=u");
    assert_true(conninfo_find_password(slice_cstr("localhost:5432:*:u:sock"), &c, slice_cstr("d"),
                                       out, sizeof out));
    assert_string_equal(out, "sock");
}

static void test_passfiles_are_private(void **state)
{
    (void)state;
    char path[] = "/tmp/pgveneer-passfile-XXXXXX";
    struct buf content;
    struct err err;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "*:*:*:*:pw", 10), 10);
    buf_init(&content, CONNINFO_MAX_PASSFILE_BYTES);
    assert_true(conninfo_read_passfile(path, &content, &err));
    assert_true(slice_equals_cstr(buf_slice(&content), "*:*:*:*:pw"));
    assert_int_equal(fchmod(fd, 0640), 0);
    assert_false(conninfo_read_passfile(path, &content, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_CONFIG_FILE_ERROR);
    assert_int_equal(fchmod(fd, 0600), 0);
    assert_int_equal(ftruncate(fd, CONNINFO_MAX_PASSFILE_BYTES + 1), 0);
    assert_false(conninfo_read_passfile(path, &content, &err));
    close(fd);
    unlink(path);
    assert_false(conninfo_read_passfile(path, &content, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_UNDEFINED_FILE);
    buf_fini(&content);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),
        cmocka_unit_test(test_uris),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_tls),
        cmocka_unit_test(test_long_values),
        cmocka_unit_test(test_passfile),
        cmocka_unit_test(test_passfiles_are_private),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
