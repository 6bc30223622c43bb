/* Hudi 1.x stores commit metadata as Avro object containers of one record. They become JSON text
 * here, so that both timeline layouts share one reader of commit metadata (commit_metadata.c).
 *
 *   container:  "Obj" 1 | map<bytes> (avro.schema, avro.codec) | sync[16] |
 *               { count long | size long | bytes | sync[16] } ...
 *
 * avro-c parses the schema and resolves its names. The values are walked by us along that schema:
 * avro-c's own value reader believes every length and count it finds and builds a tree first, which
 * hostile input turns into exhausted memory; here a cursor knows how many bytes are left, every
 * item takes at least one of them, and depth and output are bounded. */
#include "avro.h"

#include <avro.h>
#include <math.h>
#include <stdint.h>
#include <string.h>
#include <zlib.h>

#include "avro_cursor.h"
#include "base/json.h"

#define AVRO_MAX_DEPTH 64
#define AVRO_SYNC_BYTES 16
#define AVRO_MAX_INFLATED ((size_t)256 << 20)

static const char magic[] = {'O', 'b', 'j', 1};

/* ---- values ---- */

struct walker {
    struct avro_cursor in;
    struct buf *out;
    int depth;
};

static void write_value(struct walker *w, avro_schema_t schema);

static void write_double(struct walker *w, double d)
{
    if (!isfinite(d))
        buf_append_cstr(w->out, "null");
    else
        buf_printf(w->out, "%.17g", d);
}

static void write_float_bytes(struct walker *w)
{
    float f = 0;
    struct slice b = avro_get_raw(&w->in, sizeof f);
    if (!w->in.bad)
        memcpy(&f, b.data, sizeof f);
    write_double(w, (double)f);
}

static void write_double_bytes(struct walker *w)
{
    double d = 0;
    struct slice b = avro_get_raw(&w->in, sizeof d);
    if (!w->in.bad)
        memcpy(&d, b.data, sizeof d);
    write_double(w, d);
}

static void write_key(struct walker *w, struct slice key)
{
    json_write_string(w->out, key);
    buf_append_byte(w->out, ':');
}

static void write_record(struct walker *w, avro_schema_t schema)
{
    size_t n = avro_schema_record_size(schema);
    buf_append_byte(w->out, '{');
    for (size_t i = 0; i < n && !w->in.bad; i++) {
        if (i > 0)
            buf_append_byte(w->out, ',');
        write_key(w, slice_cstr(avro_schema_record_field_name(schema, (int)i)));
        write_value(w, avro_schema_record_field_get_by_index(schema, (int)i));
    }
    buf_append_byte(w->out, '}');
}

/* An array, or a map, whose items have a key in front. */
static void write_items(struct walker *w, avro_schema_t items, bool is_map)
{
    bool first = true;
    buf_append_byte(w->out, is_map ? '{' : '[');
    for (uint64_t n; (n = avro_get_count(&w->in)) > 0;) {
        for (; n > 0 && !w->in.bad && !w->out->failed; n--) {
            size_t before = w->in.left.len;
            if (!first)
                buf_append_byte(w->out, ',');
            first = false;
            if (is_map)
                write_key(w, avro_get_bytes(&w->in));
            write_value(w, items);
            if (w->in.left.len == before)
                w->in.bad = true;
        }
        if (w->out->failed)
            w->in.bad = true;
    }
    buf_append_byte(w->out, is_map ? '}' : ']');
}

static void write_union(struct walker *w, avro_schema_t schema)
{
    int64_t branch = avro_get_long(&w->in);
    if (branch < 0 || (uint64_t)branch >= avro_schema_union_size(schema))
        w->in.bad = true;
    if (!w->in.bad)
        write_value(w, avro_schema_union_branch(schema, (int)branch));
}

static void write_enum(struct walker *w, avro_schema_t schema)
{
    int64_t i = avro_get_long(&w->in);
    if (i < 0 || i >= avro_schema_enum_number_of_symbols(schema))
        w->in.bad = true;
    if (!w->in.bad)
        json_write_string(w->out, slice_cstr(avro_schema_enum_get(schema, (int)i)));
}

static void write_fixed(struct walker *w, avro_schema_t schema)
{
    int64_t n = avro_schema_fixed_size(schema);
    if (n < 0)
        w->in.bad = true;
    json_write_string(w->out, avro_get_raw(&w->in, n < 0 ? 0 : (uint64_t)n));
}

static void write_boolean(struct walker *w)
{
    struct slice b = avro_get_raw(&w->in, 1);
    buf_append_cstr(w->out, !w->in.bad && b.data[0] != 0 ? "true" : "false");
}

static void write_by_type(struct walker *w, avro_schema_t schema)
{
    switch (avro_typeof(schema)) {
    case AVRO_STRING:
    case AVRO_BYTES: json_write_string(w->out, avro_get_bytes(&w->in)); return;
    case AVRO_INT32:
    case AVRO_INT64: buf_printf(w->out, "%lld", (long long)avro_get_long(&w->in)); return;
    case AVRO_FLOAT: write_float_bytes(w); return;
    case AVRO_DOUBLE: write_double_bytes(w); return;
    case AVRO_BOOLEAN: write_boolean(w); return;
    case AVRO_NULL: buf_append_cstr(w->out, "null"); return;
    case AVRO_RECORD: write_record(w, schema); return;
    case AVRO_ENUM: write_enum(w, schema); return;
    case AVRO_FIXED: write_fixed(w, schema); return;
    case AVRO_MAP: write_items(w, avro_schema_map_values(schema), true); return;
    case AVRO_ARRAY: write_items(w, avro_schema_array_items(schema), false); return;
    case AVRO_UNION: write_union(w, schema); return;
    case AVRO_LINK: write_value(w, avro_schema_link_target(schema)); return;
    default: w->in.bad = true; return;
    }
}

static void write_value(struct walker *w, avro_schema_t schema)
{
    if (schema == NULL || w->depth == AVRO_MAX_DEPTH)
        w->in.bad = true;
    if (w->in.bad || w->out->failed)
        return;
    w->depth++;
    write_by_type(w, schema);
    w->depth--;
}

/* ---- container ---- */

struct container {
    struct slice schema; /* JSON text */
    struct slice codec;  /* empty: null */
    struct slice block;  /* bytes of the first block */
};

static bool damaged(struct err *err, const char *what)
{
    return err_set(err, SQLSTATE_DATA_CORRUPTED, "Avro container is damaged: %s", what);
}

bool avro_is_container(struct slice bytes)
{
    return bytes.len >= sizeof magic && memcmp(bytes.data, magic, sizeof magic) == 0;
}

static bool read_header(struct avro_cursor *c, struct container *out)
{
    for (uint64_t n; (n = avro_get_count(c)) > 0;) {
        for (; n > 0 && !c->bad; n--) {
            struct slice key = avro_get_bytes(c);
            struct slice value = avro_get_bytes(c);
            if (slice_equals_cstr(key, "avro.schema"))
                out->schema = value;
            if (slice_equals_cstr(key, "avro.codec"))
                out->codec = value;
        }
    }
    return !c->bad;
}

static bool read_container(struct slice bytes, struct container *out, struct err *err)
{
    struct avro_cursor c = {bytes, false};
    *out = (struct container){0};
    (void)avro_get_raw(&c, sizeof magic);
    if (!read_header(&c, out))
        return damaged(err, "its header is cut off");
    if (slice_is_empty(out->schema))
        return damaged(err, "it has no schema");
    struct slice sync = avro_get_raw(&c, AVRO_SYNC_BYTES);
    int64_t count = avro_get_long(&c);
    out->block = avro_get_bytes(&c);
    struct slice end = avro_get_raw(&c, AVRO_SYNC_BYTES);
    if (c.bad || count < 1)
        return damaged(err, "it holds no complete object");
    if (!slice_equals(sync, end))
        return damaged(err, "a sync marker does not match");
    return true;
}

/* Raw deflate. `out` gets the bytes; its maximum bounds them. */
static bool inflate_block(struct slice in, struct buf *out, struct err *err)
{
    unsigned char chunk[16384];
    z_stream z = {0};
    if (in.len > UINT32_MAX || inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return err_no_memory(err);
    z.next_in = (unsigned char *)(uintptr_t)in.data;
    z.avail_in = (uInt)in.len;
    int rc = Z_OK;
    while (rc == Z_OK) {
        z.next_out = chunk;
        z.avail_out = sizeof chunk;
        rc = inflate(&z, Z_NO_FLUSH);
        if (!buf_append(out, chunk, sizeof chunk - z.avail_out))
            rc = Z_MEM_ERROR;
    }
    inflateEnd(&z);
    if (rc == Z_STREAM_END)
        return true;
    if (rc == Z_MEM_ERROR)
        return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "Avro block is too large");
    return damaged(err, "its deflate stream is invalid");
}

static bool write_object(const struct container *c, struct slice block, struct buf *json,
                         struct err *err)
{
    avro_schema_t schema = NULL;
    if (avro_schema_from_json_length(c->schema.data, c->schema.len, &schema) != 0)
        return damaged(err, "its schema is invalid");
    struct walker w = {.in = {block, false}, .out = json};
    write_value(&w, schema);
    avro_schema_decref(schema);
    if (json->failed)
        return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "Avro object is too large");
    if (w.in.bad)
        return damaged(err, "an object does not match the schema");
    return true;
}

bool avro_container_to_json(struct slice bytes, struct buf *json, struct err *err)
{
    struct container c;
    if (!avro_is_container(bytes))
        return damaged(err, "it does not start as one");
    if (!read_container(bytes, &c, err))
        return false;
    if (slice_is_empty(c.codec) || slice_equals_cstr(c.codec, "null"))
        return write_object(&c, c.block, json, err);
    if (!slice_equals_cstr(c.codec, "deflate"))
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "Avro codec \"%.*s\" is not supported",
                       (int)(c.codec.len > 32 ? 32 : c.codec.len), c.codec.data);
    struct buf inflated;
    buf_init(&inflated, AVRO_MAX_INFLATED);
    bool ok =
        inflate_block(c.block, &inflated, err) && write_object(&c, buf_slice(&inflated), json, err);
    buf_fini(&inflated);
    return ok;
}
