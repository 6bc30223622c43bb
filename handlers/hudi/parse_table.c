/* CREATE, ALTER and DROP FOREIGN TABLE as the DWS manual prints them (SQL reference, "CREATE FOREIGN
 * TABLE (SQL on OBS or Hadoop)"):
 *
 *   CREATE FOREIGN TABLE [IF NOT EXISTS] t
 *   ( { column type [COLLATE c] [OPTIONS (…)] [column constraint …] | table constraint } [, …] )
 *   SERVER s OPTIONS ( … )
 *   [READ ONLY | WRITE ONLY | READ WRITE] [WITH e | LOG INTO e] [REMOTE LOG 'n']
 *   [PER NODE REJECT LIMIT 'v'] [DISTRIBUTE BY {ROUNDROBIN | REPLICATION | HASH (column, …)}]
 *   [TO {GROUP g | NODE (n, …)}] [PARTITION BY (column, …) [AUTOMAPPED]]
 *
 * The clauses behind OPTIONS come in different orders in different editions, so any order is taken;
 * they tell the vendor's engine how to spread work and have no effect here, but are kept as text.
 * Constraints are informational (NOT ENFORCED) with the vendor; only NOT NULL is kept.
 *
 * A statement with DISTRIBUTE BY is ours without a question: no other grammar has it. Without, the
 * registry is asked whether it knows the server. */
#include <string.h>

#include "parse.h"

#define MAX_CALL_BYTES ((size_t)1 << 26)
#define MAX_COLUMNS 5000 /* DWS */

struct column {
    const char *name;
    const char *type;
    const char *collation; /* quoted; or NULL */
    bool not_null;
};

struct table {
    bool if_not_exists;
    const char *const *name;
    struct column *columns;
    size_t column_count, column_capacity;
    const char *server[2];
    struct parse_options options;
    struct slice distribution;
};

/* --- columns ------------------------------------------------------------------------------------------ */

/* Does the token end a type? */
static bool ends_type(const struct token *t)
{
    static const char *const words[] = {"collate", "not",       "null",      "constraint",
                                        "options", "primary",   "unique",    "default",
                                        "check",   "generated", "references"};
    if (token_is_symbol(t, ',') || token_is_symbol(t, ')'))
        return true;
    for (size_t i = 0; i < ARRAY_LEN(words); i++)
        if (token_is_word(t, words[i]))
            return true;
    return false;
}

/* Appends the token at hand, with a space where two words or numbers would grow together. */
static void take_token(struct parse *p, struct buf *b, bool *behind_word)
{
    const struct token *t = parse_peek(p);
    bool word = t->kind == TOKEN_WORD || t->kind == TOKEN_QUOTED || t->kind == TOKEN_NUMBER;
    if (word && *behind_word)
        buf_append_byte(b, ' ');
    buf_append_slice(b, slice_part(p->statement->text, t->start, t->end));
    *behind_word = word || token_is_symbol(t, ')') || token_is_symbol(t, ']');
    p->at++;
}

/* The rest of "(10, 2)" or "[3]" inside a type. */
static bool take_modifier(struct parse *p, struct buf *b, bool *behind_word, char close)
{
    for (;;) {
        const struct token *t = parse_peek(p);
        bool fits = t != NULL && (t->kind == TOKEN_WORD || t->kind == TOKEN_NUMBER ||
                                  t->kind == TOKEN_OPERATOR || token_is_symbol(t, ',') ||
                                  token_is_symbol(t, close));
        if (!fits)
            return parse_mistake(p);
        take_token(p, b, behind_word);
        if (token_is_symbol(t, close))
            return true;
    }
}

/* The words of a type with single spaces between them, without comments. */
static const char *read_type(struct parse *p)
{
    struct buf b;
    bool behind_word = false;
    const struct token *first = parse_peek(p);
    if (p->failed || first == NULL || !token_is_name(first)) {
        parse_mistake(p);
        return NULL;
    }
    buf_init(&b, MAX_CALL_BYTES);
    take_token(p, &b, &behind_word);
    for (const struct token *t; !p->failed && (t = parse_peek(p)) != NULL && !ends_type(t);) {
        bool open = token_is_symbol(t, '(') || token_is_symbol(t, '[');
        if (!open && !token_is_name(t) && !token_is_symbol(t, '.'))
            break;
        take_token(p, &b, &behind_word);
        if (open)
            take_modifier(p, &b, &behind_word, token_is_symbol(t, '(') ? ')' : ']');
    }
    return parse_take(p, &b);
}

/* A qualified name as an identifier in SQL: "a"."b". */
static const char *read_collation(struct parse *p)
{
    struct buf b;
    const char *const *parts = parse_qualified_name(p);
    buf_init(&b, MAX_CALL_BYTES);
    for (size_t i = 0; parts != NULL && parts[i] != NULL; i++) {
        buf_append_cstr(&b, i > 0 ? ".\"" : "\"");
        for (const char *c = parts[i]; *c != '\0'; c++) {
            if (*c == '"')
                buf_append_byte(&b, '"');
            buf_append_byte(&b, *c);
        }
        buf_append_byte(&b, '"');
    }
    return parse_take(p, &b);
}

/* [NOT ENFORCED [{ENABLE | DISABLE} QUERY OPTIMIZATION] | ENFORCED] */
static void read_enforcement(struct parse *p)
{
    if (parse_accept(p, "not enforced")) {
        if (!parse_accept(p, "enable query optimization"))
            parse_accept(p, "disable query optimization");
    } else {
        parse_accept(p, "enforced");
    }
}

static bool read_key_word(struct parse *p)
{
    return parse_accept(p, "primary key") || parse_accept(p, "unique");
}

/* One constraint of a column, if there is one. */
static bool read_column_constraint(struct parse *p, struct column *c)
{
    bool named = parse_accept(p, "constraint");
    if (named)
        parse_name(p);
    if (parse_accept(p, "not null")) {
        c->not_null = true;
    } else if (parse_accept(p, "null")) {
        c->not_null = false;
    } else if (read_key_word(p)) {
        read_enforcement(p);
    } else {
        if (named)
            parse_mistake(p);
        return false;
    }
    return true;
}

static bool is_table_constraint(struct parse *p)
{
    return parse_is_word(p, 0, "constraint") || parse_is_word(p, 0, "unique") ||
           (parse_is_word(p, 0, "primary") && parse_is_word(p, 1, "key"));
}

static void read_table_constraint(struct parse *p)
{
    if (parse_accept(p, "constraint"))
        parse_name(p);
    if (!read_key_word(p))
        parse_mistake(p);
    parse_expect_symbol(p, '(');
    parse_name_list(p);
    parse_expect_symbol(p, ')');
    read_enforcement(p);
}

static bool add_column(struct parse *p, struct table *t, const struct column *c)
{
    if (t->column_count == t->column_capacity) {
        size_t more = t->column_capacity == 0 ? 32 : t->column_capacity * 2;
        struct column *columns = arena_alloc_array(p->arena, more, sizeof *columns);
        if (columns == NULL)
            return parse_no_memory(p);
        if (t->column_count > 0)
            memcpy(columns, t->columns, t->column_count * sizeof *columns);
        t->columns = columns;
        t->column_capacity = more;
    }
    t->columns[t->column_count++] = *c;
    return true;
}

static void read_column(struct parse *p, struct table *t)
{
    static const char *const reserved[] = {"like", "check", "foreign"};
    struct column c = {.name = NULL};
    struct parse_options ignored; /* options of columns mean nothing to Hudi tables */
    if (t->column_count == MAX_COLUMNS) {
        parse_mistake_at(p, parse_peek(p), SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                         "a foreign table has at most %d columns", MAX_COLUMNS);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (parse_is_word(p, 0, reserved[i]))
            parse_mistake(p);
    c.name = parse_name(p);
    c.type = read_type(p);
    for (bool more = true; more && !p->failed;) {
        if (parse_accept(p, "collate"))
            c.collation = read_collation(p);
        else if (parse_is_word(p, 0, "options"))
            parse_options(p, false, &ignored);
        else
            more = read_column_constraint(p, &c);
    }
    if (!p->failed)
        add_column(p, t, &c);
}

static void read_columns(struct parse *p, struct table *t)
{
    parse_expect_symbol(p, '(');
    if (parse_accept_symbol(p, ')'))
        return;
    do {
        if (is_table_constraint(p))
            read_table_constraint(p);
        else
            read_column(p, t);
    } while (parse_accept_symbol(p, ','));
    parse_expect_symbol(p, ')');
}

/* --- the clauses behind OPTIONS ----------------------------------------------------------------------- */

static void read_name_list_in_parentheses(struct parse *p)
{
    parse_expect_symbol(p, '(');
    parse_name_list(p);
    parse_expect_symbol(p, ')');
}

static void read_distribution(struct parse *p)
{
    if (parse_accept(p, "roundrobin") || parse_accept(p, "replication"))
        return;
    parse_expect(p, "hash");
    read_name_list_in_parentheses(p);
}

/* One clause. False: none is at hand. */
static bool read_clause(struct parse *p)
{
    struct slice value;
    if (parse_accept(p, "read only") || parse_accept(p, "write only") ||
        parse_accept(p, "read write"))
        return true;
    if (parse_accept(p, "distribute by")) {
        read_distribution(p);
    } else if (parse_accept(p, "partition by")) {
        read_name_list_in_parentheses(p);
        parse_accept(p, "automapped");
    } else if (parse_accept(p, "to group")) {
        parse_name(p);
    } else if (parse_accept(p, "to node")) {
        read_name_list_in_parentheses(p);
    } else if (parse_accept(p, "with") || parse_accept(p, "log into")) {
        parse_name(p);
    } else if (parse_accept(p, "remote log") || parse_accept(p, "per node reject limit")) {
        parse_string(p, &value);
    } else {
        return false;
    }
    return true;
}

static void read_clauses(struct parse *p, struct table *t)
{
    const struct handler_text *s = p->statement;
    size_t first = p->at;
    while (!p->failed && read_clause(p))
        ;
    if (p->at > first)
        t->distribution = slice_part(s->text, s->tokens[first].start, s->tokens[p->at - 1].end);
}

/* --- CREATE --------------------------------------------------------------------------------------------- */

/* DISTRIBUTE BY outside parentheses. */
static bool is_distributed(const struct handler_text *s)
{
    size_t depth = 0;
    for (size_t i = 0; i + 1 < s->count; i++) {
        if (token_is_symbol(&s->tokens[i], '('))
            depth++;
        else if (token_is_symbol(&s->tokens[i], ')') && depth > 0)
            depth--;
        else if (depth == 0 && token_is_word(&s->tokens[i], "distribute") &&
                 token_is_word(&s->tokens[i + 1], "by"))
            return true;
    }
    return false;
}

static void put_column(struct parse *p, struct buf *b, const struct column *c)
{
    buf_append_cstr(b, "pg_catalog.jsonb_build_object('name', ");
    parse_put_cstr(p, b, c->name);
    buf_append_cstr(b, ", 'type', ");
    parse_put_cstr(p, b, c->type);
    buf_append_cstr(b, ", 'collation', ");
    parse_put_cstr(p, b, c->collation);
    buf_append_cstr(b, ", 'not_null', ");
    parse_put_bool(b, c->not_null);
    buf_append_cstr(b, ")");
}

static const char *write_create(struct parse *p, const struct table *t)
{
    struct buf b;
    buf_init(&b, MAX_CALL_BYTES);
    buf_append_cstr(&b, "CALL pgveneer.create_foreign_table(");
    parse_put_list(p, &b, t->name);
    buf_append_cstr(&b, ", pg_catalog.jsonb_build_array(VARIADIC ARRAY[");
    for (size_t i = 0; i < t->column_count; i++) {
        if (i > 0)
            buf_append_cstr(&b, ", ");
        put_column(p, &b, &t->columns[i]);
    }
    buf_append_cstr(&b, "]::pg_catalog.jsonb[]), ");
    parse_put_cstr(p, &b, t->server[0]);
    buf_append_cstr(&b, ", ");
    parse_put_options(p, &b, &t->options); /* the procedure refuses secrets: tables have none */
    buf_append_cstr(&b, ", ");
    parse_put_bool(&b, t->if_not_exists);
    buf_append_cstr(&b, ", ");
    parse_put_text(p, &b, t->distribution);
    buf_append_cstr(&b, ")");
    return parse_take(p, &b);
}

/* "table s.t": as the statement writes it, for handler_answer.about and makes. */
static const char *table_object(struct parse *p, const char *const *name)
{
    struct buf b;
    buf_init(&b, MAX_CALL_BYTES);
    buf_append_cstr(&b, "table");
    for (size_t i = 0; name[i] != NULL; i++)
        buf_printf(&b, "%c%s", i == 0 ? ' ' : '.', name[i]);
    return parse_take(p, &b);
}

enum handler_claim parse_create_table(struct arena *a, const struct handler_text *statement,
                                      struct handler_answer *answer, struct err *err)
{
    struct parse p = parse_begin(a, statement, err);
    struct table t = {.server = {NULL, NULL}};
    p.ours = is_distributed(statement);
    parse_expect(&p, "create foreign table");
    t.if_not_exists = parse_accept(&p, "if not exists");
    t.name = parse_qualified_name(&p);
    read_columns(&p, &t);
    parse_expect(&p, "server");
    t.server[0] = parse_name(&p);
    if (parse_is_word(&p, 0, "options"))
        parse_options(&p, false, &t.options);
    read_clauses(&p, &t);
    enum handler_claim claim = parse_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    answer->call = write_create(&p, &t);
    answer->tag = "CREATE FOREIGN TABLE";
    if (!p.ours) {
        answer->ask = parse_ask(&p, "is_hudi_server", t.server);
        answer->about = arena_printf(a, "server %s", t.server[0]);
        if (answer->about == NULL)
            parse_no_memory(&p);
    }
    answer->makes = table_object(&p, t.name);
    return parse_end(&p);
}

/* --- ALTER and DROP ----------------------------------------------------------------------------------- */

/* pgveneer.is_hudi_foreign_table(ARRAY[…]) of each name, joined by AND. */
static const char *ask_tables(struct parse *p, const char *const *const *names, size_t count)
{
    struct buf b;
    buf_init(&b, MAX_CALL_BYTES);
    for (size_t i = 0; i < count; i++) {
        buf_append_cstr(&b, i > 0 ? " AND pgveneer.is_hudi_foreign_table("
                                  : "pgveneer.is_hudi_foreign_table(");
        parse_put_list(p, &b, names[i]);
        buf_append_cstr(&b, ")");
    }
    return parse_take(p, &b);
}

/* What the table is called after RENAME TO or SET SCHEMA; NULL when it keeps its name. */
static const char *changed_object(struct parse *p, const char *const *name, const char *rename_to,
                                  const char *set_schema)
{
    size_t last = 0;
    while (name[last + 1] != NULL)
        last++;
    const char *const with_schema[] = {set_schema, name[last], NULL};
    const char *const renamed[] = {last > 0 ? name[last - 1] : rename_to,
                                   last > 0 ? rename_to : NULL, NULL};
    if (set_schema != NULL)
        return table_object(p, with_schema);
    return rename_to != NULL ? table_object(p, renamed) : NULL;
}

enum handler_claim parse_alter_table(struct arena *a, const struct handler_text *statement,
                                     struct handler_answer *answer, struct err *err)
{
    struct parse p = parse_begin(a, statement, err);
    struct parse_options options = {.count = 0};
    const char *rename_to = NULL, *owner_to = NULL, *set_schema = NULL;
    struct buf b;
    parse_expect(&p, "alter foreign table");
    bool if_exists = parse_accept(&p, "if exists");
    const char *const *name = parse_qualified_name(&p);
    if (parse_accept(&p, "rename to"))
        rename_to = parse_name(&p);
    else if (parse_accept(&p, "owner to"))
        owner_to = parse_role(&p);
    else if (parse_accept(&p, "set schema"))
        set_schema = parse_name(&p);
    else
        parse_options(&p, true, &options);
    enum handler_claim claim = parse_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    buf_init(&b, MAX_CALL_BYTES);
    buf_append_cstr(&b, "CALL pgveneer.alter_foreign_table(");
    parse_put_list(&p, &b, name);
    buf_append_cstr(&b, ", ");
    parse_put_bool(&b, if_exists);
    buf_append_cstr(&b, ", pg_catalog.jsonb_build_object('options', ");
    parse_put_changes(&p, &b, &options);
    buf_append_cstr(&b, ", 'rename_to', ");
    parse_put_cstr(&p, &b, rename_to);
    buf_append_cstr(&b, ", 'owner_to', ");
    parse_put_cstr(&p, &b, owner_to);
    buf_append_cstr(&b, ", 'set_schema', ");
    parse_put_cstr(&p, &b, set_schema);
    buf_append_cstr(&b, "))");
    answer->call = parse_take(&p, &b);
    answer->tag = "ALTER FOREIGN TABLE";
    answer->ask = ask_tables(&p, &name, 1);
    answer->about = table_object(&p, name);
    answer->makes = changed_object(&p, name, rename_to, set_schema);
    return parse_end(&p);
}

/* name {, name} of tables. The array moves inside the arena. */
static const char *const **read_tables(struct parse *p, size_t *count)
{
    size_t capacity = 4;
    const char *const **names = arena_alloc_array(p->arena, capacity, sizeof *names);
    *count = 0;
    do {
        if (names != NULL && *count == capacity) {
            const char *const **more = arena_alloc_array(p->arena, capacity * 2, sizeof *more);
            if (more != NULL)
                memcpy(more, names, capacity * sizeof *more);
            names = more;
            capacity *= 2;
        }
        if (names == NULL) {
            parse_no_memory(p);
            return NULL;
        }
        names[*count] = parse_qualified_name(p);
        *count += !p->failed;
    } while (parse_accept_symbol(p, ','));
    return names;
}

enum handler_claim parse_drop_table(struct arena *a, const struct handler_text *statement,
                                    struct handler_answer *answer, struct err *err)
{
    struct parse p = parse_begin(a, statement, err);
    struct buf b;
    size_t count;
    parse_expect(&p, "drop foreign table");
    bool if_exists = parse_accept(&p, "if exists");
    const char *const **names = read_tables(&p, &count);
    bool cascade = parse_accept(&p, "cascade");
    if (!cascade)
        parse_accept(&p, "restrict");
    enum handler_claim claim = parse_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    buf_init(&b, MAX_CALL_BYTES);
    buf_append_cstr(
        &b, "CALL pgveneer.drop_foreign_table(pg_catalog.jsonb_build_array(VARIADIC ARRAY[");
    for (size_t i = 0; i < count; i++) {
        buf_append_cstr(&b, i > 0 ? ", pg_catalog.to_jsonb(" : "pg_catalog.to_jsonb(");
        parse_put_list(&p, &b, names[i]);
        buf_append_cstr(&b, ")");
    }
    buf_append_cstr(&b, "]::pg_catalog.jsonb[]), ");
    parse_put_bool(&b, if_exists);
    buf_append_cstr(&b, ", ");
    parse_put_bool(&b, cascade);
    buf_append_cstr(&b, ")");
    answer->call = parse_take(&p, &b);
    answer->tag = "DROP FOREIGN TABLE";
    answer->ask = ask_tables(&p, (const char *const *const *)names, count);
    answer->about = count == 1 ? table_object(&p, names[0]) : NULL;
    return parse_end(&p);
}
