/* Places in a query where the scan of a table can be restricted to a range of its pages, and where a view
 * can be replaced by its definition. Pure: text in, texts out. Private to cursor_parallel.c. */
#ifndef PROXY_CURSOR_SPLICE_H
#define PROXY_CURSOR_SPLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/slice.h"
#include "proxy/lexer.h"

#define CURSOR_SPLICE_MAX_PLACES 64
#define CURSOR_SPLICE_MAX_DEPTH 64

/* An item of some FROM list of the query, or what stands behind TABLE. Offsets are bytes of the query. */
struct cursor_place {
    const char *relation; /* the last part of its name */
    const char *alias;    /* what its columns are called by */
    bool has_alias;       /* written out */
    size_t item;          /* the name, schema and all: [item, item_end) */
    size_t item_end;
    size_t table; /* the word TABLE: [table, table_end); equal: SELECT … FROM */
    size_t table_end;
    size_t where; /* behind WHERE; 0: there is none */
    size_t end;   /* of the SELECT, where a WHERE can be put */
    unsigned level;
};

struct cursor_places {
    struct slice query; /* up to its last token */
    struct cursor_place *places;
    size_t count;
    bool has_with; /* a name may be that of a WITH query */
};

/* SELECTs in which more than FROM and WHERE stands have no places. False: no memory, or not a query that
 * we can read. */
MUST_USE bool cursor_splice_find(struct arena *a, struct slice query, const struct lexer_dialect *d,
                                 struct cursor_places *out);
/* The query with the chosen places restricted to the pages [from, to); from 0: from the beginning; to
 * UINT32_MAX: to the end. NULL: no memory, or places that overlap: no such query is valid. */
MUST_USE const char *cursor_splice_slice(struct arena *a, const struct cursor_places *p,
                                         const bool *chosen, uint32_t from, uint32_t to);
/* The query with the items for which there is a definition, a query, replaced. definitions[count], NULL:
 * none. False: no memory, or one of them is used otherwise than by its columns. */
MUST_USE bool cursor_splice_inline(struct arena *a, const struct cursor_places *p,
                                   const struct lexer_dialect *d, const char *const *definitions,
                                   struct slice *out);
/* The query, behind which a NUL stands, with each parameter $n replaced by values[n - 1], count of them.
 * False: no memory, or a parameter that there is not. */
MUST_USE bool cursor_splice_values(struct arena *a, struct slice query,
                                   const struct lexer_dialect *d, const char *const *values,
                                   size_t count, struct slice *out);

#endif
