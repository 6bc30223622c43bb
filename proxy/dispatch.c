/* A vendor statement on its way: from the hit of the prefilter to the message that the server gets.
 *
 *   DRAIN --> (gate_inspect) --+--> LOOKUP --> (gate_inspect) --+--> PROBE --> INSTALL --> ASK
 *                              |                                |                           |
 *                              +--> REFUSE                      +--> REFUSE             SECRETS
 *                                                                                           |
 *                                     statements on parallel retrieve cursors: CURSOR  <----+
 *                                                                                           |
 *                                     DONE <-- spliced text sent, or the client's own <-----+
 *
 * Steps that a statement does not need are left out; most need none after the first of a session.
 * The client's messages wait meanwhile (RELAY_WAIT), the server's flow.
 *
 * DRAIN     The gate reads a text by standard_conforming_strings and client_encoding, which requests
 *           still unanswered may change; and injected statements want a queue that is empty. So the
 *           server answers first what it owes. A Flush makes it do so in an extended cycle.
 * LOOKUP    Once a session: an object of the user's own wins over ours. Again after DDL or a change of
 *           the search_path (vendor.c).
 * PROBE     DROP SERVER and the like are ours only if the server is ours; where the support schema was
 *           never installed, nothing is, and an ordinary statement is no reason to install it.
 * INSTALL   Through the control connection, with the login of the setting `service`.
 * ASK       The gate's questions about the names in the text; those answered "no" stay the client's.
 * SECRETS   By function call: they stand in no statement text and in no log.
 * REFUSE    An error of ours is raised in the server, so that the client's transaction fails as with
 *           any other error.
 *
 * In a transaction that has failed already nothing is asked: the spliced text goes to the server,
 * which answers 25P02.
 *
 * After an error, of ours or of a step, the client's message is dropped and the server is brought to
 * where it would be had the message itself failed: after a Query a ReadyForQuery follows; after a
 * Parse everything up to the client's Sync is ignored. The Flush form of an injected statement leaves
 * that behind by itself; the other forms do not, so their error is raised once more in that form.
 * Why not always Flush: an Execute without Sync makes the rest of the cycle a pipeline, in which
 * VACUUM or DISCARD ALL are refused, and PostgreSQL 18 runs a Query that follows inside of it: the client
 * would see what it did not do. So a question ends with Sync as long as the client's cycle holds nothing
 * that a Sync would end: no Execute, and before a Parse no Bind (portals do not survive a Query). */
#include "dispatch.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "protocol/client_msg.h"
#include "protocol/server_msg.h"

#include "control.h"
#include "cursor.h"
#include "secret.h"
#include "session.h"
#include "vendor.h"

#define MESSAGE_MAX_BYTES ((size_t)1024 * 1024 * 1024)

static const char *const step_names[] = {
#define X(name, text) #name,
    DISPATCH_STEPS(X)
#undef X
};

static void enter(struct session *s, enum dispatch_step step)
{
    struct dispatch *d = &s->vendor->dispatch;
    log_debug(s->who, "vendor statement: %s", step_names[step]);
    d->step = step;
}

void dispatch_decide(struct session *s, enum relay_verdict verdict)
{
    s->vendor->dispatch.verdict = verdict;
    enter(s, DISPATCH_DONE);
}

static bool has_failed_transaction(const struct session *s)
{
    return s->owed.status == 'E';
}

/* Form of questions that we put before the client's message. */
enum inject_form dispatch_question_form(const struct dispatch *d)
{
    return d->needs_flush ? INJECT_FLUSH : INJECT_SYNC;
}

/* Form of an error that takes the place of the client's message. */
static enum inject_form error_form(const struct dispatch *d)
{
    return d->type != 'Q' || d->in_cycle ? INJECT_FLUSH : INJECT_SYNC;
}

static void inject(struct session *s, enum dispatch_step step, const char *sql)
{
    enter(s, step);
    inject_query(s, &s->vendor->inject, sql, dispatch_question_form(&s->vendor->dispatch));
}

void dispatch_refuse(struct session *s, const struct err *err)
{
    struct dispatch *d = &s->vendor->dispatch;
    struct err copy = *err;
    d->err = copy;
    metrics_add(&s->group->metrics, METRIC_VENDOR_REFUSED, 1);
    enter(s, DISPATCH_REFUSE);
    inject_error(s, &s->vendor->inject, &d->err, error_form(d));
}

/* ---- what goes to the server ---- */

static bool write_message(const struct dispatch *d, struct buf *out)
{
    struct wire_reader r;
    struct wire_parse parse;
    if (d->type == 'Q')
        return wire_write_query(out, d->result.text);
    wire_reader_init(&r, d->body);
    if (!wire_read_parse(&r, &parse))
        return false;
    parse.query = d->result.text;
    return wire_write_parse(out, &parse);
}

/* A Parse gives its name to what it prepares; a Query ends the unnamed statement. */
static void remember(struct session *s, struct statement *st)
{
    struct dispatch *d = &s->vendor->dispatch;
    struct wire_reader r;
    struct wire_parse parse;
    wire_reader_init(&r, d->body);
    if (d->type == 'P' && wire_read_parse(&r, &parse) &&
        statement_keep_types(st, parse.noids, parse.oids))
        statement_map_put(&s->vendor->map, 'S', parse.name, st);
    if (d->type == 'Q')
        statement_map_remove(&s->vendor->map, 'S', slice_of("", 0));
}

void dispatch_send_spliced(struct session *s)
{
    struct dispatch *d = &s->vendor->dispatch;
    struct buf out;
    buf_init(&out, MESSAGE_MAX_BYTES);
    struct statement *st = statement_new(d->text, &d->result);
    struct rq_note *note = statement_note(st);
    if (note == NULL || !write_message(d, &out)) {
        struct err err;
        err_no_memory(&err);
        vendor_free_note(note);
        dispatch_refuse(s, &err);
    } else {
        remember(s, st);
        metrics_add(&s->group->metrics,
                    d->result.tag_count > 0 ? METRIC_VENDOR_CALL : METRIC_VENDOR_REWRITE, 1);
        session_request(s, buf_data(&out), buf_length(&out), d->type == 'Q' ? RQ_QUERY : RQ_PARSE,
                        RQ_FORWARD, note);
        dispatch_decide(s, RELAY_DROP);
    }
    statement_unref(st);
    buf_fini(&out);
}

/* ---- the steps, last first ---- */

static void step_cursor(struct session *s)
{
    const struct gate_result *r = &s->vendor->dispatch.result;
    if (r->cursor_count == 0 && !r->reads_endpoints) {
        dispatch_send_spliced(s);
        return;
    }
    enter(s, DISPATCH_CURSOR);
    cursor_run_start(s);
}

static void step_secrets(struct session *s)
{
    struct vendor *v = s->vendor;
    if (v->dispatch.result.secrets == NULL || has_failed_transaction(s)) {
        step_cursor(s);
        return;
    }
    const struct sealed_key *key = s->group->shared->config->secret_key;
    const char *secrets = v->dispatch.result.secrets;
    struct err err;
    if (key != NULL && !secret_seal(key, secrets, &v->dispatch.arena, &secrets, &err)) {
        dispatch_refuse(s, &err);
        return;
    }
    enter(s, DISPATCH_SECRETS);
    inject_setting(s, &v->inject, "pgveneer.secrets", secrets);
}

static void step_ask(struct session *s)
{
    struct dispatch *d = &s->vendor->dispatch;
    if (d->result.ask == NULL || d->answers != NULL || has_failed_transaction(s)) {
        step_secrets(s);
        return;
    }
    inject(s, DISPATCH_ASK, d->result.ask);
}

static void on_installed(void *arg, const struct control_result *result, const struct err *err)
{
    (void)result;
    struct session *s = arg;
    s->vendor->control_ask = NULL;
    if (err != NULL) {
        dispatch_refuse(s, err);
    } else {
        s->vendor->is_installed = true;
        step_ask(s);
    }
    if (s->vendor->dispatch.step == DISPATCH_DONE)
        session_resume_client(s);
}

static void step_install(struct session *s)
{
    struct vendor *v = s->vendor;
    if (v->is_installed || has_failed_transaction(s) || !v->dispatch.result.needs_support_schema) {
        step_ask(s);
        return;
    }
    enter(s, DISPATCH_INSTALL);
    v->control_ask = control_install(s->group->shared->control, s->group->loop,
                                     slice_cstr(s->dbname), on_installed, s);
    if (v->control_ask == NULL) {
        struct err err;
        err_no_memory(&err);
        dispatch_refuse(s, &err);
    }
}

/* Only statements about things that must exist already, like DROP SERVER. */
static bool is_about_existing(const struct gate_result *r)
{
    size_t ours = 0;
    for (size_t i = 0; i < r->tag_count; i++)
        ours += r->tags[i] != NULL;
    return r->ask != NULL && !r->makes_objects && r->edit_count == ours;
}

static void step_probe(struct session *s)
{
    struct vendor *v = s->vendor;
    if (v->is_installed || has_failed_transaction(s) || !is_about_existing(&v->dispatch.result)) {
        step_install(s);
        return;
    }
    inject(s, DISPATCH_PROBE, "SELECT pg_catalog.to_regnamespace('pgveneer') IS NOT NULL");
}

/* The names of our objects of one kind that resolve, by the search_path, to something else. */
static void put_lookup(struct buf *sql, const struct gate *g, enum handler_object_kind kind)
{
    bool is_function = kind == HANDLER_FUNCTION;
    const char *separator = "";
    buf_printf(sql,
               "(SELECT pg_catalog.string_agg(o.%s::pg_catalog.text, ',') FROM pg_catalog.%s o "
               "WHERE o.%s OPERATOR(pg_catalog.=) ANY ('{",
               is_function ? "proname" : "relname", is_function ? "pg_proc" : "pg_class",
               is_function ? "proname" : "relname");
    for (size_t i = 0; i < gate_object_count(g); i++) {
        if (gate_object(g, i)->kind != kind)
            continue;
        buf_printf(sql, "%s%s", separator, gate_object(g, i)->name);
        separator = ",";
    }
    buf_printf(sql,
               "}'::pg_catalog.name[]) AND pg_catalog.%s(o.oid) "
               "AND o.%s OPERATOR(pg_catalog.<>) ALL (ARRAY(SELECT n.oid FROM "
               "pg_catalog.pg_namespace n WHERE n.nspname OPERATOR(pg_catalog.=) ANY "
               "('{pg_catalog,pgveneer",
               is_function ? "pg_function_is_visible" : "pg_table_is_visible",
               is_function ? "pronamespace" : "relnamespace");
    for (size_t i = 0; i < gate_object_count(g); i++)
        buf_printf(sql, ",%s", gate_object(g, i)->schema);
    buf_append_cstr(sql, "}'::pg_catalog.name[]))))");
}

static void step_lookup(struct session *s)
{
    struct vendor *v = s->vendor;
    const struct gate *g = s->group->shared->gate;
    if (v->dispatch.result.objects == 0 || v->shadows_known || has_failed_transaction(s)) {
        step_probe(s);
        return;
    }
    struct buf sql;
    buf_init(&sql, MESSAGE_MAX_BYTES);
    buf_append_cstr(&sql, "SELECT ");
    put_lookup(&sql, g, HANDLER_FUNCTION);
    buf_append_cstr(&sql, ", ");
    put_lookup(&sql, g, HANDLER_RELATION);
    const char *text = buf_cstr(&sql);
    inject(s, DISPATCH_LOOKUP, text == NULL ? "SELECT NULL, NULL" : text);
    buf_fini(&sql);
}

/* ---- inspection ---- */

static void inspect(struct session *s)
{
    struct vendor *v = s->vendor;
    struct dispatch *d = &v->dispatch;
    struct gate_session how = {.standard_conforming_strings = s->standard_conforming_strings,
                               .client_encoding = s->client_encoding,
                               .shadowed = v->shadows_known ? v->shadowed : 0,
                               .answers = d->answers,
                               .answer_count = d->answers == NULL ? 0 : d->result.ask_count,
                               .has_cursors = cursor_has_open(v)};
    struct gate_result result = {.verdict = GATE_PASS};
    if (s->owed.skipping || /* the server ignores it whatever it is */
        !gate_inspect(s->group->shared->gate, &how, d->text, &d->arena, &result, &d->err))
        result.verdict = GATE_PASS;
    d->result = result;
    switch (result.verdict) {
    case GATE_PASS: dispatch_decide(s, RELAY_PASS); return;
    case GATE_REFUSE: dispatch_refuse(s, &d->err); return;
    case GATE_REWRITE: step_lookup(s); return;
    }
}

/* A Bind or Execute: the text was inspected when it was prepared. */
static void step_prepared(struct session *s)
{
    if (s->owed.skipping) {
        dispatch_decide(s, RELAY_PASS);
        return;
    }
    enter(s, DISPATCH_CURSOR);
    cursor_run_start(s);
}

/* Goes on when the server owes nothing. */
static void step_drain(struct session *s)
{
    if (s->owed.copying_in) {
        dispatch_decide(
            s, RELAY_PASS); /* no statement may come now: the server ends the connection for it */
    } else if (response_queue_is_empty(&s->owed)) {
        struct dispatch *d = &s->vendor->dispatch;
        d->in_cycle = s->owed.in_cycle;
        d->needs_flush = s->owed.has_executed || (d->type != 'Q' && s->owed.has_bound);
        if (d->statement == NULL)
            inspect(s);
        else
            step_prepared(s);
    }
}

/* ---- answers of the injected statements ---- */

static void note_shadows(struct vendor *v, const struct gate *g, enum handler_object_kind kind,
                         struct slice names)
{
    while (names.len > 0) {
        size_t end = slice_find_byte(names, ',');
        struct slice name = slice_part(names, 0, end);
        for (size_t i = 0; i < gate_object_count(g); i++)
            if (gate_object(g, i)->kind == kind && slice_equals_cstr(name, gate_object(g, i)->name))
                v->shadowed |= UINT64_C(1) << i;
        names = slice_part(names, end < names.len ? end + 1 : end, names.len);
    }
}

static void on_lookup_done(struct session *s)
{
    struct vendor *v = s->vendor;
    const struct gate *g = s->group->shared->gate;
    struct slice names;
    v->shadowed = 0;
    v->shadows_known = true;
    if (inject_find_value(&v->inject, 0, &names))
        note_shadows(v, g, HANDLER_FUNCTION, names);
    if (inject_find_value(&v->inject, 1, &names))
        note_shadows(v, g, HANDLER_RELATION, names);
    if ((v->shadowed & v->dispatch.result.objects) != 0)
        inspect(s);
    else
        step_probe(s);
}

static void on_probe_done(struct session *s)
{
    struct slice value;
    bool is_there =
        inject_find_value(&s->vendor->inject, 0, &value) && slice_equals_cstr(value, "t");
    if (is_there)
        step_ask(s);
    else
        dispatch_decide(s, RELAY_PASS);
}

static void on_ask_done(struct session *s)
{
    struct vendor *v = s->vendor;
    struct dispatch *d = &v->dispatch;
    bool *answers = arena_alloc_array(&d->arena, d->result.ask_count + 1, sizeof *answers);
    for (size_t i = 0; answers != NULL && i < d->result.ask_count; i++) {
        struct slice value;
        answers[i] = inject_find_value(&v->inject, i, &value) && slice_equals_cstr(value, "t");
    }
    d->answers = answers;
    if (answers == NULL)
        dispatch_decide(s, RELAY_PASS);
    else
        inspect(s);
}

/* A step failed. */
static void on_failure(struct session *s)
{
    struct dispatch *d = &s->vendor->dispatch;
    struct inject *i = &s->vendor->inject;
    if (!d->is_answered) { /* before a Parse: the server must be made to skip */
        struct wire_reader r;
        struct err err;
        wire_reader_init(&r, buf_slice(&i->error));
        wire_read_error(&r, &err);
        dispatch_refuse(s, &err);
        return;
    }
    if (d->type == 'Q' && i->form == INJECT_FLUSH)
        session_request(s, "S\0\0\0\4", 5, RQ_SYNC, RQ_FORWARD, NULL);
    dispatch_decide(s, RELAY_DROP);
}

static void on_injected(struct session *s)
{
    if (s->vendor->inject.has_failed) {
        on_failure(s);
        return;
    }
    switch (s->vendor->dispatch.step) {
    case DISPATCH_LOOKUP: on_lookup_done(s); return;
    case DISPATCH_PROBE: on_probe_done(s); return;
    case DISPATCH_ASK: on_ask_done(s); return;
    case DISPATCH_SECRETS: step_cursor(s); return;
    case DISPATCH_CURSOR: cursor_run_on_injected(s); return;
    default: dispatch_decide(s, RELAY_DROP); return;
    }
}

/* The error of the injected statement has been passed on; what is left of its answer, a
 * ReadyForQuery, ends the client's Query. */
static void pass_rest(struct session *s)
{
    struct vendor *v = s->vendor;
    if (v->inject.is_active && v->inject.has_failed && v->dispatch.is_answered)
        response_queue_forward_rest(&s->owed);
}

static void go_on(struct session *s)
{
    struct vendor *v = s->vendor;
    if (v->dispatch.step == DISPATCH_DRAIN)
        step_drain(s);
    pass_rest(s);
    if (inject_is_done(s, &v->inject))
        on_injected(s);
    else if (v->dispatch.step == DISPATCH_CURSOR)
        cursor_run_go_on(s);
}

void dispatch_on_advance(struct session *s)
{
    struct vendor *v = s->vendor;
    if (v->dispatch.step == DISPATCH_NONE)
        return;
    if (v->dispatch.step != DISPATCH_DONE)
        go_on(s);
    if (v->dispatch.step == DISPATCH_DONE)
        session_resume_client(s);
}

/* ---- begin and end ---- */

static void end(struct vendor *v)
{
    struct dispatch *d = &v->dispatch;
    if (d->result.secrets != NULL) {
        explicit_bzero((char *)d->result.secrets, strlen(d->result.secrets)); /* in our arena */
        explicit_bzero((char *)d->body.data, d->body.len);
    }
    statement_unref(d->statement);
    if (v->cursors != NULL)
        cursor_run_end(v->cursors);
    arena_fini(&v->dispatch.arena);
    v->dispatch = (struct dispatch){.step = DISPATCH_NONE};
}

/* The message waits in a copy. False: no memory. */
static bool begin(struct session *s, char type, struct slice body)
{
    struct dispatch *d = &s->vendor->dispatch;
    *d = (struct dispatch){.type = type};
    arena_init(&d->arena, 0);
    d->body.data = arena_copy(&d->arena, body);
    d->body.len = body.len;
    if (d->body.data == NULL)
        end(s->vendor);
    return d->body.data != NULL;
}

static enum relay_verdict drain(struct session *s)
{
    struct dispatch *d = &s->vendor->dispatch;
    enter(s, DISPATCH_DRAIN);
    step_drain(s);
    if (d->step == DISPATCH_DRAIN && s->owed.in_cycle) {
        relay_flush(&s->up);
        conn_send(s->server, "H\0\0\0\4", 5);
    }
    return d->step == DISPATCH_DONE ? dispatch_take_verdict(s) : RELAY_WAIT;
}

enum relay_verdict dispatch_start(struct session *s, char type, struct slice body,
                                  struct slice text)
{
    struct dispatch *d = &s->vendor->dispatch;
    if (!begin(s, type, body))
        return RELAY_PASS;
    d->text = slice_of(d->body.data + (text.data - body.data), text.len);
    return drain(s);
}

enum relay_verdict dispatch_start_prepared(struct session *s, char type, struct slice body,
                                           struct statement *st)
{
    if (!begin(s, type, body))
        return RELAY_PASS;
    s->vendor->dispatch.statement = st;
    st->refs++;
    return drain(s);
}

enum relay_verdict dispatch_take_verdict(struct session *s)
{
    if (s->vendor->dispatch.step != DISPATCH_DONE)
        return RELAY_WAIT;
    enum relay_verdict verdict = s->vendor->dispatch.verdict;
    end(s->vendor);
    return verdict;
}

void dispatch_forget(struct vendor *v)
{
    if (v->control_ask != NULL)
        control_forget(v->control_ask);
    v->control_ask = NULL;
    end(v);
}
