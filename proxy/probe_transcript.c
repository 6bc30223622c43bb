/* What is written down, so that two runs of the same input can be compared byte by byte.
 *
 * What cannot be equal on two runs is taken out first: the secret of BackendKeyData (its length stays),
 * salts and proofs of a login, the process id of a notification, \{id}, numbers of tables and of schemas
 * for temporary objects, and what the input itself names with digits, bodies, without and source. */
#include "probe_transcript.h"

#include <stdio.h>
#include <string.h>

#include "protocol/server_msg.h"

#define FIRST_USER_OID 16384u /* smaller ones are the same in every database */

void probe_put_entry(struct buf *session, char type, struct slice body)
{
    uint32_t length = (uint32_t)body.len;
    buf_append_byte(session, type);
    buf_append(session, &length, sizeof length);
    buf_append_slice(session, body);
}

bool probe_next_entry(struct slice *session, struct probe_entry *out)
{
    uint32_t length;
    if (session->len < 1 + sizeof length)
        return false;
    out->type = session->data[0];
    memcpy(&length, session->data + 1, sizeof length);
    size_t head = 1 + sizeof length;
    out->body = slice_part(*session, head, head + length);
    *session = slice_part(*session, head + length, session->len);
    return true;
}

static char last_type(const struct buf *session)
{
    struct probe_entry e = {0};
    for (struct slice s = buf_slice(session); probe_next_entry(&s, &e);)
        ;
    return e.type;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Numbers become #, the run's own name becomes <id>, and the session's schema of temporary objects
 * loses its number. */
static void mask_text(const struct probe_masks *m, const char *id, char type, struct slice body,
                      struct buf *out)
{
    static const char temp[] = "pg_temp_";
    bool digits = m->digits[(unsigned char)type];
    for (size_t i = 0; i < body.len;) {
        struct slice rest = slice_part(body, i, body.len);
        bool is_temp = slice_starts_with(rest, temp);
        if (slice_starts_with(rest, id)) {
            buf_append_cstr(out, "<id>");
            i += PROBE_ID_CHARS;
        } else if (is_temp || (digits && is_digit(body.data[i]))) {
            buf_append_cstr(out, is_temp ? temp : "#");
            i += is_temp ? strlen(temp) : 0;
            while (i < body.len && is_digit(body.data[i]))
                i++;
        } else {
            buf_append_byte(out, body.data[i++]);
        }
    }
}

/* A column of a table that the input made has another table's number in every run. */
static void mask_row_description(struct slice body, struct buf *out)
{
    struct wire_reader reader;
    struct wire_row_description m;
    wire_reader_init(&reader, body);
    if (!wire_read_row_description(&reader, &m)) {
        buf_append_slice(out, body);
        return;
    }
    wire_reader_init(&reader, m.columns);
    buf_printf(out, "%u columns:", m.ncolumns);
    for (uint16_t i = 0; i < m.ncolumns; i++) {
        struct wire_column c = wire_get_column(&reader);
        buf_printf(out, " %.*s %u.%u type %u %d %d format %u", (int)c.name.len, c.name.data,
                   c.table_oid < FIRST_USER_OID ? c.table_oid : FIRST_USER_OID, c.attribute,
                   c.type_oid, c.type_bytes, c.type_modifier, c.format);
    }
}

/* The fields of an error without the place in the server's source. */
static void drop_source(struct slice body, struct buf *out)
{
    while (body.len > 1) {
        size_t n = slice_find_byte(body, '\0');
        if (strchr("FLR", body.data[0]) == NULL)
            buf_append(out, body.data, n < body.len ? n + 1 : n);
        body = slice_part(body, n < body.len ? n + 1 : n, body.len);
    }
}

/* Salts and proofs of a login; the kind stays. */
static bool is_secret(char type, struct slice body)
{
    return type == 'R' && body.len > 4 && (body.data[3] == 5 || body.data[3] > 10);
}

void probe_put_message(struct buf *session, const struct probe_masks *m, const char *id, char type,
                       struct slice body)
{
    struct buf masked, fields;
    unsigned char t = (unsigned char)type;
    if (m->without[t] || (m->bodies[t] && last_type(session) == type))
        return;
    if (m->bodies[t])
        body.len = 0;
    if (is_secret(type, body))
        body.len = 4;
    if (type == 'A' && body.len > 4)
        body = slice_part(body, 4, body.len);
    buf_init(&masked, PROBE_MAX_BYTES);
    buf_init(&fields, PROBE_MAX_BYTES);
    if (type == 'E' && m->source)
        drop_source(body, &fields);
    else
        buf_append_slice(&fields, body);
    if (type == 'K')
        buf_printf(&masked, "%zu bytes", body.len);
    else if (type == 'T')
        mask_row_description(body, &masked);
    else
        mask_text(m, id, type, buf_slice(&fields), &masked);
    probe_put_entry(session, type, buf_slice(&masked));
    buf_fini(&fields);
    buf_fini(&masked);
}
