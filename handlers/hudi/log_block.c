/*   "#HUDI#" | length int64 | version int32 | type int32 | headers | content length int64 | content |
 *   footers | total length int64
 *
 * All integers are big-endian. `length` counts what stands behind it; the total at the end is `length`
 * and the six bytes of the magic. Headers and footers are counted lists of {key int32, length int32,
 * text}.
 *
 * A writer that dies leaves a block without its end. Hudi's test for that is followed: the length leads
 * out of the file, or the total at its end does not agree, or what stands behind is no magic. Then
 * the next magic is searched for, and what lies between is skipped. A block that passes the test was
 * written to its end, so what is wrong inside it is damage and not skipped: rows would be missing. */
#include "log_block.h"

#include <string.h>

#include "protocol/wire_reader.h"

#define MAGIC "#HUDI#"
#define MAGIC_BYTES 6
#define LENGTH_BYTES 8
#define FORMAT_VERSION 1

enum header_key {
    HEADER_INSTANT_TIME = 0,
    HEADER_TARGET_INSTANT_TIME = 1,
    HEADER_SCHEMA = 2,
    HEADER_COMMAND_BLOCK_TYPE = 3,
    HEADER_COMPACTED_BLOCK_TIMES = 4,
    HEADER_IS_PARTIAL = 7
};

static struct slice rest_of(struct slice s, size_t from)
{
    return slice_part(s, from, s.len);
}

static bool damaged(struct err *err, size_t offset, const char *what)
{
    return err_set(err, SQLSTATE_DATA_CORRUPTED, "log block at byte %zu is damaged: %s", offset,
                   what);
}

/* ---- blocks ---- */

static bool is_magic(struct slice s)
{
    return s.len >= MAGIC_BYTES && memcmp(s.data, MAGIC, MAGIC_BYTES) == 0;
}

/* Bytes behind the length field when the block is whole; false: it is not. */
static bool find_extent(struct slice block, struct slice *body)
{
    struct wire_reader r, end;
    wire_reader_init(&r, rest_of(block, MAGIC_BYTES));
    uint64_t length = wire_get_u64(&r);
    if (length < LENGTH_BYTES || length > wire_left(&r))
        return false;
    *body = wire_get_bytes(&r, (size_t)length);
    struct slice behind = wire_get_rest(&r);
    wire_reader_init(&end, rest_of(*body, body->len - LENGTH_BYTES));
    return wire_get_u64(&end) == length + MAGIC_BYTES &&
           (behind.len < MAGIC_BYTES || is_magic(behind));
}

static size_t find_magic(struct slice file, size_t from)
{
    if (from >= file.len)
        return file.len;
    const char *at = memmem(file.data + from, file.len - from, MAGIC, MAGIC_BYTES);
    return at == NULL ? file.len : (size_t)(at - file.data);
}

static void take_header(struct log_block *b, uint32_t key, struct slice value)
{
    switch (key) {
    case HEADER_INSTANT_TIME: b->instant = value; break;
    case HEADER_TARGET_INSTANT_TIME: b->target_instant = value; break;
    case HEADER_SCHEMA: b->schema = value; break;
    case HEADER_COMMAND_BLOCK_TYPE: b->command = value; break;
    case HEADER_COMPACTED_BLOCK_TIMES: b->compacted_times = value; break;
    case HEADER_IS_PARTIAL: b->is_partial = slice_equals_nocase(value, "true"); break;
    default: break; /* positions, identifiers, and what later versions add */
    }
}

static void read_map(struct wire_reader *r, struct log_block *b)
{
    uint32_t count = wire_get_u32(r);
    for (uint32_t i = 0; i < count && !wire_is_bad(r); i++) {
        uint32_t key = wire_get_u32(r);
        struct slice value = wire_get_bytes(r, wire_get_u32(r));
        if (b != NULL)
            take_header(b, key, value);
    }
}

static bool read_body(struct slice body, struct log_block *out, struct err *err)
{
    struct wire_reader r;
    wire_reader_init(&r, slice_part(body, 0, body.len - LENGTH_BYTES));
    uint32_t version = wire_get_u32(&r);
    uint32_t type = wire_get_u32(&r);
    if (wire_is_bad(&r))
        return damaged(err, out->offset, "it is too short");
    if (version != FORMAT_VERSION)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "log format version %u is not supported", version);
    if (type > LOG_BLOCK_CDC)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "log block type %u is not supported",
                       type);
    out->type = (enum log_block_type)type;
    read_map(&r, out);
    out->content = wire_get_bytes(&r, (size_t)wire_get_u64(&r));
    read_map(&r, NULL);
    if (wire_is_bad(&r))
        return damaged(err, out->offset, "its parts are longer than the block");
    return true;
}

bool log_block_next(struct log_cursor *c, struct log_block *out, bool *found, struct err *err)
{
    struct slice body, left = rest_of(c->file, c->at);
    *out = (struct log_block){.offset = c->at};
    *found = left.len >= MAGIC_BYTES; /* a few bytes are the beginning of a magic, cut off */
    if (!*found)
        return true;
    if (!is_magic(left))
        return damaged(err, c->at, "it does not begin as one");
    if (!find_extent(left, &body)) {
        out->type = LOG_BLOCK_CORRUPT;
        c->at = find_magic(c->file, c->at + MAGIC_BYTES);
        return true;
    }
    c->at += MAGIC_BYTES + LENGTH_BYTES + body.len;
    return read_body(body, out, err);
}

/* ---- contents ---- */

bool log_avro_content_read(struct slice content, struct log_content *out, struct err *err)
{
    struct wire_reader r;
    wire_reader_init(&r, content);
    out->version = wire_get_u32(&r);
    out->count = wire_get_u32(&r);
    out->body = wire_get_rest(&r);
    if (wire_is_bad(&r))
        return err_set(err, SQLSTATE_DATA_CORRUPTED, "data block of a log file is cut off");
    if (out->version < 1 || out->version > 3)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "data blocks of version %u in a log file are not supported", out->version);
    return true;
}

bool log_delete_content_read(struct slice content, struct log_content *out, struct err *err)
{
    struct wire_reader r;
    wire_reader_init(&r, content);
    out->version = wire_get_u32(&r);
    out->count = 0;
    out->body = wire_get_bytes(&r, wire_get_u32(&r));
    if (wire_is_bad(&r))
        return err_set(err, SQLSTATE_DATA_CORRUPTED, "delete block of a log file is cut off");
    if (out->version < 1 || out->version > 3)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "delete blocks of version %u are not supported", out->version);
    return true;
}

/* ---- names ---- */

static bool is_id_char(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static struct slice take_while(struct slice *s, bool (*is)(char))
{
    size_t n = 0;
    while (n < s->len && is(s->data[n]))
        n++;
    struct slice taken = slice_part(*s, 0, n);
    *s = rest_of(*s, n);
    return taken;
}

static bool take_text(struct slice *s, const char *text)
{
    if (!slice_starts_with(*s, text))
        return false;
    *s = rest_of(*s, strlen(text));
    return true;
}

static bool is_token_char(char c)
{
    return is_digit(c) || c == '-';
}

bool log_file_name_read(struct slice name, struct log_file_name *out)
{
    *out = (struct log_file_name){0};
    if (!take_text(&name, "."))
        return false;
    out->file_id = take_while(&name, is_id_char);
    if (out->file_id.len == 0 || !take_text(&name, "_"))
        return false;
    out->instant = take_while(&name, is_digit);
    if ((out->instant.len != 14 && out->instant.len != 17) || !take_text(&name, ".log."))
        return false;
    struct slice version = take_while(&name, is_digit);
    if (version.len == 0 || version.len > 9)
        return false;
    for (size_t i = 0; i < version.len; i++)
        out->version = out->version * 10 + (uint32_t)(version.data[i] - '0');
    if (name.len > 0 && !take_text(&name, "_"))
        return false;
    out->token = take_while(&name, is_token_char);
    return name.len == 0;
}
