/* The proxy process as its caller sees it: a configuration of plain values, and one call that serves
 * clients until it is told to stop. */
#ifndef PROXY_SERVER_H
#define PROXY_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/migration.h"
#include "protocol/sealed.h"
#include "proxy/handler.h"
#include "proxy/tls_settings.h"

#define PROXY_INSPECT_MAX_BYTES ((size_t)16 * 1024 * 1024)
#define PROXY_DRAIN_TIMEOUT_MS 30000u

/* All texts are borrowed until proxy_run returns. */
struct proxy_config {
    const char *const *listen_addrs; /* host names or addresses; "*" means all of IPv4 and IPv6 */
    size_t listen_addr_count;        /* 0: no TCP */
    uint16_t listen_port; /* also the number in the unix socket's name; 0: any free port */
    const char *proxy_protocol_from; /* networks, by commas, of balancers that send PROXY headers */
    const char *unix_socket_dir;     /* NULL: no unix socket */
    const char *backend_host;        /* name, address, or directory of a unix socket (first '/') */
    uint16_t backend_port;
    unsigned threads;                 /* 0: one per core */
    unsigned max_client_conn;         /* beyond it 53300; 0: no limit */
    unsigned client_login_timeout_ms; /* from accept to the first ReadyForQuery; 0: none */
    size_t inspect_max_bytes;         /* Query and Parse longer than this pass uninspected */
    const char *advertise_host; /* in lists of endpoints; NULL: what the client connected to */
    uint16_t advertise_port;    /* 0: the listener's */
    unsigned parallel_cursor_endpoints;
    uint64_t parallel_cursor_min_bytes;        /* smaller tables are not divided */
    unsigned parallel_cursor_max_workers;      /* connections in all; 0: no limit */
    unsigned parallel_cursor_max_user_workers; /* of one user */
    bool retrieve_clear_text;                  /* tokens without TLS, for clients that ask */
    uint64_t parallel_cursor_max_age_ms;       /* older ones end their sessions; 0: no limit */
    bool allow_trust_backend; /* else a login without any challenge is refused with 28000 */
    bool auth_terminates;     /* SCRAM logins end here; needs service, auth_query */
    bool keep_client_keys;    /* the secret of a login stays in its session */
    const char *auth_query;   /* $1: a user's name; gives the name and the verifier */
    const char *auth_dbname;  /* where the query runs */
    const char *service;      /* libpq string of the service login; NULL: vendor statements
                                        fail with 55000 */
    const char *http_addr;    /* of the HTTP interface */
    uint16_t http_port;       /* 0: none */
    const char *databases;    /* whose tasks it tells, separated by commas; "": all */
    const struct sealed_key *secret_key; /* encrypts what handlers call secret; NULL: nothing */
    struct tls_settings client_tls;
    struct tls_settings server_tls; /* host is backend_host */
    unsigned drain_timeout_ms;      /* SIGTERM: how long clients may finish */
    const struct handler *const *handlers;
    size_t handler_count;
    const struct migration_list *migrations; /* what control installs, in this order */
    size_t migration_count;
    /* SIGHUP: says how TLS is wanted from now on; the files are read again then. May be NULL. */
    void (*on_reload)(void *arg, struct tls_settings *client, struct tls_settings *server);
    void *on_reload_arg;
    /* Called once when all listeners are open, with the TCP port in use; may be NULL. */
    void (*on_ready)(void *arg, uint16_t listen_port);
    void *on_ready_arg;
};

/* Everything that has a sensible default; the rest NULL or 0. */
void proxy_config_init(struct proxy_config *c);

/* Opens the listeners, runs the threads, and returns when it was told to stop and all clients are
 * gone: SIGTERM or SIGINT: takes no new clients, lets the others end their transaction, at most
 * drain_timeout_ms; a second one: at once. SIGHUP: certificates and keys are read again, for
 * connections to come; with an error those in force stay. It must be called in the main thread; it
 * blocks these signals, takes them by sigwait, and leaves them blocked, since the process is about
 * to end. True: stopped as told.
 * Errors: 08001 backend name unknown, 58030 or 42501 a listener cannot be opened, 53200. */
MUST_USE bool proxy_run(const struct proxy_config *c, struct err *err);

#endif
