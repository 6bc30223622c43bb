/* What a row of the table becomes part of in a join, of whatever type, does not depend on its other rows;
 * and rows of an outer join that have none of the table fail the conditions, which NULL never meets.
 *
 * The SELECT is looked for by its FROM. Where the table stands there alone, a bare name is its column if
 * it has one of that name; beside others a column must be written with the table's alias.
 *
 * Constants are integers without a sign, and strings. libpg_query writes 0 and negative numbers all
 * as {}: such a condition is passed over. So is whatever else stands in the WHERE: fewer conditions are
 * more rows. */
#include "reach_rows.h"

#include <stdio.h>
#include <string.h>

#include "grow.h"

struct finder {
    struct arena *arena;
    const struct reach_table *table;
    const struct json_val *select; /* whose FROM holds the table */
    const char *alias;
    bool is_alone;
    size_t named; /* how often the table is named */
    struct reach_condition *items;
    size_t count, room;
    bool no_memory;
};

/* ---- the SELECT ---- */

/* A member of FROM, down through joins. A join with an alias hides the table's. */
static const struct json_val *find_range(const struct finder *f, const struct json_val *item)
{
    const struct json_val *join = json_find(item, "JoinExpr"), *range = json_find(item, "RangeVar");
    if (reach_is_table(f->table, range))
        return range;
    if (join == NULL || json_find(join, "alias") != NULL)
        return NULL;
    range = find_range(f, json_find(join, "larg"));
    return range != NULL ? range : find_range(f, json_find(join, "rarg"));
}

static void look_at(struct finder *f, const struct json_val *v)
{
    const struct json_val *from = json_find(v, "fromClause");
    f->named += reach_is_table(f->table, v) ? 1 : 0;
    if (json_find(v, "limitOption") == NULL)
        return; /* no SELECT: these always have one */
    for (size_t i = 0; i < json_count(from); i++) {
        const struct json_val *range = find_range(f, json_at(from, i));
        const struct json_val *as = json_find(range, "alias");
        if (range == NULL || json_count(json_find(as, "colnames")) > 0)
            continue;
        const char *alias = json_as_text(json_find(as, "aliasname"));
        f->select = v;
        f->alias = alias == NULL ? f->table->name : alias;
        f->is_alone = json_count(from) == 1 && json_find(json_at(from, i), "RangeVar") != NULL;
    }
}

static void find_select(struct finder *f, const struct json_val *v)
{
    look_at(f, v);
    for (void *it = json_first(v); it != NULL; it = json_next(v, it))
        find_select(f, json_value(it));
    for (size_t i = 0; i < json_count(v); i++)
        find_select(f, json_at(v, i));
}

/* ---- conditions ---- */

static const char *name_at(const struct json_val *list, size_t i)
{
    return json_as_text(json_find(json_find(json_at(list, i), "String"), "sval"));
}

/* SIZE_MAX: not a column of the table, for sure. */
static size_t find_column(const struct finder *f, const struct json_val *v)
{
    const struct json_val *fields = json_find(json_find(v, "ColumnRef"), "fields");
    size_t n = json_count(fields);
    const char *name = n == 0 ? NULL : name_at(fields, n - 1);
    const char *of = n == 2 ? name_at(fields, 0) : NULL;
    bool ours = n == 1 ? f->is_alone : of != NULL && strcmp(of, f->alias) == 0;
    for (size_t i = 0; ours && name != NULL && i < f->table->count; i++)
        if (strcmp(f->table->columns[i], name) == 0)
            return i;
    return SIZE_MAX;
}

/* 'x', date 'x' and 'x'::date, 5; else NULL. */
static const char *read_constant(struct finder *f, const struct json_val *v, bool *is_text)
{
    const struct json_val *cast = json_find(v, "TypeCast");
    const struct json_val *names = json_find(json_find(cast, "typeName"), "names");
    if (cast != NULL) {
        const char *type = json_count(names) == 0 ? NULL : name_at(names, json_count(names) - 1);
        if (type == NULL || strcmp(type, "date") != 0)
            return NULL;
        v = json_find(cast, "arg");
    }
    const struct json_val *constant = json_find(v, "A_Const");
    const char *text = json_as_text(json_find(json_find(constant, "sval"), "sval"));
    int64_t number = json_as_int(json_find(json_find(constant, "ival"), "ival"), 0);
    *is_text = text != NULL;
    if (text != NULL) /* the tree dies first */
        return arena_copy_cstr(f->arena, text);
    if (number <= 0 || cast != NULL)
        return NULL;
    return arena_printf(f->arena, "%lld", (long long)number);
}

static void add(struct finder *f, size_t column, const char *op,
                const struct json_val *const *values, size_t count)
{
    struct reach_condition c = {.column = column, .op = op, .count = count};
    c.values = arena_alloc_array(f->arena, count + 1, sizeof *c.values);
    f->items = grow_array(f->arena, f->items, f->count, &f->room, sizeof *f->items);
    if (c.values == NULL || f->items == NULL) {
        f->no_memory = true;
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bool is_text;
        c.values[i] = read_constant(f, values[i], &is_text);
        if (c.values[i] == NULL || (i > 0 && is_text != c.is_text))
            return;
        c.is_text = is_text;
    }
    f->items[f->count++] = c;
}

static void add_list(struct finder *f, size_t column, const char *kind, const struct json_val *list)
{
    size_t n = json_count(list);
    const struct json_val **values = arena_alloc_array(f->arena, n + 1, sizeof *values);
    for (size_t i = 0; values != NULL && i < n; i++)
        values[i] = json_at(list, i);
    if (values == NULL)
        f->no_memory = true;
    else if (strcmp(kind, "AEXPR_IN") == 0 && n > 0)
        add(f, column, "=", values, n);
    else if (strcmp(kind, "AEXPR_BETWEEN") == 0 && n == 2) {
        add(f, column, ">=", &values[0], 1);
        add(f, column, "<=", &values[1], 1);
    }
}

static void read_condition(struct finder *f, const struct json_val *e)
{
    static const char *const ops[] = {"=", "<", "<=", ">", ">="};
    const char *kind = json_as_text(json_find(e, "kind"));
    const struct json_val *name = json_find(e, "name"), *right = json_find(e, "rexpr");
    const char *op = json_count(name) == 1 ? name_at(name, 0) : NULL;
    size_t column = find_column(f, json_find(e, "lexpr"));
    if (kind == NULL || op == NULL || column == SIZE_MAX)
        return;
    if (strcmp(kind, "AEXPR_OP") != 0) {
        if (strcmp(op, "<>") != 0) /* NOT IN */
            add_list(f, column, kind, json_find(json_find(right, "List"), "items"));
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(ops); i++)
        if (strcmp(ops[i], op) == 0)
            add(f, column, ops[i], &right, 1);
}

static void read_where(struct finder *f, const struct json_val *v)
{
    const struct json_val *both = json_find(v, "BoolExpr"), *args = json_find(both, "args");
    const char *op = json_as_text(json_find(both, "boolop"));
    if (both == NULL)
        read_condition(f, json_find(v, "A_Expr"));
    for (size_t i = 0; op != NULL && strcmp(op, "AND_EXPR") == 0 && i < json_count(args); i++)
        read_where(f, json_at(args, i));
}

bool reach_rows(struct arena *a, const struct json_val *tree, const struct reach_table *t,
                struct reach_condition **out, size_t *count, struct err *err)
{
    struct finder f = {.arena = a, .table = t};
    find_select(&f, tree);
    if (f.named == 1 && f.select != NULL)
        read_where(&f, json_find(f.select, "whereClause"));
    *out = f.items;
    *count = f.count;
    return !f.no_memory || err_no_memory(err);
}
