/* What must be remembered of a rewritten text until its last answer: how to carry positions back, and
 * what the tags of its CALLs are. Shared by the queue entries, prepared statements and portals that
 * come from it. */
#ifndef PROXY_STATEMENT_H
#define PROXY_STATEMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/slice.h"
#include "proxy/gate.h"

#include "response_queue.h"

struct statement {
    unsigned refs;
    struct arena arena; /* owns what follows */
    struct slice text;  /* as the client wrote it, or blanked if it holds secrets */
    struct gate_edit *edits;
    size_t edit_count;
    const char **tags;
    size_t tag_count;
    bool wakes_workers;
    size_t position_offset; /* characters of the client's text before this piece of it */
    bool reads_endpoints;   /* it shows endpoints of parallel retrieve cursors */
    const struct handler_cursor *cursor; /* a prepared statement on such a cursor; or NULL */
    uint16_t type_count;                 /* of its Parse: the parameters' types, as on the wire */
    struct slice types;
};

/* The note of a queue entry (response_queue.h). */
struct rq_note {
    struct statement *statement; /* owns a reference */
    size_t completed;            /* CommandCompletes so far */
    const char *tag;             /* static: in place of the server's; NULL: none */
    char row[64];                /* a line that follows the server's rows; "": none */
};

/* Copies. NULL: no memory. The caller owns a reference. */
MUST_USE struct statement *statement_new(struct slice text, const struct gate_result *result);
void statement_unref(struct statement *st); /* NULL: nothing */
/* Types of parameters, as on the wire: count times 4 bytes. False: no memory. */
MUST_USE bool statement_keep_types(struct statement *st, uint16_t count, struct slice types);

/* NULL: no memory, or statement is NULL. Takes a reference of its own. */
MUST_USE struct rq_note *statement_note(struct statement *st);

/* Prepared statements ('S') and portals ('P') of a session that come from rewritten texts, by name.
 * Names that are not in it belong to the client's own statements. */
struct statement_map {
    struct statement_name *names; /* owns; a uthash */
};
struct statement *statement_map_find(const struct statement_map *m, char kind, struct slice name);
/* Takes a reference of its own; replaces. Without memory the name is simply not there. */
void statement_map_put(struct statement_map *m, char kind, struct slice name, struct statement *st);
/* The portal is there: keeps the Bind that made it. Large ones are not kept. */
void statement_map_keep_bind(struct statement_map *m, struct slice portal, struct slice bind);
/* Empty: not kept. */
struct slice statement_map_find_bind(const struct statement_map *m, struct slice portal);
void statement_map_remove(struct statement_map *m, char kind, struct slice name);
/* All of one kind. */
void statement_map_clear(struct statement_map *m, char kind);

#endif
