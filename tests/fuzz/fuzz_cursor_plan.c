/* Queries that are to be divided: any text, with "t" for the table. Whatever is spliced in, the text
 * around it is the client's. The same bytes as a plan must not be mistaken for one that divides. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cursor_plan.h"
#include "cursor_splice.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

/* What stands before the first edit is the client's, and so are the places. */
static void check_slice(struct arena *a, const struct cursor_places *p, const bool *chosen)
{
    const char *text = cursor_splice_slice(a, p, chosen, 3, 9);
    size_t front = p->query.len;
    for (size_t i = 0; i < p->count; i++) {
        const struct cursor_place *at = &p->places[i];
        size_t first = at->table_end > at->table ? at->table : at->where > 0 ? at->where : at->end;
        require(at->item <= at->item_end && at->item_end <= at->end);
        require(at->where <= at->end && at->end <= p->query.len);
        if (chosen[i] && first < front)
            front = first;
    }
    require(text == NULL || memcmp(text, p->query.data, front) == 0);
}

static void splice(struct arena *a, struct slice text, const struct lexer_dialect *d)
{
    static const char *const values[] = {"(1)", "(2)"};
    const char *definitions[CURSOR_SPLICE_MAX_PLACES];
    bool chosen[CURSOR_SPLICE_MAX_PLACES];
    struct cursor_places p;
    struct slice out;
    if (cursor_splice_find(a, text, d, &p)) {
        for (size_t i = 0; i < p.count; i++) {
            chosen[i] = strcmp(p.places[i].relation, "t") == 0;
            definitions[i] = chosen[i] ? "SELECT 1;" : NULL;
        }
        check_slice(a, &p, chosen);
        require(!cursor_splice_inline(a, &p, d, definitions, &out) || out.len > 0);
    }
    require(!cursor_splice_values(a, text, d, values, 2, &out) || out.len > 0 || text.len == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lexer_dialect d = {size % 2 == 0, ENCODING_UTF8};
    struct cursor_plan p;
    struct arena a;
    arena_init(&a, (size_t)1 << 24);
    char *copy = arena_copy(&a, slice_of((const char *)data, size)); /* with a NUL behind */
    struct slice text = slice_of(copy, size);
    splice(&a, text, &d);
    if (cursor_plan_read(&a, text, &p))
        require(!p.is_divisible || p.scan_count > 0 || size > 0);
    (void)cursor_plan_is_personal(text);
    arena_fini(&a);
    return 0;
}
