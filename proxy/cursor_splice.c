/* Where a SELECT reads a table, and nothing but FROM and WHERE stands in it, a condition on the table's
 * ctid in that WHERE restricts the scan:
 *
 *     SELECT a FROM t x                  SELECT a FROM t x WHERE "x".ctid >= '(5,0)'
 *     SELECT a FROM t x WHERE b OR c     SELECT a FROM t x WHERE "x".ctid >= '(5,0)' AND ( b OR c)
 *     TABLE t                            SELECT * FROM t WHERE "t".ctid >= '(5,0)'
 *
 * The text is read as tokens, with a stack of parentheses. A pair of them that begins with SELECT, WITH,
 * TABLE or VALUES is a level of its own, and so is each arm of a UNION: sub-queries in FROM, WITH
 * queries and arms have their places like the whole. Words are taken by their position only, so a
 * place may be none (a WITH query has a table's name, say). That is for the server to say: what is made
 * of it here is a proposal, tried before it is used (cursor_parallel.c). */
#include "cursor_splice.h"

#include <stdlib.h>
#include <string.h>

#include "base/attr.h"
#include "base/buf.h"
#include "proxy/gate.h"

#include "splice.h"

enum part { BEFORE, LIST, FROM, WHERE, TABLE, BEHIND };

/* A pair of parentheses, or the whole. */
struct level {
    bool is_query;
    bool is_group; /* of items in the FROM of the SELECT around it, which shares its number */
    enum part part;
    unsigned number; /* of this SELECT among all */
    size_t where;
    size_t table;
};

struct walk {
    const struct token *tokens;
    size_t count;
    struct cursor_places *out;
    struct level levels[CURSOR_SPLICE_MAX_DEPTH];
    size_t depth;
    unsigned numbers;
};

static bool is_one_of(const struct token *t, const char *const *words)
{
    for (; *words != NULL; words++)
        if (token_is_word(t, *words))
            return true;
    return false;
}

static const struct token *token_at(const struct walk *w, size_t i)
{
    return i < w->count ? &w->tokens[i] : NULL;
}

/* ---- items ---- */

/* Reserved words that may stand behind an item without an alias. */
static const char *const follow[] = {"where", "on",    "join",    "left",   "right",     "full",
                                     "inner", "cross", "natural", "using",  "union",     "except",
                                     "group", "order", "limit",   "having", "intersect", "window",
                                     "for",   "fetch", "into",    "offset", NULL};

/* Behind its name, at tokens[i]. False: it is a function, or the like. */
static bool read_alias(const struct walk *w, size_t i, struct cursor_place *p)
{
    const struct token *t = token_at(w, i);
    if (t == NULL || token_is_symbol(t, ',') || token_is_symbol(t, ')') || is_one_of(t, follow))
        return true;
    if (token_is_word(t, "as"))
        t = token_at(w, i + 1);
    if (t == NULL || !token_is_name(t))
        return false;
    p->alias = t->name;
    p->has_alias = true;
    return true;
}

/* The item that begins at tokens[i]: a name of up to three parts, and an alias. */
static void add_place(struct walk *w, size_t i)
{
    struct level *l = &w->levels[w->depth];
    const struct token *t = token_at(w, i);
    struct cursor_place p = {.level = l->number, .table = l->table, .table_end = l->table};
    if (t == NULL || !token_is_name(t) || w->out->count == CURSOR_SPLICE_MAX_PLACES)
        return;
    p.item = t->start;
    while (token_at(w, i + 2) != NULL && token_is_symbol(&w->tokens[i + 1], '.') &&
           token_is_name(&w->tokens[i + 2]))
        i += 2;
    p.item_end = w->tokens[i].end;
    p.relation = p.alias = w->tokens[i].name;
    if (l->part == TABLE)
        p.table_end = p.table + strlen("TABLE");
    if (read_alias(w, i + 1, &p))
        w->out->places[w->out->count++] = p;
}

/* ---- levels ---- */

/* The SELECT is over: its places get their ends, or are no places. */
static void end_select(struct walk *w, size_t end)
{
    const struct level *l = &w->levels[w->depth];
    struct cursor_places *out = w->out;
    size_t kept = 0;
    for (size_t i = 0; i < out->count; i++) {
        struct cursor_place *p = &out->places[i];
        if (p->level == l->number && (!l->is_query || l->part == BEHIND))
            continue;
        if (p->level == l->number) {
            p->where = l->where;
            p->end = end;
        }
        out->places[kept++] = *p;
    }
    out->count = kept;
}

static void begin_select(struct walk *w, bool is_query)
{
    w->levels[w->depth] = (struct level){.is_query = is_query, .number = ++w->numbers};
}

/* May tokens[i] be the word that it looks like, not a label or a column? */
static bool is_key_word(const struct walk *w, size_t i)
{
    return i == 0 ||
           (!token_is_symbol(&w->tokens[i - 1], '.') && !token_is_word(&w->tokens[i - 1], "as"));
}

static bool begins_item(const struct walk *w, size_t i)
{
    static const char *const words[] = {"from", "join", "only", "table", NULL};
    const struct token *before = i == 0 ? NULL : &w->tokens[i - 1];
    if (i > 1 && token_is_word(&w->tokens[i - 2], "distinct")) /* IS DISTINCT FROM */
        return false;
    return before != NULL && (token_is_symbol(before, ',') || is_one_of(before, words) ||
                              (token_is_symbol(before, '(') && w->levels[w->depth].is_group));
}

static void in_from(struct walk *w, size_t i)
{
    if (begins_item(w, i) && !token_is_word(&w->tokens[i], "only"))
        add_place(w, i);
}

/* A word of the SELECT itself. */
static void take(struct walk *w, size_t i)
{
    static const char *const unions[] = {"union", "intersect", "except", NULL};
    static const char *const ends[] = {"group", "having",      "window", "order",
                                       "limit", "offset",      "fetch",  "for",
                                       "into",  "tablesample", NULL};
    struct level *l = &w->levels[w->depth];
    const struct token *t = &w->tokens[i];
    bool is_key = is_key_word(w, i);
    if (l->is_group) {
        in_from(w, i);
    } else if (is_key && i > 0 && is_one_of(t, unions)) {
        end_select(w, w->tokens[i - 1].end);
        begin_select(w, true);
    } else if (l->part == BEFORE) {
        w->out->has_with = w->out->has_with || token_is_word(t, "with");
        l->table = t->start;
        l->part = token_is_word(t, "select") ? LIST : token_is_word(t, "table") ? TABLE : BEFORE;
    } else if (is_key && is_one_of(t, ends)) {
        l->part = BEHIND;
    } else if (l->part == LIST) {
        if (token_is_word(t, "from") && is_key && !token_is_word(&w->tokens[i - 1], "distinct"))
            l->part = FROM;
    } else if (l->part == FROM && is_key && token_is_word(t, "where")) {
        l->part = WHERE;
        l->where = t->end;
    } else if (l->part == FROM || l->part == TABLE) {
        in_from(w, i);
    }
}

static bool opens_query(const struct walk *w, size_t i)
{
    static const char *const words[] = {"select", "with", "table", "values", NULL};
    const struct token *next = token_at(w, i + 1);
    return token_is_symbol(&w->tokens[i], '(') && next != NULL && is_one_of(next, words);
}

static void open_level(struct walk *w, size_t i)
{
    struct level around = w->levels[w->depth];
    bool is_item = around.is_query && around.part == FROM && begins_item(w, i);
    w->depth++;
    begin_select(w, opens_query(w, i));
    if (is_item && !w->levels[w->depth].is_query) {
        w->levels[w->depth] = around;
        w->levels[w->depth].is_group = true;
    }
}

/* False: parentheses that do not match, or too many of them. */
static bool step(struct walk *w, size_t i)
{
    const struct token *t = &w->tokens[i];
    if (token_is_symbol(t, '(') || token_is_symbol(t, '[')) {
        if (w->depth + 1 == CURSOR_SPLICE_MAX_DEPTH)
            return false;
        open_level(w, i);
    } else if (token_is_symbol(t, ')') || token_is_symbol(t, ']')) {
        if (w->depth == 0)
            return false;
        if (!w->levels[w->depth].is_group)
            end_select(w, w->tokens[i - 1].end);
        w->depth--;
    } else if (w->levels[w->depth].is_query) {
        take(w, i);
    }
    return t->kind != TOKEN_BAD && t->kind != TOKEN_PARAMETER;
}

bool cursor_splice_find(struct arena *a, struct slice query, const struct lexer_dialect *d,
                        struct cursor_places *out)
{
    struct token *tokens;
    struct walk w = {.out = out};
    *out = (struct cursor_places){.query = query};
    out->places = arena_alloc_array(a, CURSOR_SPLICE_MAX_PLACES, sizeof *out->places);
    if (out->places == NULL || !lexer_read(a, query, 0, query.len, d, &tokens, &w.count) ||
        w.count == 0)
        return false;
    w.tokens = tokens;
    begin_select(&w, true);
    for (size_t i = 0; i < w.count; i++)
        if (!step(&w, i))
            return false;
    out->query = slice_part(query, 0, tokens[w.count - 1].end);
    end_select(&w, out->query.len);
    return w.depth == 0;
}

/* ---- texts ---- */

static void put_name(struct buf *b, const char *name)
{
    buf_append_byte(b, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            buf_append_byte(b, '"');
        buf_append_byte(b, *name);
    }
    buf_append_byte(b, '"');
}

static void put_bound(struct buf *b, const char *alias, const char *operator, uint32_t page)
{
    put_name(b, alias);
    buf_printf(b, ".ctid OPERATOR(pg_catalog.%s) '(%u,0)'::pg_catalog.tid", operator, page);
}

/* "a".ctid >= '(5,0)' AND "a".ctid < '(9,0)' */
static void put_range(struct buf *b, const char *alias, uint32_t from, uint32_t to)
{
    if (from > 0)
        put_bound(b, alias, ">=", from);
    if (from > 0 && to < UINT32_MAX)
        buf_append_cstr(b, " AND ");
    if (to < UINT32_MAX)
        put_bound(b, alias, "<", to);
    if (from == 0 && to == UINT32_MAX)
        buf_append_cstr(b, "true");
}

/* What is put in goes before what is replaced at the same place. */
static int by_start(const void *a, const void *b)
{
    const struct gate_edit *x = a, *y = b;
    if (x->start != y->start)
        return x->start < y->start ? -1 : 1;
    return x->length < y->length ? -1 : x->length > y->length;
}

static bool overlap(const struct gate_edit *edits, size_t count)
{
    for (size_t i = 1; i < count; i++)
        if (edits[i].start < edits[i - 1].start + edits[i - 1].length)
            return true;
    return false;
}

/* Takes the text of the buffer, which is empty then. */
static bool add_edit(struct arena *a, struct gate_edit *e, size_t start, size_t end, struct buf *b)
{
    char *copy = b->failed ? NULL : arena_copy(a, buf_slice(b));
    *e = (struct gate_edit){start, end - start, slice_of(copy, buf_length(b))};
    buf_fini(b);
    return copy != NULL;
}

static bool restrict_place(struct arena *a, const struct cursor_place *p, uint32_t from,
                           uint32_t to, struct gate_edit *edits, size_t *count)
{
    struct buf b;
    buf_init(&b, 1024);
    if (p->table_end > p->table) {
        buf_append_cstr(&b, "SELECT * FROM");
        if (!add_edit(a, &edits[(*count)++], p->table, p->table_end, &b))
            return false;
    }
    buf_init(&b, 1024);
    buf_append_cstr(&b, p->where > 0 ? " " : " WHERE ");
    put_range(&b, p->alias, from, to);
    if (p->where == 0)
        return add_edit(a, &edits[(*count)++], p->end, p->end, &b);
    buf_append_cstr(&b, " AND (");
    if (!add_edit(a, &edits[(*count)++], p->where, p->where, &b))
        return false;
    buf_init(&b, 16);
    buf_append_byte(&b, ')');
    return add_edit(a, &edits[(*count)++], p->end, p->end, &b);
}

const char *cursor_splice_slice(struct arena *a, const struct cursor_places *p, const bool *chosen,
                                uint32_t from, uint32_t to)
{
    struct slice text;
    size_t count = 0;
    struct gate_edit *edits = arena_alloc_array(a, 3 * p->count + 1, sizeof *edits);
    for (size_t i = 0; edits != NULL && i < p->count; i++)
        if (chosen[i] && !restrict_place(a, &p->places[i], from, to, edits, &count))
            return NULL;
    if (edits == NULL)
        return NULL;
    qsort(edits, count, sizeof *edits, by_start);
    if (overlap(edits, count) || !splice_text(a, p->query, edits, count, &text))
        return NULL;
    return arena_copy(a, text);
}

/* ---- views ---- */

/* Is the item used as a whole row, or behind its schema's name? */
static bool is_used_otherwise(const struct cursor_place *p, const struct token *tokens,
                              size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct token *t = &tokens[i];
        if (!token_is_name(t) || strcmp(t->name, p->alias) != 0 ||
            (t->start >= p->item && t->start < p->item_end))
            continue;
        bool is_alias =
            p->has_alias && i > 0 &&
            (tokens[i - 1].end == p->item_end || (i > 1 && tokens[i - 2].end == p->item_end));
        bool has_column = i + 1 < count && token_is_symbol(&tokens[i + 1], '.') &&
                          (i == 0 || !token_is_symbol(&tokens[i - 1], '.'));
        if (!is_alias && !has_column)
            return true;
    }
    return false;
}

/* (definition) AS "alias" */
static bool inline_place(struct arena *a, const struct cursor_place *p, const char *definition,
                         struct gate_edit *edits, size_t *count)
{
    struct buf b;
    size_t n = strlen(definition);
    while (n > 0 && (definition[n - 1] == ';' || definition[n - 1] == '\n'))
        n--;
    buf_init(&b, 64);
    if (p->table_end > p->table) {
        buf_append_cstr(&b, "SELECT * FROM");
        if (!add_edit(a, &edits[(*count)++], p->table, p->table_end, &b))
            return false;
    }
    buf_init(&b, n + 256);
    buf_append_byte(&b, '(');
    buf_append(&b, definition, n);
    buf_append_byte(&b, ')');
    if (!p->has_alias) {
        buf_append_cstr(&b, " AS ");
        put_name(&b, p->alias);
    }
    return add_edit(a, &edits[(*count)++], p->item, p->item_end, &b);
}

bool cursor_splice_inline(struct arena *a, const struct cursor_places *p,
                          const struct lexer_dialect *d, const char *const *definitions,
                          struct slice *out)
{
    struct token *tokens;
    size_t token_count, count = 0;
    struct gate_edit *edits = arena_alloc_array(a, 2 * p->count + 1, sizeof *edits);
    if (edits == NULL || p->has_with ||
        !lexer_read(a, p->query, 0, p->query.len, d, &tokens, &token_count))
        return false;
    for (size_t i = 0; i < p->count; i++) {
        if (definitions[i] == NULL)
            continue;
        if (is_used_otherwise(&p->places[i], tokens, token_count) ||
            !inline_place(a, &p->places[i], definitions[i], edits, &count))
            return false;
    }
    qsort(edits, count, sizeof *edits, by_start);
    return !overlap(edits, count) && splice_text(a, p->query, edits, count, out);
}

/* ---- parameters ---- */

bool cursor_splice_values(struct arena *a, struct slice query, const struct lexer_dialect *d,
                          const char *const *values, size_t count, struct slice *out)
{
    struct token *tokens;
    size_t token_count, edit_count = 0;
    if (!lexer_read(a, query, 0, query.len, d, &tokens, &token_count))
        return false;
    struct gate_edit *edits = arena_alloc_array(a, token_count + 1, sizeof *edits);
    for (size_t i = 0; edits != NULL && i < token_count; i++) {
        const struct token *t = &tokens[i];
        if (t->kind != TOKEN_PARAMETER)
            continue;
        unsigned long n = strtoul(query.data + t->start + 1, NULL, 10);
        if (n == 0 || n > count)
            return false;
        edits[edit_count++] =
            (struct gate_edit){t->start, t->end - t->start, slice_cstr(values[n - 1])};
    }
    return edits != NULL && splice_text(a, query, edits, edit_count, out);
}
