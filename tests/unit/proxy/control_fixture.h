/* The asking side of tests of the control connection: two loops, and what an ask came to. */
#ifndef CONTROL_FIXTURE_H
#define CONTROL_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "control.h"
#include "loop.h"

#include "control_server.h"

/* The limit of asks that are answered: on a busy machine a SCRAM login takes its time. */
enum { PATIENT_MS = 30000 };

struct outcome {
    atomic_bool done;
    bool ok;
    struct err err;
    size_t nrows, ncolumns;
    char first[16], tag[32];
    bool second_is_null;
    pthread_t thread;
};

static struct loop *home, *asker;
static struct control *control;

static inline void on_done(void *arg, const struct control_result *result, const struct err *err)
{
    struct outcome *o = arg;
    o->ok = err == NULL;
    o->thread = pthread_self();
    if (err != NULL) {
        o->err = *err;
    } else {
        o->nrows = result->nrows;
        o->ncolumns = result->ncolumns;
        snprintf(o->tag, sizeof o->tag, "%s", result->tag);
    }
    if (err == NULL && result->nrows > 0) {
        snprintf(o->first, sizeof o->first, "%.*s", (int)result->values[0].bytes.len,
                 result->values[0].bytes.data);
        o->second_is_null = result->values[1].is_null;
    }
    o->done = true;
}

static inline bool comes_true(bool (*condition)(void *), void *arg)
{
    for (int i = 0; i < 60000; i++) {
        if (condition(arg))
            return true;
        usleep(1000);
    }
    return false;
}

static inline bool is_done(void *arg)
{
    return ((struct outcome *)arg)->done;
}

static inline void await(struct outcome *o)
{
    if (!comes_true(is_done, o))
        fail_msg("no answer within a minute");
    assert_false(pthread_equal(o->thread, pthread_self()));
}

static inline void ask(struct outcome *o, const char *sql)
{
    memset(o, 0, sizeof *o);
    assert_non_null(control_query(control, asker, slice_cstr("db"), sql, NULL, 0, on_done, o));
}

static inline void ask_install(struct outcome *o)
{
    memset(o, 0, sizeof *o);
    assert_non_null(control_install(control, asker, slice_cstr("db"), on_done, o));
}

static const struct migration migrations[] = {{"test", "001_test", "SELECT 1"}};
static const struct migration_list lists[] = {{migrations, 1}};

static inline void start_control(const char *service)
{
    struct err err;
    assert_true(loop_new("home", &home, &err));
    assert_true(loop_new("asker", &asker, &err));
    if (!control_new(home, service, lists, 1, &control, &err))
        fail_msg("%s", err.message);
    control_set_timeouts(control, PATIENT_MS, 60000);
}

static inline void start_loops(void)
{
    struct err err;
    assert_true(loop_start(home, &err));
    assert_true(loop_start(asker, &err));
}

static inline int setup(void **state)
{
    (void)state;
    char service[256];
    server.connections = server.notifies = server.installs = server.queries = server.cancels = 0;
    server.login = SCRAM;
    server.holds = false;
    snprintf(service, sizeof service, "host=127.0.0.1 port=%u user=service password='geheim'",
             (unsigned)server.port);
    start_control(service);
    return 0;
}

static inline int teardown(void **state)
{
    (void)state;
    server.holds = false;
    loop_stop(home);
    loop_stop(asker);
    loop_join(home);
    loop_join(asker);
    control_free(control);
    loop_free(home);
    loop_free(asker);
    return 0;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
