/* The walk over a statement's tokens: what it takes, where it finds a mistake, whose mistake it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "proxy/statement_reader.h"

struct fixture {
    struct arena arena;
    struct lexer_dialect dialect;
    struct handler_text statement;
    struct err err;
    struct reader r;
};

static struct fixture *begin(struct fixture *f, const char *text)
{
    struct token *tokens;
    memset(f, 0, sizeof *f);
    arena_init(&f->arena, (size_t)1 << 20);
    f->dialect.standard_conforming_strings = true;
    f->statement.text = slice_cstr(text);
    f->statement.dialect = &f->dialect;
    assert_true(lexer_read(&f->arena, f->statement.text, 0, f->statement.text.len, &f->dialect,
                           &tokens, &f->statement.count));
    f->statement.tokens = tokens;
    err_clear(&f->err);
    f->r = reader_begin(&f->arena, &f->statement, &f->err);
    return f;
}

static void assert_mistake(struct fixture *f, const char *sqlstate, const char *message,
                           uint32_t position)
{
    f->r.ours = true;
    assert_int_equal(reader_end(&f->r), HANDLER_REFUSE);
    assert_string_equal(f->err.sqlstate, sqlstate);
    assert_string_equal(f->err.message, message);
    assert_int_equal(f->err.position, position);
    arena_fini(&f->arena);
}

static void takes_words_only_all_together(void **state)
{
    struct fixture f;
    struct reader *r = &begin(&f, "drop SERVER if exists \"if\"")->r;
    (void)state;
    assert_false(reader_accept(r, "drop server when"));
    assert_int_equal(r->at, 0);
    assert_true(reader_accept(r, "drop server"));
    assert_true(reader_is_word(r, 1, "exists"));
    assert_true(reader_expect(r, "if exists"));
    assert_false(reader_accept(r, "if")); /* quoted: a name, no key word */
    assert_string_equal(reader_name(r), "if");
    assert_true(reader_is_end(r));
    assert_null(reader_peek(r, 0));
    assert_int_equal(reader_end(r), HANDLER_ANSWER);
    arena_fini(&f.arena);
}

static void mistakes_stand_at_their_token(void **state)
{
    struct fixture f;
    (void)state;
    assert_false(reader_expect(&begin(&f, "drop server of x")->r, "drop server if"));
    assert_mistake(&f, "42601", "syntax error at or near \"of\"", 13);
    assert_false(reader_expect(&begin(&f, "drop ")->r, "drop server"));
    assert_mistake(&f, "42601", "syntax error at end of input", 5);
    assert_false(reader_expect_symbol(&begin(&f, "a")->r, '('));
    assert_mistake(&f, "42601", "syntax error at or near \"a\"", 1);
    assert_null(reader_name(&begin(&f, "'open")->r));
    assert_mistake(&f, "42601", "unterminated string, quoted identifier or comment", 1);
    assert_non_null(reader_name(&begin(&f, "a b")->r)); /* and something is left */
    assert_mistake(&f, "42601", "syntax error at or near \"b\"", 3);
    begin(&f, "a b");
    assert_false(reader_mistake_at(&f.r, &f.statement.tokens[1], "54000", "more than %d", 7));
    assert_mistake(&f, "54000", "more than 7", 3);
}

static void the_first_mistake_sticks(void **state)
{
    struct fixture f;
    struct reader *r = &begin(&f, "a, b")->r;
    struct slice value;
    (void)state;
    assert_false(reader_mistake(r));
    assert_false(reader_accept(r, "a"));
    assert_null(reader_name(r));
    assert_false(reader_string(r, &value));
    assert_false(reader_mistake_at(r, NULL, "54000", "later"));
    assert_mistake(&f, "42601", "syntax error at or near \"a\"", 1);
}

static void others_statements_pass(void **state)
{
    struct fixture f;
    (void)state;
    reader_expect(&begin(&f, "drop table")->r, "drop server");
    assert_int_equal(reader_end(&f.r), HANDLER_PASS);
    assert_string_equal(f.err.message, "");
    arena_fini(&f.arena);
}

static void strings_may_be_secrets(void **state)
{
    struct fixture f;
    struct slice value;
    (void)state;
    assert_true(reader_string(&begin(&f, "'it''s'")->r, &value));
    assert_true(slice_equals(value, slice_cstr("it's")));
    arena_fini(&f.arena);
    begin(&f, "'secret'")->r.hides_strings = true;
    assert_null(reader_name(&f.r));
    assert_mistake(&f, "42601", "syntax error at or near a string literal", 1);
    assert_null(reader_name(&begin(&f, "'shown'")->r));
    assert_mistake(&f, "42601", "syntax error at or near \"'shown'\"", 1);
    assert_false(reader_string(&begin(&f, "E'\\u00zz'")->r, &value));
    assert_string_equal(f.err.hint, "Write the characters themselves.");
    assert_mistake(&f, "0A000", "escapes of this string literal cannot be read", 1);
}

static void writes_literals(void **state)
{
    struct fixture f;
    struct buf b;
    struct reader *r = &begin(&f, "a")->r;
    (void)state;
    buf_init(&b, 1000);
    reader_put_cstr(r, &b, "it's");
    reader_put_cstr(r, &b, NULL);
    reader_put_text(r, &b, slice_cstr("\\"));
    assert_string_equal(reader_take(r, &b), "'it''s'NULLE'\\\\'");
    buf_init(&b, 4);
    reader_put_cstr(r, &b, "longer than that");
    assert_null(reader_take(r, &b));
    assert_int_equal(reader_end(r), HANDLER_NO_MEMORY);
    arena_fini(&f.arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_words_only_all_together),
        cmocka_unit_test(mistakes_stand_at_their_token),
        cmocka_unit_test(the_first_mistake_sticks),
        cmocka_unit_test(others_statements_pass),
        cmocka_unit_test(strings_may_be_secrets),
        cmocka_unit_test(writes_literals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
