/* A parameter's value is what the server makes of the client's bytes, which may be text or binary, in a
 * type that the client named or that the server found out. So the server is asked:
 *
 *   FORMS    settings under which every value's text is exact, and that input does not look at
 *   PREPARE  the client's statement once more under our name, with the types that the client gave
 *   TYPES    pg_prepared_statements tells the types of its parameters
 *   VALUES   SELECT quote_nullable($1::text), … with the client's own Bind
 *
 * and each $n of the query becomes ('…'::type). The type's name goes without length: the value has
 * been through that already. */
#include "cursor_values.h"

#include <stdlib.h>
#include <string.h>

#include "protocol/client_msg.h"

#include "cursor_run.h"
#include "dispatch.h"
#include "session.h"

#define SQL_MAX_BYTES ((size_t)1024 * 1024)

enum step { BEGIN, FORMS, PREPARE, TYPES, VALUES };

static struct arena *arena_of(struct session *s)
{
    return &s->vendor->dispatch.arena;
}

static enum inject_form form_of(struct session *s)
{
    return dispatch_question_form(&s->vendor->dispatch);
}

/* The Bind of the portal that is executed. False: it is not known. */
static bool find_bind(struct session *s, struct wire_bind *bind)
{
    struct wire_reader r;
    struct wire_execute execute;
    wire_reader_init(&r, s->vendor->dispatch.body);
    if (!wire_read_execute(&r, &execute))
        return false;
    wire_reader_init(&r, statement_map_find_bind(&s->vendor->map, execute.portal));
    return wire_read_bind(&r, bind);
}

/* A statement of the client's query alone: its $n have the types that they have in the DECLARE. */
static enum cursor_values_state ask_prepare(struct session *s, struct slice query)
{
    const struct statement *st = s->vendor->dispatch.statement;
    const char *sql = arena_printf(
        arena_of(s), "DECLARE " INJECT_PREPARED " NO SCROLL CURSOR FOR %s", query.data);
    if (sql == NULL)
        return CURSOR_VALUES_FAILED;
    struct wire_parse parse = {
        .query = slice_cstr(sql), .noids = st->type_count, .oids = st->types};
    inject_prepare(s, &s->vendor->inject, &parse, form_of(s));
    return CURSOR_VALUES_ASKED;
}

static enum cursor_values_state ask_types(struct session *s)
{
    inject_query(s, &s->vendor->inject,
                 "SELECT pg_catalog.string_agg(pg_catalog.format('%s %I.%I', t.oid, n.nspname, "
                 "t.typname), E'\\n' ORDER BY u.n) FROM pg_catalog.pg_prepared_statements p, "
                 "pg_catalog.unnest(p.parameter_types) WITH ORDINALITY u (r, n) "
                 "JOIN pg_catalog.pg_type t ON t.oid OPERATOR(pg_catalog.=) u.r::pg_catalog.oid "
                 "JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) t.typnamespace "
                 "WHERE p.name OPERATOR(pg_catalog.=) '" INJECT_PREPARED "'",
                 form_of(s));
    return CURSOR_VALUES_ASKED;
}

/* Lines "oid name", as many as there are parameters. */
static bool read_types(struct session *s, struct cursor_values *v)
{
    struct slice lines;
    char *rest = NULL;
    size_t n = 0;
    char *copy =
        inject_find_value(&s->vendor->inject, 0, &lines) ? arena_copy(arena_of(s), lines) : NULL;
    v->types = arena_alloc_array(arena_of(s), v->count, sizeof *v->types);
    v->oids = arena_alloc_array(arena_of(s), v->count, sizeof *v->oids);
    if (copy == NULL || v->types == NULL || v->oids == NULL)
        return false;
    for (char *line = strtok_r(copy, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        char *name;
        unsigned long oid = strtoul(line, &name, 10);
        if (n == v->count || *name != ' ')
            return false;
        v->oids[n] = (uint32_t)oid;
        v->types[n++] = name + 1;
    }
    return n == v->count;
}

static enum cursor_values_state ask_values(struct session *s, struct cursor_values *v,
                                           const struct wire_bind *bind)
{
    struct buf sql, oids;
    buf_init(&sql, SQL_MAX_BYTES);
    buf_init(&oids, SQL_MAX_BYTES);
    for (size_t i = 0; i < v->count; i++) {
        uint8_t oid[4] = {(uint8_t)(v->oids[i] >> 24), (uint8_t)(v->oids[i] >> 16),
                          (uint8_t)(v->oids[i] >> 8), (uint8_t)v->oids[i]};
        buf_append(&oids, (char *)oid, sizeof oid);
        buf_printf(&sql, "%spg_catalog.quote_nullable($%zu::pg_catalog.text)",
                   i == 0 ? "SELECT " : ", ", i + 1);
    }
    const char *text = oids.failed ? NULL : buf_cstr(&sql);
    if (text != NULL) {
        struct wire_parse parse = {
            .query = slice_cstr(text), .noids = (uint16_t)v->count, .oids = buf_slice(&oids)};
        inject_query_bound(s, &s->vendor->inject, &parse, bind, form_of(s));
    }
    buf_fini(&sql);
    buf_fini(&oids);
    return text == NULL ? CURSOR_VALUES_FAILED : CURSOR_VALUES_ASKED;
}

static enum cursor_values_state put_values(struct session *s, struct cursor_values *v,
                                           struct slice *query)
{
    struct arena *a = arena_of(s);
    struct lexer_dialect d = {s->standard_conforming_strings, encoding_find(s->client_encoding)};
    const char **literals = arena_alloc_array(a, v->count, sizeof *literals);
    struct slice text;
    for (size_t i = 0; literals != NULL && i < v->count; i++) {
        struct slice value;
        if (!inject_find_value(&s->vendor->inject, i, &value))
            return CURSOR_VALUES_FAILED;
        literals[i] = arena_printf(a, "(%.*s::%s)", (int)value.len, value.data, v->types[i]);
        if (literals[i] == NULL)
            return CURSOR_VALUES_FAILED;
    }
    if (literals == NULL || !cursor_splice_values(a, *query, &d, literals, v->count, &text))
        return CURSOR_VALUES_FAILED;
    const char *copy = arena_copy(a, text);
    if (copy == NULL)
        return CURSOR_VALUES_FAILED;
    *query = slice_of(copy, text.len);
    return CURSOR_VALUES_DONE;
}

static enum cursor_values_state begin(struct session *s, struct cursor_values *v,
                                      const struct wire_bind *bind)
{
    v->count = bind->nparams;
    if (v->count == 0)
        return CURSOR_VALUES_DONE;
    inject_query(s, &s->vendor->inject,
                 "SELECT pg_catalog.set_config('extra_float_digits', '3', true), "
                 "pg_catalog.set_config('DateStyle', 'ISO', true)",
                 form_of(s));
    return CURSOR_VALUES_ASKED;
}

enum cursor_values_state cursor_values_step(struct session *s, struct cursor_values *v,
                                            struct slice *query)
{
    struct wire_bind bind;
    if (s->vendor->dispatch.type != 'E')
        return CURSOR_VALUES_DONE;
    if (!find_bind(s, &bind))
        return CURSOR_VALUES_FAILED;
    switch ((enum step)v->step++) {
    case BEGIN: return begin(s, v, &bind);
    case FORMS: return ask_prepare(s, *query);
    case PREPARE: return ask_types(s);
    case TYPES: return read_types(s, v) ? ask_values(s, v, &bind) : CURSOR_VALUES_FAILED;
    case VALUES: return put_values(s, v, query);
    }
    return CURSOR_VALUES_FAILED;
}
