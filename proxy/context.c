/* A small machine over tokens that knows the places of the grammar which matter to us.
 *
 * It is not a parser: it accepts everything, and what it says of a text that the server refuses is
 * of no account. What it must never do is take somebody else's name for ours, so every state in
 * which a name may be a new name (a column, an alias, a target, an object of DDL) says no.
 *
 * Each open parenthesis has a frame with a state:
 *
 *   START ──select──► LIST ──from──► FROM ──name──► FROM_AFTER ──on──► JOIN_ON
 *     │ with            │              ▲               │ join  ,          │
 *     ▼                 │              └───────────────┴──────────────────┘
 *    CTE ◄─,─ CTE_AFTER └──where, group, …──► EXPRESSION ──union──► START
 *
 *   START       a statement or query may start          TARGET   table of INSERT, UPDATE, …
 *   LIST        expressions; FROM opens a from-clause   DDL      CREATE …, ALTER TABLE …, COPY …
 *   EXPRESSION  expressions; FROM is a mere word        SKIP     nothing is ours
 *
 * "SELECT x FROM t" and "extract(x FROM t)" differ by the frame's state only: the parenthesis behind
 * a function's name opens an EXPRESSION, which becomes a LIST when SELECT comes.
 *
 * A name followed by "(" is a call if an expression may start there, which the token before it
 * tells: an operator, "(", a comma, or one of a list of key words. Behind a name, "AS", ")" or "::"
 * it is an alias with columns or a type. Key words count only unquoted, not as part of a dotted name,
 * and not as a label behind AS. */
#include "context.h"

#include <string.h>

#include "base/attr.h"

enum state {
    STATE_START,
    STATE_SKIP,
    STATE_UNTIL_FOR, /* DECLARE c CURSOR … FOR query */
    STATE_UNTIL_AS,  /* PREPARE p (types) AS statement */
    STATE_ALTER,     /* the word behind ALTER decides */
    STATE_DDL,
    STATE_TARGET,
    STATE_CTE,
    STATE_CTE_AFTER,
    STATE_LIST,
    STATE_EXPRESSION,
    STATE_FROM,
    STATE_FROM_AFTER,
    STATE_JOIN_ON
};

struct context_frame {
    unsigned char state;
    bool fresh;          /* no token yet */
    bool atomic;         /* BEGIN ATOMIC … END, not a parenthesis */
    bool declares;       /* arguments of CREATE FUNCTION: types, not expressions, but for DEFAULT */
    bool before_operand; /* OPERATOR(…), DISTINCT ON (…): an expression starts behind it */
    unsigned case_depth; /* atomic: CASE … END inside */
};

static bool is_in(const struct token *t, const char *const *words)
{
    for (; *words != NULL; words++)
        if (token_is_word(t, *words))
            return true;
    return false;
}

static struct context_frame *top(struct context *c)
{
    return &c->frames[c->depth];
}

static const struct token *last(const struct context *c)
{
    static const struct token none = {.kind = TOKEN_OTHER};
    return c->before[0] != NULL ? c->before[0] : &none;
}

static const struct token *last_but_one(const struct context *c)
{
    static const struct token none = {.kind = TOKEN_OTHER};
    return c->before[1] != NULL ? c->before[1] : &none;
}

bool context_init(struct context *c, struct arena *a)
{
    *c = (struct context){.arena = a, .capacity = 64};
    c->frames = arena_alloc_array(a, c->capacity, sizeof *c->frames);
    if (c->frames == NULL)
        return false;
    context_start(c);
    return true;
}

void context_start(struct context *c)
{
    c->depth = 0;
    c->frames[0] = (struct context_frame){.state = STATE_START, .fresh = true};
    c->before[0] = c->before[1] = NULL;
    c->path_parts = 0;
    c->altering = c->declaring = false;
    c->expects_argument = false;
}

bool context_is_top(const struct context *c)
{
    return c->depth == 0;
}

static bool push(struct context *c, struct context_frame f)
{
    if (c->depth + 1 == c->capacity) {
        struct context_frame *more = arena_alloc_array(c->arena, c->capacity * 2, sizeof *more);
        if (more == NULL)
            return false;
        memcpy(more, c->frames, c->capacity * sizeof *more);
        c->frames = more;
        c->capacity *= 2;
    }
    f.fresh = true;
    c->frames[++c->depth] = f;
    return true;
}

/* --- parentheses and other marks -------------------------------------------------------------- */

/* What a parenthesis means that opens behind the tokens before. */
static enum state state_inside(struct context *c)
{
    static const char *const body[] = {"as", "materialized", NULL};
    switch ((enum state)top(c)->state) {
    case STATE_START: return STATE_START;
    case STATE_SKIP:
    case STATE_UNTIL_FOR:
    case STATE_UNTIL_AS:
    case STATE_ALTER:
    case STATE_CTE: return STATE_SKIP;
    case STATE_CTE_AFTER:
        if (token_is_symbol(last(c), ')') || is_in(last(c), body))
            return STATE_START;
        return STATE_SKIP; /* the columns of the CTE */
    case STATE_FROM: return STATE_FROM;
    case STATE_DDL: return token_is_word(last(c), "copy") ? STATE_START : STATE_EXPRESSION;
    default: return STATE_EXPRESSION;
    }
}

static bool open_parenthesis(struct context *c)
{
    struct context_frame *f = top(c);
    struct context_frame inner = {.state = (unsigned char)state_inside(c)};
    inner.before_operand =
        token_is_word(last(c), "operator") ||
        (token_is_word(last(c), "on") && token_is_word(last_but_one(c), "distinct"));
    inner.declares = c->declaring && f->state == STATE_DDL;
    if (f->state == STATE_CTE_AFTER && token_is_symbol(last(c), ')'))
        f->state = STATE_START; /* WITH x AS (…) (SELECT …) */
    return push(c, inner);
}

static void close_parenthesis(struct context *c)
{
    if (c->depth == 0 || top(c)->atomic)
        return;
    c->expects_argument = top(c)->before_operand;
    c->depth--;
    if (top(c)->state == STATE_FROM)
        top(c)->state = STATE_FROM_AFTER;
}

static void on_comma(struct context *c)
{
    struct context_frame *f = top(c);
    if (f->state == STATE_FROM_AFTER || f->state == STATE_JOIN_ON)
        f->state = STATE_FROM;
    else if (f->state == STATE_CTE_AFTER)
        f->state = STATE_CTE;
}

static bool on_symbol(struct context *c, char symbol)
{
    switch (symbol) {
    case '(': return open_parenthesis(c);
    case ')': close_parenthesis(c); break;
    case ',': on_comma(c); break;
    case ';': top(c)->state = STATE_START; break; /* only inside a rule or an atomic body */
    default: break;
    }
    return true;
}

/* --- key words ---------------------------------------------------------------------------------- */

struct move {
    const char *word;
    enum state next;
};

/* The state that the word leads to, or `otherwise`. */
static enum state find_move(const struct move *moves, const struct token *t, enum state otherwise)
{
    for (; moves->word != NULL; moves++)
        if (token_is_word(t, moves->word))
            return moves->next;
    return otherwise;
}

static enum state move_start(struct context *c, const struct token *t)
{
    static const struct move moves[] = {
        {"select", STATE_LIST},
        {"values", STATE_EXPRESSION},
        {"table", STATE_FROM},
        {"with", STATE_CTE},
        {"insert", STATE_TARGET},
        {"update", STATE_TARGET},
        {"delete", STATE_TARGET},
        {"merge", STATE_TARGET},
        {"explain", STATE_START},
        {"declare", STATE_UNTIL_FOR},
        {"prepare", STATE_UNTIL_AS},
        {"create", STATE_DDL},
        {"alter", STATE_ALTER},
        {"call", STATE_EXPRESSION},
        {"copy", STATE_DDL},
        {"return", STATE_EXPRESSION},
        {"execute", STATE_EXPRESSION},
        /* UNION ALL query, CREATE RULE … DO ALSO statement */
        {"all", STATE_START},
        {"distinct", STATE_START},
        {"also", STATE_START},
        {"instead", STATE_START},
        /* (SELECT …) ORDER BY … */
        {"order", STATE_EXPRESSION},
        {"limit", STATE_EXPRESSION},
        {"offset", STATE_EXPRESSION},
        {"fetch", STATE_EXPRESSION},
        {"for", STATE_EXPRESSION},
        {"union", STATE_START},
        {"intersect", STATE_START},
        {"except", STATE_START},
        {NULL, STATE_SKIP},
    };
    static const char *const explain[] = {"explain", "analyze", "analyse", "verbose", NULL};
    if (is_in(t, explain) && is_in(last(c), explain))
        return STATE_START;
    c->altering = token_is_word(t, "alter");
    return find_move(moves, t, STATE_SKIP);
}

static enum state move_alter(const struct token *t)
{
    static const struct move moves[] = {
        {"table", STATE_DDL},   {"view", STATE_DDL},   {"materialized", STATE_DDL},
        {"foreign", STATE_DDL}, {"domain", STATE_DDL}, {"policy", STATE_DDL},
        {NULL, STATE_SKIP},
    };
    return find_move(moves, t, STATE_SKIP);
}

static enum state move_ddl(struct context *c, const struct token *t)
{
    static const struct move moves[] = {
        {"select", STATE_LIST},     {"do", STATE_START},     {"union", STATE_START},
        {"intersect", STATE_START}, {"except", STATE_START}, {"return", STATE_EXPRESSION},
        {NULL, STATE_DDL},
    };
    static const char *const function[] = {"function", "procedure", NULL};
    /* CREATE of what holds no expressions, but types with modifiers: name(3). */
    static const char *const create[] = {"create", "replace", NULL};
    static const char *const bare[] = {"aggregate", "cast",      "collation", "operator",
                                       "text",      "transform", "type",      NULL};
    bool behind_as = token_is_word(last(c), "as");
    if (is_in(last(c), create) && is_in(t, bare))
        return STATE_SKIP;
    if (is_in(last(c), create) && is_in(t, function))
        c->declaring = true;
    if (behind_as && token_is_word(t, "with"))
        return STATE_CTE;
    if (behind_as && token_is_word(t, "table"))
        return STATE_FROM;
    return find_move(moves, t, STATE_DDL);
}

static enum state move_target(const struct token *t)
{
    static const struct move moves[] = {
        {"select", STATE_LIST},        {"set", STATE_LIST},
        {"using", STATE_FROM},         {"with", STATE_CTE},
        {"table", STATE_FROM},         {"values", STATE_EXPRESSION},
        {"where", STATE_EXPRESSION},   {"returning", STATE_EXPRESSION},
        {"default", STATE_EXPRESSION}, {NULL, STATE_TARGET},
    };
    return find_move(moves, t, STATE_TARGET);
}

static enum state move_cte_after(struct context *c, const struct token *t)
{
    static const char *const main[] = {"select", "values", "table", "insert",
                                       "update", "delete", "merge", NULL};
    return is_in(t, main) ? move_start(c, t) : STATE_CTE_AFTER;
}

static enum state move_expression(struct context *c, const struct token *t)
{
    static const struct move moves[] = {
        {"select", STATE_LIST},  {"union", STATE_START},   {"intersect", STATE_START},
        {"except", STATE_START}, {NULL, STATE_EXPRESSION},
    };
    if (top(c)->fresh && token_is_word(t, "with"))
        return STATE_CTE;
    if (top(c)->fresh && token_is_word(t, "table"))
        return STATE_FROM;
    return find_move(moves, t, STATE_EXPRESSION);
}

/* What ends a select-list or a from-clause. */
static const struct move clause_moves[] = {
    {"select", STATE_LIST},       {"where", STATE_EXPRESSION},     {"group", STATE_EXPRESSION},
    {"having", STATE_EXPRESSION}, {"window", STATE_EXPRESSION},    {"order", STATE_EXPRESSION},
    {"limit", STATE_EXPRESSION},  {"offset", STATE_EXPRESSION},    {"fetch", STATE_EXPRESSION},
    {"for", STATE_EXPRESSION},    {"returning", STATE_EXPRESSION}, {"union", STATE_START},
    {"intersect", STATE_START},   {"except", STATE_START},         {NULL, STATE_LIST},
};

static enum state move_list(struct context *c, const struct token *t)
{
    static const char *const is[] = {"is", "not", NULL};
    bool distinct_from = token_is_word(last(c), "distinct") && is_in(last_but_one(c), is);
    if (token_is_word(t, "from"))
        return distinct_from ? STATE_LIST : STATE_FROM;
    return find_move(clause_moves, t, STATE_LIST);
}

static enum state move_from_clause(const struct token *t, enum state state)
{
    static const struct move moves[] = {
        {"join", STATE_FROM},     {"on", STATE_JOIN_ON}, {"when", STATE_EXPRESSION}, /* MERGE */
        {"do", STATE_EXPRESSION}, /* INSERT … SELECT … ON CONFLICT … DO UPDATE SET */
        {"create", STATE_DDL},    /* CREATE SCHEMA s CREATE VIEW … CREATE VIEW … */
        {"grant", STATE_SKIP},    {NULL, STATE_FROM},
    };
    enum state next = find_move(moves, t, STATE_START);
    return next != STATE_START ? next : find_move(clause_moves, t, state);
}

/* BEGIN ATOMIC … END, with CASE … END inside. True: the word was one of these. */
static bool on_atomic_word(struct context *c, const struct token *t, bool *memory)
{
    struct context_frame *f = top(c);
    if (token_is_word(t, "atomic") && f->state == STATE_DDL && token_is_word(last(c), "begin")) {
        *memory = push(c, (struct context_frame){.state = STATE_START, .atomic = true});
        return true;
    }
    if (!f->atomic)
        return false;
    if (token_is_word(t, "case"))
        f->case_depth++;
    if (!token_is_word(t, "end"))
        return false;
    if (f->case_depth > 0)
        f->case_depth--;
    else
        c->depth--;
    return true;
}

/* Behind AS any word may be a label: SELECT 1 AS from. And WITHIN GROUP is no GROUP BY. */
static bool is_no_key_word(struct context *c, const struct token *t)
{
    unsigned char s = top(c)->state;
    if (token_is_word(t, "group") && token_is_word(last(c), "within"))
        return true;
    return token_is_word(last(c), "as") &&
           (s == STATE_LIST || s == STATE_EXPRESSION || s == STATE_JOIN_ON);
}

/* Moves on an unquoted word. False: no memory. */
static bool on_word(struct context *c, const struct token *t)
{
    bool memory = true;
    if (is_no_key_word(c, t) || on_atomic_word(c, t, &memory))
        return memory;
    struct context_frame *f = top(c);
    enum state next = (enum state)f->state;
    switch (next) {
    case STATE_START: next = move_start(c, t); break;
    case STATE_UNTIL_FOR: next = token_is_word(t, "for") ? STATE_START : next; break;
    case STATE_UNTIL_AS: next = token_is_word(t, "as") ? STATE_START : next; break;
    case STATE_ALTER: next = move_alter(t); break;
    case STATE_DDL: next = move_ddl(c, t); break;
    case STATE_TARGET: next = move_target(t); break;
    case STATE_CTE_AFTER: next = move_cte_after(c, t); break;
    case STATE_LIST: next = move_list(c, t); break;
    case STATE_EXPRESSION: next = move_expression(c, t); break;
    case STATE_FROM_AFTER:
    case STATE_JOIN_ON: next = move_from_clause(t, next); break;
    case STATE_FROM: /* a name, which on_name has seen to, or what opens a query in parentheses */
    case STATE_SKIP:
    case STATE_CTE: break;
    }
    f->state = (unsigned char)next;
    return memory;
}

/* --- names ---------------------------------------------------------------------------------------- */

/* Words behind which an expression starts. */
static const char *const before_operand[] = {
    "select",  "where",     "and",        "or",      "not",     "when",     "then",    "else",
    "case",    "in",        "on",         "having",  "limit",   "offset",   "from",    "returning",
    "default", "distinct",  "all",        "any",     "some",    "both",     "leading", "trailing",
    "for",     "like",      "ilike",      "between", "call",    "return",   "using",   "lateral",
    "join",    "symmetric", "asymmetric", "escape",  "passing", "variadic", "placing", NULL};

/* Words behind which an expression starts if another word stands before them. */
static const char *const before_operand_pairs[][2] = {
    {"group", "by"},    {"order", "by"},   {"partition", "by"}, {"similar", "to"},
    {"fetch", "first"}, {"fetch", "next"}, {"time", "zone"}};

static bool is_operand_pair(struct context *c)
{
    for (size_t i = 0; i < ARRAY_LEN(before_operand_pairs); i++)
        if (token_is_word(last_but_one(c), before_operand_pairs[i][0]) &&
            token_is_word(last(c), before_operand_pairs[i][1]))
            return true;
    return false;
}

/* May an expression start behind the tokens before, in a state that has expressions? */
static bool starts_operand(struct context *c)
{
    const struct token *t = last(c);
    bool ddl = top(c)->state == STATE_DDL;
    switch (t->kind) {
    case TOKEN_SYMBOL:
        if (t->symbol == ')')
            return c->expects_argument;
        if (t->symbol == '(' || t->symbol == ',')
            return !top(c)->declares && !(ddl && t->symbol == ',');
        return t->symbol == '[' || t->symbol == ':';
    case TOKEN_OPERATOR:
    case TOKEN_ASSIGN: return true;
    case TOKEN_WORD: break;
    default: return false;
    }
    if (ddl && (token_is_word(t, "on") || token_is_word(t, "from")))
        return false; /* CREATE INDEX i ON name (…) */
    if (ddl && token_is_word(t, "using"))
        return c->altering; /* not CREATE INDEX … USING method (…) */
    if (top(c)->declares && token_is_word(t, "in"))
        return false; /* CREATE FUNCTION f(IN type(3)) */
    return is_in(t, before_operand) || (!ddl && is_operand_pair(c));
}

static bool may_call(struct context *c)
{
    switch ((enum state)top(c)->state) {
    case STATE_FROM: return true;
    case STATE_DDL:
    case STATE_LIST:
    case STATE_EXPRESSION:
    case STATE_JOIN_ON: return starts_operand(c);
    default: return false;
    }
}

/* Reads one part of a dotted name. */
static void read_path(struct context *c, const struct token *t)
{
    bool behind_dot = token_is_symbol(last(c), '.');
    if (behind_dot && c->path_parts > 0) {
        c->path_parts++;
        return;
    }
    c->path_parts = behind_dot ? 3 : 1; /* (x).name: no name of ours has so many parts */
    c->path_may_call = !behind_dot && may_call(c);
    c->path_catalog = strcmp(t->name, "pg_catalog") == 0;
    c->catalog_start = t->start;
    c->catalog_end = t->end;
}

/* What is the name that ends here, or goes on with a dot? */
static enum spot_kind classify(struct context *c, const struct token *next)
{
    bool goes_on = next != NULL && token_is_symbol(next, '.');
    bool is_call = next != NULL && token_is_symbol(next, '(');
    unsigned char state = top(c)->state;
    bool reads = state == STATE_LIST || state == STATE_EXPRESSION || state == STATE_JOIN_ON;
    if (c->path_parts > 2 || (c->path_parts == 2 && !c->path_catalog))
        return SPOT_NONE;
    if (goes_on)
        return c->path_parts == 2 && reads ? SPOT_REFERENCE : SPOT_NONE;
    if (state == STATE_CTE)
        return c->path_parts == 1 ? SPOT_CTE : SPOT_NONE;
    if (is_call)
        return c->path_may_call ? SPOT_CALL : SPOT_NONE;
    return state == STATE_FROM ? SPOT_RELATION : SPOT_NONE;
}

/* FROM and CTE expect a name. Takes the few key words that may stand there instead. */
static bool on_word_instead(struct context *c, const struct token *t, const struct token *next)
{
    static const char *const of_query[] = {"select", "values", "with", "table", NULL};
    static const char *const of_item[] = {"only", "lateral", NULL};
    struct context_frame *f = top(c);
    if (t->kind != TOKEN_WORD || (next != NULL && token_is_symbol(next, '.')))
        return false;
    if (f->state == STATE_CTE)
        return token_is_word(t, "recursive") && next != NULL && token_is_name(next) &&
               !token_is_word(next, "as");
    if (!f->fresh || !is_in(t, of_query))
        return is_in(t, of_item);
    f->state = (unsigned char)move_start(c, t); /* FROM (SELECT …) */
    return true;
}

/* A name, of which `classify` has told the place, and which may be a key word after all. */
static bool move_on(struct context *c, const struct token *t, const struct token *next)
{
    bool goes_on = next != NULL && token_is_symbol(next, '.');
    struct context_frame *f = top(c);
    if (f->state == STATE_FROM || f->state == STATE_CTE) {
        if (!goes_on)
            f->state = f->state == STATE_FROM ? STATE_FROM_AFTER : STATE_CTE_AFTER;
        return true;
    }
    if (t->kind == TOKEN_QUOTED && f->state == STATE_START)
        f->state = STATE_SKIP; /* no statement starts so */
    if (t->kind == TOKEN_QUOTED || goes_on || c->path_parts > 1)
        return true;
    return on_word(c, t);
}

static bool on_name(struct context *c, const struct token *t, const struct token *next,
                    struct spot *spot)
{
    struct context_frame *f = top(c);
    bool expects_name = f->state == STATE_FROM || f->state == STATE_CTE;
    if (expects_name && !token_is_symbol(last(c), '.') && on_word_instead(c, t, next))
        return true;
    read_path(c, t);
    *spot = (struct spot){classify(c, next), c->path_parts == 2, c->catalog_start, c->catalog_end};
    return move_on(c, t, next);
}

bool context_feed(struct context *c, const struct token *t, const struct token *next,
                  struct spot *spot)
{
    bool memory = true;
    size_t depth = c->depth;
    bool name = t->kind == TOKEN_WORD || t->kind == TOKEN_QUOTED;
    *spot = (struct spot){.kind = SPOT_NONE};
    if (name)
        memory = on_name(c, t, next, spot);
    else if (t->kind == TOKEN_SYMBOL)
        memory = on_symbol(c, t->symbol);
    if (!token_is_symbol(t, ')'))
        c->expects_argument = false;
    if (!name && !token_is_symbol(t, '.'))
        c->path_parts = 0;
    c->frames[depth].fresh = false;
    c->before[1] = c->before[0];
    c->before[0] = t;
    return memory;
}
