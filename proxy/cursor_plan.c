/* When slices are exact.
 *
 * The planner divides a scan among parallel workers only where the parts of the result are disjoint and
 * together the whole. So where its plan is a Gather, and below that exactly one scan (or one Append over
 * the partitions of one table) is divided, the same scan can be divided by ranges of pages, with one
 * statement for each range. Anything else above the scan (a sort, an aggregate, a limit) would work
 * within one range only; the planner then has no bare Gather on top.
 *
 * The range is a condition on the table's ctid in the top-level WHERE. The text is spliced: the condition
 * goes behind WHERE, or a WHERE is put at the end. That needs a query that ends with its FROM or WHERE,
 * in which the table is an item of the top-level FROM under its own name. Whether the condition hit the
 * right scan is not left to reasoning: the plan of a slice must have a Tid Range Scan exactly where the
 * first plan had its divided scans (cursor_plan_confirms). */
#include "cursor_plan.h"

#include <string.h>

#include "base/json.h"

/* ---- plans ---- */

struct walk {
    struct arena *arena;
    struct cursor_plan *plan;
    size_t divided; /* nodes that the planner divides, but those inside an Append that it divides */
    bool memory;
};

static const char *text_of(const struct json_val *node, const char *key)
{
    const char *text = json_as_text(json_find(node, key));
    return text == NULL ? "" : text;
}

static const char *keep(struct walk *w, const char *text)
{
    const char *copy = arena_copy_cstr(w->arena, text);
    w->memory = w->memory && copy != NULL;
    return copy;
}

/* Nodes that do more than read, or read what is not a table of this server. */
static bool is_exclusive_node(const char *type)
{
    static const char *const types[] = {"ModifyTable", "LockRows",       "Foreign Scan",
                                        "Custom Scan", "WorkTable Scan", "Recursive Union"};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(type, types[i]) == 0)
            return true;
    return false;
}

static void add_scan(struct walk *w, const struct json_val *node, const char *type, bool divided)
{
    struct cursor_plan *p = w->plan;
    const char *schema = text_of(node, "Schema");
    if (strncmp(schema, "pg_", 3) == 0 || strcmp(schema, "information_schema") == 0)
        p->is_exclusive = true;
    if (p->scan_count == CURSOR_PLAN_MAX_SCANS) {
        p->is_exclusive = true;
        return;
    }
    const char *cond = json_as_text(json_find(node, "TID Cond"));
    p->scans[p->scan_count++] =
        (struct cursor_plan_scan){.schema = keep(w, schema),
                                  .relation = keep(w, text_of(node, "Relation Name")),
                                  .alias = keep(w, text_of(node, "Alias")),
                                  .type = keep(w, type),
                                  .is_divided = divided,
                                  .tid_cond = cond == NULL ? NULL : keep(w, cond)};
}

static bool is_aside(const struct json_val *node)
{
    const char *relation = text_of(node, "Parent Relationship");
    return strcmp(relation, "InitPlan") == 0 || strcmp(relation, "SubPlan") == 0;
}

/* in_append: below an Append that is divided as one. aside: not on the way of the result's rows */
static void visit(struct walk *w, const struct json_val *node, bool in_append, bool aside)
{
    const char *type = text_of(node, "Node Type");
    bool divided = json_as_bool(json_find(node, "Parallel Aware"), false) && !aside;
    bool is_append = strcmp(type, "Append") == 0;
    if (is_exclusive_node(type))
        w->plan->is_exclusive = true;
    if (divided && !in_append && strcmp(type, "Gather") != 0)
        w->divided++;
    if (divided && !is_append && strcmp(type, "Seq Scan") != 0)
        w->plan->is_divisible = false;
    if (in_append && !is_append && strcmp(type, "Seq Scan") != 0)
        w->plan->is_divisible = false;
    if (json_find(node, "Relation Name") != NULL)
        add_scan(w, node, type, divided || in_append);
    const struct json_val *plans = json_find(node, "Plans");
    for (size_t i = 0; i < json_count(plans); i++) {
        const struct json_val *child = json_at(plans, i);
        visit(w, child, in_append || (divided && is_append), aside || is_aside(child));
    }
}

bool cursor_plan_read(struct arena *a, struct slice json, struct cursor_plan *out)
{
    struct json *doc;
    struct err err;
    *out = (struct cursor_plan){.is_divisible = true};
    out->scans = arena_alloc_array(a, CURSOR_PLAN_MAX_SCANS, sizeof *out->scans);
    if (out->scans == NULL || !json_read(json, &doc, &err))
        return false;
    struct walk w = {.arena = a, .plan = out, .memory = true};
    const struct json_val *root = json_find(json_at(json_root(doc), 0), "Plan");
    bool good = json_kind_of(root) == JSON_KIND_OBJECT;
    if (good)
        visit(&w, root, false, false);
    out->is_divisible = good && out->is_divisible && w.divided == 1 &&
                        strcmp(text_of(root, "Node Type"), "Gather") == 0;
    json_free(doc);
    return good && w.memory;
}

bool cursor_plan_is_personal(struct slice json)
{
    static const char *const words[] = {"now()",          "_timestamp(",      "timeofday(",
                                        "CURRENT_TIME",   "CURRENT_DATE",     "LOCALTIME",
                                        "age(",           "pg_backend_pid",   "txid_",
                                        "pg_current_",    "current_setting(", "inet_client_",
                                        "inet_server_",   "pg_stat_",         "pg_my_temp",
                                        "current_query(", "pg_conf_load",     "pg_export_",
                                        "pg_listening_",  "lastval(",         "pg_is_in_",
                                        "pg_snapshot",    "pg_visible_in",    "current_schemas("};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (memmem(json.data, json.len, words[i], strlen(words[i])) != NULL)
            return true;
    return false;
}

static const struct cursor_plan_scan *find_alias(const struct cursor_plan *p, const char *alias)
{
    for (size_t i = 0; i < p->scan_count; i++)
        if (strcmp(p->scans[i].alias, alias) == 0)
            return &p->scans[i];
    return NULL;
}

bool cursor_plan_confirms(const struct cursor_plan *whole, const struct cursor_plan *slice)
{
    size_t divided = 0, ranges = 0;
    for (size_t i = 0; i < whole->scan_count; i++) {
        if (!whole->scans[i].is_divided)
            continue;
        const struct cursor_plan_scan *s = find_alias(slice, whole->scans[i].alias);
        divided++;
        if (s == NULL || strcmp(s->type, "Tid Range Scan") != 0 || s->tid_cond == NULL ||
            strcmp(s->relation, whole->scans[i].relation) != 0 ||
            strcmp(s->schema, whole->scans[i].schema) != 0)
            return false;
    }
    for (size_t i = 0; i < slice->scan_count; i++)
        ranges += slice->scans[i].tid_cond != NULL;
    return divided > 0 && divided == ranges;
}

/* ---- texts ---- */

/* Words behind which a query is more than FROM and WHERE. All are reserved. */
static bool ends_where(const struct token *t)
{
    static const char *const words[] = {"group",  "having", "window",     "order", "limit",
                                        "offset", "fetch",  "for",        "union", "intersect",
                                        "except", "into",   "tablesample"};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (token_is_word(t, words[i]))
            return true;
    return false;
}

static bool is_name(const struct token *t, const char *name)
{
    return token_is_name(t) && strcmp(t->name, name) == 0;
}

/* Is tokens[i], in FROM at depth 0, the relation's own name as an item? Then its alias. */
static const char *item_alias(const struct token *tokens, size_t count, size_t i)
{
    const struct token *next = i + 1 < count ? &tokens[i + 1] : NULL;
    if (next != NULL && token_is_symbol(next, '*')) /* not reached: * is an operator */
        return NULL;
    if (next != NULL && token_is_word(next, "as"))
        next = i + 2 < count ? &tokens[i + 2] : NULL;
    else if (next != NULL && next->kind == TOKEN_WORD) {
        static const char *const follow[] = {"where", "on",    "join",  "left",    "right",
                                             "full",  "inner", "cross", "natural", "using"};
        for (size_t k = 0; k < ARRAY_LEN(follow); k++)
            if (token_is_word(next, follow[k]))
                return tokens[i].name;
    }
    if (next == NULL || token_is_symbol(next, ','))
        return tokens[i].name;
    size_t at = (size_t)(next - tokens);
    if (!token_is_name(next) || (at + 1 < count && token_is_symbol(&tokens[at + 1], '(')))
        return NULL; /* a function, or an alias with names for columns */
    return next->name;
}

struct search {
    const struct token *tokens;
    size_t count;
    size_t depth;
    size_t from; /* index behind FROM; 0: not seen */
    size_t where;
    size_t found;
    const char *alias;
};

/* May tokens[i] be the name of an item: behind FROM, a comma, JOIN, ONLY, or its schema? */
static bool begins_item(const struct search *x, size_t i)
{
    const struct token *before = &x->tokens[i - 1];
    if (token_is_symbol(before, '.') && i >= 3)
        before = &x->tokens[i - 3];
    return token_is_word(before, "from") || token_is_word(before, "join") ||
           token_is_word(before, "only") || token_is_symbol(before, ',');
}

/* False: the query has a form that is not ours to splice. */
static bool take(struct search *x, size_t i, const char *relation, const char *alias)
{
    const struct token *t = &x->tokens[i];
    if (token_is_symbol(t, '(') || token_is_symbol(t, '['))
        x->depth++;
    else if (token_is_symbol(t, ')') || token_is_symbol(t, ']'))
        return x->depth-- > 0;
    if (x->depth > 0 || i == 0)
        return true;
    const struct token *before = &x->tokens[i - 1];
    if (x->from == 0) {
        if (token_is_word(t, "from") && !token_is_word(before, "distinct") &&
            !token_is_word(before, "as") && !token_is_symbol(before, '.'))
            x->from = i + 1;
        return !token_is_word(t, "union") && !token_is_word(t, "into");
    }
    if (ends_where(t))
        return false;
    if (token_is_word(t, "where") && x->where == 0)
        x->where = i;
    if (x->where > 0 || !is_name(t, relation) || !begins_item(x, i))
        return true;
    const char *found = item_alias(x->tokens, x->count, i);
    if (found == NULL || (alias != NULL && strcmp(found, alias) != 0))
        return true;
    x->found++;
    x->alias = found;
    return true;
}

bool cursor_plan_find(struct arena *a, struct slice query, const struct lexer_dialect *d,
                      const char *relation, const char *alias, struct cursor_splice *out)
{
    struct token *tokens;
    struct search x = {.depth = 0};
    if (!lexer_read(a, query, 0, query.len, d, &tokens, &x.count) || x.count == 0)
        return false;
    x.tokens = tokens;
    if (!token_is_word(&tokens[0], "select") && !token_is_word(&tokens[0], "with"))
        return false;
    for (size_t i = 0; i < x.count; i++)
        if (tokens[i].kind == TOKEN_PARAMETER || tokens[i].kind == TOKEN_BAD ||
            !take(&x, i, relation, alias))
            return false;
    if (x.from == 0 || x.found != 1 || x.depth != 0)
        return false;
    out->query = slice_part(query, 0, tokens[x.count - 1].end);
    out->where = x.where == 0 ? 0 : tokens[x.where].end;
    out->alias = x.alias;
    return true;
}

/* "a"."ctid" >= '(5,0)' */
static bool put_bound(struct buf *b, const char *alias, const char *operator, uint32_t page)
{
    buf_append_byte(b, '"');
    for (const char *at = alias; *at != '\0'; at++) {
        if (*at == '"')
            buf_append_byte(b, '"');
        buf_append_byte(b, *at);
    }
    return buf_printf(b, "\".ctid OPERATOR(pg_catalog.%s) '(%u,0)'::pg_catalog.tid", operator,
                      page);
}

const char *cursor_plan_slice(struct arena *a, const struct cursor_splice *s, uint32_t from,
                              uint32_t to)
{
    struct buf b;
    bool has_where = s->where > 0;
    buf_init(&b, s->query.len + 1024);
    buf_append_slice(&b, slice_part(s->query, 0, has_where ? s->where : s->query.len));
    buf_append_cstr(&b, has_where ? " " : " WHERE ");
    if (from > 0)
        put_bound(&b, s->alias, ">=", from);
    if (from > 0 && to < UINT32_MAX)
        buf_append_cstr(&b, " AND ");
    if (to < UINT32_MAX)
        put_bound(&b, s->alias, "<", to);
    if (from == 0 && to == UINT32_MAX)
        buf_append_cstr(&b, "true");
    if (has_where) {
        buf_append_cstr(&b, " AND (");
        buf_append_slice(&b, slice_part(s->query, s->where, s->query.len));
        buf_append_byte(&b, ')');
    }
    const char *text = b.failed ? NULL : arena_copy(a, buf_slice(&b));
    buf_fini(&b);
    return text;
}

static uint64_t pages_below(const uint32_t *pages, size_t tables, uint32_t bound)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < tables; i++)
        sum += pages[i] < bound ? pages[i] : bound;
    return sum;
}

void cursor_plan_divide(const uint32_t *pages, size_t tables, uint32_t *bounds, size_t count)
{
    uint64_t total = pages_below(pages, tables, UINT32_MAX);
    for (size_t k = 1; k < count; k++) {
        uint32_t low = 0, high = UINT32_MAX;
        while (low < high) { /* the first bound with its share below */
            uint32_t middle = low + (high - low) / 2;
            if (pages_below(pages, tables, middle) >= total * k / count)
                high = middle;
            else
                low = middle + 1;
        }
        bounds[k] = low;
    }
}
