#include "secret.h"

#include "base/buf.h"
#include "base/json.h"

#define SECRET_MAX_BYTES ((size_t)16 << 20)

static bool put_sealed(const struct sealed_key *key, const char *name, const char *value,
                       struct buf *out, struct err *err)
{
    struct buf sealed;
    buf_init(&sealed, SECRET_MAX_BYTES);
    bool ok = sealed_write(key, name, slice_cstr(value), &sealed, err);
    json_write_string(out, slice_cstr(name));
    buf_append_byte(out, ':');
    json_write_string(out, buf_slice(&sealed));
    buf_fini(&sealed);
    return ok;
}

static bool put_all(const struct sealed_key *key, const struct json_val *secrets, struct buf *out,
                    struct err *err)
{
    buf_append_byte(out, '{');
    for (void *it = json_first(secrets); it != NULL; it = json_next(secrets, it)) {
        const char *value = json_as_text(json_value(it));
        if (buf_length(out) > 1)
            buf_append_byte(out, ',');
        if (!put_sealed(key, json_key(it), value == NULL ? "" : value, out, err))
            return false;
    }
    return buf_append_byte(out, '}') || err_no_memory(err);
}

bool secret_seal(const struct sealed_key *key, const char *secrets, struct arena *a,
                 const char **out, struct err *err)
{
    struct json *doc;
    struct buf b;
    if (!json_read(slice_cstr(secrets), &doc, err))
        return false;
    buf_init(&b, SECRET_MAX_BYTES);
    bool ok = put_all(key, json_root(doc), &b, err);
    *out = ok ? arena_copy(a, buf_slice(&b)) : NULL;
    buf_fini(&b);
    json_free(doc);
    return ok && (*out != NULL || err_no_memory(err));
}
