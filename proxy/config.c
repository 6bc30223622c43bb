/* Reads the configuration.
 *
 * The file is given to libconfuse line by line, not as a whole: a setting is one line, as in
 * postgresql.conf, so each line can be wrong on its own, all errors are found in one go, and the
 * line number is ours (libconfuse 3.3 counts lines with a comment twice). libconfuse knows every
 * setting as a text; range and type are checked here, by one function for the file and for --set.
 *
 * libconfuse's only door: nobody else includes its header. */
#include "config.h"

#include <confuse.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "network.h"

#define CONFIG_FILE_MAX_BYTES (1024 * 1024)

/* ---- errors ------------------------------------------------------------- */

static struct err *next_error(struct config_errors *errors)
{
    static _Thread_local struct err overflow;
    if (errors->count == CONFIG_MAX_ERRORS) {
        errors->dropped++;
        return &overflow;
    }
    struct err *err = &errors->items[errors->count++];
    err_clear(err);
    return err;
}

/* Changes from one word to the other: the classic dynamic program, one row at a time. */
static size_t distance(const char *a, const char *b)
{
    size_t row[64];
    size_t n = strlen(b);
    if (n >= ARRAY_LEN(row))
        return SIZE_MAX;
    for (size_t j = 0; j <= n; j++)
        row[j] = j;
    for (size_t i = 1; a[i - 1] != '\0'; i++) {
        size_t corner = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t best = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

static void unknown_setting(const char *name, struct err *err)
{
    const struct config_setting *nearest = NULL;
    size_t best = 5; /* farther away is no help */
    for (size_t i = 0; i < config_setting_count; i++) {
        size_t d = distance(name, config_settings[i].name);
        if (d < best) {
            best = d;
            nearest = &config_settings[i];
        }
    }
    err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "unknown setting \"%s\"", name);
    if (nearest != NULL)
        err_hint(err, "The nearest name is \"%s\".", nearest->name);
}

/* ---- one value ---------------------------------------------------------- */

static const struct config_setting *find_setting(struct slice name)
{
    for (size_t i = 0; i < config_setting_count; i++)
        if (slice_equals_cstr(name, config_settings[i].name))
            return &config_settings[i];
    return NULL;
}

static bool read_bool(const char *text, bool *out)
{
    static const char *const words[] = {"off", "on", "false", "true", "no", "yes", "0", "1"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++) {
        if (slice_equals_nocase(slice_cstr(text), words[i])) {
            *out = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static bool is_choice(const char *choices, const char *value)
{
    size_t len = strlen(value);
    for (const char *p = choices; *p != '\0';) {
        size_t n = strcspn(p, ",");
        if (n == len && memcmp(p, value, n) == 0)
            return true;
        p += n + (p[n] == ',');
    }
    return false;
}

static bool read_int(const struct config_setting *s, const char *text, int64_t *out,
                     struct err *err)
{
    char *end;
    errno = 0;
    long long n = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0)
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "\"%s\" needs a whole number, not \"%s\"",
                       s->name, text);
    if (n < s->min || n > s->max)
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR,
                       "%lld is outside the range of \"%s\" (%lld to %lld)", n, s->name,
                       (long long)s->min, (long long)s->max);
    *out = n;
    return true;
}

bool config_set(struct config *c, const struct config_setting *s, const char *value,
                struct err *err)
{
    char *field = (char *)c + s->offset;
    if (s->missing != NULL && strcmp(value, s->fallback) != 0) {
        err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "\"%s\" cannot be changed in this release",
                s->name);
        return err_hint(err, "It belongs to %s, which comes with a later release.", s->missing);
    }
    switch (s->type) {
    case CONFIG_BOOL:
        return read_bool(value, (bool *)field) ||
               err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "\"%s\" is on or off, not \"%s\"", s->name,
                       value);
    case CONFIG_INT: return read_int(s, value, (int64_t *)field, err);
    case CONFIG_CHOICE:
        if (!is_choice(s->choices, value))
            return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "\"%s\" is one of %s, not \"%s\"",
                           s->name, s->choices, value);
        break;
    case CONFIG_TEXT: break;
    }
    const char *copy = arena_copy_cstr(&c->arena, value);
    if (copy == NULL)
        return err_no_memory(err);
    *(const char **)field = copy;
    return true;
}

/* ---- a file, a text, an assignment -------------------------------------- */

struct line_parse {
    struct config *config;
    struct err *err;
};

/* libconfuse's callbacks carry no pointer of ours. */
static _Thread_local struct line_parse *current_line;

static void on_error(cfg_t *cfg, const char *fmt, va_list args)
{
    (void)cfg;
    char text[256];
    vsnprintf(text, sizeof text, fmt, args);
    if (err_is_set(current_line->err))
        return;
    const char *name = strstr(text, "no such option '");
    if (name != NULL) {
        char word[64];
        snprintf(word, sizeof word, "%s", name + strlen("no such option '"));
        word[strcspn(word, "'")] = '\0';
        unknown_setting(word, current_line->err);
    } else {
        err_set(current_line->err, SQLSTATE_CONFIG_FILE_ERROR, "%s", text);
        err_hint(current_line->err, "A line is key = value; a value with spaces or special "
                                    "characters stands in single quotes.");
    }
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt)
{
    (void)cfg;
    const char *value = cfg_opt_getnstr(opt, 0);
    const struct config_setting *s = find_setting(slice_cstr(opt->name));
    if (s == NULL || value == NULL)
        return 0;
    return config_set(current_line->config, s, value, current_line->err) ? 0 : -1;
}

static cfg_t *new_parser(void)
{
    cfg_opt_t *opts = calloc(config_setting_count + 1, sizeof *opts);
    if (opts == NULL)
        return NULL;
    for (size_t i = 0; i < config_setting_count; i++)
        opts[i] = (cfg_opt_t)CFG_STR(config_settings[i].name, NULL, CFGF_NODEFAULT);
    opts[config_setting_count] = (cfg_opt_t)CFG_END();
    cfg_t *cfg = cfg_init(opts, CFGF_NONE); /* copies opts */
    free(opts);
    if (cfg == NULL)
        return NULL;
    cfg_set_error_function(cfg, on_error);
    for (size_t i = 0; i < config_setting_count; i++)
        cfg_set_validate_func(cfg, config_settings[i].name, on_value);
    return cfg;
}

static bool read_line(struct config *c, const char *line, struct err *err)
{
    struct line_parse parse = {c, err};
    cfg_t *cfg = new_parser();
    if (cfg == NULL)
        return err_no_memory(err);
    current_line = &parse;
    int rc = cfg_parse_buf(cfg, line);
    current_line = NULL;
    cfg_free(cfg);
    if (rc != CFG_SUCCESS && !err_is_set(err))
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "the line cannot be read");
    return rc == CFG_SUCCESS;
}

void config_read_text(struct config *c, const char *name, struct slice text,
                      struct config_errors *errors)
{
    unsigned number = 0;
    while (!slice_is_empty(text)) {
        size_t n = slice_find_byte(text, '\n');
        struct slice line = slice_trim(slice_part(text, 0, n));
        text = slice_part(text, n < text.len ? n + 1 : n, text.len);
        number++;
        if (slice_is_empty(line) || line.data[0] == '#')
            continue;
        char *copy = malloc(line.len + 1);
        struct err err;
        err_clear(&err);
        if (copy != NULL) {
            memcpy(copy, line.data, line.len);
            copy[line.len] = '\0';
        }
        if (copy == NULL ? !err_no_memory(&err) : !read_line(c, copy, &err)) {
            struct err *slot = next_error(errors);
            *slot = err;
            err_context(slot, "%s:%u", name, number);
        }
        free(copy);
    }
}

static bool read_whole(const char *path, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, errno, "cannot open the configuration file \"%s\"", path);
    for (;;) {
        char *room = buf_reserve(out, 4096);
        if (room == NULL) {
            close(fd);
            return err_set(err, SQLSTATE_CONFIG_FILE_ERROR,
                           "the configuration file \"%s\" is longer than 1 MiB", path);
        }
        ssize_t n = read(fd, room, 4096);
        int saved = errno;
        if (n <= 0)
            close(fd);
        if (n < 0)
            return err_set_errno(err, saved, "cannot read the configuration file \"%s\"", path);
        if (n == 0)
            return true;
        buf_commit(out, (size_t)n);
    }
}

void config_read_file(struct config *c, const char *path, struct config_errors *errors)
{
    struct buf text;
    struct err err;
    buf_init(&text, CONFIG_FILE_MAX_BYTES);
    if (read_whole(path, &text, &err))
        config_read_text(c, path, buf_slice(&text), errors);
    else
        *next_error(errors) = err;
    buf_fini(&text);
}

void config_read_assignment(struct config *c, const char *assignment, struct config_errors *errors)
{
    struct slice all = slice_cstr(assignment);
    size_t n = slice_find_byte(all, '=');
    if (n == all.len) {
        err_set(next_error(errors), SQLSTATE_CONFIG_FILE_ERROR, "--set needs KEY=VALUE, not \"%s\"",
                assignment);
        return;
    }
    struct slice name = slice_trim(slice_part(all, 0, n));
    const struct config_setting *s = find_setting(name);
    struct err err;
    if (s != NULL && config_set(c, s, assignment + n + 1, &err))
        return;
    struct err *slot = next_error(errors);
    if (s != NULL) {
        *slot = err;
    } else {
        char word[64];
        snprintf(word, sizeof word, "%.*s", (int)name.len, name.data);
        unknown_setting(word, slot);
    }
    err_context(slot, "--set");
}

/* ---- the whole ---------------------------------------------------------- */

bool config_init(struct config *c, struct err *err)
{
    memset(c, 0, sizeof *c);
    arena_init(&c->arena, 4 * CONFIG_FILE_MAX_BYTES);
    for (size_t i = 0; i < config_setting_count; i++)
        if (!config_set(c, &config_settings[i], config_settings[i].fallback, err))
            return false;
    return true;
}

void config_fini(struct config *c)
{
    arena_fini(&c->arena);
}

/* The next keyword of a libpq string and its value, quotes and escapes taken out. False at the end,
 * or where no keyword is. */
static bool next_keyword(const char **at, struct slice *keyword, char *value, size_t size)
{
    const char *p = *at + strspn(*at, " \t\n\r");
    size_t n = strcspn(p, " \t\n\r=");
    *keyword = slice_of(p, n);
    p += n;
    p += strspn(p, " \t\n\r");
    if (n == 0 || *p != '=')
        return false;
    p++;
    p += strspn(p, " \t\n\r");
    bool quoted = *p == '\'';
    p += quoted;
    size_t len = 0;
    for (; *p != '\0' && (quoted ? *p != '\'' : strchr(" \t\n\r", *p) == NULL); p++) {
        if (*p == '\\' && p[1] != '\0')
            p++;
        if (len + 1 < size)
            value[len++] = *p;
    }
    value[len] = '\0';
    *at = p + (quoted && *p == '\'');
    return true;
}

static bool set_host(struct config_backend *out, const char *host, struct err *err)
{
    if ((size_t)snprintf(out->host, sizeof out->host, "%s", host) < sizeof out->host)
        return true;
    return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "the host in \"backend\" is too long");
}

static bool set_port(struct config_backend *out, const char *text, struct err *err)
{
    char *end;
    unsigned long n = strtoul(text, &end, 10);
    if (end == text || *end != '\0' || n == 0 || n > 65535)
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "\"%s\" in \"backend\" is no port", text);
    out->port = (uint16_t)n;
    return true;
}

bool config_read_backend(const char *backend, struct config_backend *out, struct err *err)
{
    *out = (struct config_backend){.host = "127.0.0.1", .port = 5432};
    if (backend[0] == '/' && strchr(backend, '=') == NULL)
        return set_host(out, backend, err);
    const char *at = backend;
    struct slice keyword;
    char value[CONFIG_HOST_BYTES + 1];
    while (next_keyword(&at, &keyword, value, sizeof value)) {
        bool ok = false;
        if (slice_equals_cstr(keyword, "host"))
            ok = set_host(out, value, err);
        else if (slice_equals_cstr(keyword, "port"))
            ok = set_port(out, value, err);
        else
            err_set(err, SQLSTATE_CONFIG_FILE_ERROR,
                    "\"backend\" holds host and port only, not \"%.*s\"", (int)keyword.len,
                    keyword.data);
        if (!ok)
            return false;
    }
    if (keyword.len > 0 || backend[strspn(backend, " \t")] == '\0')
        return err_set(err, SQLSTATE_CONFIG_FILE_ERROR,
                       "\"backend\" is host=… port=… or the folder of a unix socket");
    return true;
}

static bool has_keyword(const char *conninfo, const char *wanted)
{
    struct slice keyword;
    char value[2];
    while (next_keyword(&conninfo, &keyword, value, sizeof value))
        if (slice_equals_cstr(keyword, wanted))
            return true;
    return false;
}

static void check_roots(const char *roots, struct config_errors *errors)
{
    for (const char *p = roots; *p != '\0';) {
        size_t n = strcspn(p, ",");
        struct slice one = slice_trim(slice_of(p, n));
        if (one.len > 0 && one.data[0] != '/')
            err_set(next_error(errors), SQLSTATE_CONFIG_FILE_ERROR,
                    "\"hudi_local_roots\" needs absolute folders, not \"%.*s\"", (int)one.len,
                    one.data);
        p += n + (p[n] == ',');
    }
}

/* The processes work in "/". */
static void check_absolute(const char *name, const char *path, struct config_errors *errors)
{
    if (path[0] != '\0' && path[0] != '/')
        err_set(next_error(errors), SQLSTATE_CONFIG_FILE_ERROR,
                "\"%s\" needs an absolute path, not \"%s\"", name, path);
}

void config_check(const struct config *c, struct config_errors *errors)
{
    if (c->listen_addr[0] == '\0' && c->unix_socket_dir[0] == '\0')
        err_set(next_error(errors), SQLSTATE_CONFIG_FILE_ERROR,
                "\"listen_addr\" and \"unix_socket_dir\" are both empty");
    struct config_backend backend;
    struct err err;
    if (!config_read_backend(c->backend, &backend, &err))
        *next_error(errors) = err;
    if (c->service[0] == '\0' && (strcmp(c->auth, "terminate") == 0 || c->keep_client_keys))
        err_set(next_error(errors), SQLSTATE_CONFIG_FILE_ERROR,
                "\"auth = terminate\" and \"keep_client_keys\" need \"service\"");
    if (has_keyword(c->service, "dbname"))
        err_set(next_error(errors), SQLSTATE_CONFIG_FILE_ERROR,
                "\"service\" must not name a dbname");
    struct network_list balancers;
    if (!network_read_list(slice_cstr(c->proxy_protocol_from), &balancers, &err))
        *next_error(errors) = err;
    check_roots(c->hudi_local_roots, errors);
    check_absolute("unix_socket_dir", c->unix_socket_dir, errors);
    check_absolute("duckdb_library", c->duckdb_library, errors);
    check_absolute("pidfile", c->pidfile, errors);
    check_absolute("client_tls_key_file", c->client_tls_key_file, errors);
    check_absolute("client_tls_cert_file", c->client_tls_cert_file, errors);
    check_absolute("client_tls_ca_file", c->client_tls_ca_file, errors);
    check_absolute("server_tls_key_file", c->server_tls_key_file, errors);
    check_absolute("server_tls_cert_file", c->server_tls_cert_file, errors);
    if (strcmp(c->server_tls_ca_file, "system") != 0)
        check_absolute("server_tls_ca_file", c->server_tls_ca_file, errors);
}

/* libconfuse reads a single-quoted text with \\ and \' as escapes. */
static void put_quoted(struct buf *out, const char *text)
{
    buf_append_byte(out, '\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            buf_append_byte(out, '\\');
        buf_append_byte(out, *text);
    }
    buf_append_cstr(out, "'\n");
}

bool config_write(const struct config *c, struct buf *out)
{
    for (size_t i = 0; i < config_setting_count; i++) {
        const struct config_setting *s = &config_settings[i];
        const char *field = (const char *)c + s->offset;
        buf_printf(out, "%s = ", s->name);
        if (s->type == CONFIG_INT)
            buf_printf(out, "%lld\n", (long long)*(const int64_t *)field);
        else if (s->type == CONFIG_BOOL)
            buf_printf(out, "%s\n", *(const bool *)field ? "on" : "off");
        else
            put_quoted(out, *(const char *const *)field);
    }
    return !out->failed;
}
