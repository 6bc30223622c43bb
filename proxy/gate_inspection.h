/* Shared by the files of the gate: gate.c (what is ours), gate_inspect.c (the pass over a text),
 * gate_name.c (names of objects) and gate_statement.c (statements). */
#ifndef GATE_INSPECTION_H
#define GATE_INSPECTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "proxy/gate.h"
#include "proxy/lexer.h"

#include "context.h"

struct prefilter;

struct gate {
    const struct handler *const *handlers; /* owns the array */
    size_t handler_count;
    const struct handler_object *objects[GATE_MAX_OBJECTS];
    size_t object_count;
    uint64_t by_first[256];    /* objects whose name starts so */
    uint64_t endpoint_objects; /* objects that show endpoints */
    struct prefilter *prefilter;
};

/* An edit, and the object whose name it qualifies. */
struct found {
    struct gate_edit edit;
    uint64_t object; /* its bit; 0: a CALL in place of a statement */
    bool bare;       /* not behind pg_catalog: search_path and CTEs matter */
};

/* A CALL whose question waits for its answer. */
struct question {
    const char *ask;   /* boolean expression */
    const char *makes; /* or NULL */
};

#define LEAD_WORDS 4

/* One pass over one text. */
struct inspection {
    const struct gate *gate;
    const struct gate_session *session;
    struct arena *arena;
    struct slice text;
    struct lexer_dialect dialect;
    struct gate_result *result;
    struct err *err;
    bool memory; /* false: an allocation failed, all else is void */
    bool refused;

    struct found *found;
    size_t found_count, found_capacity;
    struct question *questions;
    size_t question_count, question_capacity;
    size_t tag_capacity;
    size_t cursor_capacity;

    /* the current statement */
    size_t first_found;
    size_t start, end; /* of its first and last token; equal: no token yet */
    size_t second;     /* start of its second token; that of the first: no second yet */
    char lead[LEAD_WORDS][TOKEN_NAME_BYTES];
    size_t lead_count;
    bool lead_over;
    uint64_t cte_names; /* objects whose name it gives to a common table expression */
};

/* ---- gate.c ---- */

/* The object of this name and kind, as its bit; 0: none. */
uint64_t gate_find_object(const struct gate *g, const char *name, enum handler_object_kind kind,
                          const struct handler_object **object);

/* ---- gate_inspect.c ---- */

/* Makes room for one more; the array moves inside the arena. NULL: no memory. */
void *gate_grow(struct inspection *in, void *items, size_t count, size_t *capacity, size_t size);
void gate_add_found(struct inspection *in, struct found f);
/* The client gets in->err, whose position counts characters from now on. */
void gate_refuse(struct inspection *in);

/* ---- gate_name.c ---- */

/* Qualifies the name at `t`, if it is ours: puts the schema before it, or in the place of pg_catalog. */
void gate_name_add(struct inspection *in, const struct token *t, const struct spot *spot);
/* The current statement gives this name to a common table expression. */
void gate_name_note_cte(struct inspection *in, const struct token *t);
/* Takes back the bare relations that are common table expressions of the statement. */
void gate_name_drop_ctes(struct inspection *in);

/* ---- gate_statement.c ---- */

/* A token of the current statement. */
void gate_statement_note(struct inspection *in, const struct token *t);
/* The current statement is complete: whose is it? The next one begins. */
void gate_statement_end(struct inspection *in);

#endif
