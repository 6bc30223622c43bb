/* `pgveneer check`, `install` and `uninstall`: what an operator does before the first client comes.
 *
 * check tells everything that is wrong in one go: first the configuration's errors, then what only a
 * try can show: does the backend answer, does it ask for a password, does the service login work,
 * and has it the rights that it needs (docs/operations.md). Lines begin with "ok", "warning" or
 * "error"; the exit code is 1 when there is an error. */
#include "main.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "pgclient/pgclient.h"

#include "main_check.h"

#define SCRIPT_MAX_BYTES ((size_t)4 * 1024 * 1024)

struct check {
    const struct config *config;
    unsigned errors;
    char service_user[64]; /* empty: unknown */
};

void main_check_tell(const char *level, const char *what, const struct err *err)
{
    printf("%-8s %s: %s", level, what, err->message);
    if (err->detail[0] != '\0')
        printf(" (%s)", err->detail);
    printf("\n");
    if (err->hint[0] != '\0')
        printf("         hint: %s\n", err->hint);
}

static void tell_error(struct check *k, const char *what, const struct err *err)
{
    main_check_tell("error", what, err);
    k->errors++;
}

/* What the service login needs, one row each: its name, and is it there. */
static const char server_query[] =
    "SELECT 'a server of version 13 or later',"
    " pg_catalog.current_setting('server_version_num')::integer >= 130000";
static const char database_query[] =
    "SELECT 'CREATE on the database, for the support schema',"
    " pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')"
    " OR pg_catalog.to_regclass('pgveneer.migration') IS NOT NULL";

static void check_rights(struct check *k, struct pgclient *c, const char *where, const char *query)
{
    struct err err;
    struct pgresult *r;
    if (!pgclient_query(c, query, 0, NULL, &r, &err)) {
        tell_error(k, where, &err);
        return;
    }
    for (size_t i = 0; i < pgresult_rows(r); i++) {
        if (pgresult_bool(r, i, 1))
            continue;
        printf("error    %s: missing: %s\n", where, pgresult_value(r, i, 0));
        k->errors++;
    }
    pgresult_free(r);
}

/* The databases that the setting names; without it nobody knows yet which will be used. */
static void check_databases(struct check *k)
{
    for (const char *p = k->config->databases; *p != '\0';) {
        size_t n = strcspn(p, ",");
        struct slice one = slice_trim(slice_of(p, n));
        char name[64], where[96];
        struct err err;
        struct pgclient *c;
        snprintf(name, sizeof name, "%.*s", (int)one.len, one.data);
        snprintf(where, sizeof where, "database \"%s\"", name);
        p += n + (p[n] == ',');
        if (!pgclient_open(k->config->service, name, "pgveneer check", &c, &err)) {
            tell_error(k, where, &err);
            continue;
        }
        unsigned before = k->errors;
        check_rights(k, c, where, database_query);
        if (k->errors == before)
            printf("ok       %s\n", where);
        pgclient_close(c);
    }
}

static void check_secret_key(struct check *k)
{
    struct sealed_key key;
    const struct sealed_key *found;
    struct err err;
    if (!main_read_secret_key(k->config, &key, &found, &err))
        tell_error(k, "secret_key_file", &err);
    else if (found != NULL)
        printf("ok       secret_key_file: holds a key\n");
    crypto_wipe(&key, sizeof key);
}

static void check_service(struct check *k)
{
    struct err err;
    struct pgclient *c;
    struct pgresult *r;
    if (k->config->service[0] == '\0') {
        printf("warning  service: not set: vendor statements will fail with 55000\n");
        return;
    }
    if (!pgclient_open(k->config->service, "postgres", "pgveneer check", &c, &err)) {
        tell_error(k, "service", &err);
        return;
    }
    if (!pgclient_query(c, "SELECT current_user", 0, NULL, &r, &err)) {
        tell_error(k, "service", &err);
    } else {
        snprintf(k->service_user, sizeof k->service_user, "%s", pgresult_value(r, 0, 0));
        printf("ok       service: logs in as %s\n", k->service_user);
        pgresult_free(r);
    }
    check_rights(k, c, "service", server_query);
    pgclient_close(c);
    check_databases(k);
}

/* Was a login with this error let in before it failed? Refusals are class 28; a server that cannot be
 * reached is class 08 or 57. What comes later ("database does not exist") comes behind the door. */
static bool was_let_in(const struct err *err)
{
    static const char *const outside[] = {"28", "08", "57", "58", "53", "XX"};
    for (size_t i = 0; i < ARRAY_LEN(outside); i++)
        if (strncmp(err->sqlstate, outside[i], 2) == 0)
            return false;
    return true;
}

/* How the proxy would want TLS, for libpq; the certificates of main_check_tls.c once more, in use. A path
 * with a quote in it is left to the proxy. */
static void write_tls(const struct config *c, char *out, size_t size)
{
    bool has_ca = strncmp(c->server_tls_sslmode, "verify", 6) == 0;
    if (!has_ca)
        snprintf(out, size, " sslmode=%s", c->server_tls_sslmode);
    else if (c->server_tls_ca_file[0] == '/' && strpbrk(c->server_tls_ca_file, "'\\") == NULL)
        snprintf(out, size, " sslmode=%s sslrootcert='%s'", c->server_tls_sslmode,
                 c->server_tls_ca_file);
    else
        snprintf(out, size, " sslmode=require");
}

/* A server that opens the door to a login without any secret would let every client of pgveneer be
 * anybody. The refusal that we hope for is the sign that the backend is well. */
static void check_backend(struct check *k)
{
    struct config_backend b;
    struct err err;
    struct pgclient *c;
    char conninfo[1024], tls[512];
    if (!config_read_backend(k->config->backend, &b, &err))
        return; /* told with the configuration's errors */
    write_tls(k->config, tls, sizeof tls);
    snprintf(conninfo, sizeof conninfo, "host='%s' port=%u user=%s passfile=/nonexistent%s", b.host,
             b.port, k->service_user[0] != '\0' ? k->service_user : "postgres", tls);
    bool opened = pgclient_open(conninfo, "postgres", "pgveneer check", &c, &err);
    if (opened)
        pgclient_close(c);
    if (opened || was_let_in(&err)) {
        err_set(&err, SQLSTATE_INVALID_AUTHORIZATION,
                "lets a login in without any challenge (trust, peer or ident in pg_hba.conf)");
        err_hint(&err, "Ask for scram-sha-256 there, or set allow_trust_backend = on.");
        if (k->config->allow_trust_backend)
            main_check_tell("warning", "backend", &err);
        else
            tell_error(k, "backend", &err);
    } else if (strncmp(err.sqlstate, "28", 2) == 0) {
        printf("ok       backend: %s port %u answers and asks for a password\n", b.host, b.port);
    } else {
        tell_error(k, "backend", &err);
    }
}

int main_check(struct config *c, const struct config_errors *errors)
{
    struct check k = {.config = c, .errors = (unsigned)(errors->count + errors->dropped)};
    for (size_t i = 0; i < errors->count; i++)
        main_check_tell("error", "configuration", &errors->items[i]);
    if (errors->dropped > 0)
        printf("error    configuration: %zu more\n", errors->dropped);
    if (errors->count == 0)
        printf("ok       configuration\n");
    struct main_user user;
    struct err err;
    if (!main_find_user(c, &user, &err))
        tell_error(&k, "user", &err);
    else if (!main_drop_rights(c, &err))
        tell_error(&k, "user", &err);
    else {
        k.errors += main_check_tls(c);
        check_secret_key(&k);
        check_service(&k);
        k.errors += main_check_auth(c, k.service_user);
        check_backend(&k);
    }
    return k.errors == 0 ? MAIN_OK : MAIN_FAILED;
}

/* ---- the support schema ------------------------------------------------- */

static bool run_script(const struct config *c, const char *dbname, struct buf *script,
                       struct err *err)
{
    struct pgclient *client;
    const char *text = buf_cstr(script);
    if (text == NULL)
        return err_no_memory(err);
    if (c->service[0] == '\0') {
        err_set(err, SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE, "the setting \"service\" is empty");
        return err_hint(err, "It names the login that owns the support schema.");
    }
    if (!pgclient_open(c->service, dbname, "pgveneer install", &client, err))
        return false;
    bool ok = pgclient_run(client, text, err);
    pgclient_close(client);
    return ok;
}

static int tell_end(bool ok, const char *dbname, const char *what, const struct err *err)
{
    char name[128];
    snprintf(name, sizeof name, "database \"%s\"", dbname);
    if (ok)
        printf("%s: %s\n", name, what);
    else
        main_check_tell("error", name, err);
    return ok ? MAIN_OK : MAIN_FAILED;
}

int main_install(struct config *c, const struct main_options *o)
{
    struct buf script;
    struct err err;
    buf_init(&script, SCRIPT_MAX_BYTES);
    struct main_migrations m;
    main_list_migrations(c, &m);
    bool ok = main_drop_rights(c, &err) &&
              (migration_script(m.lists, ARRAY_LEN(m.lists), &script) || err_no_memory(&err)) &&
              run_script(c, o->dbname, &script, &err);
    buf_fini(&script);
    return tell_end(ok, o->dbname, "the support schema is there and up to date", &err);
}

int main_uninstall(struct config *c, const struct main_options *o)
{
    struct buf script;
    struct err err;
    buf_init(&script, SCRIPT_MAX_BYTES);
    bool ok = main_drop_rights(c, &err) &&
              (migration_uninstall_script(&script) || err_no_memory(&err)) &&
              run_script(c, o->dbname, &script, &err);
    buf_fini(&script);
    return tell_end(ok, o->dbname, "the support schema is gone", &err);
}
