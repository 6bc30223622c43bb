/* What a feature tells the proxy about its statements. proxy/ declares it and never names a
 * feature; main.c puts the list of handlers together.
 *
 * DESIGN.md section 2 knows three ways to carry a vendor statement out:
 *   REWRITE  a vendor function or view is a real object of the support schema; the gate splices its
 *            schema-qualified name in place of the vendor's name, and the server does the rest.
 *   ANSWER   a statement without SQL form becomes a CALL of a support procedure on the client's own
 *            connection; only the command tag of its answer is ours.
 *   ORCHESTRATE  a statement on parallel retrieve cursors, which the proxy itself carries out between
 *            several connections (proxy/cursor.h). The handler only reads it. */
#ifndef PROXY_HANDLER_H
#define PROXY_HANDLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/slice.h"

struct token;         /* proxy/lexer.h */
struct lexer_dialect; /* proxy/lexer.h */

enum handler_object_kind {
    HANDLER_FUNCTION, /* ours only as a call `name(` */
    HANDLER_RELATION  /* ours only as a FROM or JOIN item (also TABLE name, EXPLAIN, COPY (…)) */
};

/* REWRITE. A name, bare or behind pg_catalog, becomes <schema>.<name>: same name, so that result
 * columns keep the vendor's. */
struct handler_object {
    const char *name;   /* the vendor's, lower case */
    const char *schema; /* of the support schema: "pgveneer", "hudi" */
    enum handler_object_kind kind;
    bool wakes_workers; /* may create or change work: workers are notified after the commit */
    const char
        *call; /* NULL, or the name of the procedure that CALL <name> means: PostgreSQL has no
                           routine that is both function and procedure */
};

/* ORCHESTRATE. A statement on parallel retrieve cursors, as read. */
enum handler_cursor_kind {
    HANDLER_CURSOR_DECLARE,  /* with the edits it is a DECLARE that the server knows */
    HANDLER_CURSOR_EXPLAIN,  /* of a DECLARE, in the same way */
    HANDLER_CURSOR_CHECK,    /* CHECK PARALLEL RETRIEVE CURSOR */
    HANDLER_CURSOR_RETRIEVE, /* RETRIEVE … FROM ENDPOINT */
    HANDLER_CURSOR_FETCH, /* FETCH or MOVE of any cursor: only where the session has some of ours */
    HANDLER_CURSOR_MOVE
};

/* A piece of the text to be replaced. */
struct handler_edit {
    size_t start; /* byte offset in the whole text */
    size_t length;
    const char *with;
};

#define HANDLER_CURSOR_EDITS 8
struct handler_cursor {
    enum handler_cursor_kind kind;
    const char *name;                                /* of the cursor, or of the endpoint */
    bool nowait;                                     /* CHECK … NOWAIT */
    bool in_lines;                                   /* EXPLAIN: answers lines of text */
    bool all;                                        /* RETRIEVE ALL */
    int64_t count;                                   /* RETRIEVE n */
    struct slice query;                              /* DECLARE: what stands behind FOR */
    struct handler_edit edits[HANDLER_CURSOR_EDITS]; /* by start; what makes the server's statement
                                                        of the client's */
    size_t edit_count;
};

/* ANSWER. What a parsed statement becomes. All texts are borrowed from the statement arena. */
struct handler_answer {
    const char *call;  /* "CALL pgveneer.create_server(…)", or a SELECT where the answer has rows:
                            values quoted, no parameters */
    const char *tag;   /* command tag that the client sees: "CREATE SERVER" */
    const char *ask;   /* NULL, or a boolean expression: asked of the server before; unless true
                            the client's own statement is forwarded unchanged */
    const char *about; /* NULL, or what `ask` asks about: "server s1". When an earlier statement of
                            the same text `makes` it, that one's question counts too: the server
                            cannot know yet what is not made yet */
    const char *makes; /* NULL, or what the statement makes, in the words of `about` */
    const char *secrets; /* NULL, or a JSON object that must not stand in any statement text; it is
                            handed over as a bound parameter, and `call` finds it in the session
                            setting pgveneer.secrets, which it empties */
    bool wakes_workers;
    const struct handler_cursor *cursor; /* HANDLER_ORCHESTRATE only */
};

enum handler_claim {
    HANDLER_PASS,        /* not ours: the server gets the text as it is */
    HANDLER_ANSWER,      /* ours, *answer is filled */
    HANDLER_ORCHESTRATE, /* ours, answer->cursor is set */
    HANDLER_NO_MEMORY,   /* for the answer; the whole text is forwarded */
    HANDLER_REFUSE /* ours and wrong: *err says why; err->position is a byte offset + 1 into the
                       text, or 0. The text, which may hold secrets, is not sent to the server */
};

/* One top-level statement. */
struct handler_text {
    struct slice text;          /* the whole Query or Parse text */
    const struct token *tokens; /* of this statement, without a final semicolon; offsets
                                            count from text.data */
    size_t count;
    const struct lexer_dialect *dialect; /* how literals are to be read and written */
    bool has_cursors;                    /* the session has parallel retrieve cursors */
};

struct handler_statement {
    /* Leading words, lower case, single spaces: "create server". The gate calls `claim` for a
     * top-level statement that starts so. */
    const char *lead;
    enum handler_claim (*claim)(struct arena *a, const struct handler_text *statement,
                                struct handler_answer *answer, struct err *err);
};

/* An object that two generations of a vendor spell alike: a text that mentions one of the words means
 * the one of this schema. */
struct handler_variant {
    const char *object;
    const char *schema;
    const char *const *words; /* lower case; NULL-terminated */
};

struct handler {
    const char *name;                     /* "hudi" */
    const struct handler_object *objects; /* static */
    size_t object_count;
    const struct handler_statement *statements; /* static */
    size_t statement_count;
    const char *const *anchors; /* words for the prefilter: each vendor text holds one of them, in
                                   any case; 3 letters or more */
    size_t anchor_count;
    const struct handler_variant *variants; /* static */
    size_t variant_count;
    bool
        reads_endpoints; /* its objects show endpoints of parallel retrieve cursors, which the proxy
                             hands to the session before each use */
};

#endif
