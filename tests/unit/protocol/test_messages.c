/* Every message: what is written is read back, every truncation of it is refused, and so is a byte
 * too many. */
#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define S(text) slice_of(text, sizeof(text) - 1)

static bool write_startup(struct buf *b)
{
    const char *const params[] = {"user", "app", "database", NULL, "options", "-c a=b", NULL};
    return wire_write_startup(b, WIRE_PROTOCOL_3_0, params);
}
static bool read_startup(struct wire_reader *r)
{
    struct wire_startup m;
    struct slice v;
    return wire_read_startup(r, &m) && m.version == WIRE_PROTOCOL_3_0 &&
           wire_startup_find(&m, "user", &v) && slice_equals_cstr(v, "app") &&
           wire_startup_find(&m, "options", &v) && slice_equals_cstr(v, "-c a=b") &&
           !wire_startup_find(&m, "database", &v);
}
static bool write_cancel(struct buf *b)
{
    return wire_write_cancel(b, &(struct wire_cancel){4711, S("\x01\x02\x03\x04")});
}
static bool read_cancel(struct wire_reader *r)
{
    struct wire_cancel m;
    return wire_read_cancel(r, &m) && m.pid == 4711 && m.key.len == 4;
}
static bool write_query(struct buf *b)
{
    return wire_write_query(b, S("select 1"));
}
static bool read_query(struct wire_reader *r)
{
    struct wire_query m;
    return wire_read_query(r, &m) && slice_equals_cstr(m.query, "select 1");
}
static bool write_parse(struct buf *b)
{
    return wire_write_parse(
        b, &(struct wire_parse){S("s1"), S("select $1"), 2, S("\0\0\0\x17\0\0\0\x19")});
}
static bool read_parse(struct wire_reader *r)
{
    struct wire_parse m;
    return wire_read_parse(r, &m) && slice_equals_cstr(m.name, "s1") && m.noids == 2;
}
static bool write_bind(struct buf *b)
{
    return wire_write_bind(b, &(struct wire_bind){S("p"), S("s"), 1, S("\0\1"), 2,
                                                  S("\0\0\0\1x\xff\xff\xff\xff"), 1, S("\0\1")});
}
static bool read_bind(struct wire_reader *r)
{
    struct wire_bind m;
    struct wire_reader values;
    if (!wire_read_bind(r, &m) || m.nparams != 2 || m.nformats != 1 || m.nresult_formats != 1)
        return false;
    wire_reader_init(&values, m.params);
    struct wire_value a = wire_get_value(&values);
    struct wire_value b = wire_get_value(&values);
    return slice_equals_cstr(a.bytes, "x") && b.is_null && wire_end(&values);
}
static bool write_bind_text(struct buf *b)
{
    const char *const values[] = {"one", NULL};
    return wire_write_bind_text(b, S(""), S("s"), values, 2);
}
static bool read_bind_text(struct wire_reader *r)
{
    struct wire_bind m;
    return wire_read_bind(r, &m) && m.nparams == 2 && m.params.len == 11 && m.nformats == 0;
}
static bool write_describe(struct buf *b)
{
    return wire_write_describe(b, 'S', S("name"));
}
static bool write_close(struct buf *b)
{
    return wire_write_close(b, 'S', S("name"));
}
static bool read_target(struct wire_reader *r)
{
    struct wire_target m;
    return wire_read_target(r, &m) && m.kind == 'S' && slice_equals_cstr(m.name, "name");
}
static bool write_execute(struct buf *b)
{
    return wire_write_execute(b, S("p"), 3);
}
static bool read_execute(struct wire_reader *r)
{
    struct wire_execute m;
    return wire_read_execute(r, &m) && m.max_rows == 3;
}
static bool write_password(struct buf *b)
{
    return wire_write_password(b, S("secret"));
}
static bool read_password(struct wire_reader *r)
{
    struct wire_password m;
    return wire_read_password(r, &m) && slice_equals_cstr(m.password, "secret");
}
static bool write_sasl_initial(struct buf *b)
{
    return wire_write_sasl_initial(b,
                                   &(struct wire_sasl_initial){S("SCRAM-SHA-256"), true, S("n,,")});
}
static bool read_sasl_initial(struct wire_reader *r)
{
    struct wire_sasl_initial m;
    return wire_read_sasl_initial(r, &m) && m.has_data && slice_equals_cstr(m.data, "n,,");
}
static bool write_auth_md5(struct buf *b)
{
    return wire_write_auth(b, &(struct wire_auth){WIRE_AUTH_MD5, S("salt")});
}
static bool read_auth_md5(struct wire_reader *r)
{
    struct wire_auth m;
    return wire_read_auth(r, &m) && m.kind == WIRE_AUTH_MD5;
}
static bool write_auth_ok(struct buf *b)
{
    return wire_write_auth(b, &(struct wire_auth){WIRE_AUTH_OK, S("")});
}
static bool read_auth_ok(struct wire_reader *r)
{
    struct wire_auth m;
    return wire_read_auth(r, &m) && m.kind == WIRE_AUTH_OK;
}
static const struct err sample = {.sqlstate = "42P01",
                                  .message = "relation \"t\" does not exist",
                                  .detail = "Detail.",
                                  .hint = "Hint.",
                                  .position = 15};
static bool write_error(struct buf *b)
{
    return wire_write_error(b, 'E', "ERROR", &sample);
}
static bool read_error(struct wire_reader *r)
{
    struct err e;
    return wire_read_error(r, &e) && strcmp(e.sqlstate, "42P01") == 0 &&
           strcmp(e.message, sample.message) == 0 && strcmp(e.detail, "Detail.") == 0 &&
           strcmp(e.hint, "Hint.") == 0 && e.position == 15;
}
static bool write_row_description(struct buf *b)
{
    struct wire_column c[] = {{S("a"), 16384, 1, 23, 4, -1, 0}, {S(""), 0, 0, 25, -1, -1, 1}};
    return wire_write_row_description(b, c, 2);
}
static bool read_row_description(struct wire_reader *r)
{
    struct wire_row_description m;
    struct wire_reader columns;
    if (!wire_read_row_description(r, &m) || m.ncolumns != 2)
        return false;
    wire_reader_init(&columns, m.columns);
    struct wire_column a = wire_get_column(&columns);
    struct wire_column b = wire_get_column(&columns);
    return slice_equals_cstr(a.name, "a") && a.table_oid == 16384 && a.type_oid == 23 &&
           a.type_bytes == 4 && b.type_bytes == -1 && b.format == 1 && wire_end(&columns);
}
static bool write_data_row(struct buf *b)
{
    struct wire_value v[] = {{false, S("one")}, {true, S("")}, {false, S("")}};
    return wire_write_data_row(b, v, 3);
}
static bool read_data_row(struct wire_reader *r)
{
    struct wire_data_row m;
    return wire_read_data_row(r, &m) && m.nvalues == 3 && m.values.len == 15;
}
static bool write_complete(struct buf *b)
{
    return wire_write_command_complete(b, S("SELECT 1"));
}
static bool read_complete(struct wire_reader *r)
{
    struct wire_command_complete m;
    return wire_read_command_complete(r, &m) && slice_equals_cstr(m.tag, "SELECT 1");
}
static bool write_status(struct buf *b)
{
    return wire_write_parameter_status(b, &(struct wire_parameter_status){S("a"), S("b")});
}
static bool read_status(struct wire_reader *r)
{
    struct wire_parameter_status m;
    return wire_read_parameter_status(r, &m) && slice_equals_cstr(m.value, "b");
}
static bool write_key(struct buf *b)
{
    return wire_write_backend_key(b, &(struct wire_backend_key){1, S("abcd")});
}
static bool read_key(struct wire_reader *r)
{
    struct wire_backend_key m;
    return wire_read_backend_key(r, &m) && m.pid == 1 && slice_equals_cstr(m.key, "abcd");
}
static bool write_ready(struct buf *b)
{
    return wire_write_ready(b, 'T');
}
static bool read_ready(struct wire_reader *r)
{
    char status;
    return wire_read_ready(r, &status) && status == 'T';
}

static const struct row {
    const char *name;
    size_t header; /* 4 without a type byte; CancelRequest is counted with its code */
    bool open;     /* its last field takes all that is left */
    bool (*write)(struct buf *b);
    bool (*read)(struct wire_reader *r);
} rows[] = {
    {"StartupMessage", 4, false, write_startup, read_startup},
    {"CancelRequest", 4, true, write_cancel, read_cancel},
    {"Query", 5, false, write_query, read_query},
    {"Parse", 5, false, write_parse, read_parse},
    {"Bind", 5, false, write_bind, read_bind},
    {"Bind of texts", 5, false, write_bind_text, read_bind_text},
    {"Describe", 5, false, write_describe, read_target},
    {"Close", 5, false, write_close, read_target},
    {"Execute", 5, false, write_execute, read_execute},
    {"PasswordMessage", 5, false, write_password, read_password},
    {"SASLInitialResponse", 5, false, write_sasl_initial, read_sasl_initial},
    {"AuthenticationMD5Password", 5, false, write_auth_md5, read_auth_md5},
    {"AuthenticationOk", 5, false, write_auth_ok, read_auth_ok},
    {"ErrorResponse", 5, false, write_error, read_error},
    {"RowDescription", 5, false, write_row_description, read_row_description},
    {"DataRow", 5, false, write_data_row, read_data_row},
    {"CommandComplete", 5, false, write_complete, read_complete},
    {"ParameterStatus", 5, false, write_status, read_status},
    {"BackendKeyData", 5, true, write_key, read_key},
    {"ReadyForQuery", 5, false, write_ready, read_ready},
};

/* A copy of its own size, so that the sanitizer sees a byte read too far. */
static bool reads(const struct row *row, struct slice body)
{
    struct wire_reader r;
    char *copy = malloc(body.len + 1);
    assert_non_null(copy);
    char *exact = realloc(copy, body.len > 0 ? body.len : 1);
    assert_non_null(exact);
    if (body.len > 0)
        memcpy(exact, body.data, body.len);
    wire_reader_init(&r, slice_of(exact, body.len));
    bool ok = row->read(&r);
    free(exact);
    return ok;
}

static void test_round_trips_and_truncations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        buf_init(&b, 4096);
        buf_append_cstr(&b, "before");
        assert_true(rows[i].write(&b));
        struct slice all = slice_part(buf_slice(&b), 6, buf_length(&b));
        struct slice body = slice_part(all, rows[i].header, all.len);
        struct wire_reader length;
        wire_reader_init(&length, slice_part(all, rows[i].header - 4, all.len));
        assert_int_equal(wire_get_u32(&length), body.len + 4);
        if (!reads(&rows[i], body))
            fail_msg("%s does not read back", rows[i].name);
        for (size_t n = 0; n < body.len; n++)
            if (reads(&rows[i], slice_part(body, 0, n)))
                fail_msg("%s cut to %zu bytes was read", rows[i].name, n);
        buf_append_byte(&b, 'x');
        all = slice_part(buf_slice(&b), 6, buf_length(&b));
        if (!rows[i].open && reads(&rows[i], slice_part(all, rows[i].header, all.len)))
            fail_msg("%s with a byte too many was read", rows[i].name);
        buf_fini(&b);
    }
}

static void test_writers_refuse_what_does_not_fit(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b;
        buf_init(&b, 4096);
        assert_true(rows[i].write(&b));
        size_t need = buf_length(&b);
        buf_fini(&b);
        for (size_t max = 1; max < need; max++) {
            buf_init(&b, max);
            if (rows[i].write(&b))
                fail_msg("%s of %zu bytes fit into %zu", rows[i].name, need, max);
            buf_fini(&b);
        }
    }
}

/* Counts: 0, all that fit, one more than the bytes left can hold. */
static void test_parse_counts(void **state)
{
    (void)state;
    struct wire_parse m;
    struct wire_reader r;
    wire_reader_init(&r, S("\0\0\0\0"));
    assert_true(wire_read_parse(&r, &m));
    wire_reader_init(&r, S("\0\0\0\1\0\0\0\x17"));
    assert_true(wire_read_parse(&r, &m));
    wire_reader_init(&r, S("\0\0\0\2\0\0\0\x17"));
    assert_false(wire_read_parse(&r, &m));
    wire_reader_init(&r, S("\0\0\xff\xff\0\0\0\x17"));
    assert_false(wire_read_parse(&r, &m));
    assert_int_equal(m.noids, 0);
}

static void test_largest_counts(void **state)
{
    (void)state;
    struct buf b;
    struct wire_reader r;
    struct wire_bind m;
    static const char *nulls[UINT16_MAX];
    buf_init(&b, 1 << 20);
    assert_true(wire_write_bind_text(&b, S(""), S(""), nulls, UINT16_MAX));
    wire_reader_init(&r, slice_part(buf_slice(&b), 5, buf_length(&b)));
    assert_true(wire_read_bind(&r, &m));
    assert_int_equal(m.nparams, UINT16_MAX);
    buf_fini(&b);
}

static void test_bind_refuses_negative_lengths(void **state)
{
    (void)state;
    struct wire_bind m;
    struct wire_reader r;
    wire_reader_init(&r, S("\0\0\0\0\0\1\xff\xff\xff\xfb\0\0"));
    assert_false(wire_read_bind(&r, &m));
}

static void test_unknown_kinds_are_refused(void **state)
{
    (void)state;
    struct wire_target t;
    struct wire_reader r;
    char status;
    wire_reader_init(&r, S("Zname\0"));
    assert_false(wire_read_target(&r, &t));
    wire_reader_init(&r, S("?"));
    assert_false(wire_read_ready(&r, &status));
}

static void test_sasl_list(void **state)
{
    (void)state;
    struct wire_auth m = {WIRE_AUTH_SASL, S("SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0")};
    assert_true(wire_auth_has_mechanism(&m, "SCRAM-SHA-256"));
    assert_true(wire_auth_has_mechanism(&m, "SCRAM-SHA-256-PLUS"));
    assert_false(wire_auth_has_mechanism(&m, "SCRAM-SHA-512"));
    m.data = S("SCRAM-SHA-2");
    assert_false(wire_auth_has_mechanism(&m, "SCRAM-SHA-256"));
}

static void test_errors_are_rewritten(void **state)
{
    (void)state;
    static const struct wire_field_edit edits[] = {{'P', "7"},  {'W', NULL}, {'F', NULL},
                                                   {'L', NULL}, {'R', NULL}, {'H', "Added."}};
    struct slice body = S("SFEHLER\0VERROR\0C42601\0Mmessage\0P99\0Wcontext\0Fparse.y\0L7\0Rf\0"
                          "zunknown\0\0");
    struct buf b;
    buf_init(&b, 1024);
    assert_true(wire_write_error_edited(&b, 'E', body, edits, ARRAY_LEN(edits)));
    struct slice want = S("SFEHLER\0VERROR\0C42601\0Mmessage\0P7\0zunknown\0HAdded.\0\0");
    assert_true(slice_equals(slice_part(buf_slice(&b), 5, buf_length(&b)), want));
    struct slice v;
    assert_true(wire_error_find(want, 'V', &v));
    assert_string_equal(v.data, "ERROR");
    buf_clear(&b);
    body = S("SERROR\0Mcut");
    assert_true(wire_write_error_edited(&b, 'E', body, edits, ARRAY_LEN(edits)));
    assert_true(slice_equals(slice_part(buf_slice(&b), 5, buf_length(&b)), body));
    buf_fini(&b);
}

static void test_damaged_errors_are_told(void **state)
{
    (void)state;
    struct err err;
    struct wire_reader r;
    wire_reader_init(&r, S("SERROR\0Mno code\0\0"));
    assert_false(wire_read_error(&r, &err));
    assert_string_equal(err.sqlstate, SQLSTATE_PROTOCOL_VIOLATION);
    wire_reader_init(&r, slice_of(NULL, 0));
    assert_false(wire_read_error(&r, &err));
    assert_true(err_is_set(&err));
}

static void test_texts_with_nul_are_not_written(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1024);
    assert_false(wire_write_query(&b, S("select '\0'")));
    buf_fini(&b);
}

static void test_headers(void **state)
{
    (void)state;
    struct wire_header h;
    assert_true(wire_read_header("Q\0\0\0\4", &h));
    assert_int_equal(h.type, 'Q');
    assert_int_equal(h.body_bytes, 0);
    assert_true(wire_read_header("D\x3f\xff\xff\xff", &h));
    assert_int_equal(h.body_bytes, 0x3ffffffb);
    assert_false(wire_read_header("D\x40\0\0\0", &h));
    assert_false(wire_read_header("D\0\0\0\3", &h));
    assert_false(wire_read_header("D\xff\xff\xff\xff", &h));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips_and_truncations),
        cmocka_unit_test(test_writers_refuse_what_does_not_fit),
        cmocka_unit_test(test_parse_counts),
        cmocka_unit_test(test_largest_counts),
        cmocka_unit_test(test_bind_refuses_negative_lengths),
        cmocka_unit_test(test_unknown_kinds_are_refused),
        cmocka_unit_test(test_sasl_list),
        cmocka_unit_test(test_errors_are_rewritten),
        cmocka_unit_test(test_damaged_errors_are_told),
        cmocka_unit_test(test_texts_with_nul_are_not_written),
        cmocka_unit_test(test_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
