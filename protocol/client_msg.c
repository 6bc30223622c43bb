/* Messages of the client, in the order of the header. Each read ends with wire_end: nothing bad,
 * nothing left over. What the server itself tolerates is tolerated here; what it refuses with 08P01
 * makes a read return false, and the caller forwards the message for the server to refuse, or
 * refuses it where there is no server yet. */
#include "protocol/client_msg.h"

bool wire_read_startup(struct wire_reader *r, struct wire_startup *m)
{
    m->version = wire_get_u32(r);
    size_t from = r->at;
    m->params = slice_of("", 0);
    while (!wire_is_bad(r) && wire_left(r) > 1) {
        wire_get_cstr(r);
        wire_get_cstr(r);
    }
    if (wire_is_bad(r))
        return false;
    m->params = slice_of(r->data + from, r->at - from);
    if (wire_get_byte(r) != 0)
        return wire_refuse(r);
    return wire_end(r);
}

bool wire_write_startup(struct buf *out, uint32_t version, const char *const *names_values)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 0);
    wire_put_u32(&w, version);
    for (; names_values[0] != NULL; names_values += 2) {
        if (names_values[1] == NULL)
            continue;
        wire_put_cstr(&w, slice_cstr(names_values[0]));
        wire_put_cstr(&w, slice_cstr(names_values[1]));
    }
    wire_put_byte(&w, 0);
    return wire_finish(&w);
}

bool wire_startup_next(struct slice *params, struct slice *name, struct slice *value)
{
    struct wire_reader r;
    wire_reader_init(&r, *params);
    *name = wire_get_cstr(&r);
    *value = wire_get_cstr(&r);
    if (wire_is_bad(&r))
        return false;
    *params = wire_get_rest(&r);
    return true;
}

bool wire_startup_find(const struct wire_startup *m, const char *name, struct slice *value)
{
    struct slice params = m->params;
    struct slice n;
    struct slice v;
    bool found = false;
    while (wire_startup_next(&params, &n, &v)) {
        if (!slice_equals_cstr(n, name))
            continue;
        *value = v;
        found = true;
    }
    return found;
}

bool wire_read_cancel(struct wire_reader *r, struct wire_cancel *m)
{
    if (wire_get_u32(r) != WIRE_CANCEL_REQUEST)
        return wire_refuse(r);
    m->pid = wire_get_u32(r);
    m->key = wire_get_rest(r);
    if (m->key.len == 0 || m->key.len > 256)
        return wire_refuse(r);
    return wire_end(r);
}

bool wire_write_cancel(struct buf *out, const struct wire_cancel *m)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 0);
    wire_put_u32(&w, WIRE_CANCEL_REQUEST);
    wire_put_u32(&w, m->pid);
    wire_put_bytes(&w, m->key);
    return wire_finish(&w);
}

bool wire_read_query(struct wire_reader *r, struct wire_query *m)
{
    m->query = wire_get_cstr(r);
    return wire_end(r);
}

/* Most messages are a type and one string. */
static bool write_text(struct buf *out, char type, struct slice text)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    wire_put_cstr(&w, text);
    return wire_finish(&w);
}

bool wire_write_query(struct buf *out, struct slice query)
{
    return write_text(out, 'Q', query);
}

bool wire_read_parse(struct wire_reader *r, struct wire_parse *m)
{
    m->name = wire_get_cstr(r);
    m->query = wire_get_cstr(r);
    m->noids = wire_get_count16(r, sizeof(uint32_t));
    m->oids = wire_get_bytes(r, m->noids * sizeof(uint32_t));
    return wire_end(r);
}

bool wire_write_parse(struct buf *out, const struct wire_parse *m)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'P');
    wire_put_cstr(&w, m->name);
    wire_put_cstr(&w, m->query);
    wire_put_u16(&w, m->noids);
    wire_put_bytes(&w, m->oids);
    return wire_finish(&w);
}

static struct slice get_values(struct wire_reader *r, uint16_t count)
{
    size_t from = r->at;
    for (uint16_t i = 0; i < count && !wire_is_bad(r); i++)
        (void)wire_get_value(r);
    return wire_is_bad(r) || r->at == from ? slice_of("", 0)
                                           : slice_of(r->data + from, r->at - from);
}

bool wire_read_bind(struct wire_reader *r, struct wire_bind *m)
{
    m->portal = wire_get_cstr(r);
    m->statement = wire_get_cstr(r);
    m->nformats = wire_get_count16(r, sizeof(uint16_t));
    m->formats = wire_get_bytes(r, m->nformats * sizeof(uint16_t));
    m->nparams = wire_get_count16(r, sizeof(uint32_t));
    m->params = get_values(r, m->nparams);
    m->nresult_formats = wire_get_count16(r, sizeof(uint16_t));
    m->result_formats = wire_get_bytes(r, m->nresult_formats * sizeof(uint16_t));
    return wire_end(r);
}

bool wire_write_bind(struct buf *out, const struct wire_bind *m)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'B');
    wire_put_cstr(&w, m->portal);
    wire_put_cstr(&w, m->statement);
    wire_put_u16(&w, m->nformats);
    wire_put_bytes(&w, m->formats);
    wire_put_u16(&w, m->nparams);
    wire_put_bytes(&w, m->params);
    wire_put_u16(&w, m->nresult_formats);
    wire_put_bytes(&w, m->result_formats);
    return wire_finish(&w);
}

bool wire_write_bind_text(struct buf *out, struct slice portal, struct slice statement,
                          const char *const *values, uint16_t count)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'B');
    wire_put_cstr(&w, portal);
    wire_put_cstr(&w, statement);
    wire_put_u16(&w, 0);
    wire_put_u16(&w, count);
    for (uint16_t i = 0; i < count; i++) {
        struct wire_value v = {.is_null = values[i] == NULL};
        if (!v.is_null)
            v.bytes = slice_cstr(values[i]);
        wire_put_value(&w, v);
    }
    wire_put_u16(&w, 0);
    return wire_finish(&w);
}

bool wire_read_target(struct wire_reader *r, struct wire_target *m)
{
    m->kind = (char)wire_get_byte(r);
    m->name = wire_get_cstr(r);
    if (m->kind != 'S' && m->kind != 'P')
        return wire_refuse(r);
    return wire_end(r);
}

static bool write_target(struct buf *out, char type, char kind, struct slice name)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    wire_put_byte(&w, (uint8_t)kind);
    wire_put_cstr(&w, name);
    return wire_finish(&w);
}

bool wire_write_describe(struct buf *out, char kind, struct slice name)
{
    return write_target(out, 'D', kind, name);
}

bool wire_write_close(struct buf *out, char kind, struct slice name)
{
    return write_target(out, 'C', kind, name);
}

bool wire_read_execute(struct wire_reader *r, struct wire_execute *m)
{
    m->portal = wire_get_cstr(r);
    m->max_rows = wire_get_u32(r);
    return wire_end(r);
}

bool wire_write_execute(struct buf *out, struct slice portal, uint32_t max_rows)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'E');
    wire_put_cstr(&w, portal);
    wire_put_u32(&w, max_rows);
    return wire_finish(&w);
}

bool wire_read_password(struct wire_reader *r, struct wire_password *m)
{
    m->password = wire_get_cstr(r);
    return wire_end(r);
}

bool wire_write_password(struct buf *out, struct slice password)
{
    return write_text(out, 'p', password);
}

bool wire_read_sasl_initial(struct wire_reader *r, struct wire_sasl_initial *m)
{
    m->mechanism = wire_get_cstr(r);
    struct wire_value v = wire_get_value(r);
    m->has_data = !v.is_null;
    m->data = v.bytes;
    return wire_end(r);
}

bool wire_write_sasl_initial(struct buf *out, const struct wire_sasl_initial *m)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'p');
    wire_put_cstr(&w, m->mechanism);
    wire_put_value(&w, (struct wire_value){.is_null = !m->has_data, .bytes = m->data});
    return wire_finish(&w);
}

bool wire_write_sasl_response(struct buf *out, struct slice data)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, 'p');
    wire_put_bytes(&w, data);
    return wire_finish(&w);
}

bool wire_write_copy_fail(struct buf *out, struct slice reason)
{
    return write_text(out, 'f', reason);
}

bool wire_write_empty(struct buf *out, char type)
{
    struct wire_writer w;
    wire_writer_init(&w, out);
    wire_begin(&w, type);
    return wire_finish(&w);
}
