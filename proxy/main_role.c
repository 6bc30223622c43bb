/* What this process is to be: proxy, worker or job. Turns the configuration into the plain structs
 * that the layers below want, and lists the features: the only place that names them all.
 *
 * A job is a process of its own (a damaged file must only kill itself), so it is executed anew, as
 * /proc/self/exe. The worker hands it the configuration through memory: the service login's password
 * stands on no command line and in no file. */
#include "main.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "hudi/handler.h"
#include "hudi/job.h"
#include "parallel_cursor/handler.h"
#include "proxy/server.h"
#include "rebuild/handler.h"
#include "rebuild/job.h"
#include "task/handler.h"
#include "task/job_main.h"
#include "task/worker.h"

#define MAX_LISTEN_ADDRS 32

static const struct handler *const handlers[] = {&task_handler, &hudi_handler, &rebuild_handler,
                                                 &parallel_cursor_handler};
static const struct task_kind *const task_kinds[] = {&hudi_task_kind, &hudi_request_kind,
                                                     &rebuild_task_kind};
extern const struct migration_list task_migrations, hudi_migrations, rebuild_migrations,
    parallel_cursor_migrations; /* made by the build */

/* A migration runs once for each name, so its name holds a sum of what it writes, and it forgets its
 * predecessors: a value that comes back is written again. */
static void write_settings_migration(const struct config *c, struct main_migrations *m)
{
    char role[2 * 64 + 1];
    size_t n = 0;
    uint64_t sum = 14695981039346656037u;
    for (const char *p = c->admin_role; *p != '\0' && n + 2 < sizeof role; p++) {
        sum = (sum ^ (unsigned char)*p) * 1099511628211u;
        if (*p == '\'')
            role[n++] = *p;
        role[n++] = *p;
    }
    role[n] = '\0';
    snprintf(m->name, sizeof m->name, "settings_%016" PRIx64, sum);
    snprintf(m->sql, sizeof m->sql,
             "INSERT INTO pgveneer.setting (name, value) VALUES ('admin_role', '%s')\n"
             "ON CONFLICT (name) DO UPDATE SET value = excluded.value;\n"
             "DELETE FROM pgveneer.migration WHERE feature = 'main' AND name <> '%s';\n",
             role, m->name);
    m->settings = (struct migration){"main", m->name, m->sql};
}

void main_list_migrations(const struct config *c, struct main_migrations *out)
{
    write_settings_migration(c, out);
    out->lists[0] = task_migrations;
    out->lists[1] = hudi_migrations;
    out->lists[2] = rebuild_migrations;
    out->lists[3] = parallel_cursor_migrations;
    out->lists[4] = (struct migration_list){&out->settings, 1};
}

/* ---- proxy -------------------------------------------------------------- */

static size_t split_list(struct arena *a, const char *text, const char **out, size_t max)
{
    size_t count = 0;
    for (const char *p = text; *p != '\0' && count < max;) {
        size_t n = strcspn(p, ",");
        struct slice one = slice_trim(slice_of(p, n));
        if (one.len > 0 && (out[count] = arena_copy(a, one)) != NULL)
            count++;
        p += n + (p[n] == ',');
    }
    return count;
}

static const char *or_null(const char *text)
{
    return text[0] != '\0' ? text : NULL;
}

void main_read_tls(const struct config *c, struct tls_settings *client, struct tls_settings *server)
{
    *client = (struct tls_settings){.key_file = c->client_tls_key_file,
                                    .cert_file = c->client_tls_cert_file,
                                    .ca_file = c->client_tls_ca_file,
                                    .protocols = c->client_tls_protocols,
                                    .ciphers = c->client_tls_ciphers};
    *server = (struct tls_settings){.key_file = c->server_tls_key_file,
                                    .cert_file = c->server_tls_cert_file,
                                    .ca_file = c->server_tls_ca_file,
                                    .protocols = c->server_tls_protocols,
                                    .ciphers = c->server_tls_ciphers};
    tls_mode_find(c->client_tls_sslmode, &client->mode); /* the configuration has no other words */
    tls_mode_find(c->server_tls_sslmode, &server->mode);
}

struct served {
    struct config *config;
    const struct main_options *options;
};

static void on_reload(void *arg, struct tls_settings *client, struct tls_settings *server)
{
    struct served *served = arg;
    main_reload(served->config, served->options, "proxy");
    main_read_tls(served->config, client, server);
}

int main_serve_proxy(struct config *c, const struct main_options *o)
{
    struct served served = {c, o};
    struct arena arena;
    const char *addrs[MAX_LISTEN_ADDRS];
    struct config_backend backend;
    struct main_migrations migrations;
    struct proxy_config p;
    struct sealed_key key = {{0}};
    struct err err;
    main_list_migrations(c, &migrations);
    arena_init(&arena, 0);
    proxy_config_init(&p);
    bool ok = config_read_backend(c->backend, &backend, &err);
    p.listen_addrs = addrs;
    p.listen_addr_count = split_list(&arena, c->listen_addr, addrs, MAX_LISTEN_ADDRS);
    p.proxy_protocol_from = c->proxy_protocol_from;
    p.listen_port = (uint16_t)c->listen_port;
    p.unix_socket_dir = or_null(c->unix_socket_dir);
    p.backend_host = backend.host;
    p.backend_port = backend.port;
    p.threads = (unsigned)c->threads;
    p.max_client_conn = (unsigned)c->max_client_conn;
    p.client_login_timeout_ms = (unsigned)c->client_login_timeout * 1000;
    p.inspect_max_bytes = (size_t)c->inspect_max;
    p.allow_trust_backend = c->allow_trust_backend;
    p.auth_terminates = strcmp(c->auth, "terminate") == 0;
    p.keep_client_keys = c->keep_client_keys;
    p.auth_query = c->auth_query;
    p.auth_dbname = c->auth_dbname;
    p.advertise_host = or_null(c->advertise_host);
    p.advertise_port = (uint16_t)c->advertise_port;
    p.parallel_cursor_endpoints = (unsigned)c->parallel_cursor_endpoints;
    p.parallel_cursor_max_workers = (unsigned)c->parallel_cursor_max_workers;
    p.parallel_cursor_max_user_workers = (unsigned)c->parallel_cursor_max_user_workers;
    p.retrieve_clear_text = c->retrieve_clear_text;
    p.parallel_cursor_max_age_ms = (uint64_t)c->parallel_cursor_max_age * 1000;
    p.parallel_cursor_min_bytes = (uint64_t)c->parallel_cursor_min_size;
    p.service = or_null(c->service);
    main_read_tls(c, &p.client_tls, &p.server_tls);
    p.on_reload = on_reload;
    p.on_reload_arg = &served;
    p.handlers = handlers;
    p.handler_count = ARRAY_LEN(handlers);
    p.migrations = migrations.lists;
    p.migration_count = ARRAY_LEN(migrations.lists);
    p.http_addr = c->http_addr;
    p.http_port = (uint16_t)c->http_port;
    p.databases = c->databases;
    ok = ok && main_read_secret_key(c, &key, &p.secret_key, &err) && proxy_run(&p, &err);
    crypto_wipe(&key, sizeof key);
    if (!ok)
        log_err(LOG_LEVEL_ERROR, "proxy", "cannot serve", &err);
    arena_fini(&arena);
    return ok ? MAIN_OK : MAIN_CANNOT_START;
}

/* ---- worker ------------------------------------------------------------- */

/* libduckdb.so lies beside the binary in the build folder, in ../lib/pgveneer when installed. */
static const char *find_duckdb(const struct config *c, struct arena *a)
{
    static const char *const places[] = {"libduckdb.so", "../lib/pgveneer/libduckdb.so"};
    char self[4096];
    if (c->duckdb_library[0] != '\0')
        return c->duckdb_library;
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    while (n > 0 && self[n - 1] != '/')
        n--;
    for (size_t i = 0; n > 0 && i < ARRAY_LEN(places); i++) {
        const char *path = arena_printf(a, "%.*s%s", (int)n, self, places[i]);
        if (path != NULL && access(path, R_OK) == 0)
            return path;
    }
    return "libduckdb.so"; /* the dynamic linker's own search */
}

int main_serve_worker(const struct config *c)
{
    struct buf text;
    struct err err;
    buf_init(&text, 1024 * 1024);
    bool ok = config_write(c, &text) || err_no_memory(&err);
    struct worker_settings w = {
        .service = c->service,
        .databases = c->databases,
        .task_slots = (unsigned)c->task_slots,
        .program = "/proc/self/exe",
        .config = ok ? buf_cstr(&text) : NULL,
        .kinds = task_kinds,
        .kind_count = ARRAY_LEN(task_kinds),
    };
    ok = ok && (w.config != NULL || err_no_memory(&err)) && worker_run(&w, &err);
    if (!ok)
        log_err(LOG_LEVEL_ERROR, "worker", "cannot serve", &err);
    buf_fini(&text);
    return ok ? MAIN_OK : MAIN_CANNOT_START;
}

/* ---- job ---------------------------------------------------------------- */

int main_job(struct config *c, const struct main_options *o)
{
    struct job_settings settings = {
        .service = c->service,
        .hudi_local_roots = c->hudi_local_roots,
        .hudi_sync_max_commits = c->hudi_sync_max_commits,
        .hudi_scan_max_rows = c->hudi_scan_max_rows,
        .hudi_scan_max_bytes = c->hudi_scan_max_size * 1000000,
        .hudi_scan_keep_s = c->hudi_scan_keep,
        .hudi_readers = (unsigned)c->hudi_readers,
        .duckdb_library = find_duckdb(c, &c->arena),
        .hudi_cache_dir = c->hudi_cache_dir,
        .hudi_cache_bytes = c->hudi_cache_size << 20,
        .hudi_store_ca_file = c->hudi_store_ca_file,
        .hudi_store_timeout_s = (unsigned)c->hudi_store_timeout,
    };
    struct job_call call = {.dbname = o->dbname, .task_id = o->task_id, .fencing = o->fencing};
    struct sealed_key key;
    struct err err;
    if (!main_read_secret_key(c, &key, &settings.secret_key, &err)) {
        log_err(LOG_LEVEL_ERROR, "job", "cannot start", &err);
        return MAIN_USAGE;
    }
    return job_main(&settings, task_kinds, ARRAY_LEN(task_kinds), &call);
}

/* ---- alone -------------------------------------------------------------- */

static bool begin_alone(const struct config *c)
{
    struct err err;
    if (main_write_pidfile(c, &err) && main_drop_rights(c, &err))
        return true;
    log_err(LOG_LEVEL_ERROR, "pgveneer", "cannot start", &err);
    return false;
}

static int end_alone(const struct config *c, int rc)
{
    main_remove_pidfile(c);
    return rc == MAIN_OK ? MAIN_OK : MAIN_FAILED;
}

int main_proxy(struct config *c, const struct main_options *o)
{
    return begin_alone(c) ? end_alone(c, main_serve_proxy(c, o)) : MAIN_FAILED;
}

int main_worker(struct config *c, const struct main_options *o)
{
    (void)o;
    if (c->service[0] != '\0')
        return begin_alone(c) ? end_alone(c, main_serve_worker(c)) : MAIN_FAILED;
    log_error("worker", "the setting \"service\" is empty: a worker needs its own login");
    return MAIN_FAILED;
}
