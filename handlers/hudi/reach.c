/* A column is reached by its name, or along with a whole row. So every name that stands anywhere in the
 * statements counts as reached, whatever it denotes there, and all columns are as soon as the text may
 * denote a row:
 *
 *   *, f.*          a star over the table itself (not over a subquery, whose own list was looked at)
 *   f, (f).x, g(f)  a name that is also one of a relation, an alias or a CTE
 *   f.g             g is no column: PostgreSQL then calls a function g(f)
 *   NATURAL JOIN    reaches columns that no text names
 *   f(a, b)         an alias renames columns
 *
 * Statements of other kinds than those listed may run what stands elsewhere (EXECUTE, FETCH, CALL,
 * DO). So may a table that the text does not name: then it is read through something else. */
#include "reach.h"

#include <string.h>

#include "grow.h"

struct names {
    const char **items;
    size_t count, room;
};

struct walk {
    struct arena *arena;
    const struct reach_table *table;
    struct names words; /* that may be columns */
    struct names rows;  /* of relations, aliases, CTEs */
    struct names own;   /* of them: the table, and joins, which hold its columns too */
    size_t stars;       /* without a name before them */
    size_t listed;      /* of them: in a SELECT list whose FROM does not hold the table */
    bool found;         /* the table is named */
    bool unknown;       /* a statement that may run others */
    bool in_doubt;      /* about columns */
};

static const char *const known_statements[] = {
    "SelectStmt",      "InsertStmt",        "UpdateStmt",        "DeleteStmt",
    "MergeStmt",       "CopyStmt",          "CreateTableAsStmt", "ExplainStmt",
    "VariableSetStmt", "DeclareCursorStmt", "VariableShowStmt",  "TransactionStmt",
};

static bool has(const struct names *n, const char *name)
{
    for (size_t i = 0; i < n->count; i++)
        if (strcmp(n->items[i], name) == 0)
            return true;
    return false;
}

static void add(struct walk *r, struct names *n, const char *name)
{
    if (name == NULL || has(n, name))
        return;
    n->items = grow_array(r->arena, n->items, n->count, &n->room, sizeof *n->items);
    if (n->items == NULL) {
        r->in_doubt = true;
        n->count = n->room = 0;
        return;
    }
    n->items[n->count++] = name;
}

/* Letter case beyond ASCII is the server's matter: such names are not compared. */
static void add_row(struct walk *r, const char *name)
{
    for (const char *c = name; c != NULL && *c != '\0'; c++)
        r->in_doubt |= (unsigned char)*c >= 0x80;
    add(r, &r->rows, name);
}

bool reach_is_table(const struct reach_table *t, const struct json_val *range)
{
    const char *name = json_as_text(json_find(range, "relname"));
    const char *schema = json_as_text(json_find(range, "schemaname"));
    return name != NULL && strcmp(name, t->name) == 0 &&
           (schema == NULL || strcmp(schema, t->schema) == 0);
}

static bool is_known(const char *statement)
{
    for (size_t i = 0; i < ARRAY_LEN(known_statements); i++)
        if (strcmp(statement, known_statements[i]) == 0)
            return true;
    return false;
}

/* ---- what the names denote ---- */

static const char *alias_of(const struct json_val *item)
{
    return json_as_text(json_find(json_find(item, "alias"), "aliasname"));
}

static bool renames(const struct json_val *item)
{
    return json_count(json_find(json_find(item, "alias"), "colnames")) > 0;
}

static void note_range(struct walk *r, const struct json_val *range)
{
    const char *name = json_as_text(json_find(range, "relname")), *alias = alias_of(range);
    add_row(r, name);
    if (!reach_is_table(r->table, range))
        return;
    r->found = true;
    r->in_doubt |= renames(range);
    add(r, &r->own, alias == NULL ? name : alias);
}

static void note_join(struct walk *r, const struct json_val *join)
{
    r->in_doubt |= json_as_bool(json_find(join, "isNatural"), false) || renames(join);
    add(r, &r->own, alias_of(join));
}

static void note(struct walk *r, const struct json_val *v);

static void note_object(struct walk *r, const struct json_val *v)
{
    if (json_find(v, "relname") != NULL)
        note_range(r, v);
    add_row(r, json_as_text(json_find(v, "aliasname")));
    add_row(r, json_as_text(json_find(v, "ctename")));
    for (void *it = json_first(v); it != NULL; it = json_next(v, it)) {
        const char *key = json_key(it);
        const struct json_val *value = json_value(it);
        if (key[0] <= 'Z' &&
            slice_ends_with(slice_cstr(key), "Stmt")) /* not the field selectStmt */
            r->unknown |= !is_known(key);
        else if (strcmp(key, "String") == 0)
            add(r, &r->words, json_as_text(json_find(value, "sval")));
        else if (strcmp(key, "JoinExpr") == 0)
            note_join(r, value);
        note(r, value);
    }
}

static void note(struct walk *r, const struct json_val *v)
{
    if (json_kind_of(v) == JSON_KIND_OBJECT)
        note_object(r, v);
    for (size_t i = 0; i < json_count(v); i++)
        note(r, json_at(v, i));
}

/* ---- what is reached ---- */

static bool from_holds_table(const struct walk *r, const struct json_val *item)
{
    const struct json_val *join = json_find(item, "JoinExpr");
    return reach_is_table(r->table, json_find(item, "RangeVar")) ||
           (join != NULL && (from_holds_table(r, json_find(join, "larg")) ||
                             from_holds_table(r, json_find(join, "rarg"))));
}

static bool is_star(const struct json_val *fields)
{
    return json_count(fields) == 1 && json_find(json_at(fields, 0), "A_Star") != NULL;
}

static void judge_list(struct walk *r, const struct json_val *select)
{
    const struct json_val *list = json_find(select, "targetList"),
                          *from = json_find(select, "fromClause");
    bool holds = false;
    for (size_t i = 0; i < json_count(from); i++)
        holds |= from_holds_table(r, json_at(from, i));
    for (size_t i = 0; !holds && i < json_count(list); i++) {
        const struct json_val *target = json_find(json_at(list, i), "ResTarget");
        const struct json_val *column = json_find(json_find(target, "val"), "ColumnRef");
        r->listed += is_star(json_find(column, "fields")) ? 1 : 0;
    }
}

static bool is_column(const struct walk *r, const char *name)
{
    for (size_t i = 0; i < r->table->count; i++)
        if (strcmp(r->table->columns[i], name) == 0)
            return true;
    return false;
}

static const char *field(const struct json_val *fields, size_t i)
{
    return json_as_text(json_find(json_find(json_at(fields, i), "String"), "sval"));
}

static void judge_column(struct walk *r, const struct json_val *fields)
{
    size_t n = json_count(fields);
    const char *name = n == 0 ? NULL : field(fields, n - 1);
    const char *of = n < 2 ? NULL : field(fields, n - 2);
    bool of_own = of != NULL && has(&r->own, of);
    if (is_star(fields))
        r->stars++;
    else if (name == NULL) /* f.* */
        r->in_doubt |= of == NULL || of_own;
    else if (of != NULL && has(&r->rows, of))
        r->in_doubt |= of_own && !is_column(r, name);
    else
        r->in_doubt |= has(&r->rows, name);
}

static void judge(struct walk *r, const struct json_val *v)
{
    if (json_find(v, "targetList") != NULL) /* the arms of a UNION have no key "SelectStmt" */
        judge_list(r, v);
    for (void *it = json_first(v); it != NULL; it = json_next(v, it)) {
        if (strcmp(json_key(it), "ColumnRef") == 0)
            judge_column(r, json_find(json_value(it), "fields"));
        judge(r, json_value(it));
    }
    for (size_t i = 0; i < json_count(v); i++)
        judge(r, json_at(v, i));
}

enum reach reach_columns(struct arena *a, const struct json_val *tree, const struct reach_table *t,
                         bool *names)
{
    struct walk r = {.arena = a, .table = t};
    note(&r, tree);
    judge(&r, tree);
    for (size_t i = 0; i < t->count; i++)
        names[i] = has(&r.words, t->columns[i]);
    if (!r.found || r.unknown)
        return REACH_UNKNOWN;
    return r.in_doubt || r.stars != r.listed ? REACH_ROWS : REACH_COLUMNS;
}
