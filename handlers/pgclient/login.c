/* Opening a connection, and telling why it could not be opened.
 *
 * libpq keeps no SQLSTATE for a refused login: PQresultErrorField needs a result, and there is none.
 * But the text of PQerrorMessage is built with the connection's verbosity, and PQERRORS_VERBOSE puts
 * the SQLSTATE between severity and message ("FATAL:  28P01: password authentication failed ..."). So
 * we start the login ourselves, raise the verbosity before the first answer can have been read, and
 * read the code from there, whatever the server's language is. Errors of libpq itself (nobody
 * listens, no password supplied) have no code; they become 08001, 08006 or 28P01.
 *
 * The connection string may hold a password. libpq repeats parts of it when it is malformed, so it is
 * parsed first and such an error is told without its text. */
#include <ctype.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "connection.h"

#define LOGIN_TIMEOUT_S 10
#define LOGIN_MAX_OPTIONS 64

static const char login_settings[] =
    "RESET ALL; SELECT pg_catalog.set_config('search_path', '', false),"
    " pg_catalog.set_config('datestyle', 'ISO, YMD', false),"
    " pg_catalog.set_config('intervalstyle', 'postgres', false),"
    " pg_catalog.set_config('timezone', 'UTC', false),"
    " pg_catalog.set_config('extra_float_digits', '3', false),"
    " pg_catalog.set_config('bytea_output', 'hex', false),"
    " pg_catalog.set_config('standard_conforming_strings', 'on', false),"
    " pg_catalog.set_config('statement_timeout', '0', false),"
    " pg_catalog.set_config('lock_timeout', '0', false),"
    " pg_catalog.set_config('idle_in_transaction_session_timeout', '0', false)";

/* Parameters of one login: what conninfo says, then what we add. All borrowed. */
struct login {
    const char *keys[LOGIN_MAX_OPTIONS + 1];
    const char *values[LOGIN_MAX_OPTIONS + 1];
    size_t count;
};

static const char *login_find(const struct login *l, const char *key)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->keys[i], key) == 0)
            return l->values[i];
    return NULL;
}

/* libpq takes the last of two equal keys. */
static void login_put(struct login *l, const char *key, const char *value)
{
    if (l->count == LOGIN_MAX_OPTIONS)
        return;
    l->keys[l->count] = key;
    l->values[l->count++] = value;
}

static void login_put_default(struct login *l, const char *key, const char *value)
{
    if (login_find(l, key) == NULL)
        login_put(l, key, value);
}

static void login_fill(struct login *l, const PQconninfoOption *options, const char *dbname,
                       const char *purpose)
{
    memset(l, 0, sizeof *l);
    for (; options->keyword != NULL; options++)
        if (options->val != NULL)
            login_put(l, options->keyword, options->val);
    if (dbname != NULL)
        login_put(l, "dbname", dbname);
    login_put_default(l, "dbname", "postgres");
    login_put_default(l, "keepalives_idle", "5");
    login_put_default(l, "keepalives_interval", "3");
    login_put_default(l, "keepalives_count", "3");
    login_put_default(l, "tcp_user_timeout", "10000");
    login_put(l, "client_encoding", "UTF8");
    login_put(l, "application_name", purpose);
}

static bool is_sqlstate(const char *s)
{
    for (int i = 0; i < 5; i++)
        if (!isdigit((unsigned char)s[i]) && !(s[i] >= 'A' && s[i] <= 'Z'))
            return false;
    return s[5] == ':' && s[6] == ' ';
}

/* The last "SEVERITY:  SQLSTATE: message" of the text, from the SQLSTATE on; NULL: libpq's own
 * error. The last, because a list of hosts gives a list of errors. */
static const char *find_server_error(const char *text)
{
    const char *found = NULL;
    for (const char *at = strstr(text, ":  "); at != NULL; at = strstr(at + 1, ":  "))
        if (is_sqlstate(at + 3))
            found = at + 3;
    return found;
}

static const char *sqlstate_of_text(const char *text)
{
    if (strstr(text, "no password supplied") != NULL)
        return SQLSTATE_INVALID_PASSWORD;
    if (strstr(text, "server closed the connection") != NULL)
        return SQLSTATE_CONNECTION_FAILURE;
    return SQLSTATE_CANNOT_CONNECT;
}

/* The rest of the line at *text without white space around it; *text moves behind it. */
static struct slice take_line(const char **text)
{
    size_t n = strcspn(*text, "\n");
    struct slice line = slice_trim(slice_of(*text, n));
    *text += n + ((*text)[n] == '\n');
    return line;
}

static bool login_error(const char *text, struct err *err)
{
    const char *server = find_server_error(text);
    char sqlstate[6];
    snprintf(sqlstate, sizeof sqlstate, "%.5s", server != NULL ? server : sqlstate_of_text(text));
    text = server != NULL ? server + 7 : text;
    struct slice line = take_line(&text);
    err_set(err, sqlstate, "%.*s", (int)line.len, line.data);
    line = take_line(&text);
    if (server == NULL && line.len > 0)
        return err_hint(err, "%.*s", (int)line.len, line.data);
    if (slice_starts_with(line, "DETAIL:  "))
        err_detail(err, "%.*s", (int)line.len - 9, line.data + 9);
    return false;
}

static void on_notice(void *arg, const PGresult *res)
{
    const struct pgclient *c = arg;
    const char *severity = PQresultErrorField(res, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *message = PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY);
    if (c->on_notice != NULL)
        c->on_notice(c->on_notice_arg, severity == NULL ? "" : severity,
                     message == NULL ? "" : message);
    else
        log_debug("pgclient", "%s: %s", severity == NULL ? "" : severity,
                  message == NULL ? "" : message);
}

/* Drives the login to its end. */
static bool login_run(PGconn *conn, int timeout_s, struct err *err)
{
    int64_t deadline = connection_clock_ms() + (int64_t)timeout_s * 1000;
    PostgresPollingStatusType next = PGRES_POLLING_WRITING;
    while (PQstatus(conn) != CONNECTION_BAD) {
        int64_t left = timeout_s <= 0 ? -1 : deadline - connection_clock_ms();
        if (timeout_s > 0 && left <= 0)
            return err_set(err, SQLSTATE_CANNOT_CONNECT,
                           "could not connect to the server within %d s", timeout_s);
        if (connection_poll(conn, next == PGRES_POLLING_READING ? POLLIN : POLLOUT, (int)left) <= 0)
            continue;
        next = PQconnectPoll(conn);
        if (next == PGRES_POLLING_OK)
            return true;
        if (next == PGRES_POLLING_FAILED)
            break;
    }
    return login_error(PQerrorMessage(conn), err);
}

static bool login_start(struct pgclient *c, const struct login *l, struct err *err)
{
    const char *timeout = login_find(l, "connect_timeout");
    c->conn = PQconnectStartParams(l->keys, l->values, 0);
    if (c->conn == NULL)
        return err_no_memory(err);
    PQsetErrorVerbosity(c->conn, PQERRORS_VERBOSE);
    PQsetNoticeReceiver(c->conn, on_notice, c);
    if (!login_run(c->conn, timeout == NULL ? LOGIN_TIMEOUT_S : (int)strtol(timeout, NULL, 10),
                   err))
        return false;
    PQsetErrorVerbosity(c->conn, PQERRORS_DEFAULT);
    c->cancel = PQgetCancel(c->conn);
    return c->cancel != NULL || err_no_memory(err);
}

bool pgclient_open(const char *conninfo, const char *dbname, const char *purpose,
                   struct pgclient **out, struct err *err)
{
    struct login l;
    PQconninfoOption *options = PQconninfoParse(conninfo == NULL ? "" : conninfo, NULL);
    struct pgclient *c = calloc(1, sizeof *c);
    bool ok = false;
    *out = NULL;
    if (c == NULL) {
        err_no_memory(err);
        goto out;
    }
    if (options == NULL) {
        err_set(err, SQLSTATE_CONFIG_FILE_ERROR,
                "the connection string of the service login is "
                "malformed");
        err_hint(err, "Setting \"service\" takes a libpq string: host=... port=... user=...");
        goto out;
    }
    login_fill(&l, options, dbname, purpose);
    ok = login_start(c, &l, err) && pgclient_run(c, login_settings, err);
out:
    PQconninfoFree(options);
    if (!ok) {
        pgclient_close(c);
        return false;
    }
    *out = c;
    return true;
}

const char *pgclient_reset_text(void)
{
    return login_settings;
}

bool pgclient_reset(struct pgclient *c, struct err *err)
{
    return pgclient_run(c, login_settings, err);
}

void pgclient_close(struct pgclient *c)
{
    if (c == NULL)
        return;
    PQfreeCancel(c->cancel);
    PQfinish(c->conn);
    free(c);
}
