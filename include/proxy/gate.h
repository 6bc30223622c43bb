/* Is a statement ours? And if so, what goes to the server in its place?
 *
 * gate_may_hold answers "certainly not" in nanoseconds (prefilter over the handlers' anchors);
 * gate_inspect is exact. In doubt both say "not ours": the server refuses vendor statements with
 * 42601, so a miss does no harm. */
#ifndef PROXY_GATE_H
#define PROXY_GATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"
#include "proxy/handler.h"

struct gate; /* compiled list of handlers; read-only and shared by all threads */

/* At most GATE_MAX_OBJECTS objects in all handlers together: their numbers are bits. */
#define GATE_MAX_OBJECTS 64

MUST_USE bool gate_new(const struct handler *const *handlers, size_t count, struct gate **out,
                       struct err *err);
void gate_free(struct gate *g);
size_t gate_object_count(const struct gate *g);
const struct handler_object *gate_object(const struct gate *g, size_t number);

/* What of the session's state decides how a text is read.
 *
 * The questions of a result (`ask`) and its objects (`objects`) may have to be put to the server
 * first. Then inspect the same text once more with `answers` and `shadowed` filled: the statements
 * whose answer is false, and the names that are shadowed, are left as the client wrote them. (When no
 * object is shadowed and nothing was asked, the first result is good as it is.) */
struct gate_session {
    bool standard_conforming_strings; /* as last reported by the server */
    const char *client_encoding;      /* the server's name: "UTF8", "SJIS"; NULL: UTF8 */
    uint64_t shadowed;                /* bit n: the user's own object wins over object n */
    const bool *answers; /* to the questions of the first inspection; NULL: not asked */
    size_t answer_count;
    bool has_cursors; /* parallel retrieve cursors are open: FETCH and MOVE concern them */
};

MUST_USE bool gate_may_hold(const struct gate *g, struct slice text);

enum gate_verdict { GATE_PASS, GATE_REWRITE, GATE_REFUSE };

/* One replaced piece. Texts are spliced, never deparsed. */
struct gate_edit {
    size_t start;  /* byte offset in the client's text */
    size_t length; /* bytes replaced */
    struct slice with;
};

/* One statement on parallel retrieve cursors. */
struct gate_cursor {
    size_t start; /* byte offsets in the client's text: [start, end) without a semicolon */
    size_t end;
    const struct handler_cursor *what; /* in the arena */
};

struct gate_result {
    enum gate_verdict verdict;
    struct gate_edit *edits; /* by start; not overlapping */
    size_t edit_count;
    struct slice text; /* GATE_REWRITE: what the server gets; no NUL behind */
    /* Tags that the client gets in place of the server's, by statement: the server sends one
     * CommandComplete for each. NULL where it keeps the server's, also behind the last one. */
    const char **tags;
    size_t tag_count;
    uint64_t objects; /* bit n: object n was found, not behind pg_catalog: the search_path
                                   counts, look it up for shadowing */
    const char *ask;  /* NULL, or "SELECT …": one row of ask_count boolean columns (NULL
                                   counts as false), to be asked before; NULL once answered */
    size_t ask_count;
    const char *secrets; /* JSON object, or NULL */
    bool wakes_workers;
    struct gate_cursor *cursors; /* by start */
    size_t cursor_count;
    size_t statement_count;    /* top-level statements that are not empty; also with GATE_PASS */
    bool reads_endpoints;      /* an object found shows endpoints */
    bool begins;               /* one of the statements is BEGIN or START */
    bool copies;               /* one of the statements is COPY */
    bool makes_objects;        /* a statement creates something: it is no reason to pass that the
                                  support schema is not there yet */
    bool needs_support_schema; /* so for REWRITE, unless only cursors are concerned */
};

/* Reads a Query or Parse text. `a` owns the result's texts (statement arena).
 * Errors (GATE_REFUSE, *err set, position in characters of the client's text): the handler's.
 * Returns false only for lack of memory; then forward the text. */
MUST_USE bool gate_inspect(const struct gate *g, const struct gate_session *s, struct slice text,
                           struct arena *a, struct gate_result *out, struct err *err);

/* Maps an error position (field P: characters, 1-based) of the spliced text to the client's text.
 * Inside a replaced piece: the start of what it replaced. multibyte: encoding's name as above. */
uint32_t gate_map_position(struct slice client_text, const struct gate_edit *edits,
                           size_t edit_count, const char *client_encoding, uint32_t position);

#endif
