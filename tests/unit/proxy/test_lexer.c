/* Tokens as PostgreSQL sees them. The first tables are read as they stand; then the same statements and
 * some thousand made from them are compared with PostgreSQL's own scanner, as libpg_query has it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <pg_query.h>
#include <pg_query/pg_query.pb-c.h>

#include "base/attr.h"
#include "proxy/lexer.h"

static const struct lexer_dialect standard = {true, ENCODING_UTF8};
static const struct lexer_dialect escaping = {false, ENCODING_UTF8};

/* One letter for each kind, in the order of the enum. */
static const char kinds[] = "wqsbnp,:=o?!";

/* Tokens separated by | in `marked`, with the letter of their kind in front: "wselect| n1". What stands
 * before the letter is white space and comments. */
struct cut {
    const char *marked;
    const struct lexer_dialect *dialect;
};

static const struct cut cuts[] = {
    {"wSELECT| wa|,.|wB| n1| n1.5| n.5| n1.| n1e5| n1.5E-3|,,| n1|wex", NULL},
    {"n0x1F| n0b01| n1_000|w_| n1|?..|n2| p$1| p$12|wa| ?$| wa$b", NULL},
    {"s'a''b'| s''| s'a\\'", NULL},
    {"s'a\\'b'", &escaping},
    {"sE'a\\'b''\\\\'| se''|,;|s$$'$$", NULL},
    {"s'a' -- x\n  'b'| s'c'| s'd'| s'e'| /* x */ s'f'", NULL},
    {"sE'a'\n'\\''| s'a'\r'\\'", NULL},
    {"sN'a'| bB'01'| bx'1F'\n'a'| sU&'\\0061\\\\'| sU&'a' UESCAPE '!'| wu|o&|wa", NULL},
    {"qU&\"d\\0061t\"| qu&\"d!0061\" uescape  '!'| qU&\"a\"| wuescape", NULL},
    {"q\"a\"\"b\"| q\"\"| q\"A b\"|,.|q\"c\"", NULL},
    {"s$$a$b$$| s$a$ $$ $b$ $a$| s$ä1$x$ä1$| wa$$b| ?$", NULL},
    {"wa| /* x /* y */ ** / */ wb| -- c\nwc|--", NULL},
    {"wa|o+|n1|o*|o-|n1", NULL},
    {"wa|o+|o-|n1| o=|o-|n1| o@-|n1| o<|o-|n1| o<@| o->>| o!=| o*| /* c */o/| wx", NULL},
    {"o*|/**/ wa| o+| -- x", NULL},
    {"wa|:::|wb| wa|=:=|wb| wa|==>|wb| o>=| o<=| o=>@|,[|n1|,:|n2|,]|,;", NULL},
    {"wäÖ_1$| ?\\| ?{| wx", NULL},
    {"wa| !'b c", NULL},
    {"wa| !/* b /* */ c", NULL},
    {"wa| !\"b", NULL},
    {"wa| !$x$b$x", NULL},
    {"!E'\\'", NULL},
    {"", NULL},
    {" /**/ \n", NULL},
};

/* Splits `marked` into the text and its tokens. */
static size_t read_marks(const char *marked, char *text, struct token *tokens)
{
    size_t length = 0, count = 0;
    for (const char *p = marked; *p != '\0';) {
        const char *end = strchr(p, '|');
        if (end == NULL)
            end = p + strlen(p);
        while (p < end && strchr(" \n\r/-", *p) != NULL) {
            /* white space and comments */
            const char *stop = p + 1;
            if (strncmp(p, "--", 2) == 0)
                stop = memchr(p, '\n', (size_t)(end - p)) != NULL
                           ? memchr(p, '\n', (size_t)(end - p))
                           : end;
            else if (strncmp(p, "/* x /* y */ ** / */", 20) == 0)
                stop = p + 20;
            else if (*p == '/')
                stop = strstr(p, "*/") + 2;
            while (p < stop)
                text[length++] = *p++;
        }
        if (p == end) {
            p += *p == '|';
            continue;
        }
        const char *kind = strchr(kinds, *p++);
        assert_non_null(kind);
        tokens[count].kind = (enum token_kind)(kind - kinds);
        tokens[count].start = length;
        while (p < end)
            text[length++] = *p++;
        tokens[count++].end = length;
        p += *p == '|';
    }
    text[length] = '\0';
    return count;
}

static void cuts_tokens(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cuts); i++) {
        char text[500];
        struct token expected[50], t;
        struct lexer x;
        size_t count = read_marks(cuts[i].marked, text, expected), n = 0;
        lexer_init(&x, slice_cstr(text), cuts[i].dialect != NULL ? cuts[i].dialect : &standard);
        for (; lexer_next(&x, &t); n++)
            if (n >= count || t.kind != expected[n].kind || t.start != expected[n].start ||
                t.end != expected[n].end)
                fail_msg("%s\ntoken %zu is \"%.*s\", kind %c", text, n, (int)(t.end - t.start),
                         text + t.start, kinds[t.kind]);
        if (n != count)
            fail_msg("%s\n%zu tokens", text, n);
    }
}

static const struct {
    const char *text, *name;
} names[] = {
    {"SELECT", "select"},
    {"TäÄ_Ü", "täÄ_Ü"},
    {"\"A\"\"b\"", "A\"b"},
    {"\"\"", ""},
    {"U&\"d\\0061t\\+000061\\\\\"", "data\\"},
    {"U&\"d!0061\\\"\"\" UESCAPE '!'", "da\\\""},
    {"U&\"\\00e4\\D83D\\DE00\"", "ä😀"},
    {"U&\"\\D83D\"", ""},
    {"U&\"\\0000\"", ""},
    {"U&\"\\00\"", ""},
    {"U&\"a\" UESCAPE '+'", "a"},
    {"a1234567890123456789012345678901234567890123456789012345678901234567890",
     "a12345678901234567890123456789012345678901234567890123456789012"},
    {"a1234567890123456789012345678901234567890123456789012345678901ä",
     "a1234567890123456789012345678901234567890123456789012345678901"},
    {"\"a1234567890123456789012345678901234567890123456789012345678901\"\"\"\"x\"",
     "a1234567890123456789012345678901234567890123456789012345678901\""},
    {"U&"
     "\"\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061"
     "\\0061\\0061"
     "\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0"
     "061\\0061\\0061"
     "\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\0"
     "061\\0061\\0061"
     "\\0061\\0061\\0061\\0061\\0061\\0061\\0061\\+01f600\\0061\"",
     "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
};

static void decodes_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct lexer x;
        struct token t;
        lexer_init(&x, slice_cstr(names[i].text), &standard);
        assert_true(lexer_next(&x, &t));
        assert_string_equal(t.name, names[i].name);
        assert_int_equal(token_is_name(&t), names[i].name[0] != '\0');
    }
}

static const struct {
    const char *text, *value; /* NULL: refused */
    const struct lexer_dialect *dialect;
} values[] = {
    {"'a''b\\'", "a'b\\", &standard},
    {"'a\\'b\\n'", "a'b\n", &escaping},
    {"E'\\b\\f\\n\\r\\t\\x\\q\\\\\\''", "\b\f\n\r\txq\\'", &standard},
    {"E'\\141\\x41\\x4g\\7'", "aA\x04g\x07", &standard},
    {"E'\\u00e4\\U0001f600\\ud83d\\ude00'", "ä😀😀", &standard},
    {"E'\\ud83dx'", NULL, &standard},
    {"E'\\u12'", NULL, &standard},
    {"E'\\xe9'", NULL, &standard},
    {"E'\\0'", NULL, &standard},
    {"'a' -- don't\n \t'b'\n'c'", "abc", &standard},
    {"E'a'\n'\\n'", "a\n", &standard},
    {"U&'d\\0061\\\\' UESCAPE '\\'", "da\\", &standard},
    {"U&'!!a!0062' UESCAPE '!'", "!ab", &standard},
    {"U&'a'\n'\\0062'", "ab", &standard},
    {"U&'a'", NULL, &escaping},
    {"U&'\\zzzz'", NULL, &standard},
    {"N'a'", "a", &standard},
    {"$$a'b\\$$", "a'b\\", &standard},
    {"$t$$$ $t$", "$$ ", &standard},
    {"B'1'", NULL, &standard},
    {"abc", NULL, &standard},
};

static void decodes_values(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        struct lexer x;
        struct token t;
        struct arena a;
        struct slice text = slice_cstr(values[i].text), value;
        arena_init(&a, 0);
        lexer_init(&x, text, values[i].dialect);
        assert_true(lexer_next(&x, &t));
        assert_int_equal(t.end, text.len);
        bool read = token_value(&a, text, &t, values[i].dialect, &value);
        if (read != (values[i].value != NULL) ||
            (read && !slice_equals_cstr(value, values[i].value)))
            fail_msg("%s", values[i].text);
        arena_fini(&a);
    }
}

/* What is quoted reads as itself under both settings. */
static void quotes_values(void **state)
{
    (void)state;
    static const char *const samples[] = {"",     "'",      "a'b",         "\\",
                                          "a\\'", "\\\\n'", "ä\n\x01$$\"", "'''"};
    for (size_t i = 0; i < ARRAY_LEN(samples); i++)
        for (int k = 0; k < 2; k++) {
            const struct lexer_dialect *d = k == 0 ? &standard : &escaping;
            struct lexer x;
            struct token t;
            struct arena a;
            struct slice value;
            arena_init(&a, 0);
            const char *literal = lexer_quote(&a, slice_cstr(samples[i]), ENCODING_UTF8);
            lexer_init(&x, slice_cstr(literal), d);
            assert_true(lexer_next(&x, &t));
            assert_int_equal(t.end, strlen(literal));
            assert_true(token_value(&a, slice_cstr(literal), &t, d, &value));
            assert_true(slice_equals_cstr(value, samples[i]));
            arena_fini(&a);
        }
}

/* The second byte of a character may be a letter, a backslash or a bar. */
static void walks_by_characters(void **state)
{
    (void)state;
    static const struct {
        enum encoding encoding;
        const char *text;
        size_t first_end;
        const char *name;
    } samples[] = {
        {ENCODING_SJIS, "E'\x83\x5c' x", 5, ""},
        {ENCODING_SJIS, "A\x83\x41\x42 x", 4,
         "a\x83\x41"
         "b"},
        {ENCODING_SJIS, "\x83\x7c|x", 2, "\x83\x7c"},
        {ENCODING_SJIS, "\xb1|x", 1, "\xb1"},
        {ENCODING_TWO_BYTE, "\xa5\x5cx|", 3, "\xa5\x5cx"},
        {ENCODING_GB18030, "\x81\x30\x81\x30X|", 5, "\x81\x30\x81\x30x"},
        {ENCODING_JOHAB, "\x8f\xa1\x5c|", 3, "\x8f\xa1\x5c"},
        {ENCODING_UTF8, "ä|x", 2, "ä"},
        {ENCODING_SJIS, "\x83", 1, "\x83"},
    };
    for (size_t i = 0; i < ARRAY_LEN(samples); i++) {
        struct lexer_dialect d = {true, samples[i].encoding};
        struct lexer x;
        struct token t;
        lexer_init(&x, slice_cstr(samples[i].text), &d);
        assert_true(lexer_next(&x, &t));
        assert_int_equal(t.end, samples[i].first_end);
        assert_string_equal(t.name, samples[i].name);
    }
}

static void knows_encodings(void **state)
{
    (void)state;
    assert_int_equal(encoding_find(NULL), ENCODING_UTF8);
    assert_int_equal(encoding_find("sjis"), ENCODING_SJIS);
    assert_int_equal(encoding_find("LATIN1"), ENCODING_SINGLE_BYTE);
    assert_int_equal(encoding_count(ENCODING_EUC, slice_cstr("\x8f\xa1\xa1\x8e\xb1\xa4\xa2"
                                                             "a")),
                     4);
    assert_int_equal(encoding_count(ENCODING_EUC_TW, slice_cstr("\x8e\xa2\xa1\xa1\xa4\xa2")), 2);
    assert_int_equal(encoding_count(ENCODING_EUC_CN, slice_cstr("\xb0\xa1\xb0")), 2);
    assert_int_equal(
        encoding_count(ENCODING_MULE, slice_cstr("\x81\xa1\x92\xa1\xa1\x9c\xa1\xa1\xa1")), 3);
    assert_int_equal(encoding_clip(ENCODING_UTF8, slice_cstr("aä"), 2), 1);
}

/* --- against PostgreSQL's scanner ------------------------------------------------------------------- */

static const char *const statements[] = {
    "SELECT a.b, 'x''y', E'\\'z', $1, $tag$ a $$ b $tag$, 1.5e10, .5, 1., 0.1e-5 FROM \"T\" -- c\n "
    "WHERE a<>-1;",
    "SELECT a::int, b::numeric(10,2)[1:2], c@>d, e->>'f', g||h, !!i, j|/k, x!=-y, a<-1, @-3 FROM t",
    "INSERT INTO t VALUES (B'01', X'1f', 'a'\n'b', 'c' \n\t 'e', \"f\"\"g\", $$h$$)",
    "/* a /* b */ c */ UPDATE t SET a = b*-1, c = (d+e)%f WHERE g IS NOT NULL /* end */",
    "CREATE FUNCTION f(a int, OUT b text) LANGUAGE plpgsql AS $_$ begin return '$$'; end $_$; "
    "SELECT 1",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END",
    "SELECT f(a => 1, b := 2), ARRAY[1,2]::int[], (ROW(1)).x, a.*, interval '1 day' AT TIME ZONE "
    "'x'",
    "SELECT 1 <= 2, 3 >= 4, 5 <> 6, 7 = 8, a < b, c > d, e ~* f, g !~~ h, i <-> j, k &&& l, m ?| "
    "n, #o",
    "SELECT 'ä€😀', \"ü\", täst FROM größe WHERE x='\\' AND y=1--",
    "WITH RECURSIVE x(a) AS (VALUES (1) UNION ALL SELECT a+1 FROM x WHERE a<10) TABLE x;;",
    "a+-+-1 */* x */ b ++ -- c\n +- 1 *- 2 @+- 3 =- 4 <=>-5 |+ 6",
    "SELECT $1+$2-$33, _a, a$b, a1$, x'', e'', n.e, b.x",
};

/* Kinds that the server's scanner tells apart and we do not, or the other way round. */
static bool is_comment(const PgQuery__ScanToken *t)
{
    return t->token == PG_QUERY__TOKEN__SQL_COMMENT || t->token == PG_QUERY__TOKEN__C_COMMENT;
}

/* Compares the ends of all tokens; false when PostgreSQL refuses the text. */
static bool compare(const char *text)
{
    PgQueryScanResult result = pg_query_scan(text);
    bool readable = result.error == NULL;
    if (readable) {
        PgQuery__ScanResult *scan =
            pg_query__scan_result__unpack(NULL, result.pbuf.len, (const uint8_t *)result.pbuf.data);
        struct lexer x;
        struct token t;
        assert_non_null(scan);
        lexer_init(&x, slice_cstr(text), &standard);
        for (size_t i = 0; i < scan->n_tokens; i++) {
            const PgQuery__ScanToken *theirs = scan->tokens[i];
            if (is_comment(theirs))
                continue;
            bool more = lexer_next(&x, &t);
            if (!more || t.start != (size_t)theirs->start || t.end != (size_t)theirs->end)
                fail_msg("%s\nours [%zu, %zu) theirs [%d, %d)", text, more ? t.start : 0,
                         more ? t.end : 0, theirs->start, theirs->end);
        }
        assert_false(lexer_next(&x, &t));
        pg_query__scan_result__free_unpacked(scan, NULL);
    }
    pg_query_free_scan_result(result);
    return readable;
}

static void agrees_with_postgresql(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        assert_true(compare(statements[i]));
}

static uint32_t seed = 4711;

static uint32_t next_random(uint32_t below)
{
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

/* The scanner of libpg_query ends U& literals wrongly, tells N'…' as two tokens, and knows no comments
 * between the pieces of a literal; numbers of PostgreSQL 16 are several tokens to it. */
static bool is_comparable(const char *text)
{
    static const char *const odd[] = {"u&", "U&", "n'", "N'", "_0", "_1", "_2", "_3",
                                      "_4", "_5", "0x", "0b", "0o", "0X", "0B", "\v"};
    for (size_t i = 0; i < ARRAY_LEN(odd); i++)
        if (strstr(text, odd[i]) != NULL)
            return false;
    return true;
}

/* Texts put together from pieces in any order: strings that start in what was code, and so on. */
static void agrees_on_mixed_texts(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "'",  "''", "E'", "\\", "\"",  "$$",     "$a$", "$", "$1", "--", "\n", "/*", "*/",
        "/",  "*",  "+",  "-",  "<",   ">",      "=",   "@", "|",  "!",  "::", ":=", ":",
        "=>", ".",  "..", "1",  "2.5", "e5",     "E+3", "a", "B'", "x'", " ",  ",",  "(",
        ")",  "[",  "]",  ";",  "ä",   "select", "_",   "%", "^",  "a1$"};
    int readable = 0;
    for (int i = 0; i < 20000; i++) {
        char text[200];
        size_t n = 0;
        for (uint32_t k = next_random(14) + 1; k > 0; k--) {
            const char *piece = pieces[next_random(ARRAY_LEN(pieces))];
            memcpy(text + n, piece, strlen(piece) + 1);
            n += strlen(piece);
        }
        if (is_comparable(text))
            readable += compare(text);
    }
    assert_true(readable > 3000);
}

/* Every byte is in a token, in a comment, or white space; every prefix is read without harm. */
static void reads_every_prefix(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(statements); i++)
        for (size_t n = 0; n <= strlen(statements[i]); n++) {
            char *copy = malloc(n > 0 ? n : 1);
            struct lexer x;
            struct token t;
            size_t end = 0;
            assert_non_null(copy);
            memcpy(copy, statements[i], n);
            lexer_init(&x, slice_of(copy, n), &standard);
            for (; lexer_next(&x, &t); end = t.end)
                assert_true(t.start >= end && t.end > t.start && t.end <= n);
            free(copy);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cuts_tokens),
        cmocka_unit_test(decodes_names),
        cmocka_unit_test(decodes_values),
        cmocka_unit_test(quotes_values),
        cmocka_unit_test(walks_by_characters),
        cmocka_unit_test(knows_encodings),
        cmocka_unit_test(agrees_with_postgresql),
        cmocka_unit_test(agrees_on_mixed_texts),
        cmocka_unit_test(reads_every_prefix),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    pg_query_exit();
    return failed;
}
