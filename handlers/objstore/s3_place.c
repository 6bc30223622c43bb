/* `address` is a host, host:port, or a URL without a path. As in the vendor's manual, the option `encrypt`
 * says whether it is spoken to with TLS, and is off by default; a URL says it itself.
 *
 * The public clouds want the bucket in front of the host ("virtual-hosted"; OSS takes nothing else),
 * what runs in one's own rooms as a rule has no such names. A bucket that cannot be a name in a
 * certificate ("my.data") stands in the path in any case.
 *
 * The region is part of a signature. It stands in the host's name on the public clouds, others do not
 * care what it is as long as it is the one that they were set up with: us-east-1, mostly. */
#include "s3_place.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "sigv4.h"
#include "store.h"

#define S3_DEFAULT_REGION "us-east-1"

static const char *const public_clouds[] = {
    ".amazonaws.com",     ".amazonaws.com.cn", ".aliyuncs.com",
    ".myhuaweicloud.com", ".myhuaweicloud.eu", ".otc.t-systems.com",
};

static bool is_set(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static bool invalid(const char *option, const char *value, struct err *err)
{
    return err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE, "invalid value for option \"%s\": \"%s\"",
                   option, value);
}

static bool consists_of(const char *text, const char *allowed)
{
    return text[0] != '\0' && text[strspn(text, allowed)] == '\0';
}

/* ---- address ---- */

static bool read_scheme(const struct objstore_s3_options *o, struct slice *rest, bool *tls,
                        struct err *err)
{
    bool wants = is_set(o->encrypt);
    bool encrypt =
        wants && (strcasecmp(o->encrypt, "on") == 0 || strcasecmp(o->encrypt, "true") == 0);
    *tls = encrypt;
    size_t n;
    if (slice_starts_with(*rest, "https://"))
        n = 8, *tls = true;
    else if (slice_starts_with(*rest, "http://"))
        n = 7, *tls = false;
    else
        return true;
    *rest = slice_part(*rest, n, rest->len);
    if (!wants || encrypt == *tls)
        return true;
    invalid("encrypt", o->encrypt, err);
    return err_detail(err, "The address of the server says otherwise: \"%s\".", o->address);
}

static bool read_port(const char *text, unsigned *port)
{
    if (!consists_of(text, "0123456789") || strlen(text) > 5)
        return false;
    *port = (unsigned)strtoul(text, NULL, 10);
    return *port > 0 && *port < 65536;
}

/* "host", "host:port", "[::1]:9000" */
static bool read_host(struct s3_place *p, struct slice text)
{
    unsigned port = p->tls ? 443 : 80;
    bool bracket = text.len > 0 && text.data[0] == '[';
    if (text.len == 0 || text.len >= sizeof p->host)
        return false;
    memcpy(p->host, text.data, text.len);
    p->host[text.len] = '\0';
    char *end = bracket ? strchr(p->host, ']') : p->host;
    char *colon = end == NULL ? NULL : strchr(end, ':');
    if (end == NULL || (colon != NULL && !read_port(colon + 1, &port)))
        return false;
    if (colon != NULL)
        *colon = '\0';
    const char *allowed = bracket
                              ? "[]0123456789abcdefABCDEF:."
                              : "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
    if (!consists_of(p->host, allowed))
        return false;
    if (colon != NULL && port != (p->tls ? 443u : 80u))
        *colon = ':';
    return true;
}

static bool read_address(const struct objstore_s3_options *o, struct s3_place *p, struct err *err)
{
    if (!is_set(o->address)) {
        err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE, "the server has no option \"address\"");
        return err_hint(err, "Add it with ALTER SERVER ... OPTIONS (ADD address 'host').");
    }
    struct slice rest = slice_trim(slice_cstr(o->address));
    if (!read_scheme(o, &rest, &p->tls, err))
        return false;
    if (slice_ends_with(rest, "/"))
        rest = slice_part(rest, 0, rest.len - 1);
    if (read_host(p, rest))
        return true;
    invalid("address", o->address, err);
    return err_hint(err, "Write 'host', 'host:port' or 'https://host:port'.");
}

/* ---- folder ---- */

static bool is_bucket(const char *text)
{
    return strlen(text) >= 3 && strlen(text) <= 255 && strcmp(text, "...") != 0 &&
           consists_of(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_");
}

/* "path/to/": parts as in paths of objects, and a slash behind the last. */
static bool is_prefix(const char *text)
{
    size_t n = strlen(text);
    char *copy = n == 0 ? NULL : strndup(text, n - 1);
    bool ok = n == 0 || (copy != NULL && copy[0] != '\0' && store_path_is_plain(copy));
    free(copy);
    return ok;
}

/* "/bucket/path/to/" */
static bool read_root(const char *root, struct s3_place *p, struct err *err)
{
    const char *slash = root[0] == '/' ? strchr(root + 1, '/') : NULL;
    size_t n = slash == NULL ? 0 : (size_t)(slash - root) - 1;
    if (slash == NULL || n >= sizeof p->bucket || root[strlen(root) - 1] != '/') {
        invalid("foldername", root, err);
        return err_hint(err, "Write '/bucket/path/'.");
    }
    memcpy(p->bucket, root + 1, n);
    p->bucket[n] = '\0';
    p->prefix = slash + 1;
    if (!is_bucket(p->bucket)) {
        invalid("foldername", root, err);
        return err_detail(err, "\"%s\" is not the name of a bucket.", p->bucket);
    }
    return is_prefix(p->prefix) || invalid("foldername", root, err);
}

/* ---- addressing and region ---- */

static bool is_in_public_cloud(const char *host)
{
    for (size_t i = 0; i < ARRAY_LEN(public_clouds); i++)
        if (slice_ends_with(slice_cstr(host), public_clouds[i]))
            return true;
    return false;
}

static bool can_be_host(const struct s3_place *p)
{
    return consists_of(p->bucket, "abcdefghijklmnopqrstuvwxyz0123456789-") ||
           (!p->tls && consists_of(p->bucket, "abcdefghijklmnopqrstuvwxyz0123456789-."));
}

static bool read_addressing(const struct objstore_s3_options *o, struct s3_place *p,
                            struct err *err)
{
    p->virtual_hosted = is_in_public_cloud(p->host) && can_be_host(p);
    if (!is_set(o->addressing))
        return true;
    p->virtual_hosted = strcasecmp(o->addressing, "virtual") == 0;
    return p->virtual_hosted || strcasecmp(o->addressing, "path") == 0 ||
           invalid("addressing", o->addressing, err);
}

static bool is_region(const char *text)
{
    return strlen(text) < S3_REGION_BYTES &&
           consists_of(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_");
}

/* "s3.eu-west-1.…", "s3-eu-west-1.…", "s3.dualstack.eu-west-1.…", "obs.cn-north-4.…",
 * "oss-cn-hangzhou-internal.…" */
static struct slice guess_region(const char *host)
{
    struct slice rest = slice_cstr(host);
    struct slice label = slice_part(rest, 0, slice_find_byte(rest, '.'));
    if (slice_starts_with(label, "s3-") || slice_starts_with(label, "oss-") ||
        slice_starts_with(label, "obs-")) {
        label = slice_part(label, slice_find_byte(label, '-') + 1, label.len);
        if (slice_ends_with(label, "-internal"))
            label = slice_part(label, 0, label.len - 9);
        return label;
    }
    bool named = slice_equals_cstr(label, "s3") || slice_equals_cstr(label, "obs");
    while (named && label.len < rest.len) {
        rest = slice_part(rest, label.len + 1, rest.len);
        label = slice_part(rest, 0, slice_find_byte(rest, '.'));
        if (!slice_equals_cstr(label, "dualstack"))
            break;
    }
    return named && slice_find_byte(label, '-') < label.len ? label : slice_cstr(S3_DEFAULT_REGION);
}

static bool read_region(const struct objstore_s3_options *o, struct s3_place *p, struct err *err)
{
    if (is_set(o->region) && !is_region(o->region))
        return invalid("region", o->region, err);
    struct slice region = is_set(o->region)             ? slice_cstr(o->region)
                          : is_in_public_cloud(p->host) ? guess_region(p->host)
                                                        : slice_cstr(S3_DEFAULT_REGION);
    if (region.len >= sizeof p->region)
        region = slice_cstr(S3_DEFAULT_REGION);
    memcpy(p->region, region.data, region.len);
    p->region[region.len] = '\0';
    return true;
}

bool s3_place_read(const struct objstore_s3_options *o, struct s3_place *out, struct err *err)
{
    *out = (struct s3_place){.prefix = ""};
    return read_address(o, out, err) && read_root(o->root, out, err) &&
           read_addressing(o, out, err) && read_region(o, out, err);
}

/* On Amazon the endpoint of another region is another host; elsewhere the host stays. */
bool s3_place_move(struct s3_place *p, const char *region)
{
    struct slice host = slice_cstr(p->host);
    if (!is_region(region) || strcmp(region, p->region) == 0)
        return false;
    memcpy(p->region, region, strlen(region) + 1);
    if (slice_starts_with(host, "s3") && slice_ends_with(host, ".amazonaws.com")) {
        memcpy(p->host, "s3.", 3);
        memcpy(p->host + 3, region, strlen(region));
        memcpy(p->host + 3 + strlen(region), ".amazonaws.com", 15);
    }
    return true;
}

void s3_place_put_host(const struct s3_place *p, struct buf *out)
{
    buf_printf(out, "%s%s%s", p->virtual_hosted ? p->bucket : "", p->virtual_hosted ? "." : "",
               p->host);
}

void s3_place_put_path(const struct s3_place *p, const char *key, struct buf *out)
{
    if (!p->virtual_hosted) {
        buf_append_byte(out, '/');
        sigv4_put_encoded(out, slice_cstr(p->bucket), false);
    }
    if (key != NULL || p->virtual_hosted)
        buf_append_byte(out, '/');
    if (key != NULL)
        sigv4_put_encoded(out, slice_cstr(key), true);
}
