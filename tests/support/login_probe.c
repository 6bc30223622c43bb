/* Logs in by a control connection with a credential and asks who it is:
 *
 *     login_probe HOST PORT USER DBNAME KIND SECRET     prints "ok <user>" or "<sqlstate> <message>"
 *
 * KIND      none, trust, password, md5 (SECRET as in pg_authid), scram (SECRET: ClientKey in base64),
 *           scram+server (ClientKey:ServerKey) */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "control_conn.h"
#include "loop.h"
#include "protocol/wire_reader.h"

static struct {
    struct control_conn *conn;
    struct control_rows rows;
    char answer[1024];
    struct loop *loop;
} probe;

static void on_ready(void *owner)
{
    (void)owner;
    control_conn_send_query(probe.conn, slice_cstr("SELECT current_user"), NULL, 0, &probe.rows);
}

static void on_done(void *owner, const struct err *err)
{
    (void)owner;
    struct wire_reader r;
    wire_reader_init(&r, buf_slice(&probe.rows.values));
    struct wire_value v = wire_get_value(&r);
    if (err != NULL)
        snprintf(probe.answer, sizeof probe.answer, "%s %s", err->sqlstate, err->message);
    else
        snprintf(probe.answer, sizeof probe.answer, "ok %.*s", (int)v.bytes.len, v.bytes.data);
    loop_stop(probe.loop);
}

static void on_lost(void *owner, const struct err *err)
{
    (void)owner;
    snprintf(probe.answer, sizeof probe.answer, "%s %s", err->sqlstate, err->message);
    loop_stop(probe.loop);
}

static bool read_key(struct slice text, uint8_t out[CRYPTO_SHA256_BYTES])
{
    struct buf raw;
    buf_init(&raw, CRYPTO_SHA256_BYTES);
    bool ok = crypto_base64_read(&raw, text) && buf_length(&raw) == CRYPTO_SHA256_BYTES;
    if (ok)
        memcpy(out, buf_data(&raw), CRYPTO_SHA256_BYTES);
    buf_fini(&raw);
    return ok;
}

static bool read_keys(struct credential *c, struct slice secret, bool has_server)
{
    uint8_t client[CRYPTO_SHA256_BYTES];
    uint8_t server[CRYPTO_SHA256_BYTES];
    size_t colon = slice_find_byte(secret, ':');
    if (!read_key(slice_part(secret, 0, colon), client) ||
        (has_server && !read_key(slice_part(secret, colon + 1, secret.len), server)))
        return false;
    credential_set_keys(c, client, has_server ? server : NULL);
    return true;
}

static bool read_credential(struct credential *c, const char *kind, struct slice secret)
{
    credential_wipe(c);
    if (strcmp(kind, "trust") == 0)
        c->kind = CREDENTIAL_TRUST;
    if (strcmp(kind, "password") == 0)
        return credential_set_password(c, secret);
    if (strcmp(kind, "md5") == 0)
        return credential_set_md5(c, secret);
    if (strcmp(kind, "scram") == 0 || strcmp(kind, "scram+server") == 0)
        return read_keys(c, secret, kind[5] == '+');
    return true;
}

int main(int argc, char **argv)
{
    static const struct control_conn_events events = {
        .on_ready = on_ready, .on_done = on_done, .on_lost = on_lost};
    struct conn_target target;
    struct credential credential;
    struct err err;
    err_set(&err, SQLSTATE_INVALID_PARAMETER_VALUE, "usage: see the source");
    if (argc != 7 || !read_credential(&credential, argv[5], slice_cstr(argv[6])) ||
        !conn_resolve(argv[1], (uint16_t)strtoul(argv[2], NULL, 10), &target, &err) ||
        !loop_new("probe", &probe.loop, &err)) {
        fprintf(stderr, "%s\n", err.message);
        return 2;
    }
    struct control_login login = {argv[3], argv[4], "login probe", &credential, NULL};
    buf_init(&probe.rows.values, CONTROL_CONN_MAX_RESULT_BYTES);
    probe.conn = control_conn_new(probe.loop, &target, &login, &events, NULL);
    if (probe.conn != NULL)
        loop_run(probe.loop);
    control_conn_free(probe.conn);
    loop_free(probe.loop);
    buf_fini(&probe.rows.values);
    puts(probe.answer);
    return 0;
}
