/* A client of PostgreSQL on a non-blocking connection.
 *
 *     CONNECTING --> LOGIN --> READY <--> BUSY        any state --> LOST
 *
 * Bytes are collected until a message is whole; messages of more than the result limit end the
 * connection. During LOGIN the server may ask for a cleartext, md5 or SCRAM-SHA-256 password; which of
 * them the login's credential answers stands in credential.c. With SCRAM, AuthenticationOk is believed
 * only after the server has proved that it knows the password (its key, where we have only keys); a
 * server that changes its mind about the method is refused.
 *
 * An error of the server is kept until ReadyForQuery, so that the next request never meets the rest
 * of the last one. A FATAL error is followed by the end of the connection, and told with it. */
#include "control_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "loop.h"
#include "protocol/client_msg.h"
#include "protocol/scram.h"
#include "protocol/server_msg.h"
#include "tls.h"

#define STATES(X)                                                                                  \
    X(CONNECTING, "waits for the socket")                                                          \
    X(LOGIN, "exchanges authentication messages, then waits for the first ReadyForQuery")          \
    X(READY, "takes a request")                                                                    \
    X(BUSY, "waits for the end of the request")                                                    \
    X(LOST, "told its owner, who will free it")

#define AS_ENUM(name, text) CC_##name,
enum control_conn_state { STATES(AS_ENUM) };

struct control_conn {
    enum control_conn_state state;
    struct loop *loop;
    struct conn_target target; /* for a cancel request */
    char *user;                /* owns, and the next three */
    char *dbname;
    char *client_encoding; /* NULL: our own settings */
    char *application_name;
    struct credential credential; /* wiped after the login */
    struct conn *conn;            /* owns */
    const struct control_conn_events *events;
    void *owner;
    struct buf in; /* an unfinished message */
    struct buf out;
    uint32_t auth_kind;         /* method that the server chose first */
    struct scram_client *scram; /* owns; NULL unless under way */
    bool scram_done;
    bool authenticated;
    uint32_t backend_pid;
    char key[256];
    size_t key_bytes;
    struct control_rows *rows; /* borrows, while BUSY */
    bool in_callback;          /* of the socket: control_conn_free only marks */
    bool freed;
    struct err err; /* first error of the login or request */
    char who[96];   /* for the log */
};

static void lose(struct control_conn *c, const struct err *err)
{
    if (c->state == CC_LOST)
        return;
    c->state = CC_LOST;
    if (err_is_set(&c->err)) /* the server's last words say more */
        err = &c->err;
    struct err copy = *err;
    c->events->on_lost(c->owner, &copy);
}

static void lose_for(struct control_conn *c, const char *sqlstate, const char *message)
{
    struct err err;
    err_set(&err, sqlstate, "%s", message);
    lose(c, &err);
}

static void flush(struct control_conn *c, bool written)
{
    if (!written) {
        buf_clear(&c->out);
        lose_for(c, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "a message to the server is too long");
        return;
    }
    conn_send(c->conn, buf_data(&c->out), buf_length(&c->out)); /* a dead peer is told by on_end */
    crypto_wipe_buf(&c->out);
}

static void send_plain_startup(struct control_conn *c)
{
    const char *const params[] = {"user",
                                  c->user,
                                  "database",
                                  c->dbname,
                                  "application_name",
                                  c->application_name,
                                  "client_encoding",
                                  c->client_encoding,
                                  NULL};
    flush(c, wire_write_startup(&c->out, WIRE_PROTOCOL_3_0, params));
}

static void send_startup(struct control_conn *c)
{
    if (c->client_encoding != NULL) {
        send_plain_startup(c);
        return;
    }
    const char *const params[] = {"user",
                                  c->user,
                                  "database",
                                  c->dbname,
                                  "application_name",
                                  c->application_name,
                                  "client_encoding",
                                  "UTF8",
                                  "DateStyle",
                                  "ISO, YMD",
                                  "search_path",
                                  "",
                                  "standard_conforming_strings",
                                  "on",
                                  NULL};
    flush(c, wire_write_startup(&c->out, WIRE_PROTOCOL_3_0, params));
}

/* ---- authentication ----------------------------------------------------- */

/* Each returns false with *err. */
static bool refuse_method(struct err *err, const char *method)
{
    return err_set(err, SQLSTATE_INVALID_PASSWORD,
                   "the server asks for a password by %s, which what is known of it cannot answer",
                   method);
}

static bool answer_cleartext(struct control_conn *c, struct err *err)
{
    if (c->credential.kind != CREDENTIAL_PASSWORD)
        return refuse_method(err, "clear text");
    return wire_write_password(&c->out, slice_cstr(c->credential.text)) || err_no_memory(err);
}

static bool answer_md5(struct control_conn *c, struct slice salt, struct err *err)
{
    char answer[CRYPTO_MD5_ANSWER_BYTES];
    if (c->credential.kind != CREDENTIAL_PASSWORD && c->credential.kind != CREDENTIAL_MD5)
        return refuse_method(err, "md5");
    if (!credential_answer_md5(&c->credential, slice_cstr(c->user), salt, answer))
        return err_set(err, SQLSTATE_INTERNAL_ERROR, "could not compute an MD5 answer");
    return wire_write_password(&c->out, slice_cstr(answer)) || err_no_memory(err);
}

/* Binds the login to the server's certificate where the server can do that too. */
static bool bind_scram(struct control_conn *c, const struct wire_auth *m)
{
    uint8_t hash[TLS_MAX_END_POINT_BYTES];
    size_t bytes;
    return wire_auth_has_mechanism(m, SCRAM_PLUS_MECHANISM) &&
           conn_tls_end_point(c->conn, hash, &bytes) &&
           scram_client_set_binding(c->scram, slice_of((const char *)hash, bytes));
}

static bool begin_scram(struct control_conn *c, struct err *err)
{
    const struct credential *known = &c->credential;
    bool has_keys = known->kind == CREDENTIAL_SCRAM_KEY;
    if (!has_keys && known->kind != CREDENTIAL_PASSWORD)
        return refuse_method(err, SCRAM_MECHANISM);
    if (!scram_client_new(slice_cstr(known->text), NULL, &c->scram, err))
        return false;
    if (has_keys)
        scram_client_set_keys(c->scram, known->client_key,
                              known->has_server_key ? known->server_key : NULL);
    return true;
}

static bool begin_sasl(struct control_conn *c, const struct wire_auth *m, struct err *err)
{
    struct wire_sasl_initial answer = {.mechanism = slice_cstr(SCRAM_MECHANISM), .has_data = true};
    struct buf first;
    if (c->scram != NULL || !wire_auth_has_mechanism(m, SCRAM_MECHANISM))
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "the server offers no SASL mechanism that pgveneer knows");
    if (!begin_scram(c, err))
        return false;
    if (bind_scram(c, m))
        answer.mechanism = slice_cstr(SCRAM_PLUS_MECHANISM);
    buf_init(&first, SCRAM_MAX_MESSAGE_BYTES);
    bool ok = scram_client_write_first(c->scram, &first, err);
    answer.data = buf_slice(&first);
    ok = ok && (wire_write_sasl_initial(&c->out, &answer) || err_no_memory(err));
    buf_fini(&first);
    return ok;
}

static bool continue_sasl(struct control_conn *c, struct slice challenge, struct err *err)
{
    struct buf final;
    buf_init(&final, 4 * SCRAM_MAX_MESSAGE_BYTES);
    bool ok = scram_client_step(c->scram, challenge, &final, err) &&
              (wire_write_sasl_response(&c->out, buf_slice(&final)) || err_no_memory(err));
    buf_fini(&final);
    return ok;
}

static bool accept_login(struct control_conn *c, struct err *err)
{
    if (c->scram != NULL && !c->scram_done)
        return err_set(err, SQLSTATE_PROTOCOL_VIOLATION,
                       "the server ended the SCRAM exchange without a proof");
    c->authenticated = true;
    credential_wipe(&c->credential);
    return true;
}

static bool needs_password(uint32_t kind)
{
    return kind == WIRE_AUTH_CLEARTEXT || kind == WIRE_AUTH_MD5 || kind == WIRE_AUTH_SASL;
}

static bool step_auth(struct control_conn *c, const struct wire_auth *m, struct err *err)
{
    if (needs_password(m->kind)) {
        if (c->auth_kind != 0)
            return err_set(err, SQLSTATE_PROTOCOL_VIOLATION,
                           "the server asks for a password twice");
        if (c->credential.kind == CREDENTIAL_NONE || c->credential.kind == CREDENTIAL_TRUST)
            return err_set(err, SQLSTATE_INVALID_PASSWORD,
                           "the server asks for a password and none is known for user \"%s\"",
                           c->user);
        c->auth_kind = m->kind;
    }
    switch (m->kind) {
    case WIRE_AUTH_OK: return accept_login(c, err);
    case WIRE_AUTH_CLEARTEXT: return answer_cleartext(c, err);
    case WIRE_AUTH_MD5: return answer_md5(c, m->data, err);
    case WIRE_AUTH_SASL: return begin_sasl(c, m, err);
    case WIRE_AUTH_SASL_CONTINUE:
        if (c->scram != NULL)
            return continue_sasl(c, m->data, err);
        break;
    case WIRE_AUTH_SASL_FINAL:
        if (c->scram != NULL)
            return c->scram_done = scram_client_finish(c->scram, m->data, err);
        break;
    default:
        return err_set(
            err, SQLSTATE_FEATURE_NOT_SUPPORTED,
            "the server asks for an authentication method that pgveneer does not have (%u)",
            (unsigned)m->kind);
    }
    return err_set(err, SQLSTATE_PROTOCOL_VIOLATION, "an authentication message out of turn");
}

static void on_auth(struct control_conn *c, struct wire_reader *r)
{
    struct wire_auth m;
    struct err err;
    if (!wire_read_auth(r, &m) || c->state != CC_LOGIN || c->authenticated) {
        lose_for(c, SQLSTATE_PROTOCOL_VIOLATION, "a malformed authentication message");
        return;
    }
    if (!step_auth(c, &m, &err)) {
        lose(c, &err);
        return;
    }
    if (buf_length(&c->out) > 0)
        flush(c, true);
}

/* ---- messages ----------------------------------------------------------- */

static void on_backend_key(struct control_conn *c, struct wire_reader *r)
{
    struct wire_backend_key m;
    if (!wire_read_backend_key(r, &m))
        return;
    c->backend_pid = m.pid;
    c->key_bytes = m.key.len;
    memcpy(c->key, m.key.data, m.key.len);
}

static void on_error(struct control_conn *c, struct wire_reader *r)
{
    struct err err;
    (void)wire_read_error(r, &err);
    if (!err_is_set(&c->err))
        c->err = err;
}

static void on_notice(const struct control_conn *c, struct wire_reader *r)
{
    struct err err;
    if (wire_read_error(r, &err))
        log_err(LOG_LEVEL_DEBUG, c->who, "notice", &err);
}

static void clear_rows(struct control_rows *rows)
{
    buf_clear(&rows->values);
    rows->nrows = 0;
}

static void on_data_row(struct control_conn *c, struct wire_reader *r)
{
    struct wire_data_row m;
    if (!wire_read_data_row(r, &m) || c->rows == NULL) {
        lose_for(c, SQLSTATE_PROTOCOL_VIOLATION, "a malformed row from the server");
        return;
    }
    if (err_is_set(&c->err))
        return;
    if (c->rows->nrows > 0 && m.nvalues != c->rows->ncolumns)
        clear_rows(c->rows); /* of an earlier statement: the last one's count */
    c->rows->ncolumns = m.nvalues;
    c->rows->nrows++;
    if (!buf_append_slice(&c->rows->values, m.values))
        err_set(&c->err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "the result is larger than %zu bytes",
                CONTROL_CONN_MAX_RESULT_BYTES);
}

static void on_command_complete(struct control_conn *c, struct wire_reader *r)
{
    struct wire_command_complete m;
    if (wire_read_command_complete(r, &m) && c->rows != NULL)
        snprintf(c->rows->tag, sizeof c->rows->tag, "%.*s", (int)m.tag.len, m.tag.data);
}

static void on_ready_for_query(struct control_conn *c, struct wire_reader *r)
{
    char status;
    if (!wire_read_ready(r, &status) || !c->authenticated ||
        (c->state != CC_LOGIN && c->state != CC_BUSY)) {
        lose_for(c, SQLSTATE_PROTOCOL_VIOLATION, "an unexpected ReadyForQuery from the server");
        return;
    }
    bool login = c->state == CC_LOGIN;
    struct err err = c->err;
    err_clear(&c->err);
    c->rows = NULL;
    c->state = CC_READY;
    if (login)
        c->events->on_ready(c->owner);
    else
        c->events->on_done(c->owner, err_is_set(&err) ? &err : NULL);
}

static void on_message(struct control_conn *c, char type, struct slice body)
{
    struct wire_reader r;
    wire_reader_init(&r, body);
    switch (type) {
    case 'R': on_auth(c, &r); break;
    case 'K': on_backend_key(c, &r); break;
    case 'E': on_error(c, &r); break;
    case 'N': on_notice(c, &r); break;
    case 'D': on_data_row(c, &r); break;
    case 'C': on_command_complete(c, &r); break;
    case 'Z': on_ready_for_query(c, &r); break;
    case 'G':
        flush(c, wire_write_copy_fail(&c->out, slice_cstr("pgveneer copies nothing in")));
        break;
    default: break; /* ParameterStatus, RowDescription, ParseComplete, NotificationResponse, … */
    }
}

/* The whole messages of c->in, as long as the connection lives. */
static void read_messages(struct control_conn *c)
{
    struct wire_header h;
    while (c->state != CC_LOST && buf_length(&c->in) >= WIRE_HEADER_BYTES) {
        if (!wire_read_header(buf_data(&c->in), &h) ||
            h.body_bytes > CONTROL_CONN_MAX_RESULT_BYTES) {
            lose_for(c, SQLSTATE_PROTOCOL_VIOLATION,
                     "a message of the server has an invalid length");
            return;
        }
        size_t whole = WIRE_HEADER_BYTES + (size_t)h.body_bytes;
        if (buf_length(&c->in) < whole)
            return;
        on_message(c, h.type, slice_of(buf_data(&c->in) + WIRE_HEADER_BYTES, h.body_bytes));
        buf_consume(&c->in, whole);
    }
}

/* ---- events of the socket ----------------------------------------------- */

static void destroy(struct control_conn *c)
{
    scram_client_free(c->scram);
    credential_wipe(&c->credential);
    buf_fini(&c->in);
    buf_fini(&c->out);
    free(c->user);
    free(c->dbname);
    free(c->application_name);
    free(c->client_encoding);
    free(c);
}

/* Around every callback: the owner may free us while we still read our messages. */
static struct control_conn *enter_callback(void *owner)
{
    struct control_conn *c = owner;
    c->in_callback = true;
    return c;
}

static void leave_callback(struct control_conn *c)
{
    c->in_callback = false;
    if (c->freed)
        destroy(c);
}

static void on_connected(void *owner, struct conn *conn)
{
    (void)conn;
    struct control_conn *c = enter_callback(owner);
    c->state = CC_LOGIN;
    send_startup(c);
    leave_callback(c);
}

static void on_read(void *owner, struct conn *conn, char *data, size_t bytes)
{
    (void)conn;
    struct control_conn *c = enter_callback(owner);
    if (c->state != CC_LOST && buf_append(&c->in, data, bytes))
        read_messages(c);
    else
        lose_for(c, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "a message of the server is too long");
    leave_callback(c);
}

static void on_end(void *owner, struct conn *conn, const struct err *err)
{
    (void)conn;
    struct control_conn *c = enter_callback(owner);
    struct err closed;
    err_set(&closed, SQLSTATE_CONNECTION_FAILURE, "the server closed the connection");
    lose(c, err == NULL ? &closed : err);
    leave_callback(c);
}

static const struct conn_events socket_events = {
    .on_connected = on_connected, .on_read = on_read, .on_end = on_end};

/* ---- life --------------------------------------------------------------- */

static bool copy_login(struct control_conn *c, const struct control_login *login)
{
    c->user = strdup(login->user);
    c->dbname = strdup(login->dbname);
    c->application_name = strdup(login->application_name);
    if (login->client_encoding != NULL) {
        c->client_encoding = strdup(login->client_encoding);
        if (c->client_encoding == NULL)
            return false;
    }
    if (login->credential != NULL)
        c->credential = *login->credential;
    return c->user != NULL && c->dbname != NULL && c->application_name != NULL;
}

struct control_conn *control_conn_new(struct loop *l, const struct conn_target *target,
                                      const struct control_login *login,
                                      const struct control_conn_events *events, void *owner)
{
    struct control_conn *c = calloc(1, sizeof *c);
    if (c == NULL)
        return NULL;
    c->loop = l;
    c->target = *target;
    c->events = events;
    c->owner = owner;
    buf_init(&c->in, CONTROL_CONN_MAX_RESULT_BYTES + LOOP_READ_BYTES + WIRE_HEADER_BYTES);
    buf_init(&c->out, CONTROL_CONN_MAX_RESULT_BYTES);
    snprintf(c->who, sizeof c->who, "control %s", login->dbname);
    if (copy_login(c, login))
        c->conn = conn_connect(l, target, &socket_events, c);
    if (c->conn == NULL) {
        control_conn_free(c);
        return NULL;
    }
    return c;
}

void control_conn_free(struct control_conn *c)
{
    if (c == NULL)
        return;
    if (c->state == CC_READY && wire_write_empty(&c->out, 'X')) /* nothing is under way */
        conn_send(c->conn, buf_data(&c->out), buf_length(&c->out));
    conn_free(c->conn);
    c->conn = NULL;
    c->state = CC_LOST;
    c->freed = true;
    if (!c->in_callback)
        destroy(c);
}

uint32_t control_conn_pid(const struct control_conn *c)
{
    return c->backend_pid;
}

struct conn *control_conn_release(struct control_conn *c, uint32_t *pid, char key[256],
                                  size_t *key_bytes)
{
    struct conn *conn = c->conn;
    *pid = c->backend_pid;
    *key_bytes = c->key_bytes;
    memcpy(key, c->key, c->key_bytes);
    c->conn = NULL;
    c->state = CC_LOST;
    control_conn_free(c);
    return conn;
}

static void ignore(void *owner, struct conn *conn)
{
    (void)owner;
    (void)conn;
}

static void ignore_bytes(void *owner, struct conn *conn, char *data, size_t bytes)
{
    (void)owner;
    (void)conn;
    (void)data;
    (void)bytes;
}

static void ignore_end(void *owner, struct conn *conn, const struct err *err)
{
    (void)owner;
    (void)conn;
    (void)err;
}

void control_conn_cancel(const struct control_conn *c)
{
    static const struct conn_events nothing = {
        .on_connected = ignore, .on_read = ignore_bytes, .on_end = ignore_end};
    struct wire_cancel m = {c->backend_pid, slice_of(c->key, c->key_bytes)};
    struct buf out;
    if (c->state != CC_BUSY || c->key_bytes == 0)
        return;
    struct conn *conn = conn_connect(c->loop, &c->target, &nothing, NULL);
    if (conn == NULL)
        return;
    buf_init(&out, 512);
    if (wire_write_cancel(&out, &m))
        conn_send(conn, buf_data(&out), buf_length(&out));
    buf_fini(&out);
    conn_finish(conn);
}

/* ---- requests ----------------------------------------------------------- */

static void begin_request(struct control_conn *c, struct control_rows *rows)
{
    c->state = CC_BUSY;
    c->rows = rows;
    err_clear(&c->err);
}

void control_conn_send_script(struct control_conn *c, struct slice sql, struct control_rows *rows)
{
    begin_request(c, rows);
    flush(c, wire_write_query(&c->out, sql));
}

void control_conn_send_query(struct control_conn *c, struct slice sql, const char *const *params,
                             uint16_t nparams, struct control_rows *rows)
{
    struct slice unnamed = slice_of("", 0);
    struct wire_parse parse = {.name = unnamed, .query = sql, .oids = unnamed};
    begin_request(c, rows);
    bool ok = wire_write_parse(&c->out, &parse) &&
              wire_write_bind_text(&c->out, unnamed, unnamed, params, nparams) &&
              wire_write_execute(&c->out, unnamed, 0) && wire_write_empty(&c->out, 'S');
    flush(c, ok);
}
