/* The registry of endpoints: names, states, who may read what, what CHECK and the lists tell. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "endpoint.h"
#include "loop.h"

static struct endpoint_registry *registry;
static struct loop *loop;
static unsigned woken;

static void on_wake(void *who)
{
    (void)who;
    woken++;
}

static struct endpoint_declarer *declare(const char *user)
{
    struct endpoint_declarer_info info = {.loop = loop,
                                          .who = &woken,
                                          .wake = on_wake,
                                          .number = 7,
                                          .user = slice_cstr(user),
                                          .dbname = slice_cstr("db"),
                                          .host = slice_cstr("h"),
                                          .port = 6432,
                                          .pid = 5,
                                          .key = slice_of("1234", 4)};
    struct endpoint_declarer *d;
    struct err err;
    assert_true(endpoint_declarer_open(registry, &info, &d, &err));
    assert_int_equal(strlen(d->token), 34);
    return d;
}

static struct endpoint_cursor *publish(struct endpoint_declarer *d, const char *name, unsigned n)
{
    struct endpoint_cursor *c = endpoint_cursor_new(name);
    struct err err;
    assert_non_null(c);
    assert_true(endpoint_publish(registry, d, c, n, &err));
    return c;
}

static void keep(struct endpoint_party *p)
{
    (void)p;
}

static struct endpoint_party receiver(uint32_t pid)
{
    struct endpoint_party p = {
        .loop = loop, .who = &woken, .wake = on_wake, .pid = pid, .key_bytes = 4, .free_it = keep};
    atomic_init(&p.refs, 1);
    memcpy(p.key, "abcd", 4);
    return p;
}

static void check_says(struct endpoint_declarer *d, bool exists, bool finished,
                         const char *sqlstate)
{
    bool e, f;
    struct err err = {.sqlstate = ""};
    assert_int_equal(endpoint_check(registry, d, "c", &e, &f, &err), sqlstate == NULL);
    assert_int_equal(e, exists);
    assert_int_equal(f, finished);
    if (sqlstate != NULL)
        assert_string_equal(err.sqlstate, sqlstate);
}

static void test_states(void **state)
{
    (void)state;
    struct endpoint_declarer *d = declare("u");
    struct endpoint_cursor *c = publish(d, "c", 2);
    static struct endpoint_party one, two; /* mail of theirs is delivered at the end */
    one = receiver(1);
    two = receiver(2);
    struct endpoint *e, *e2;
    struct err err;
    bool finished;
    endpoint_receiver_open(registry, &one);
    endpoint_receiver_open(registry, &two);
    assert_true(endpoint_attach(registry, d, &one, "c_1", &e, &finished, &err));
    assert_false(endpoint_attach(registry, d, &two, "c_1", &e2, &finished, &err));
    assert_string_equal(err.message, "endpoint c_1 was already attached by receiver(pid: 1)");
    assert_false(endpoint_attach(registry, d, &one, "c_3", &e2, &finished, &err));
    assert_string_equal(err.sqlstate, "22023");
    endpoint_detach(e, true);
    check_says(d, true, false, NULL);
    assert_true(endpoint_attach(registry, d, &two, "c_2", &e2, &finished, &err));
    endpoint_detach(e2, false);
    endpoint_receiver_close(registry, &two);
    check_says(d, true, false, "57014");
    assert_false(
        endpoint_attach(registry, d, &one, "c_2", &(struct endpoint *){NULL}, &finished, &err));
    assert_string_equal(err.message, "failed to attach non-existing endpoint c_2");
    endpoint_withdraw(registry, d, c);
    assert_true(endpoint_is_withdrawn(e));
    check_says(d, false, true, NULL);
    endpoint_receiver_close(registry, &one);
    endpoint_unref(e);
    endpoint_unref(e2);
    endpoint_cursor_unref(c);
    endpoint_declarer_close(registry, d);
}

static bool list_has(struct endpoint_declarer *own, const char *user, bool super, const char *what)
{
    struct buf b;
    buf_init(&b, 65536);
    assert_true(endpoint_list(registry, "db", user, super, own, &b));
    bool has = strstr(buf_cstr(&b), what) != NULL;
    buf_fini(&b);
    return has;
}

static void test_lists_and_names(void **state)
{
    static const char stem[] = "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn";
    char name[80];
    (void)state;
    struct endpoint_declarer *d = declare("u"), *other = declare("v");
    snprintf(name, sizeof name, "%sab", stem);
    struct endpoint_cursor *a = publish(d, name, 1);
    snprintf(name, sizeof name, "%sac", stem);
    struct endpoint_cursor *b = publish(d, name, 1);
    struct endpoint_cursor *c = publish(other, "quo\"te", 1);
    snprintf(name, sizeof name, "\"%sa_1\"", stem);
    assert_true(list_has(d, "u", false, name));
    snprintf(name, sizeof name, "_%u_1\"", b->number); /* kept apart by the cursor's number */
    assert_true(list_has(d, "u", false, name));
    assert_true(list_has(d, "u", false, "\"own\":true"));
    assert_false(list_has(d, "u", false, "quo"));
    assert_true(list_has(d, "u", true, "quo\\\"te_1"));
    assert_true(list_has(NULL, "v", false, "\"own\":false"));
    assert_false(list_has(NULL, "w", false, "own"));
    struct endpoint_declarer *found[4];
    assert_int_equal(endpoint_find_declarers(registry, slice_cstr("u"), slice_cstr("db"), found, 4),
                     1);
    endpoint_party_unref(&found[0]->party);
    assert_int_equal(endpoint_find_declarers(registry, slice_cstr("u"), slice_cstr("x"), found, 4),
                     0);
    endpoint_declarer_close(registry, d);
    endpoint_declarer_close(registry, other);
    endpoint_cursor_unref(a);
    endpoint_cursor_unref(b);
    endpoint_cursor_unref(c);
}

static void test_cancel_and_places(void **state)
{
    (void)state;
    struct endpoint_declarer *d = declare("u");
    static struct endpoint_party one; /* mail of theirs is delivered at the end */
    one = receiver(9);
    endpoint_receiver_open(registry, &one);
    assert_false(endpoint_cancel(registry, 9, slice_of("abcx", 4)));
    assert_false(atomic_load(&one.is_canceled));
    assert_true(endpoint_cancel(registry, 9, slice_of("abcd", 4)));
    assert_true(atomic_load(&one.is_canceled));
    assert_false(endpoint_cancel(registry, 5, slice_of("1234", 4))); /* the server knows it too */
    assert_true(atomic_load(&d->party.is_canceled));
    endpoint_receiver_close(registry, &one);
    endpoint_declarer_close(registry, d);
    assert_true(endpoint_take_place(registry, "u", 2, 3));
    assert_true(endpoint_take_place(registry, "u", 2, 3));
    assert_false(endpoint_take_place(registry, "u", 2, 3));
    assert_true(endpoint_take_place(registry, "v", 2, 3));
    assert_false(endpoint_take_place(registry, "w", 2, 3));
    endpoint_give_place(registry, "u");
    assert_true(endpoint_take_place(registry, "w", 2, 3));
    endpoint_give_place(registry, "u");
    endpoint_give_place(registry, "v");
    endpoint_give_place(registry, "w");
}

/* 16384 endpoints in all; what is given back can be had again. */
static void test_limit(void **state)
{
    struct endpoint_declarer *d[16], *more = declare("more");
    struct endpoint_cursor *c[16], *refused = endpoint_cursor_new("c");
    struct err err;
    (void)state;
    assert_non_null(refused);
    for (size_t i = 0; i < ARRAY_LEN(d); i++) {
        d[i] = declare("u");
        c[i] = publish(d[i], "c", 1024);
    }
    assert_false(endpoint_publish(registry, more, refused, 1, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_PROGRAM_LIMIT_EXCEEDED);
    assert_string_equal(err.message, "failed to allocate endpoint");
    endpoint_withdraw(registry, d[3], c[3]);
    assert_true(endpoint_publish(registry, more, refused, 1024, &err));
    endpoint_cursor_unref(refused);
    endpoint_declarer_close(registry, more);
    for (size_t i = 0; i < ARRAY_LEN(d); i++) {
        endpoint_cursor_unref(c[i]);
        endpoint_declarer_close(registry, d[i]);
    }
}

static int set_up(void **state)
{
    struct err err;
    (void)state;
    return loop_new("test", &loop, &err) && endpoint_registry_new(&registry, &err) ? 0 : -1;
}

/* What was posted is delivered, so that the references in the mail are dropped. */
static int tear_down(void **state)
{
    (void)state;
    loop_stop(loop);
    loop_run(loop);
    loop_free(loop);
    endpoint_registry_free(registry);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states),
        cmocka_unit_test(test_lists_and_names),
        cmocka_unit_test(test_cancel_and_places),
        cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
