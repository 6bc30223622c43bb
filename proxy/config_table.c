/* The table of settings, and the manual page that is made of it.
 *
 * A new setting is a field in struct config and a row here; reading, checking, --set and
 * docs/settings.md follow from the row. A test compares docs/settings.md with what this file
 * prints. Names and units follow PgBouncer where it has the setting.
 *
 * Rows with `missing` are settings of the design whose feature this release does not have: they are
 * known, so that the error says what is the matter, and are refused, so that nobody believes that
 * they have an effect. */
#include "config.h"

#include <string.h>

#define TEXT(name, fallback) #name, CONFIG_TEXT, fallback, offsetof(struct config, name)
#define INT(name, fallback, lo, hi, u)                                                             \
#name, CONFIG_INT, fallback, offsetof(struct config, name), .min = lo, .max = hi, .unit = u
#define BOOL(name, fallback) #name, CONFIG_BOOL, fallback, offsetof(struct config, name)
#define CHOICE(name, fallback, list)                                                               \
#name, CONFIG_CHOICE, fallback, offsetof(struct config, name), .choices = list

#define SSLMODES "disable,allow,prefer,require,verify-ca,verify-full"
#define G_CLIENTS "Clients"
#define G_SERVER "The server behind"
#define G_CLIENT_TLS "TLS towards clients"
#define G_SERVER_TLS "TLS towards the server"
#define G_AUTH "Authentication"
#define G_CURSORS "Parallel retrieve cursors"
#define G_TASKS "Tasks"
#define G_HUDI "SQL on Hudi"
#define G_PROCESS "Process and log"
#define G_LATER "Known, but of no use yet"

const struct config_setting config_settings[] = {
    {TEXT(listen_addr, "127.0.0.1"), .group = G_CLIENTS,
     .doc = "Addresses to listen on, separated by commas; `*` (in quotes) for all. Empty: none."},
    {INT(listen_port, "6432", 0, 65535, ""), .group = G_CLIENTS,
     .doc = "TCP port, and the number in the name of the unix socket. 0: a free one, told in the "
            "log."},
    {TEXT(unix_socket_dir, ""), .group = G_CLIENTS,
     .doc = "Folder of the unix socket `.s.PGSQL.<listen_port>`. Empty: no socket."},
    {TEXT(proxy_protocol_from, ""), .group = G_CLIENTS,
     .doc =
         "Addresses and networks (`10.0.0.5, fd00::/8`) of balancers whose connections begin with "
         "a "
         "PROXY header of version 2; without one they are closed. The address in it is the one in "
         "the log. Empty: none."},
    {INT(max_client_conn, "1000", 1, 1000000, ""), .group = G_CLIENTS,
     .doc = "Clients at the same time; one more is refused with 53300. Each client has its own "
            "server connection, so `max_connections` of the server limits too."},
    {INT(client_login_timeout, "60", 0, 86400, "seconds"), .group = G_CLIENTS,
     .doc = "A client that has not logged in after this time is cut off. 0: never."},
    {INT(inspect_max, "16777216", 1024, 1073741824, "bytes"), .group = G_CLIENTS,
     .doc = "Statements longer than this pass to the server without a look for vendor statements."},
    {INT(threads, "0", 0, 256, ""), .group = G_CLIENTS,
     .doc = "Event-loop threads of the proxy. 0: one for each core."},

    {TEXT(backend, "host=127.0.0.1 port=5432"), .group = G_SERVER,
     .doc =
         "The PostgreSQL server: `host=… port=…`, or the folder of its unix socket. Without user "
         "and password: clients bring their own."},
    {BOOL(allow_trust_backend, "off"), .group = G_SERVER,
     .doc = "Let clients in when the server lets them in without any challenge (`trust`, `peer`). "
            "Off: they are refused with 28000, since everybody who reaches pgveneer could be "
            "everybody."},
    {TEXT(service, ""), .group = G_SERVER, .secret = true,
     .doc = "libpq string of the login that pgveneer itself uses for the support schema and for "
            "tasks (`host=… user=… password=…`, no dbname). Empty: vendor statements fail with "
            "55000. docs/operations.md lists the rights it needs."},
    {TEXT(admin_role, "pg_database_owner"), .group = G_SERVER,
     .doc = "Role whose members are administrators beside superusers and the database's owner: "
            "they see and change the tasks of all."},

    {CHOICE(client_tls_sslmode, "disable", SSLMODES), .reload = true, .group = G_CLIENT_TLS,
     .doc = "`disable`: no TLS. `allow`, `prefer`: who asks gets it. `require`: who does not is "
            "refused "
            "with 28000. `verify-ca`: and must show a certificate of `client_tls_ca_file`. "
            "`verify-full`: and its common name must be the user's name. Unix sockets are exempt."},
    {TEXT(client_tls_key_file, ""), .reload = true, .group = G_CLIENT_TLS,
     .doc = "Private key of `client_tls_cert_file`, PEM, without a passphrase."},
    {TEXT(client_tls_cert_file, ""), .reload = true, .group = G_CLIENT_TLS,
     .doc = "Certificate shown to clients, PEM; those between it and the authority behind it."},
    {TEXT(client_tls_ca_file, ""), .reload = true, .group = G_CLIENT_TLS,
     .doc = "Authorities, PEM, that clients' certificates are checked against."},
    {TEXT(client_tls_protocols, "secure"), .reload = true, .group = G_CLIENT_TLS,
     .doc = "`secure` (TLS 1.2 and 1.3), or one of `tlsv1.2` and `tlsv1.3`, or both with a comma. "
            "Older "
            "ones are refused."},
    {TEXT(client_tls_ciphers, "default"), .reload = true, .group = G_CLIENT_TLS,
     .doc = "Ciphers of TLS 1.2 as OpenSSL lists them; `default`: strong ones."},

    {CHOICE(server_tls_sslmode, "disable", SSLMODES), .reload = true, .group = G_SERVER_TLS,
     .doc =
         "`disable`: no TLS. `allow`, `prefer`: TLS if the server has it. `require`: or no "
         "connection; the certificate is not checked. `verify-ca`: it must be one of "
         "`server_tls_ca_file`. `verify-full`: and bear the host name of `backend`. Unix sockets "
         "are exempt."},
    {TEXT(server_tls_key_file, ""), .reload = true, .group = G_SERVER_TLS,
     .doc = "Private key of `server_tls_cert_file`, PEM, without a passphrase."},
    {TEXT(server_tls_cert_file, ""), .reload = true, .group = G_SERVER_TLS,
     .doc = "Certificate shown to the server, PEM. Empty: none."},
    {TEXT(server_tls_ca_file, ""), .reload = true, .group = G_SERVER_TLS,
     .doc =
         "Authorities, PEM, that the server's certificate is checked against; `system`: those of "
         "the machine."},
    {TEXT(server_tls_protocols, "secure"), .reload = true, .group = G_SERVER_TLS,
     .doc = "As `client_tls_protocols`."},
    {TEXT(server_tls_ciphers, "default"), .reload = true, .group = G_SERVER_TLS,
     .doc = "As `client_tls_ciphers`."},
    {CHOICE(auth, "relay", "relay,terminate"), .group = G_AUTH,
     .doc =
         "`relay`: client and server authenticate each other, pgveneer holds no secret. "
         "`terminate`: pgveneer checks SCRAM proofs itself, with the verifier that `auth_query` "
         "gives, and logs in to the server with the key that the proof reveals; other methods are "
         "relayed all the same. docs/operations.md says which way of connecting needs which."},
    {TEXT(auth_query,
          "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END "
          "FROM pg_catalog.pg_authid WHERE rolname = $1"),
     .group = G_AUTH,
     .doc = "Gives name and verifier (as in `pg_authid`) of the user `$1` to the `service` login. "
            "Asked once a login with `auth = terminate` or `keep_client_keys`. The default needs a "
            "superuser; docs/operations.md has a function for all others."},
    {TEXT(auth_dbname, "postgres"), .group = G_AUTH, .doc = "Database in which `auth_query` runs."},
    {BOOL(keep_client_keys, "off"), .group = G_AUTH,
     .doc =
         "Keep, in memory and as long as its session, what a login showed of the user's secret, so "
         "that pgveneer can open more connections as that user: the SCRAM key or the md5 hash "
         "(both need `auth_query`), a password only if it came through TLS. Wiped with the "
         "session."},

    {TEXT(secret_key_file, ""), .group = G_SERVER,
     .doc =
         "File with the key (64 hexadecimal digits, `openssl rand -hex 32`; mode 0600) that secret "
         "options of servers and user mappings are encrypted with before they go to the database. "
         "The same for all proxies and workers. Empty: they are not encrypted."},

    {INT(parallel_cursor_endpoints, "4", 1, 1024, ""), .group = G_CURSORS,
     .doc = "Endpoints of a cursor whose query can be divided; others have one."},
    {INT(parallel_cursor_min_size, "2097152", 0, 1099511627776, "bytes"), .group = G_CURSORS,
     .doc = "Smaller tables are not divided. 0: all that have a page for each endpoint are."},
    {INT(parallel_cursor_max_workers, "64", 0, 100000, ""), .group = G_CURSORS,
     .doc =
         "Server connections that endpoints have beside their sessions', in all. A RETRIEVE that "
         "finds none free waits for five seconds, then fails with 53300. 0: no limit."},
    {INT(parallel_cursor_max_user_workers, "32", 0, 100000, ""), .group = G_CURSORS,
     .doc = "The same for one user."},
    {INT(parallel_cursor_max_age, "0", 0, 2147483, "seconds"), .group = G_CURSORS,
     .doc = "A session with a cursor that has been open longer is ended with 25P04, since its "
            "snapshot holds back VACUUM. 0: no limit."},
    {BOOL(retrieve_clear_text, "off"), .group = G_CURSORS,
     .doc = "Retrieve sessions may send their token in clear text without TLS, if they ask for "
            "that by "
            "`pgveneer.retrieve_auth=password`. With TLS they always may."},
    {TEXT(advertise_host, ""), .group = G_CURSORS,
     .doc = "Host name of this proxy in the lists of endpoints. Empty: the address that the "
            "declaring client connected to, or the name of this host when that was a unix socket."},
    {INT(advertise_port, "0", 0, 65535, ""), .group = G_CURSORS,
     .doc = "Port of this proxy in the lists of endpoints. 0: the one that the declaring client "
            "connected to."},

    {TEXT(databases, ""), .group = G_TASKS,
     .doc = "Databases whose tasks the worker runs, separated by commas. Empty: all that have the "
            "support schema."},
    {INT(task_slots, "4", 1, 256, ""), .group = G_TASKS,
     .doc = "Jobs that one worker runs at the same time."},

    {TEXT(hudi_local_roots, ""), .group = G_HUDI,
     .doc = "Folders (absolute, separated by commas) below which the `foldername` of a foreign "
            "table of a `type 'local'` server may lie. Empty: none may."},
    {INT(hudi_sync_max_commits, "-1", -1, 1000000, "commits"), .group = G_HUDI,
     .doc = "Commits that one run takes at most. -1 and 0: no limit."},
    {INT(hudi_scan_max_rows, "10000000", 0, 1000000000000, "rows"), .group = G_HUDI,
     .doc = "A query on a foreign table that would bring in more rows fails with 54000. 0: no "
            "limit."},
    {INT(hudi_scan_max_size, "4096", 0, 1000000000, "megabytes"), .group = G_HUDI,
     .doc = "The same by size, as rows travel in binary COPY. 0: no limit."},
    {INT(hudi_scan_keep, "600", 1, 604800, "seconds"), .group = G_HUDI,
     .doc = "The rows that a query brought in are dropped when no query has asked for them for so "
            "long."},
    {TEXT(hudi_cache_dir, ""), .group = G_HUDI,
     .doc = "Folder for local copies of objects of object stores, on the worker's machine. It must "
            "belong to the worker's user, and nobody else may write to it; it is made if it is not "
            "there. Empty: `/var/tmp/pgveneer-cache-<uid>`."},
    {INT(hudi_cache_size, "4096", 0, 1073741824, "megabytes"), .group = G_HUDI,
     .doc = "Copies that are kept for later runs; what was not used for the longest time goes "
            "first. Files that a run uses are there beside them until it ends. 0: none are kept."},
    {TEXT(hudi_store_ca_file, ""), .group = G_HUDI,
     .doc =
         "Authorities (PEM) that certificates of object stores are checked against. Empty: those "
         "of the system."},
    {INT(hudi_store_timeout, "30", 1, 3600, "seconds"), .group = G_HUDI,
     .doc =
         "An object store that is silent for so long is taken for unreachable, and asked again."},
    {INT(hudi_readers, "0", 0, 64, "threads"), .group = G_HUDI,
     .doc = "Threads with which one run reads the data files of a Hudi table; their rows go into "
            "the one transaction of the run. 0: one for each core, four at most."},
    {TEXT(duckdb_library, ""), .group = G_HUDI,
     .doc = "Path of `libduckdb.so`, which only jobs load. Empty: beside the binary, or in "
            "`../lib/pgveneer` from there."},

    {TEXT(http_addr, "127.0.0.1"), .group = G_PROCESS,
     .doc = "Address of the proxy's HTTP interface: `/metrics`, `/healthz`. It has neither TLS nor "
            "logins: keep it in a network of your own."},
    {INT(http_port, "0", 0, 65535, ""), .group = G_PROCESS,
     .doc = "Port of the HTTP interface. 0: off."},

    {TEXT(user, "postgres"), .group = G_PROCESS,
     .doc = "Started as root, pgveneer becomes this user before it reads anything from outside."},
    {TEXT(pidfile, ""), .group = G_PROCESS, .doc = "File for the process id. Empty: none."},
    {CHOICE(log_level, "info", "error,warning,info,debug"), .reload = true, .group = G_PROCESS,
     .doc = "Log lines of this level and graver ones go to standard error."},
    {CHOICE(log_format, "text", "text,json"), .reload = true, .group = G_PROCESS,
     .doc = "Form of a log line."},

    {TEXT(admin_users, ""), .group = G_LATER, .missing = "the admin console",
     .doc = "Users who may do everything in the admin console."},
    {TEXT(stats_users, ""), .group = G_LATER, .missing = "the admin console",
     .doc = "Users who may look in the admin console."},
};
const size_t config_setting_count = ARRAY_LEN(config_settings);

static void print_range(FILE *out, const struct config_setting *s)
{
    switch (s->type) {
    case CONFIG_TEXT: fprintf(out, "text"); break;
    case CONFIG_BOOL: fprintf(out, "`on`, `off`"); break;
    case CONFIG_INT: fprintf(out, "%lld to %lld", (long long)s->min, (long long)s->max); break;
    case CONFIG_CHOICE:
        for (const char *p = s->choices; *p != '\0';) {
            size_t n = strcspn(p, ",");
            fprintf(out, "%s`%.*s`", p == s->choices ? "" : ", ", (int)n, p);
            p += n + (p[n] == ',');
        }
        break;
    }
    if (s->unit != NULL && s->unit[0] != '\0')
        fprintf(out, " %s", s->unit);
}

static void print_row(FILE *out, const struct config_setting *s)
{
    fprintf(out, "| `%s`%s | ", s->name, s->reload ? " *" : "");
    if (s->fallback[0] == '\0')
        fprintf(out, "empty");
    else
        fprintf(out, "`%s`", s->fallback);
    fprintf(out, " | ");
    print_range(out, s);
    fprintf(out, " | %s |\n", s->doc);
}

void config_print_docs(FILE *out)
{
    fputs(
        "# Settings\n\n"
        "<!-- Printed by `pgveneer --print-settings`; a test compares. Do not edit. -->\n\n"
        "`pgveneer run -c FILE` reads a file in the style of postgresql.conf: one `key = value` a\n"
        "line, `#` starts a comment, values with spaces or special characters stand in single\n"
        "quotes, `${NAME}` outside single quotes is a variable of the environment. `--set\n"
        "KEY=VALUE` on the command line (as often as needed, no quoting of its own) wins over\n"
        "the file. `pgveneer check` tells everything that is wrong, with file and line. A change\n"
        "takes effect at the next start, of the settings with a star also after SIGHUP.\n",
        out);
    const char *group = "";
    for (size_t i = 0; i < config_setting_count; i++) {
        const struct config_setting *s = &config_settings[i];
        if (strcmp(group, s->group) != 0) {
            group = s->group;
            fprintf(out, "\n## %s\n\n", group);
            if (s->missing != NULL)
                fputs("These belong to features of later releases. Any value but the default is "
                      "refused.\n\n",
                      out);
            fputs("| setting | default | values | meaning |\n|---|---|---|---|\n", out);
        }
        print_row(out, s);
    }
}
