/* SCRAM-SHA-256-PLUS binds a login to a connection: client and server each put the hash of the server's
 * certificate, as they see it, into what they prove. Between two TLS connections that is the same
 * certificate, or the login fails, as it must: to the server we look like a man in the middle. Without
 * TLS on the server's leg it offers no PLUS, and without TLS on the client's we take it out of the list
 * (auth.c); a TLS client must not be offered less than the server has, since it would tell the server.
 *
 *   client   server   certificates
 *   plain    any                     works
 *   TLS      plain                   works
 *   TLS      TLS      the same       works, with real channel binding from end to end
 *   TLS      TLS      different      only clients that do not bind (channel_binding=disable, old drivers)
 *
 * The last row is worth a warning at the start, in `pgveneer check`, and at each login that will fail. */
#include "topology.h"

#include <stdlib.h>
#include <string.h>

struct probe {
    struct conn *conn;
    struct tls_slot *client; /* borrows */
    topology_done_fn *done;
    void *arg;
    struct loop_task at_end;
};

static bool is_equal(const uint8_t *a, size_t a_bytes, const uint8_t *b, size_t b_bytes)
{
    return a_bytes == b_bytes && memcmp(a, b, a_bytes) == 0;
}

bool topology_is_different(const struct conn *client, const struct conn *server)
{
    uint8_t ours[TLS_MAX_END_POINT_BYTES];
    uint8_t theirs[TLS_MAX_END_POINT_BYTES];
    size_t our_bytes, their_bytes;
    if (!conn_is_tls(client) || !conn_is_tls(server))
        return false;
    return !conn_tls_end_point(client, ours, &our_bytes) ||
           !conn_tls_end_point(server, theirs, &their_bytes) ||
           !is_equal(ours, our_bytes, theirs, their_bytes);
}

void topology_explain(struct err *err)
{
    err_set(
        err, SQLSTATE_CONFIG_FILE_ERROR,
        "TLS towards clients and towards the server, with different certificates: clients that "
        "bind SCRAM to TLS (channel_binding, on where possible) cannot log in with auth = relay");
    err_hint(err, "Use the server's certificate and key in client_tls_cert_file and "
                  "client_tls_key_file, or reach the server without TLS (unix socket, loopback), "
                  "or set auth = terminate.");
}

void topology_explain_stripped(struct err *err)
{
    err_set(
        err, SQLSTATE_INVALID_AUTHORIZATION,
        "the client has no TLS and says that it could bind SCRAM to TLS; a server with TLS takes "
        "that for an attack");
    err_hint(err,
             "Turn channel binding off in the client, or use TLS towards clients, or reach the "
             "server without TLS, or set auth = terminate.");
}

/* ---- the probe ---- */

static void end(struct probe *p, enum topology result, const struct err *err)
{
    topology_done_fn *done = p->done;
    void *arg = p->arg;
    list_remove(&p->at_end.link);
    conn_free(p->conn);
    free(p);
    done(arg, result, err);
}

static void on_loop_end(struct loop_task *t)
{
    struct probe *p = LIST_ENTRY(t, struct probe, at_end);
    conn_free(p->conn);
    free(p);
}

static void on_connected(void *owner, struct conn *c)
{
    struct probe *p = owner;
    uint8_t ours[TLS_MAX_END_POINT_BYTES];
    uint8_t theirs[TLS_MAX_END_POINT_BYTES];
    size_t our_bytes, their_bytes;
    struct tls_policy *client = tls_slot_get(p->client);
    bool works = client == NULL || !conn_is_tls(c) ||
                 (tls_policy_end_point(client, ours, &our_bytes) &&
                  conn_tls_end_point(c, theirs, &their_bytes) &&
                  is_equal(ours, our_bytes, theirs, their_bytes));
    tls_policy_free(client);
    end(p, works ? TOPOLOGY_WORKS : TOPOLOGY_DIFFERENT, NULL);
}

static void on_read(void *owner, struct conn *c, char *data, size_t bytes)
{
    (void)owner;
    (void)c;
    (void)data;
    (void)bytes;
}

static void on_end(void *owner, struct conn *c, const struct err *err)
{
    (void)c;
    struct err copy;
    err_set(&copy, SQLSTATE_CONNECTION_FAILURE, "the server closed the connection");
    if (err != NULL)
        copy = *err;
    end(owner, TOPOLOGY_UNKNOWN, &copy);
}

bool topology_probe(struct loop *l, const struct conn_target *target, struct tls_slot *client,
                    topology_done_fn *done, void *arg)
{
    static const struct conn_events events = {
        .on_connected = on_connected, .on_read = on_read, .on_end = on_end};
    struct probe *p = calloc(1, sizeof *p);
    if (p == NULL)
        return false;
    *p = (struct probe){.client = client, .done = done, .arg = arg};
    p->conn = conn_connect(l, target, &events, p);
    if (p->conn == NULL) {
        free(p);
        return false;
    }
    loop_task_init(&p->at_end, on_loop_end);
    loop_at_end(l, &p->at_end);
    return true;
}
