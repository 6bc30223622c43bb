/* Connection strings: both forms of libpq come down to keys and values, and one function judges a
 * pair. A string that cannot be honoured fully (several hosts, a service file) is refused rather than
 * half understood: the control connection and the jobs must reach the same server. */
#include "conninfo.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "protocol/crypto.h"

/* Keys that mean something to libpq alone; a job hands them on. */
static const char *const other_keys[] = {"application_name",
                                         "fallback_application_name",
                                         "connect_timeout",
                                         "client_encoding",
                                         "keepalives",
                                         "keepalives_idle",
                                         "keepalives_interval",
                                         "keepalives_count",
                                         "tcp_user_timeout",
                                         "target_session_attrs",
                                         "gssencmode",
                                         "krbsrvname",
                                         "require_auth",
                                         "sslcompression",
                                         "sslsni"};

static bool bad(struct err *err, const char *why, const char *key)
{
    return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "in \"service\": %s \"%s\"", why, key);
}

static bool copy_value(char *out, size_t size, const char *key, const char *value, struct err *err)
{
    if (strlen(value) >= size)
        return bad(err, "too long a value of", key);
    snprintf(out, size, "%s", value);
    return true;
}

static bool read_port(struct conninfo *c, const char *text, struct err *err)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || n == 0 || n > 65535)
        return bad(err, "not a port:", text);
    c->port = (uint16_t)n;
    return true;
}

/* *found: is the key one of TLS? */
static bool put_tls(struct conninfo *c, const char *key, const char *value, bool *found,
                    struct err *err)
{
    *found = true;
    if (strcmp(key, "sslmode") == 0)
        return tls_mode_find(value, &c->sslmode) || bad(err, "not an sslmode:", value);
    if (strcmp(key, "sslrootcert") == 0)
        return copy_value(c->sslrootcert, sizeof c->sslrootcert, key, value, err);
    if (strcmp(key, "sslcert") == 0)
        return copy_value(c->sslcert, sizeof c->sslcert, key, value, err);
    if (strcmp(key, "sslkey") == 0)
        return copy_value(c->sslkey, sizeof c->sslkey, key, value, err);
    if (strcmp(key, "ssl_min_protocol_version") == 0)
        return copy_value(c->min_protocol, sizeof c->min_protocol, key, value, err);
    if (strcmp(key, "channel_binding") == 0 && strcmp(value, "require") == 0) {
        err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                "\"service\" asks for channel_binding=require");
        return err_hint(err, "sslmode=verify-full makes sure of the server too.");
    }
    *found = strcmp(key, "channel_binding") == 0;
    return true;
}

static bool is_other_key(const char *key)
{
    for (size_t i = 0; i < ARRAY_LEN(other_keys); i++)
        if (strcmp(key, other_keys[i]) == 0)
            return true;
    return false;
}

static bool put_pair(struct conninfo *c, const char *key, const char *value, struct err *err)
{
    bool is_host = strcmp(key, "host") == 0;
    if ((is_host || strcmp(key, "hostaddr") == 0 || strcmp(key, "port") == 0) &&
        strchr(value, ',') != NULL)
        return bad(err, "one server only, not a list:", key);
    if (is_host) /* hostaddr wins where both are given */
        return copy_value(c->named_host, sizeof c->named_host, key, value, err);
    if (strcmp(key, "hostaddr") == 0)
        return copy_value(c->host, sizeof c->host, key, value, err);
    if (strcmp(key, "port") == 0)
        return value[0] == '\0' || read_port(c, value, err);
    if (strcmp(key, "user") == 0)
        return copy_value(c->user, sizeof c->user, key, value, err);
    if (strcmp(key, "dbname") == 0)
        return copy_value(c->dbname, sizeof c->dbname, key, value, err);
    if (strcmp(key, "password") == 0)
        return copy_value(c->password, sizeof c->password, key, value, err);
    if (strcmp(key, "passfile") == 0)
        return copy_value(c->passfile, sizeof c->passfile, key, value, err);
    bool found;
    if (!put_tls(c, key, value, &found, err))
        return false;
    return found || is_other_key(key) || bad(err, "a key that is not supported:", key);
}

/* ---- key=value ---------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static const char *skip_spaces(const char *p)
{
    while (is_space(*p))
        p++;
    return p;
}

/* The value at *at, quoted or not; *at moves behind it. */
static bool take_value(const char **at, char *out, size_t size, const char *key, struct err *err)
{
    const char *p = *at;
    size_t n = 0;
    bool quoted = *p == '\'';
    p += quoted;
    while (*p != '\0' && (quoted ? *p != '\'' : !is_space(*p))) {
        if (*p == '\\' && p[1] != '\0')
            p++;
        if (n + 1 >= size)
            return bad(err, "too long a value of", key);
        out[n++] = *p++;
    }
    out[n] = '\0';
    if (quoted && *p != '\'')
        return bad(err, "a quote is not closed, in the value of", key);
    *at = p + quoted;
    return true;
}

static bool read_pairs(const char *text, struct conninfo *c, struct err *err)
{
    char key[64];
    char value[CONNINFO_VALUE_BYTES];
    bool ok = true;
    for (const char *p = skip_spaces(text); ok && *p != '\0'; p = skip_spaces(p)) {
        size_t n = 0;
        while (p[n] != '\0' && p[n] != '=' && !is_space(p[n]))
            n++;
        snprintf(key, sizeof key, "%.*s", (int)(n < sizeof key ? n : sizeof key - 1), p);
        p = skip_spaces(p + n);
        if (*p != '=')
            return bad(err, "no \"=\" behind", key);
        p = skip_spaces(p + 1);
        ok = take_value(&p, value, sizeof value, key, err) && put_pair(c, key, value, err);
    }
    crypto_wipe(value, sizeof value);
    return ok;
}

/* ---- postgresql://user:password@host:port/dbname?key=value -------------- */

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c == '\0' ? NULL : strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c);
    return at == NULL ? -1 : (int)(at - digits);
}

static bool put_encoded(struct conninfo *c, const char *key, struct slice text, struct err *err)
{
    char value[CONNINFO_VALUE_BYTES];
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++) {
        char byte = text.data[i];
        if (byte == '%') {
            bool whole = text.len - i > 2;
            int high = whole ? hex_digit(text.data[i + 1]) : -1;
            int low = whole ? hex_digit(text.data[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return bad(err, "a damaged % sequence in the value of", key);
            byte = (char)(high * 16 + low);
            i += 2;
        }
        if (n + 1 >= sizeof value)
            return bad(err, "too long a value of", key);
        value[n++] = byte;
    }
    value[n] = '\0';
    bool ok = put_pair(c, key, value, err);
    crypto_wipe(value, sizeof value);
    return ok;
}

/* Takes the text up to the first of `ends` (or all of it) off the front; the end stays. */
static struct slice take_until(struct slice *text, const char *ends)
{
    size_t n = 0;
    while (n < text->len && strchr(ends, text->data[n]) == NULL)
        n++;
    struct slice part = slice_part(*text, 0, n);
    *text = slice_part(*text, n, text->len);
    return part;
}

static void skip_byte(struct slice *text)
{
    if (text->len > 0)
        *text = slice_part(*text, 1, text->len);
}

static bool read_login(struct slice login, struct conninfo *c, struct err *err)
{
    struct slice user = take_until(&login, ":");
    skip_byte(&login);
    return put_encoded(c, "user", user, err) &&
           (login.len == 0 || put_encoded(c, "password", login, err));
}

static bool read_place(struct slice place, struct conninfo *c, struct err *err)
{
    struct slice host;
    if (slice_starts_with(place, "[")) {
        skip_byte(&place);
        host = take_until(&place, "]");
        skip_byte(&place);
    } else {
        host = take_until(&place, ":");
    }
    if (!put_encoded(c, "host", host, err))
        return false;
    skip_byte(&place);
    return place.len == 0 || put_encoded(c, "port", place, err);
}

static bool read_uri(const char *text, struct conninfo *c, struct err *err)
{
    struct slice rest = slice_cstr(strstr(text, "://") + 3);
    struct slice authority = take_until(&rest, "/?");
    size_t at = slice_find_byte(authority, '@');
    bool ok = true;
    if (at < authority.len) {
        ok = read_login(slice_part(authority, 0, at), c, err);
        authority = slice_part(authority, at + 1, authority.len);
    }
    ok = ok && read_place(authority, c, err);
    (void)take_until(&rest, "?"); /* the database */
    while (ok && rest.len > 0) {
        char key[64];
        skip_byte(&rest);
        struct slice pair = take_until(&rest, "&");
        struct slice name = take_until(&pair, "=");
        skip_byte(&pair);
        snprintf(key, sizeof key, "%.*s", (int)(name.len < sizeof key ? name.len : 63), name.data);
        ok = put_encoded(c, key, pair, err);
    }
    return ok;
}

/* What libpq makes of the values together. */
static bool settle_tls(struct conninfo *c, struct err *err)
{
    if (c->sslmode == TLS_REQUIRE && c->sslrootcert[0] != '\0')
        c->sslmode = TLS_VERIFY_CA;
    if (c->sslmode >= TLS_VERIFY_CA && c->sslrootcert[0] == '\0')
        return bad(err, "sslrootcert is needed with sslmode", tls_mode_name(c->sslmode));
    if (strcmp(c->sslrootcert, "system") == 0 && c->sslmode != TLS_VERIFY_FULL)
        return bad(err, "sslrootcert=system needs sslmode=verify-full, not",
                   tls_mode_name(c->sslmode));
    return true;
}

void conninfo_tls(const struct conninfo *c, struct tls_settings *out)
{
    *out = (struct tls_settings){.mode = c->sslmode,
                                 .key_file = c->sslkey,
                                 .cert_file = c->sslcert,
                                 .ca_file = c->sslrootcert,
                                 .host = c->named_host};
    if (strcasecmp(c->min_protocol, "tlsv1.3") == 0)
        out->protocols = "tlsv1.3";
}

bool conninfo_read(const char *text, struct conninfo *out, struct err *err)
{
    *out = (struct conninfo){.port = 5432, .sslmode = TLS_PREFER};
    bool uri = strncmp(text, "postgresql://", 13) == 0 || strncmp(text, "postgres://", 11) == 0;
    if (!(uri ? read_uri(text, out, err) : read_pairs(text, out, err)) || !settle_tls(out, err)) {
        conninfo_fini(out);
        return false;
    }
    if (out->host[0] == '\0')
        snprintf(out->host, sizeof out->host, "%s",
                 out->named_host[0] == '\0' ? "/var/run/postgresql" : out->named_host);
    if (out->user[0] == '\0') {
        conninfo_fini(out);
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "\"service\" names no user");
    }
    return true;
}

void conninfo_fini(struct conninfo *c)
{
    crypto_wipe(c, sizeof *c);
}

/* ---- password file ------------------------------------------------------ */

bool conninfo_read_passfile(const char *path, struct buf *out, struct err *err)
{
    char chunk[4096];
    struct stat st;
    size_t n;
    err_clear(err);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return err_set_errno(err, errno, "cannot open the passfile \"%s\"", path);
    if (fstat(fileno(f), &st) == 0 && (st.st_mode & (S_IRWXG | S_IRWXO)) != 0)
        err_set(err, SQLSTATE_CONFIG_FILE_ERROR,
                "the passfile \"%s\" can be read by others; its mode must be 0600", path);
    while (!err_is_set(err) && (n = fread(chunk, 1, sizeof chunk, f)) > 0)
        if (!buf_append(out, chunk, n))
            err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "the passfile \"%s\" is too long", path);
    crypto_wipe(chunk, sizeof chunk);
    fclose(f);
    return !err_is_set(err);
}

/* Takes a field off the line, without its escapes. False: longer than `size`. */
static bool take_field(struct slice *line, char *out, size_t size)
{
    size_t n = 0;
    while (line->len > 0 && line->data[0] != ':') {
        if (line->data[0] == '\\' && line->len > 1)
            skip_byte(line);
        if (n + 1 >= size)
            return false;
        out[n++] = line->data[0];
        skip_byte(line);
    }
    out[n] = '\0';
    skip_byte(line);
    return true;
}

static bool field_matches(struct slice *line, struct slice wanted)
{
    char field[CONNINFO_VALUE_BYTES];
    bool star = slice_starts_with(*line, "*:");
    return take_field(line, field, sizeof field) && (star || slice_equals_cstr(wanted, field));
}

bool conninfo_find_password(struct slice content, const struct conninfo *c, struct slice dbname,
                            char *out, size_t size)
{
    char port[8];
    const char *host = c->named_host[0] != '\0' ? c->named_host : c->host;
    snprintf(port, sizeof port, "%u", (unsigned)c->port);
    if (host[0] == '/' && strcmp(host, "/var/run/postgresql") == 0)
        host = "localhost"; /* libpq's name for the default socket */
    while (content.len > 0) {
        struct slice line = take_until(&content, "\r\n");
        skip_byte(&content);
        if (slice_starts_with(line, "#"))
            continue;
        if (field_matches(&line, slice_cstr(host)) && field_matches(&line, slice_cstr(port)) &&
            field_matches(&line, dbname) && field_matches(&line, slice_cstr(c->user)))
            return take_field(&line, out, size);
    }
    return false;
}
