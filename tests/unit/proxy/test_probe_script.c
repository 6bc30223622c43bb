/* The texts of `pgveneer probe`: inputs and steps are found, messages are those of the protocol. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "probe_script.h"
#include "probe_transcript.h"

static const struct probe_vars vars = {
    .user = "app", .dbname = "db", .id = "abcdefghij", .pid = 77, .n = 3};

/* The message of a line is these bytes. */
static void writes(const char *line, const char *want, size_t bytes)
{
    struct buf out;
    struct err err;
    buf_init(&out, 1 << 20);
    assert_true(probe_write_message(slice_cstr(line), &vars, &out, &err));
    assert_int_equal(buf_length(&out), bytes);
    assert_memory_equal(buf_data(&out), want, bytes);
    buf_fini(&out);
}

#define WRITES(line, want) writes(line, want, sizeof want - 1)

static void refuses(const char *line)
{
    struct buf out;
    struct err err;
    buf_init(&out, 1 << 20);
    assert_false(probe_write_message(slice_cstr(line), &vars, &out, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_SYNTAX_ERROR);
    buf_fini(&out);
}

static void test_messages(void **state)
{
    (void)state;
    WRITES("Q SELECT 1", "Q\0\0\0\x0dSELECT 1\0");
    WRITES("Q", "Q\0\0\0\5\0");
    WRITES("P - SELECT  $1", "P\0\0\0\x12\0SELECT  $1\0\0\0");
    WRITES("P a(23,25) x", "P\0\0\0\x12"
                           "a\0x\0\0\2\0\0\0\x17\0\0\0\x19");
    WRITES("B p s 'v w' NULL in=1 out=0,1",
           "B\0\0\0\x1f"
           "p\0s\0\0\1\0\1\0\2\0\0\0\3v w\xff\xff\xff\xff\0\2\0\0\0\1");
    WRITES("D S name", "D\0\0\0\x0aSname\0");
    WRITES("C P -", "C\0\0\0\6P\0");
    WRITES("E - 2", "E\0\0\0\x09\0\0\0\0\2");
    WRITES("S", "S\0\0\0\4");
    WRITES("d a\\tb\\n", "d\0\0\0\x08"
                         "a\tb\n");
    WRITES("f no", "f\0\0\0\7no\0");
    WRITES("F 7 '1' out=1", "F\0\0\0\x13\0\0\0\7\0\0\0\1\0\0\0\1"
                            "1\0\1");
    WRITES("msg ! x", "!\0\0\0\5x");
    WRITES("startup 3.2 user=\\{user} o='a b'", "\0\0\0\x18\0\3\0\2user\0app\0o\0a b\0\0");
    WRITES("startup 3.0 2*a=b", "\0\0\0\x11\0\3\0\0a\0b\0a\0b\0\0");
}

static void test_texts(void **state)
{
    (void)state;
    WRITES("raw \\x00\\xff\\\\\\'", "\0\xff\\'");
    WRITES("raw \\{2:258}\\{4:-1}", "\1\2\xff\xff\xff\xff");
    WRITES("raw \\{ab*3}\\{\\x01*2}\\{x*0}", "ababab\1\1");
    WRITES("raw \\{id} \\{dbname} \\{pid} \\{n}", "abcdefghij db 77 3");
}

static void test_what_is_wrong(void **state)
{
    static const char *const lines[] = {
        "nonsense", "Q \\q",    "Q \\{nosuch}", "Q \\{4:x}",        "Q \\{x*-1}",
        "Q \\x4",   "Q \\{id",  "B - - v",      "B - - 'v",         "B - - in=x",
        "E - many", "F name",   "startup 3",    "startup 3.0 user", "startup 3.0 user='x",
        "D SP x",   "msg ab c", "P a(x) SELECT"};
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lines); i++)
        refuses(lines[i]);
}

static void test_inputs(void **state)
{
    (void)state;
    struct slice text = slice_cstr("# head\n\n== one\nQ a\n# no step\n  \nS\n== two\n== three\nX");
    struct probe_input in;
    struct slice line;
    assert_true(probe_next_input(&text, &in));
    assert_true(slice_equals_cstr(in.name, "one"));
    assert_true(probe_next_step(&in.steps, &line) && slice_equals_cstr(line, "Q a"));
    assert_true(probe_next_step(&in.steps, &line) && slice_equals_cstr(line, "S"));
    assert_false(probe_next_step(&in.steps, &line));
    assert_true(probe_next_input(&text, &in));
    assert_true(slice_equals_cstr(in.name, "two"));
    assert_false(probe_next_step(&in.steps, &line));
    assert_true(probe_next_input(&text, &in));
    assert_true(probe_next_step(&in.steps, &line) && slice_equals_cstr(line, "X"));
    assert_false(probe_next_input(&text, &in));
}

/* What is written down of a message, behind what is there. */
static void puts_down(const struct probe_masks *m, char type, const char *body, size_t bytes,
                      const char *want)
{
    struct buf session;
    struct probe_entry e;
    buf_init(&session, 1 << 20);
    probe_put_message(&session, m, vars.id, type, slice_of(body, bytes));
    struct slice s = buf_slice(&session);
    assert_int_equal(probe_next_entry(&s, &e), want != NULL);
    if (want != NULL) {
        assert_int_equal(e.type, type);
        assert_true(slice_equals_cstr(e.body, want));
    }
    buf_fini(&session);
}

static void test_what_cannot_be_equal(void **state)
{
    struct probe_masks m = {.source = true};
    (void)state;
    m.digits['N'] = m.without['d'] = m.bodies['D'] = true;
    puts_down(&m, 'K', "1234abcd", 8, "8 bytes");
    puts_down(&m, 'A', "\0\0\0\1channel", 11, "channel");
    puts_down(&m, 'C', "INSERT 0 17", 11, "INSERT 0 17");
    puts_down(&m, 'N', "process 17 of 9", 15, "process # of #");
    puts_down(&m, 'C', "x abcdefghij pg_temp_12", 23, "x <id> pg_temp_");
    puts_down(&m, 'D', "anything", 8, "");
    puts_down(&m, 'd', "anything", 8, NULL);
    puts_down(&m, 'E', "Ma", 2, "Ma");
    puts_down(&m, 'T', "\0\1a\0\0\0\x40\1\0\2\0\0\0\x17\0\4\xff\xff\xff\xff\0\0", 22,
              "1 columns: a 16384.2 type 23 4 -1 format 0");
    puts_down(&m, 'T', "damaged", 7, "damaged");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_what_is_wrong),
        cmocka_unit_test(test_inputs),
        cmocka_unit_test(test_what_cannot_be_equal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
