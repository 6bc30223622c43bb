/* Every reader of a message body, chosen by the first byte of the input. What one reads must lie
 * inside the body (the sanitizer watches), and an error that is rewritten must stay readable. */
#include <stdint.h>
#include <stdlib.h>

#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_values(struct slice values, uint16_t count)
{
    struct wire_reader r;
    wire_reader_init(&r, values);
    for (uint16_t i = 0; i < count; i++)
        (void)wire_get_value(&r);
    if (!wire_end(&r))
        abort();
}

static void read_columns(const struct wire_row_description *m)
{
    struct wire_reader r;
    wire_reader_init(&r, m->columns);
    for (uint16_t i = 0; i < m->ncolumns; i++)
        (void)wire_get_column(&r);
    if (!wire_end(&r))
        abort();
}

static void rewrite_error(struct slice body)
{
    static const struct wire_field_edit edits[] = {{'P', "12"}, {'W', NULL}, {'H', "hint"}};
    struct wire_reader r;
    struct err before;
    struct err after;
    struct buf out;
    wire_reader_init(&r, body);
    bool valid = wire_read_error(&r, &before);
    buf_init(&out, 8 * body.len + 64); /* every empty field may be an H, or a P */
    if (!wire_write_error_edited(&out, 'E', body, edits, ARRAY_LEN(edits)))
        abort();
    wire_reader_init(&r, slice_part(buf_slice(&out), WIRE_HEADER_BYTES, buf_length(&out)));
    if (valid && (!wire_read_error(&r, &after) || after.position != 12))
        abort();
    buf_fini(&out);
}

union message {
    struct wire_startup startup;
    struct wire_cancel cancel;
    struct wire_query query;
    struct wire_parse parse;
    struct wire_bind bind;
    struct wire_target target;
    struct wire_execute execute;
    struct wire_sasl_initial sasl;
    struct wire_auth auth;
    struct wire_row_description row_description;
    struct wire_data_row data_row;
    struct wire_backend_key key;
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_reader r;
    union message m;
    struct slice value;
    if (size == 0)
        return 0;
    struct slice body = slice_of((const char *)data + 1, size - 1);
    wire_reader_init(&r, body);
    switch (data[0] % 13) {
    case 0:
        if (wire_read_startup(&r, &m.startup))
            (void)wire_startup_find(&m.startup, "user", &value);
        break;
    case 1: (void)wire_read_cancel(&r, &m.cancel); break;
    case 2: (void)wire_read_query(&r, &m.query); break;
    case 3: (void)wire_read_parse(&r, &m.parse); break;
    case 4:
        if (wire_read_bind(&r, &m.bind))
            read_values(m.bind.params, m.bind.nparams);
        break;
    case 5: (void)wire_read_target(&r, &m.target); break;
    case 6: (void)wire_read_execute(&r, &m.execute); break;
    case 7: (void)wire_read_sasl_initial(&r, &m.sasl); break;
    case 8:
        if (wire_read_auth(&r, &m.auth))
            (void)wire_auth_has_mechanism(&m.auth, "SCRAM-SHA-256");
        break;
    case 9:
        if (wire_read_row_description(&r, &m.row_description))
            read_columns(&m.row_description);
        break;
    case 10:
        if (wire_read_data_row(&r, &m.data_row))
            read_values(m.data_row.values, m.data_row.nvalues);
        break;
    case 11: (void)wire_read_backend_key(&r, &m.key); break;
    default: rewrite_error(body); break;
    }
    return 0;
}
