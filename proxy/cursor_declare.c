/* DECLARE … PARALLEL RETRIEVE CURSOR: the plain cursor that it becomes in the server, what is asked of the
 * session then, and the endpoints. The client gets its tag when all of that is there. */
#include "cursor_run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include "dispatch.h"
#include "session.h"
#include "vendor.h"

static struct cursors *cursors_of(struct session *s)
{
    return s->vendor->cursors;
}

static const char *const reported[] = {
    "server_version",    "server_encoding",
    "client_encoding",   "application_name",
    "is_superuser",      "DateStyle",
    "IntervalStyle",     "TimeZone",
    "integer_datetimes", "standard_conforming_strings",
};

/* Columns behind those: may workers be thought of; and what a new session lacks to be like this one, as
 * statements. Settings that a login or the file brings are the same there. */
static const char facts[] =
    ", pg_catalog.pg_current_xact_id_if_assigned() IS NULL "
    "AND pg_catalog.current_setting('transaction_isolation') OPERATOR(pg_catalog.<>) "
    "'serializable' "
    "AND pg_catalog.current_setting('server_version_num')::pg_catalog.int4 "
    "OPERATOR(pg_catalog.>=) 140000 AND NOT pg_catalog.pg_is_in_recovery(), "
    "pg_catalog.concat((SELECT pg_catalog.string_agg(pg_catalog.format("
    "'SELECT pg_catalog.set_config(%L, %L, false); ', name, setting), '' ORDER BY name) "
    "FROM pg_catalog.pg_settings WHERE (context OPERATOR(pg_catalog.=) 'user' "
    "OR (context OPERATOR(pg_catalog.=) 'superuser' AND source OPERATOR(pg_catalog.=) 'session')) "
    "AND source OPERATOR(pg_catalog.<>) ALL ('{default,override,configuration file,"
    "environment variable,command line}'::pg_catalog.text[]) "
    "AND name OPERATOR(pg_catalog.<>) ALL ('{application_name,client_encoding,role,"
    "session_authorization,transaction_isolation,transaction_read_only,transaction_deferrable,"
    "default_transaction_isolation,default_transaction_read_only,default_transaction_deferrable,"
    "idle_in_transaction_session_timeout,idle_session_timeout,transaction_timeout,seed}'"
    "::pg_catalog.text[])), "
    "'SELECT pg_catalog.set_config(''idle_in_transaction_session_timeout'', ''0'', false), "
    "pg_catalog.set_config(''cursor_tuple_fraction'', ''1'', false); ', "
    "CASE WHEN pg_catalog.current_setting('role') OPERATOR(pg_catalog.<>) 'none' THEN "
    "pg_catalog.format('SELECT pg_catalog.set_config(''role'', %L, false); ', "
    "pg_catalog.current_setting('role')) END)";

static void on_wake(void *who)
{
    vendor_on_advance(who);
}

static bool need_declarer(struct session *s, struct err *err)
{
    struct cursors *c = cursors_of(s);
    const struct session_shared *shared = s->group->shared;
    char host[ENDPOINT_HOST_BYTES];
    if (c->declarer != NULL)
        return true;
    uint16_t port = conn_local_name(s->client, host, sizeof host);
    if (shared->config->advertise_host != NULL)
        snprintf(host, sizeof host, "%s", shared->config->advertise_host);
    if (shared->config->advertise_port != 0)
        port = shared->config->advertise_port;
    struct endpoint_declarer_info info = {
        .loop = s->group->loop,
        .who = s,
        .wake = on_wake,
        .number = s->number,
        .pid = s->server_pid,
        .key = slice_of(s->server_key, s->server_key_bytes),
        .user = slice_cstr(s->session_user),
        .dbname = slice_cstr(s->dbname),
        .host = slice_cstr(host),
        .port = port != 0 ? port : shared->listen_port,
    };
    return endpoint_declarer_open(shared->endpoints, &info, &c->declarer, err);
}

const struct handler_cursor *cursor_declare_what(struct session *s)
{
    struct cursor_run *run = &cursors_of(s)->run;
    const struct dispatch *d = &s->vendor->dispatch;
    return d->type == 'E' ? d->statement->cursor : run->items[run->at].cursor;
}

void cursor_declare_start(struct session *s)
{
    struct cursor_run *run = &cursors_of(s)->run;
    struct slice text;
    cursor_run_enter(s, CURSOR_DECLARE);
    if (!cursor_run_write_item(s, &run->items[run->at], &text)) {
        cursor_run_refuse_no_memory(s);
        return;
    }
    const char *sql = arena_copy(&s->vendor->dispatch.arena, text);
    if (sql == NULL)
        cursor_run_refuse_no_memory(s);
    else
        inject_query(s, &s->vendor->inject, sql, dispatch_question_form(&s->vendor->dispatch));
}

void cursor_declare_ask_facts(struct session *s)
{
    struct buf sql;
    buf_init(&sql, 16384);
    cursor_run_enter(s, CURSOR_FACTS);
    buf_append_cstr(&sql, "SELECT (SELECT pg_catalog.date_part('epoch', creation_time)"
                          "::pg_catalog.text FROM pg_catalog.pg_cursors "
                          "WHERE name OPERATOR(pg_catalog.=) $1)");
    for (size_t i = 0; i < ARRAY_LEN(reported); i++)
        buf_printf(&sql, ", pg_catalog.current_setting('%s', true)", reported[i]);
    buf_append_cstr(&sql, facts);
    const char *text = buf_cstr(&sql);
    if (text == NULL)
        cursor_run_refuse_no_memory(s);
    else
        inject_query_with(s, &s->vendor->inject, text, cursor_declare_what(s)->name,
                          dispatch_question_form(&s->vendor->dispatch));
    buf_fini(&sql);
}

void cursor_declare_keep_settings(struct session *s)
{
    struct cursor_run *run = &cursors_of(s)->run;
    size_t column = ARRAY_LEN(reported) + 1;
    struct slice value;
    bool may =
        inject_find_value(&s->vendor->inject, column, &value) && slice_equals_cstr(value, "t");
    if (inject_find_value(&s->vendor->inject, column + 1, &value))
        run->settings = arena_copy(&s->vendor->dispatch.arena, value);
    run->may_have_workers = may && run->settings != NULL;
}

static bool keep_facts(struct session *s, struct err *err)
{
    struct cursors *c = cursors_of(s);
    struct slice value;
    struct buf parameters;
    buf_init(&parameters, 16384);
    bool good = need_declarer(s, err);
    if (inject_find_value(&s->vendor->inject, 0, &value) && value.len < sizeof c->run.created)
        memcpy(c->run.created, value.data, value.len);
    for (size_t i = 0; good && i < ARRAY_LEN(reported); i++) {
        struct wire_parameter_status m = {.name = slice_cstr(reported[i])};
        if (inject_find_value(&s->vendor->inject, i + 1, &m.value))
            good = wire_write_parameter_status(&parameters, &m) || err_no_memory(err);
    }
    cursor_declare_keep_settings(s);
    c->run.declared = good ? endpoint_cursor_new(cursor_declare_what(s)->name) : NULL;
    if (good && c->run.declared == NULL)
        good = err_no_memory(err);
    if (good)
        endpoint_set_parameters(s->group->shared->endpoints, c->declarer, &parameters);
    buf_fini(&parameters);
    return good;
}

void cursor_declare_on_facts(struct session *s)
{
    struct cursors *c = cursors_of(s);
    struct err err;
    if (!keep_facts(s, &err)) {
        dispatch_refuse(s, &err);
        return;
    }
    snprintf(c->run.declared->encoding, sizeof c->run.declared->encoding, "%s", s->client_encoding);
    cursor_run_enter(s, CURSOR_DESCRIBE);
    inject_describe(s, &s->vendor->inject, c->run.declared->name,
                    dispatch_question_form(&s->vendor->dispatch));
}

void cursor_declare_on_described(struct session *s)
{
    buf_append_slice(&cursors_of(s)->run.declared->description,
                     buf_slice(&s->vendor->inject.description));
    cursor_parallel_start(s);
}

void cursor_declare_publish(struct session *s, unsigned endpoints)
{
    struct cursors *c = cursors_of(s);
    struct endpoint_cursor *shared = c->run.declared;
    struct err err;
    c->run.declared = NULL;
    if (!cursor_add(s, shared, c->run.created, endpoints, &err)) {
        dispatch_refuse(s, &err);
        return;
    }
    cursor_run_reply_tag(s, "DECLARE PARALLEL RETRIEVE CURSOR");
    if (s->vendor->dispatch.type == 'E') {
        dispatch_decide(s, RELAY_DROP);
        return;
    }
    c->run.at++;
    cursor_run_next(s);
}
