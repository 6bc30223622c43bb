/* When slices are exact.
 *
 * The planner divides a scan among parallel workers only where the parts of the result are disjoint and
 * together the whole. So where its plan is a Gather, and below that exactly one scan, or one Append, is
 * divided, the same scans can be divided by ranges of pages, with one statement for each range. Anything
 * else above the scan (a sort, an aggregate, a limit) would work within one range only; the planner then
 * has no bare Gather on top.
 *
 * The arms of an Append that is divided are the partitions of a table, or of a UNION ALL. The planner
 * divides some of them, one scan in each, and gives others to one worker as a whole. Those must be plain
 * scans: they can be divided too.
 *
 * Whether a condition on pages, put into the text, hit the right scans is not left to reasoning: the plan
 * of a slice must have a Tid Range Scan exactly where the first plan had its divided scans
 * (cursor_plan_confirms). */
#include "cursor_plan.h"

#include <string.h>

#include "base/json.h"

/* ---- plans ---- */

struct walk {
    struct arena *arena;
    struct cursor_plan *plan;
    size_t divided; /* nodes that the planner divides; an Append counts for all in it */
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

static void visit(struct walk *w, const struct json_val *node, bool aside);

/* Does the node hand on the rows of one plain scan, all of them? */
static bool is_plain(const struct json_val *node)
{
    const char *type = text_of(node, "Node Type");
    const struct json_val *plans = json_find(node, "Plans");
    while ((strcmp(type, "Subquery Scan") == 0 || strcmp(type, "Result") == 0) &&
           json_count(plans) == 1) {
        node = json_at(plans, 0);
        type = text_of(node, "Node Type");
        plans = json_find(node, "Plans");
    }
    return strcmp(type, "Seq Scan") == 0 && json_count(plans) == 0;
}

/* An arm of an Append that is divided: one scan of it is, or it is a scan. */
static void visit_arm(struct walk *w, const struct json_val *node)
{
    size_t before = w->divided, first = w->plan->scan_count;
    visit(w, node, false);
    size_t divided = w->divided - before;
    w->divided = before;
    if (divided == 0 && is_plain(node) && w->plan->scan_count == first + 1)
        w->plan->scans[first].is_divided = true;
    else if (divided != 1)
        w->plan->is_divisible = false;
}

/* aside: not on the way of the result's rows */
static void visit(struct walk *w, const struct json_val *node, bool aside)
{
    const char *type = text_of(node, "Node Type");
    bool divided = json_as_bool(json_find(node, "Parallel Aware"), false) && !aside;
    bool is_append = divided && strcmp(type, "Append") == 0;
    if (is_exclusive_node(type))
        w->plan->is_exclusive = true;
    if (divided && strcmp(type, "Gather") != 0)
        w->divided++;
    if (divided && !is_append && strcmp(type, "Seq Scan") != 0)
        w->plan->is_divisible = false;
    if (json_find(node, "Relation Name") != NULL)
        add_scan(w, node, type, divided);
    const struct json_val *plans = json_find(node, "Plans");
    for (size_t i = 0; i < json_count(plans); i++) {
        const struct json_val *child = json_at(plans, i);
        if (is_append && !is_aside(child))
            visit_arm(w, child);
        else
            visit(w, child, aside || is_aside(child));
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
        visit(&w, root, false);
    out->is_divisible = good && out->is_divisible && w.divided == 1 &&
                        strcmp(text_of(root, "Node Type"), "Gather") == 0;
    json_free(doc);
    return good && w.memory;
}

bool cursor_plan_is_personal(struct slice json)
{
    static const char *const words[] = {"now()",
                                        "_timestamp(",
                                        "timeofday(",
                                        "CURRENT_TIME",
                                        "CURRENT_DATE",
                                        "LOCALTIME",
                                        "age(",
                                        "pg_backend_pid",
                                        "txid_",
                                        "pg_current_",
                                        "current_setting(",
                                        "inet_client_",
                                        "inet_server_",
                                        "pg_stat_",
                                        "pg_my_temp",
                                        "current_query(",
                                        "pg_conf_load",
                                        "pg_export_",
                                        "pg_listening_",
                                        "lastval(",
                                        "pg_is_in_",
                                        "pg_snapshot",
                                        "pg_visible_in",
                                        "current_schemas(",
                                        "pg_show_all_settings(",
                                        "pg_client_encoding(",
                                        "SYSTEM_USER",
                                        "gen_random_uuid(",
                                        "uuidv4(",
                                        "uuidv7("};
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (memmem(json.data, json.len, words[i], strlen(words[i])) != NULL)
            return true;
    return false;
}

/* ---- relations ---- */

/* Each has a NUL in front and behind, which no name has. */
bool cursor_plan_write_relations(const struct cursor_plan *p, struct buf *out)
{
    buf_append_byte(out, '\0');
    for (size_t i = 0; i < p->scan_count; i++) {
        buf_append_cstr(out, p->scans[i].relation);
        buf_append_byte(out, '\0');
    }
    return !out->failed;
}

static bool has_name(struct slice relations, const char *name)
{
    size_t n = strlen(name) + 1; /* with the NUL behind it */
    const char *at = relations.data, *end = at + relations.len;
    while ((at = memmem(at, (size_t)(end - at), name, n)) != NULL) {
        if (at > relations.data && at[-1] == '\0')
            return true;
        at++;
    }
    return false;
}

bool cursor_plan_is_within(const struct cursor_plan *p, struct slice relations)
{
    for (size_t i = 0; i < p->scan_count; i++)
        if (!has_name(relations, p->scans[i].relation))
            return false;
    return true;
}

/* ---- slices ---- */

static bool is_range(const struct cursor_plan_scan *s)
{
    return s->tid_cond != NULL && strcmp(s->type, "Tid Range Scan") == 0;
}

static bool is_same_table(const struct cursor_plan_scan *a, const struct cursor_plan_scan *b)
{
    return strcmp(a->relation, b->relation) == 0 && strcmp(a->schema, b->schema) == 0;
}

/* Scans of the table; those that are divided; those that read a range. */
struct tally {
    size_t all, divided, ranges;
};

static struct tally count_scans(const struct cursor_plan *p, const struct cursor_plan_scan *of)
{
    struct tally n = {0, 0, 0};
    for (size_t i = 0; i < p->scan_count; i++) {
        if (!is_same_table(&p->scans[i], of))
            continue;
        n.all++;
        n.divided += p->scans[i].is_divided;
        n.ranges += is_range(&p->scans[i]);
    }
    return n;
}

/* Reads the slice a range where the whole has this divided scan? A table with scans that are not divided
 * is told apart by the alias. Where all are, aliases do not matter, whose numbers may differ. */
static bool has_range(const struct cursor_plan *whole, const struct cursor_plan *slice,
                      const struct cursor_plan_scan *s)
{
    struct tally before = count_scans(whole, s), after = count_scans(slice, s);
    if (before.all != after.all || before.divided != after.ranges)
        return false;
    if (before.all == before.divided)
        return true;
    for (size_t i = 0; i < slice->scan_count; i++)
        if (is_same_table(&slice->scans[i], s) && strcmp(slice->scans[i].alias, s->alias) == 0)
            return is_range(&slice->scans[i]);
    return false;
}

bool cursor_plan_confirms(const struct cursor_plan *whole, const struct cursor_plan *slice)
{
    size_t divided = 0, ranges = 0;
    for (size_t i = 0; i < whole->scan_count; i++) {
        divided += whole->scans[i].is_divided;
        if (whole->scans[i].is_divided && !has_range(whole, slice, &whole->scans[i]))
            return false;
    }
    for (size_t i = 0; i < slice->scan_count; i++)
        ranges += slice->scans[i].tid_cond != NULL;
    return divided > 0 && divided == ranges;
}

/* ---- pages ---- */

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
