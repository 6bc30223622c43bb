#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "task/job_main.h"

/* What waitpid would say. */
static int exited(int code)
{
    return code << 8;
}

static struct process ended(int status, bool told_to_stop)
{
    struct process p = {.state = PROCESS_RUNNING, .pid = 1, .told_to_stop = told_to_stop};
    process_on_end(&p, status, 5);
    return p;
}

static void a_settled_end_frees_the_slot(void **state)
{
    (void)state;
    assert_int_equal(ended(exited(JOB_EXIT_SETTLED), false).state, PROCESS_FREE);
    assert_int_equal(ended(exited(JOB_EXIT_NO_DATABASE), false).state, PROCESS_FREE);
}

static void a_crash_is_told(void **state)
{
    (void)state;
    struct process p = ended(SIGKILL, false);
    assert_int_equal(p.state, PROCESS_ENDED);
    assert_int_equal(p.ended_ms, 5);
    assert_string_equal(p.crash, "job process ended by signal 9");
    assert_string_equal(ended(SIGSEGV | 0x80, false).crash, "job process ended by signal 11");
    assert_string_equal(ended(exited(17), false).crash, "job process ended with exit code 17");
    assert_string_equal(ended(exited(JOB_EXIT_STUCK), false).crash,
                        "job process ended with exit code 4");
    assert_string_equal(ended(exited(127), false).crash, "job process could not be started");
}

static void an_end_that_was_asked_for_is_no_crash(void **state)
{
    (void)state;
    struct process p = ended(SIGKILL, true);
    assert_int_equal(p.state, PROCESS_ENDED);
    assert_string_equal(p.crash, "");
}

static void the_configuration_reaches_the_child_and_no_other_place(void **state)
{
    struct claim claim = {.task_id = "t1", .fencing = 7};
    struct process p = {0};
    struct err err;
    int status;
    (void)state;
    int fd = process_config_open("service = 'password=secret'\n", &err);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "x", 1), -1); /* sealed */
    assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
    /* test(1) as the program: "job" is no operator, so it fails; the point is that it starts */
    assert_true(process_start(&p, "/usr/bin/test", fd, "d", &claim, &err));
    assert_int_equal(p.state, PROCESS_RUNNING);
    assert_string_equal(p.dbname, "d");
    assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
    assert_true(WIFEXITED(status));
    assert_int_not_equal(WEXITSTATUS(status), 127);
    close(fd);
}

static void a_program_that_is_not_there(void **state)
{
    struct claim claim = {.task_id = "t1", .fencing = 7};
    struct process p = {0};
    struct err err;
    int status;
    (void)state;
    int fd = process_config_open("", &err);
    assert_true(process_start(&p, "/nowhere/pgveneer", fd, "d", &claim, &err));
    assert_int_equal(waitpid(p.pid, &status, 0), p.pid);
    process_on_end(&p, status, 1);
    assert_string_equal(p.crash, "job process could not be started");
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_settled_end_frees_the_slot),
        cmocka_unit_test(a_crash_is_told),
        cmocka_unit_test(an_end_that_was_asked_for_is_no_crash),
        cmocka_unit_test(the_configuration_reaches_the_child_and_no_other_place),
        cmocka_unit_test(a_program_that_is_not_there),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
