/* What happens to each message of a session: the relay asks here (relay.h).
 *
 * Of a client's messages the response queue must know all that have answers. Query and Parse texts go
 * through the gate: the prefilter clears nearly all of them where they lie. The rest is dispatch.c's.
 * Bind, Describe, Execute and Close matter only where vendor statements are prepared.
 *
 * Of the server's messages the queue must know those that end an answer. ReadyForQuery, ParameterStatus
 * and Authentication are looked into; errors and command tags only where they answer a vendor
 * statement; notices also because a function may ask us with one (asking.h). */
#include "session.h"

#include "base/log.h"
#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include "asking.h"
#include "cursor.h"
#include "dispatch.h"
#include "vendor.h"

/* DataRow, CopyData and the like: nothing depends on them. */
const uint8_t session_plain_down[256] = {['D'] = 1, ['d'] = 1, ['c'] = 1, ['A'] = 1, ['K'] = 1,
                                         ['v'] = 1, ['W'] = 1, ['H'] = 1, ['t'] = 1, ['V'] = 1};
/* CopyData. */
const uint8_t session_plain_up[256] = {['d'] = 1};

/* Messages of the server that we read ourselves are small. */
#define MAX_READ_BYTES ((size_t)64 * 1024)
/* Errors and notices that must be seen whole to be edited. Larger ones pass as they are. */
#define MAX_EDITED_BYTES ((size_t)1024 * 1024)

void session_reply(struct session *s, const void *message, size_t bytes)
{
    relay_flush(&s->down);
    metrics_add(&s->group->metrics, METRIC_TO_CLIENTS, bytes);
    conn_send(s->client, message, bytes);
}

static void no_memory(struct session *s)
{
    struct err err;
    err_no_memory(&err);
    session_refuse(s, &err);
}

void session_request(struct session *s, const void *message, size_t bytes, enum rq_kind kind,
                     enum rq_fate fate, struct rq_note *note)
{
    if (!response_queue_request(&s->owed, kind, fate, note)) {
        no_memory(s);
        return;
    }
    relay_flush(&s->up);
    metrics_add(&s->group->metrics, METRIC_TO_SERVER, bytes);
    conn_send(s->server, message, bytes);
}

void session_resume_client(struct session *s)
{
    if (s->state == SESSION_CLOSING)
        return;
    relay_resume(&s->up);
    session_update_reading(s);
}

void session_resume_server(struct session *s)
{
    if (s->state == SESSION_CLOSING)
        return;
    relay_resume(&s->down);
    if (s->state != SESSION_CLOSING && conn_is_broken(s->client))
        session_client_gone(s);
    else
        session_update_reading(s);
}

/* ---- client to server ---- */

/* Kind of entry for a message; false: it has none. */
static bool kind_of(struct wire_header h, enum rq_kind *kind)
{
    switch (h.type) {
    case 'Q': *kind = RQ_QUERY; return true;
    case 'P': *kind = RQ_PARSE; return true;
    case 'B': *kind = RQ_BIND; return true;
    case 'D': *kind = RQ_DESCRIBE; return true;
    case 'E': *kind = RQ_EXECUTE; return true;
    case 'C': *kind = RQ_CLOSE; return true;
    case 'S': *kind = RQ_SYNC; return true;
    case 'F': *kind = RQ_FUNCTION; return true;
    case 'H': *kind = RQ_FLUSH; return h.body_bytes > 0;
    case 'c':
    case 'f': *kind = RQ_COPY_END; return true;
    default: return false;
    }
}

static enum relay_verdict pass_request(struct session *s, struct wire_header h,
                                       struct rq_note *note)
{
    enum rq_kind kind;
    if (!kind_of(h, &kind))
        return RELAY_PASS;
    if (response_queue_request(&s->owed, kind, RQ_FORWARD, note))
        return RELAY_PASS;
    no_memory(s);
    return RELAY_DROP;
}

/* Does anybody here want to read this message? */
static bool wants_whole(struct session *s, struct wire_header h)
{
    const struct session_shared *shared = s->group->shared;
    if (shared->gate == NULL || s->gate_off)
        return false;
    if (h.body_bytes > shared->config->inspect_max_bytes) {
        if (h.type == 'Q' || h.type == 'P')
            metrics_add(&s->group->metrics, METRIC_UNINSPECTED, 1);
        return false;
    }
    if (s->vendor != NULL && vendor_is_busy(s))
        return true; /* the message that waited comes again and takes its verdict */
    if (s->owed.skipping || s->owed.copying_in)
        return false; /* the server ignores it, or ends the connection for it */
    switch (h.type) {
    case 'Q':
    case 'P': return true;
    case 'B':
    case 'E':
    case 'D':
    case 'C': return s->vendor != NULL && vendor_has_names(s->vendor);
    default: return false;
    }
}

static enum relay_verdict on_up_header(void *owner, struct wire_header h)
{
    struct session *s = owner;
    enum relay_verdict v = s->login != NULL ? session_auth_on_header(s, h) : RELAY_PASS;
    if (v != RELAY_PASS)
        return v;
    if (response_queue_is_full(&s->owed) || cursor_blocks(s))
        return RELAY_WAIT;
    if (wants_whole(s, h))
        return RELAY_WHOLE;
    return pass_request(s, h, NULL);
}

static enum relay_verdict on_up_message(void *owner, struct wire_header h, char *message)
{
    struct session *s = owner;
    struct slice body = slice_of(message + WIRE_HEADER_BYTES, h.body_bytes);
    struct rq_note *note = NULL;
    if (s->login != NULL && h.type == 'p')
        return session_auth_on_request(s, body);
    enum relay_verdict v = vendor_on_request(s, h.type, body, &note);
    return v == RELAY_PASS ? pass_request(s, h, note) : v;
}

static void on_up_bytes(void *owner, const char *data, size_t bytes)
{
    struct session *s = owner;
    metrics_add(&s->group->metrics, METRIC_TO_SERVER, bytes);
    conn_send(s->server, data, bytes);
}

static void on_up_unframed(void *owner)
{
    struct session *s = owner;
    metrics_add(&s->group->metrics, METRIC_PROTOCOL_ERRORS, 1);
    log_debug(s->who, "the client's stream has an impossible length; the server will end it");
}

static void on_no_memory(void *owner)
{
    no_memory(owner);
}

const struct relay_events session_up_events = {.on_header = on_up_header,
                                               .on_message = on_up_message,
                                               .on_bytes = on_up_bytes,
                                               .on_unframed = on_up_unframed,
                                               .on_no_memory = on_no_memory};

/* ---- server to client ---- */

static enum relay_verdict refuse_authentication(struct session *s)
{
    struct err err;
    err_set(&err, SQLSTATE_PROTOCOL_VIOLATION, "server sent a damaged authentication message");
    session_refuse(s, &err);
    return RELAY_DROP;
}

/* How texts are to be read depends on two settings of the session. */
static void on_parameter_status(struct session *s, struct slice body)
{
    struct wire_reader r;
    struct wire_parameter_status m;
    wire_reader_init(&r, body);
    if (!wire_read_parameter_status(&r, &m))
        return;
    if (slice_equals_cstr(m.name, "standard_conforming_strings"))
        s->standard_conforming_strings = slice_equals_cstr(m.value, "on");
    if (slice_equals_cstr(m.name, "client_encoding") && m.value.len < sizeof s->client_encoding)
        memcpy(s->client_encoding, m.value.data, m.value.len + 1);
    if (slice_equals_cstr(m.name, "is_superuser"))
        s->is_superuser = slice_equals_cstr(m.value, "on");
    if (slice_equals_cstr(m.name, "session_authorization") && m.value.len < sizeof s->session_user)
        memcpy(s->session_user, m.value.data, m.value.len + 1);
    if (s->vendor != NULL)
        vendor_on_parameter(s, m.name);
}

static void on_backend_key(struct session *s, struct slice body)
{
    struct wire_reader r;
    struct wire_backend_key m;
    wire_reader_init(&r, body);
    if (!wire_read_backend_key(&r, &m) || m.key.len > sizeof s->server_key)
        return;
    s->server_pid = m.pid;
    s->server_key_bytes = m.key.len;
    memcpy(s->server_key, m.key.data, m.key.len);
}

/* True: it goes to the client. */
static bool on_ready(struct session *s, struct slice body)
{
    char status = body.len == 1 ? body.data[0] : 'I';
    response_queue_advance(&s->owed, 'Z', status);
    if (s->state == SESSION_LOGIN)
        session_login_done(s);
    if (status == 'I')
        s->may_have_savepoint = s->prepares_savepoints;
    bool passes = s->vendor == NULL || !vendor_on_ready(s);
    asking_on_ready(s);
    return passes;
}

/* A place in the queue became free, or the queue empty: who waits for that goes on. */
static void after_advance(struct session *s)
{
    if (s->vendor != NULL)
        vendor_on_advance(s);
    if (relay_is_waiting(&s->up) && s->vendor == NULL && s->login == NULL &&
        s->owed.count < RQ_MAX_ENTRIES / 2)
        session_resume_client(s);
}

static enum relay_verdict on_down_header(void *owner, struct wire_header h)
{
    struct session *s = owner;
    struct rq_note *note;
    if (s->vendor != NULL && cursor_fetch_diverts(s, h.type))
        return RELAY_PASS;
    switch (h.type) {
    case 'K':
        if (s->login == NULL)
            return RELAY_PASS;
        /* fall through */
    case 'Z':
    case 'S':
        if (h.body_bytes <= MAX_READ_BYTES)
            return RELAY_WHOLE;
        break;
    case 'R': return h.body_bytes <= MAX_READ_BYTES ? RELAY_WHOLE : refuse_authentication(s);
    case 'N':
        if (h.body_bytes <= MAX_READ_BYTES && !s->gate_off)
            return RELAY_WHOLE;
        break;
    default: break;
    }
    if (s->vendor != NULL && h.body_bytes <= MAX_EDITED_BYTES && vendor_wants_answer(s, h.type))
        return RELAY_WHOLE;
    enum rq_fate fate = response_queue_peek(&s->owed, h.type, &note);
    response_queue_advance(&s->owed, h.type, 0);
    after_advance(s);
    return fate == RQ_SKIP ? RELAY_DROP : RELAY_PASS;
}

/* A notice is looked at in any session: it may ask us. The rest is as for any other message. */
static enum relay_verdict on_notice(struct session *s, struct slice body, enum rq_fate fate,
                                    struct rq_note *note)
{
    if (asking_on_notice(s, body))
        return RELAY_DROP;
    if (fate == RQ_SKIP)
        return s->vendor == NULL ? RELAY_DROP : vendor_on_skipped_notice(s, body);
    if (s->vendor != NULL && vendor_wants_answer(s, 'N'))
        return vendor_on_answer(s, 'N', body, fate, note);
    return RELAY_PASS;
}

static enum relay_verdict on_down_message(void *owner, struct wire_header h, char *message)
{
    struct session *s = owner;
    struct slice body = slice_of(message + WIRE_HEADER_BYTES, h.body_bytes);
    struct rq_note *note;
    enum rq_fate fate = response_queue_peek(&s->owed, h.type, &note);
    enum relay_verdict v = fate == RQ_SKIP ? RELAY_DROP : RELAY_PASS;
    switch (h.type) {
    case 'R': return session_auth_on_answer(s, body);
    case 'S':
        on_parameter_status(s, body);
        return s->vendor != NULL && cursor_fetch_is_active(s) && cursor_fetch_hides(s, body)
                   ? RELAY_DROP
                   : RELAY_PASS;
    case 'K': on_backend_key(s, body); return RELAY_PASS;
    case 'Z':
        if (!on_ready(s, body))
            v = RELAY_DROP;
        break;
    case 'N':
        v = on_notice(s, body, fate, note);
        response_queue_advance(&s->owed, h.type, 0);
        break;
    default:
        v = vendor_on_answer(s, h.type, body, fate, note);
        response_queue_advance(&s->owed, h.type, 0);
        break;
    }
    after_advance(s);
    return v;
}

static void on_down_bytes(void *owner, const char *data, size_t bytes)
{
    struct session *s = owner;
    metrics_add(&s->group->metrics, METRIC_TO_CLIENTS, bytes);
    if (s->vendor != NULL && s->vendor->cursors != NULL && s->vendor->cursors->fetches.is_diverting)
        cursor_fetch_on_rows(s, data, bytes);
    else
        conn_send(s->client, data, bytes);
}

const struct relay_events session_down_events = {.on_header = on_down_header,
                                                 .on_message = on_down_message,
                                                 .on_bytes = on_down_bytes,
                                                 .on_no_memory = on_no_memory};
