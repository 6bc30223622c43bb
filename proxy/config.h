/* The settings: one row each in config_table.c, one field each here.
 *
 * Values come from a file in the style of postgresql.conf (one `key = value` a line) and from
 * `--set KEY=VALUE`, which wins. A configuration that was loaded is constant. */
#ifndef CONFIG_H
#define CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

struct config {
    struct arena arena; /* owns every text below */
    const char *listen_addr, *proxy_protocol_from, *unix_socket_dir, *backend, *service, *databases,
        *user, *admin_role;
    const char *auth, *auth_query, *auth_dbname, *http_addr, *admin_users, *stats_users,
        *advertise_host;
    const char *client_tls_sslmode, *client_tls_key_file, *client_tls_cert_file;
    const char *client_tls_ca_file, *client_tls_protocols, *client_tls_ciphers;
    const char *server_tls_sslmode, *server_tls_key_file, *server_tls_cert_file;
    const char *server_tls_ca_file, *server_tls_protocols, *server_tls_ciphers;
    const char *hudi_cache_dir, *hudi_store_ca_file, *secret_key_file;
    const char *hudi_local_roots, *duckdb_library, *log_level, *log_format, *pidfile;
    int64_t listen_port, threads, max_client_conn, client_login_timeout, inspect_max;
    int64_t http_port, parallel_cursor_endpoints, advertise_port;
    int64_t parallel_cursor_min_size, parallel_cursor_max_workers;
    int64_t parallel_cursor_max_user_workers, parallel_cursor_max_age;
    int64_t task_slots, hudi_sync_max_commits;
    int64_t hudi_scan_max_rows, hudi_scan_max_size, hudi_scan_keep;
    int64_t hudi_cache_size, hudi_store_timeout, hudi_readers;
    bool allow_trust_backend, keep_client_keys, retrieve_clear_text;
};

enum config_type { CONFIG_TEXT, CONFIG_INT, CONFIG_BOOL, CONFIG_CHOICE };

struct config_setting {
    const char *name;
    enum config_type type;
    const char *fallback; /* the default, as it would stand in the file */
    size_t offset;        /* of the field in struct config */
    int64_t min, max;     /* CONFIG_INT */
    const char *unit;     /* "seconds", or "" */
    const char *choices;  /* CONFIG_CHOICE: "text,json" */
    bool secret;          /* never printed */
    bool reload;          /* SIGHUP changes it */
    const char *missing;  /* NULL, or the feature that this release does not have yet: any value but
                             the default is refused */
    const char *group;    /* heading in docs/settings.md */
    const char *doc;      /* a sentence or two */
};

extern const struct config_setting config_settings[];
extern const size_t config_setting_count;

/* Everything that is wrong, not the first thing; the rest beyond CONFIG_MAX_ERRORS is counted. */
#define CONFIG_MAX_ERRORS 32
struct config_errors {
    struct err items[CONFIG_MAX_ERRORS];
    size_t count;   /* of items */
    size_t dropped; /* beyond them */
};

/* All defaults. False without memory. */
MUST_USE bool config_init(struct config *c, struct err *err);
void config_fini(struct config *c);
/* Adds the settings of a file, of a text in its form (`name` stands in the errors), or of one
 * "KEY=VALUE". Errors are collected, with file and line; what is right is taken. */
void config_read_file(struct config *c, const char *path, struct config_errors *errors);
void config_read_text(struct config *c, const char *name, struct slice text,
                      struct config_errors *errors);
void config_read_assignment(struct config *c, const char *assignment, struct config_errors *errors);
/* Gives a setting another value; the old text stays in the arena. */
MUST_USE bool config_set(struct config *c, const struct config_setting *s, const char *value,
                         struct err *err);
/* What can only be judged when all values are known. */
void config_check(const struct config *c, struct config_errors *errors);

/* Where the setting `backend` points. */
#define CONFIG_HOST_BYTES 256
struct config_backend {
    char host[CONFIG_HOST_BYTES]; /* name, address, or folder of a unix socket (begins with '/') */
    uint16_t port;
};
MUST_USE bool config_read_backend(const char *backend, struct config_backend *out, struct err *err);

/* The whole configuration in the form of a file, secrets included: what a job is handed. */
MUST_USE bool config_write(const struct config *c, struct buf *out);
/* docs/settings.md. */
void config_print_docs(FILE *out);

#endif
