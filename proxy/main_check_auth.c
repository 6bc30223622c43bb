/* `pgveneer check`, authentication: does auth_query give verifiers to the service login, and do both legs
 * show the same certificate where relayed logins need that (topology.h)? The second is a warning:
 * clients that do not bind are well served. */
#include "main_check.h"

#include <stdio.h>
#include <string.h>

#include "loop.h"
#include "main.h"
#include "pgclient/pgclient.h"
#include "topology.h"

#define PROBE_TIMEOUT_MS 5000

/* ---- auth_query ---- */

/* An answer without a row is fine: the function may give none of its own owner. */
static bool ask(const struct config *c, const char *service_user, struct err *err)
{
    const char *const params[] = {service_user};
    struct pgclient *client;
    struct pgresult *r = NULL;
    if (!pgclient_open(c->service, c->auth_dbname, "pgveneer check", &client, err))
        return false;
    bool ok = pgclient_query(client, c->auth_query, 1, params, &r, err);
    if (ok && pgresult_columns(r) < 2)
        ok = err_set(err, SQLSTATE_CONFIG_FILE_ERROR, "gives no name and verifier");
    pgresult_free(r);
    pgclient_close(client);
    return ok;
}

static unsigned check_query(const struct config *c, const char *service_user)
{
    struct err err;
    bool is_used = strcmp(c->auth, "terminate") == 0 || c->keep_client_keys;
    if (!is_used || service_user[0] == '\0')
        return 0;
    if (ask(c, service_user, &err)) {
        printf("ok       auth_query: gives verifiers\n");
        return 0;
    }
    main_check_tell("error", "auth_query", &err);
    return 1;
}

/* ---- both legs ---- */

struct legs {
    struct tls_slot client, server;
    struct conn_target target;
    struct loop *loop;
    struct timer *timer;
    enum topology result;
};

static void on_result(void *arg, enum topology result, const struct err *err)
{
    (void)err; /* what is wrong with the server is told elsewhere */
    struct legs *l = arg;
    l->result = result;
    loop_stop(l->loop);
}

static void on_timeout(void *arg)
{
    loop_stop(((struct legs *)arg)->loop);
}

/* False: something is missing, which the other checks tell. */
static bool open_legs(const struct config *c, struct legs *l)
{
    struct tls_settings client, server;
    struct tls_policy *accepts = NULL, *connects = NULL;
    struct config_backend backend;
    struct err err;
    main_read_tls(c, &client, &server);
    if (!config_read_backend(c->backend, &backend, &err))
        return false;
    server.host = backend.host;
    bool ok = tls_policy_new(TLS_ACCEPTS, &client, &accepts, &err) &&
              tls_policy_new(TLS_CONNECTS, &server, &connects, &err);
    tls_slot_put(&l->client, accepts);
    tls_slot_put(&l->server, connects);
    ok = ok && accepts != NULL && connects != NULL &&
         conn_resolve(backend.host, backend.port, &l->target, &err) &&
         loop_new("check", &l->loop, &err);
    l->target.tls = &l->server;
    l->timer = ok ? timer_new(l->loop, on_timeout, l) : NULL;
    return l->timer != NULL;
}

static void check_legs(const struct config *c)
{
    struct legs l = {.result = TOPOLOGY_UNKNOWN};
    struct err err;
    tls_slot_init(&l.client);
    tls_slot_init(&l.server);
    if (open_legs(c, &l) && topology_probe(l.loop, &l.target, &l.client, on_result, &l)) {
        timer_start(l.timer, PROBE_TIMEOUT_MS);
        loop_run(l.loop);
    }
    if (l.result == TOPOLOGY_DIFFERENT) {
        topology_explain(&err);
        main_check_tell("warning", "authentication", &err);
    } else if (l.result == TOPOLOGY_WORKS) {
        printf("ok       authentication: clients and server see the same certificate\n");
    }
    timer_free(l.timer);
    if (l.loop != NULL)
        loop_free(l.loop);
    tls_slot_fini(&l.client);
    tls_slot_fini(&l.server);
}

unsigned main_check_auth(const struct config *c, const char *service_user)
{
    if (strcmp(c->auth, "relay") == 0)
        check_legs(c);
    return check_query(c, service_user);
}
