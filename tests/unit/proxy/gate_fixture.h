/* A gate with objects and statements of its own, for the tests of the gate: proxy/ knows no feature. */
#ifndef GATE_FIXTURE_H
#define GATE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/attr.h"
#include "proxy/gate.h"
#include "proxy/lexer.h"

static const struct handler_object fixture_objects[] = {
    {"pg_task_show", "pgveneer", HANDLER_FUNCTION, false, NULL},
    {"pg_task_pause", "pgveneer", HANDLER_FUNCTION, true, NULL},
    {"history_view", "pgveneer", HANDLER_RELATION, false, NULL},
    {"pg_task_run", "pgveneer", HANDLER_FUNCTION, false, "call_task_run"},
};

/* "MAKE THING name [SECRET] [DOUBT]" and "USE THING name": names are taken as they are, BAD is refused. */
static inline enum handler_claim fixture_claim(struct arena *a, const struct handler_text *s,
                                               struct handler_answer *answer, struct err *err)
{
    if (s->count < 3)
        return HANDLER_PASS;
    const char *name = s->tokens[2].name;
    if (strcmp(name, "bad") == 0) {
        err_set(err, SQLSTATE_SYNTAX_ERROR, "syntax error at or near \"bad\"");
        err->position = (uint32_t)s->tokens[2].start + 1;
        return HANDLER_REFUSE;
    }
    if (strcmp(name, "other") == 0)
        return HANDLER_PASS;
    bool make = token_is_word(&s->tokens[0], "make");
    answer->call = arena_printf(a, "CALL pgveneer.thing('%s')", name);
    answer->tag = make ? "MAKE THING" : "USE THING";
    answer->about = make ? NULL : arena_printf(a, "thing %s", name);
    answer->makes = make ? arena_printf(a, "thing %s", name) : NULL;
    for (size_t i = 3; i < s->count; i++) {
        if (token_is_word(&s->tokens[i], "secret"))
            answer->secrets = "{\"password\":\"x\"}";
        if (token_is_word(&s->tokens[i], "doubt"))
            answer->ask = arena_printf(a, "may(%d)", (int)i);
    }
    if (!make)
        answer->ask = arena_printf(a, "is_thing('%s')", name);
    bool complete = answer->call != NULL && (make ? answer->makes : answer->about) != NULL &&
                    (make || answer->ask != NULL);
    return complete ? HANDLER_ANSWER : HANDLER_NO_MEMORY;
}

static const struct handler_statement fixture_statements[] = {
    {"make thing", fixture_claim},
    {"use thing", fixture_claim},
};

static const char *const fixture_anchors[] = {"pg_task", "history_view", "thing"};

static const struct handler fixture_handler = {
    .name = "fixture",
    .objects = fixture_objects,
    .object_count = ARRAY_LEN(fixture_objects),
    .statements = fixture_statements,
    .statement_count = ARRAY_LEN(fixture_statements),
    .anchors = fixture_anchors,
    .anchor_count = ARRAY_LEN(fixture_anchors),
};

static inline struct gate *fixture_gate(void)
{
    static const struct handler *const handlers[] = {&fixture_handler};
    struct gate *g = NULL;
    struct err err;
    assert_true(gate_new(handlers, 1, &g, &err));
    return g;
}

#endif
