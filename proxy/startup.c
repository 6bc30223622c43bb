/* What a client sends before there is a session. The rules are those of ProcessStartupPacket in the
 * server's postmaster, limits included, so that a scanner, an HTTP client or a damaged packet meets
 * the same silence. Everything that the server can answer itself is left to it. */
#include "startup.h"

#include "protocol/client_msg.h"

#define LENGTH_WORD 4u

static uint32_t word_at(struct slice data, size_t at)
{
    const unsigned char *p = (const unsigned char *)data.data + at;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The values that the server takes for "no" in the parameter replication. */
static bool is_false(struct slice value)
{
    static const char *const words[] = {"0",     "f", "fa", "fal", "fals",
                                        "false", "n", "no", "of",  "off"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (slice_equals_nocase(value, words[i]))
            return true;
    return false;
}

/* ---- retrieve sessions: three ways to say so, in two places ---- */

static void take_setting(struct startup_packet *p, struct slice name, struct slice value)
{
    if (slice_equals_cstr(name, "gp_session_role") ||
        slice_equals_cstr(name, "gp_session_rol")) /* a misspelling of the manual */
        p->is_retrieve = p->is_retrieve || slice_equals_nocase(value, "retrieve");
    if (slice_equals_cstr(name, "gp_retrieve_conn"))
        p->is_retrieve = p->is_retrieve || (value.len > 0 && !is_false(value));
    if (slice_equals_cstr(name, STARTUP_RETRIEVE_AUTH))
        p->asks_for_password = slice_equals_nocase(value, "password");
}

/* "name=value", where a dash in the name stands for an underscore. */
static void take_option(struct startup_packet *p, struct slice option)
{
    char name[32];
    size_t n = slice_find_byte(option, '=');
    if (n == option.len || n >= sizeof name)
        return;
    for (size_t i = 0; i < n; i++)
        name[i] = option.data[i] == '-' ? '_' : option.data[i];
    take_setting(p, slice_of(name, n), slice_part(option, n + 1, option.len));
}

/* -c name=value, -cname=value and --name=value among the words of `options`. */
static void take_options(struct startup_packet *p, struct slice options)
{
    bool behind_c = false;
    while (options.len > 0) {
        size_t skip = 0, n;
        while (skip < options.len && (options.data[skip] == ' ' || options.data[skip] == '\t'))
            skip++;
        options = slice_part(options, skip, options.len);
        for (n = 0; n < options.len && options.data[n] != ' ' && options.data[n] != '\t'; n++)
            ;
        struct slice word = slice_part(options, 0, n);
        options = slice_part(options, n, options.len);
        bool is_short = slice_starts_with(word, "-c"), is_long = slice_starts_with(word, "--");
        if (behind_c || ((is_short || is_long) && word.len > 2))
            take_option(p, behind_c ? word : slice_part(word, 2, word.len));
        behind_c = !behind_c && is_short && word.len == 2;
    }
}

static void take_settings(struct startup_packet *p, const struct wire_startup *m)
{
    static const char *const names[] = {"gp_session_role", "gp_session_rol", "gp_retrieve_conn",
                                        STARTUP_RETRIEVE_AUTH};
    struct slice value;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (wire_startup_find(m, names[i], &value))
            take_setting(p, slice_cstr(names[i]), value);
    if (wire_startup_find(m, "options", &value))
        take_options(p, value);
}

static void read_params(struct slice body, struct startup_packet *p)
{
    struct wire_reader r;
    struct wire_startup m;
    struct slice value;
    wire_reader_init(&r, body);
    if (!wire_read_startup(&r, &m))
        return;
    wire_startup_find(&m, "user", &p->user);
    if (!wire_startup_find(&m, "database", &p->dbname) || slice_is_empty(p->dbname))
        p->dbname = p->user;
    take_settings(p, &m);
    p->client_encoding = wire_startup_find(&m, "client_encoding", &value) ? value.data : "";
    p->is_replication = wire_startup_find(&m, "replication", &value) && !is_false(value);
}

static enum startup_kind kind_of(uint32_t version, size_t body_bytes, bool ssl_done, bool gss_done)
{
    if (version == WIRE_CANCEL_REQUEST)
        return STARTUP_CANCEL;
    if (version == WIRE_SSL_REQUEST || version == WIRE_GSSENC_REQUEST) {
        bool is_ssl = version == WIRE_SSL_REQUEST;
        if (is_ssl ? ssl_done : gss_done)
            return STARTUP_REPEATED;
        return body_bytes != 4 ? STARTUP_NONSENSE : is_ssl ? STARTUP_SSL : STARTUP_GSSENC;
    }
    return STARTUP_SESSION;
}

struct startup_packet startup_read(struct slice data, bool ssl_done, bool gss_done)
{
    struct startup_packet p = {.kind = STARTUP_INCOMPLETE, .client_encoding = ""};
    if (data.len < LENGTH_WORD)
        return p;
    uint32_t length = word_at(data, 0);
    if (length < 2 * LENGTH_WORD || length > LENGTH_WORD + WIRE_MAX_STARTUP_BYTES) {
        p.kind = STARTUP_NONSENSE;
        return p;
    }
    if (data.len < length)
        return p;
    p.bytes = length;
    p.version = word_at(data, LENGTH_WORD);
    p.kind = kind_of(p.version, length - LENGTH_WORD, ssl_done, gss_done);
    if (p.kind == STARTUP_SESSION && p.version >> 16 >= 3)
        read_params(slice_part(data, LENGTH_WORD, length), &p);
    return p;
}
