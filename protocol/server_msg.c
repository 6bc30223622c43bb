/* Messages of the server, in the order of the header. Reads are strict where we act on the message
 * and tolerant where a newer server may say more: unknown error fields and unknown authentication
 * kinds are carried along. */
#include "protocol/server_msg.h"

#include <stdio.h>

bool wire_read_auth(struct wire_reader *r, struct wire_auth *m)
{
    m->kind = wire_get_u32(r);
    m->data = wire_get_rest(r);
    if (m->kind == WIRE_AUTH_MD5 && m->data.len != 4)
        return wire_refuse(r);
    if ((m->kind == WIRE_AUTH_OK || m->kind == WIRE_AUTH_CLEARTEXT) && m->data.len != 0)
        return wire_refuse(r);
    return wire_end(r);
}

bool wire_write_auth(struct buf *out, const struct wire_auth *m)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'R');
    wire_put_u32(&w, m->kind);
    wire_put_bytes(&w, m->data);
    return wire_finish(&w);
}

bool wire_auth_has_mechanism(const struct wire_auth *m, const char *mechanism)
{
    struct wire_reader r;
    wire_reader_init(&r, m->data);
    for (struct slice name = wire_get_cstr(&r); name.len > 0; name = wire_get_cstr(&r))
        if (slice_equals_cstr(name, mechanism))
            return true;
    return false;
}

/* The next field of an error body; false at its end or where it is damaged. */
static bool next_field(struct wire_reader *r, char *code, struct slice *value)
{
    *code = (char)wire_get_byte(r);
    if (*code == 0)
        return false;
    *value = wire_get_cstr(r);
    return !wire_is_bad(r);
}

static void take_field(struct err *err, char code, const char *text)
{
    switch (code) {
    case 'D': err_detail(err, "%s", text); break;
    case 'H': err_hint(err, "%s", text); break;
    case 'W': snprintf(err->where, sizeof err->where, "%s", text); break;
    case 'P':
        for (err->position = 0; *text >= '0' && *text <= '9' && err->position < 100000000; text++)
            err->position = err->position * 10 + (uint32_t)(*text - '0');
        break;
    default: break;
    }
}

bool wire_read_error(struct wire_reader *r, struct err *err)
{
    struct slice body = slice_of(r->data + r->at, wire_left(r));
    struct slice state = slice_of("", 0);
    struct slice message = slice_of("", 0);
    struct slice value;
    char code;
    (void)wire_error_find(body, 'C', &state);
    (void)wire_error_find(body, 'M', &message);
    err_set(err, state.len == 5 ? state.data : SQLSTATE_PROTOCOL_VIOLATION, "%s", message.data);
    while (next_field(r, &code, &value))
        take_field(err, code, value.data);
    if (wire_end(r) && state.len == 5)
        return true;
    err_set(err, SQLSTATE_PROTOCOL_VIOLATION, "damaged error message from the server");
    return wire_refuse(r);
}

static void put_field(struct wire_writer *w, char code, const char *text)
{
    if (text[0] == '\0')
        return;
    wire_put_byte(w, (uint8_t)code);
    wire_put_cstr(w, slice_cstr(text));
}

bool wire_write_error(struct buf *out, char type, const char *severity, const struct err *err)
{
    char position[16];
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    put_field(&w, 'S', severity);
    put_field(&w, 'V', severity);
    put_field(&w, 'C', err->sqlstate);
    put_field(&w, 'M', err->message);
    put_field(&w, 'D', err->detail);
    put_field(&w, 'H', err->hint);
    if (err->position > 0) {
        snprintf(position, sizeof position, "%u", (unsigned)err->position);
        put_field(&w, 'P', position);
    }
    wire_put_byte(&w, 0);
    return wire_finish(&w);
}

bool wire_error_find(struct slice body, char code, struct slice *value)
{
    struct wire_reader r;
    struct slice text;
    char at;
    wire_reader_init(&r, body);
    while (next_field(&r, &at, &text)) {
        if (at != code)
            continue;
        *value = text;
        return true;
    }
    *value = slice_of("", 0);
    return false;
}

static bool is_intact_error(struct slice body)
{
    struct wire_reader r;
    struct slice value;
    char code;
    wire_reader_init(&r, body);
    while (next_field(&r, &code, &value))
        ;
    return wire_end(&r);
}

static const struct wire_field_edit *find_edit(const struct wire_field_edit *edits, size_t count,
                                               char code)
{
    for (size_t i = 0; i < count; i++)
        if (edits[i].code == code)
            return &edits[i];
    return NULL;
}

static void put_edited_fields(struct wire_writer *w, struct slice body,
                              const struct wire_field_edit *edits, size_t count)
{
    struct wire_reader r;
    struct slice value;
    char code;
    wire_reader_init(&r, body);
    while (next_field(&r, &code, &value)) {
        const struct wire_field_edit *edit = find_edit(edits, count, code);
        if (edit != NULL && edit->with == NULL)
            continue;
        wire_put_byte(w, (uint8_t)code);
        wire_put_cstr(w, edit != NULL ? slice_cstr(edit->with) : value);
    }
    for (size_t i = 0; i < count; i++)
        if (edits[i].with != NULL && !wire_error_find(body, edits[i].code, &value))
            put_field(w, edits[i].code, edits[i].with);
    wire_put_byte(w, 0);
}

bool wire_write_error_edited(struct buf *out, char type, struct slice body,
                             const struct wire_field_edit *edits, size_t count)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    if (is_intact_error(body))
        put_edited_fields(&w, body, edits, count);
    else
        wire_put_bytes(&w, body);
    return wire_finish(&w);
}

#define COLUMN_BYTES_MIN 19 /* an empty name's NUL and 18 bytes of numbers */

struct wire_column wire_get_column(struct wire_reader *r)
{
    struct wire_column c;
    c.name = wire_get_cstr(r);
    c.table_oid = wire_get_u32(r);
    c.attribute = wire_get_u16(r);
    c.type_oid = wire_get_u32(r);
    c.type_bytes = (int16_t)wire_get_u16(r);
    c.type_modifier = (int32_t)wire_get_u32(r);
    c.format = wire_get_u16(r);
    return c;
}

bool wire_read_row_description(struct wire_reader *r, struct wire_row_description *m)
{
    m->ncolumns = wire_get_count16(r, COLUMN_BYTES_MIN);
    size_t from = r->at;
    for (uint16_t i = 0; i < m->ncolumns && !wire_is_bad(r); i++)
        (void)wire_get_column(r);
    m->columns = r->at == from ? slice_of("", 0) : slice_of(r->data + from, r->at - from);
    return wire_end(r);
}

bool wire_write_row_description(struct buf *out, const struct wire_column *columns, uint16_t count)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'T');
    wire_put_u16(&w, count);
    for (uint16_t i = 0; i < count; i++) {
        wire_put_cstr(&w, columns[i].name);
        wire_put_u32(&w, columns[i].table_oid);
        wire_put_u16(&w, columns[i].attribute);
        wire_put_u32(&w, columns[i].type_oid);
        wire_put_u16(&w, (uint16_t)columns[i].type_bytes);
        wire_put_u32(&w, (uint32_t)columns[i].type_modifier);
        wire_put_u16(&w, columns[i].format);
    }
    return wire_finish(&w);
}

bool wire_read_data_row(struct wire_reader *r, struct wire_data_row *m)
{
    m->nvalues = wire_get_count16(r, sizeof(uint32_t));
    size_t from = r->at;
    for (uint16_t i = 0; i < m->nvalues && !wire_is_bad(r); i++)
        (void)wire_get_value(r);
    m->values = r->at == from ? slice_of("", 0) : slice_of(r->data + from, r->at - from);
    return wire_end(r);
}

bool wire_write_data_row(struct buf *out, const struct wire_value *values, uint16_t count)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'D');
    wire_put_u16(&w, count);
    for (uint16_t i = 0; i < count; i++)
        wire_put_value(&w, values[i]);
    return wire_finish(&w);
}

bool wire_read_parameter_description(struct wire_reader *r, struct wire_parameter_description *m)
{
    m->noids = wire_get_count16(r, sizeof(uint32_t));
    m->oids = wire_get_bytes(r, m->noids * sizeof(uint32_t));
    return wire_end(r);
}

bool wire_read_command_complete(struct wire_reader *r, struct wire_command_complete *m)
{
    m->tag = wire_get_cstr(r);
    return wire_end(r);
}

bool wire_write_command_complete(struct buf *out, struct slice tag)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'C');
    wire_put_cstr(&w, tag);
    return wire_finish(&w);
}

bool wire_read_parameter_status(struct wire_reader *r, struct wire_parameter_status *m)
{
    m->name = wire_get_cstr(r);
    m->value = wire_get_cstr(r);
    return wire_end(r);
}

bool wire_write_parameter_status(struct buf *out, const struct wire_parameter_status *m)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'S');
    wire_put_cstr(&w, m->name);
    wire_put_cstr(&w, m->value);
    return wire_finish(&w);
}

bool wire_read_backend_key(struct wire_reader *r, struct wire_backend_key *m)
{
    m->pid = wire_get_u32(r);
    m->key = wire_get_rest(r);
    if (m->key.len < 4 || m->key.len > 256)
        return wire_refuse(r);
    return wire_end(r);
}

bool wire_write_backend_key(struct buf *out, const struct wire_backend_key *m)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'K');
    wire_put_u32(&w, m->pid);
    wire_put_bytes(&w, m->key);
    return wire_finish(&w);
}

bool wire_read_ready(struct wire_reader *r, char *status)
{
    *status = (char)wire_get_byte(r);
    if (*status != 'I' && *status != 'T' && *status != 'E')
        return wire_refuse(r);
    return wire_end(r);
}

bool wire_write_ready(struct buf *out, char status)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'Z');
    wire_put_byte(&w, (uint8_t)status);
    return wire_finish(&w);
}
