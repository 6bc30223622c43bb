/* The configuration: every way to be wrong is told with file and line, all at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "config.h"

struct fixture {
    struct config config;
    struct config_errors errors;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct err err;
    assert_non_null(f);
    assert_true(config_init(&f->config, &err));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    config_fini(&f->config);
    free(f);
    return 0;
}

static void read_text(struct fixture *f, const char *text)
{
    config_read_text(&f->config, "x.conf", slice_cstr(text), &f->errors);
}

static void test_defaults(void **state)
{
    struct fixture *f = *state;
    assert_string_equal(f->config.listen_addr, "127.0.0.1");
    assert_int_equal(f->config.listen_port, 6432);
    assert_int_equal(f->config.hudi_sync_max_commits, -1);
    assert_false(f->config.allow_trust_backend);
    config_check(&f->config, &f->errors);
    assert_int_equal(f->errors.count, 0);
}

static void test_values(void **state)
{
    struct fixture *f = *state;
    read_text(f, "# a comment, with listen_port = 1\n"
                 "listen_port = 7000   # behind a value\n"
                 "\n"
                 "backend = /run/postgresql\r\n"
                 "service='host=/tmp user=svc password=''\n" /* an odd quote: the next is wrong */
                 "service = 'host=/tmp user=svc password=\\'x y\\''\n"
                 "allow_trust_backend = ON\n"
                 "listen_addr = '*'\n"
                 "hudi_local_roots = '/data, /more'\n"
                 "listen_port = 7001");
    assert_int_equal(f->errors.count, 1);
    assert_non_null(strstr(f->errors.items[0].message, "x.conf:5: "));
    assert_int_equal(f->config.listen_port, 7001);
    assert_string_equal(f->config.backend, "/run/postgresql");
    assert_string_equal(f->config.service, "host=/tmp user=svc password='x y'");
    assert_string_equal(f->config.listen_addr, "*");
    assert_string_equal(f->config.hudi_local_roots, "/data, /more");
    assert_true(f->config.allow_trust_backend);
}

static void test_all_errors(void **state)
{
    struct fixture *f = *state;
    read_text(f, "listen_prot = 6432\n"
                 "listen_port = 65536\n"
                 "listen_port = many\n"
                 "log_level = loud\n"
                 "allow_trust_backend = perhaps\n"
                 "entirely_unlike_anything = 1\n"
                 "threads =\n"
                 "threads 4\n"
                 "task_slots = 4 5\n"
                 "threads = 3\n");
    assert_int_equal(f->errors.count, 9);
    assert_string_equal(f->errors.items[0].message, "x.conf:1: unknown setting \"listen_prot\"");
    assert_string_equal(f->errors.items[0].hint, "The nearest name is \"listen_port\".");
    assert_string_equal(f->errors.items[1].message,
                        "x.conf:2: 65536 is outside the range of \"listen_port\" (0 to 65535)");
    assert_string_equal(f->errors.items[2].message,
                        "x.conf:3: \"listen_port\" needs a whole number, not \"many\"");
    assert_string_equal(f->errors.items[3].message,
                        "x.conf:4: \"log_level\" is one of error,warning,info,debug, not \"loud\"");
    assert_string_equal(f->errors.items[4].message,
                        "x.conf:5: \"allow_trust_backend\" is on or off, not \"perhaps\"");
    assert_string_equal(f->errors.items[5].hint, "");
    assert_int_equal(f->config.listen_port, 6432);
    assert_int_equal(f->config.threads, 3);
}

static void test_missing_features(void **state)
{
    struct fixture *f = *state;
    read_text(f, "stats_users = anna\n"
                 "admin_users = anna\n"
                 "admin_users = \"\"\n");
    assert_int_equal(f->errors.count, 2);
    for (size_t i = 0; i < f->errors.count; i++)
        assert_string_equal(f->errors.items[i].sqlstate, SQLSTATE_FEATURE_NOT_SUPPORTED);
    assert_string_equal(f->errors.items[0].hint,
                        "It belongs to the admin console, which comes with a later release.");
}

static void test_authentication_needs_service(void **state)
{
    struct fixture *f = *state;
    read_text(f, "auth = terminate\n");
    config_check(&f->config, &f->errors);
    assert_int_equal(f->errors.count, 1);
    assert_string_equal(f->errors.items[0].message,
                        "\"auth = terminate\" and \"keep_client_keys\" need \"service\"");
    read_text(f, "auth = relay\nkeep_client_keys = on\n");
    config_check(&f->config, &f->errors);
    assert_int_equal(f->errors.count, 2);
    read_text(f, "service = 'host=/tmp user=service'\n");
    config_check(&f->config, &f->errors);
    assert_int_equal(f->errors.count, 2);
}

static void test_assignments(void **state)
{
    struct fixture *f = *state;
    config_read_assignment(&f->config, "listen_port=7002", &f->errors);
    config_read_assignment(&f->config, "service=host=/tmp user=a", &f->errors);
    assert_int_equal(f->errors.count, 0);
    assert_int_equal(f->config.listen_port, 7002);
    assert_string_equal(f->config.service, "host=/tmp user=a");
    config_read_assignment(&f->config, "listen_port", &f->errors);
    config_read_assignment(&f->config, "log_levle=info", &f->errors);
    config_read_assignment(&f->config, "threads=-1", &f->errors);
    assert_int_equal(f->errors.count, 3);
    assert_string_equal(f->errors.items[1].message, "--set: unknown setting \"log_levle\"");
    assert_string_equal(f->errors.items[1].hint, "The nearest name is \"log_level\".");
}

static void test_check(void **state)
{
    struct fixture *f = *state;
    read_text(f, "backend = 'host=a user=b password = \\'c dbname=d\\''\n"
                 "service = 'host=a dbname=d'\n"
                 "listen_addr = ''\n"
                 "hudi_local_roots = '/a,b'\n");
    assert_int_equal(f->errors.count, 0);
    config_check(&f->config, &f->errors);
    assert_int_equal(f->errors.count, 4); /* nowhere, user in backend, dbname in service, "b" */
}

static void test_backend(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        unsigned port; /* 0: refused */
    } cases[] = {
        {"host=db.example port=5433", "db.example", 5433},
        {"port = '5433' host = 'a b'", "a b", 5433},
        {"/run/postgresql", "/run/postgresql", 5432},
        {"host=/tmp", "/tmp", 5432},
        {"host=a user=b", "", 0},
        {"host=a password=b", "", 0},
        {"port=0", "", 0},
        {"port=65536", "", 0},
        {"db.example", "", 0},
        {"", "", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct config_backend b;
        struct err err;
        bool ok = config_read_backend(cases[i].text, &b, &err);
        assert_int_equal(ok, cases[i].port != 0);
        if (ok)
            assert_string_equal(b.host, cases[i].host);
        if (ok)
            assert_int_equal(b.port, cases[i].port);
    }
}

static void test_too_many_errors(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < CONFIG_MAX_ERRORS + 3; i++)
        read_text(f, "x = 1\n");
    assert_int_equal(f->errors.count, CONFIG_MAX_ERRORS);
    assert_int_equal(f->errors.dropped, 3);
}

static void test_no_file(void **state)
{
    struct fixture *f = *state;
    config_read_file(&f->config, "/nonexistent/x.conf", &f->errors);
    assert_int_equal(f->errors.count, 1);
    assert_non_null(strstr(f->errors.items[0].message, "/nonexistent/x.conf"));
}

static void test_round_trip(void **state)
{
    struct fixture *f = *state;
    struct config other;
    struct err err;
    struct buf text;
    config_read_assignment(&f->config, "service=password='it\\'s # \"${HOME}\" \\\\ $x'",
                           &f->errors);
    config_read_assignment(&f->config, "listen_addr=*,::1", &f->errors);
    config_read_assignment(&f->config, "allow_trust_backend=on", &f->errors);
    buf_init(&text, 1 << 16);
    assert_true(config_write(&f->config, &text));
    assert_true(config_init(&other, &err));
    config_read_text(&other, "copy", buf_slice(&text), &f->errors);
    assert_int_equal(f->errors.count, 0);
    assert_string_equal(other.service, f->config.service);
    assert_string_equal(other.listen_addr, "*,::1");
    assert_true(other.allow_trust_backend);
    config_fini(&other);
    buf_fini(&text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_values, setup, teardown),
        cmocka_unit_test_setup_teardown(test_all_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_missing_features, setup, teardown),
        cmocka_unit_test_setup_teardown(test_authentication_needs_service, setup, teardown),
        cmocka_unit_test_setup_teardown(test_assignments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check, setup, teardown),
        cmocka_unit_test(test_backend),
        cmocka_unit_test_setup_teardown(test_too_many_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_no_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_round_trip, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
