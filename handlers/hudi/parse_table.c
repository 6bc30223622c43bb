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
static void take_token(struct reader *p, struct buf *b, bool *behind_word)
{
    const struct token *t = reader_peek(p, 0);
    bool word = t->kind == TOKEN_WORD || t->kind == TOKEN_QUOTED || t->kind == TOKEN_NUMBER;
    if (word && *behind_word)
        buf_append_byte(b, ' ');
    buf_append_slice(b, slice_part(p->statement->text, t->start, t->end));
    *behind_word = word || token_is_symbol(t, ')') || token_is_symbol(t, ']');
    p->at++;
}

/* The rest of "(10, 2)" or "[3]" inside a type. */
static bool take_modifier(struct reader *p, struct buf *b, bool *behind_word, char close)
{
    for (;;) {
        const struct token *t = reader_peek(p, 0);
        bool fits = t != NULL && (t->kind == TOKEN_WORD || t->kind == TOKEN_NUMBER ||
                                  t->kind == TOKEN_OPERATOR || token_is_symbol(t, ',') ||
                                  token_is_symbol(t, close));
        if (!fits)
            return reader_mistake(p);
        take_token(p, b, behind_word);
        if (token_is_symbol(t, close))
            return true;
    }
}

/* The words of a type with single spaces between them, without comments. */
static const char *read_type(struct reader *p)
{
    struct buf b;
    bool behind_word = false;
    const struct token *first = reader_peek(p, 0);
    if (p->failed || first == NULL || !token_is_name(first)) {
        reader_mistake(p);
        return NULL;
    }
    buf_init(&b, MAX_CALL_BYTES);
    take_token(p, &b, &behind_word);
    for (const struct token *t; !p->failed && (t = reader_peek(p, 0)) != NULL && !ends_type(t);) {
        bool open = token_is_symbol(t, '(') || token_is_symbol(t, '[');
        if (!open && !token_is_name(t) && !token_is_symbol(t, '.'))
            break;
        take_token(p, &b, &behind_word);
        if (open)
            take_modifier(p, &b, &behind_word, token_is_symbol(t, '(') ? ')' : ']');
    }
    return reader_take(p, &b);
}

/* A qualified name as an identifier in SQL: "a"."b". */
static const char *read_collation(struct reader *p)
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
    return reader_take(p, &b);
}

/* [NOT ENFORCED [{ENABLE | DISABLE} QUERY OPTIMIZATION] | ENFORCED] */
static void read_enforcement(struct reader *p)
{
    if (reader_accept(p, "not enforced")) {
        if (!reader_accept(p, "enable query optimization"))
            reader_accept(p, "disable query optimization");
    } else {
        reader_accept(p, "enforced");
    }
}

static bool read_key_word(struct reader *p)
{
    return reader_accept(p, "primary key") || reader_accept(p, "unique");
}

/* One constraint of a column, if there is one. */
static bool read_column_constraint(struct reader *p, struct column *c)
{
    bool named = reader_accept(p, "constraint");
    if (named)
        reader_name(p);
    if (reader_accept(p, "not null")) {
        c->not_null = true;
    } else if (reader_accept(p, "null")) {
        c->not_null = false;
    } else if (read_key_word(p)) {
        read_enforcement(p);
    } else {
        if (named)
            reader_mistake(p);
        return false;
    }
    return true;
}

static bool is_table_constraint(struct reader *p)
{
    return reader_is_word(p, 0, "constraint") || reader_is_word(p, 0, "unique") ||
           (reader_is_word(p, 0, "primary") && reader_is_word(p, 1, "key"));
}

static void read_table_constraint(struct reader *p)
{
    if (reader_accept(p, "constraint"))
        reader_name(p);
    if (!read_key_word(p))
        reader_mistake(p);
    reader_expect_symbol(p, '(');
    parse_name_list(p);
    reader_expect_symbol(p, ')');
    read_enforcement(p);
}

static bool add_column(struct reader *p, struct table *t, const struct column *c)
{
    if (t->column_count == t->column_capacity) {
        size_t more = t->column_capacity == 0 ? 32 : t->column_capacity * 2;
        struct column *columns = arena_alloc_array(p->arena, more, sizeof *columns);
        if (columns == NULL)
            return reader_no_memory(p);
        if (t->column_count > 0)
            memcpy(columns, t->columns, t->column_count * sizeof *columns);
        t->columns = columns;
        t->column_capacity = more;
    }
    t->columns[t->column_count++] = *c;
    return true;
}

static void read_column(struct reader *p, struct table *t)
{
    static const char *const reserved[] = {"like", "check", "foreign"};
    struct column c = {.name = NULL};
    struct parse_options ignored; /* options of columns mean nothing to Hudi tables */
    if (t->column_count == MAX_COLUMNS) {
        reader_mistake_at(p, reader_peek(p, 0), SQLSTATE_PROGRAM_LIMIT_EXCEEDED,
                          "a foreign table has at most %d columns", MAX_COLUMNS);
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (reader_is_word(p, 0, reserved[i]))
            reader_mistake(p);
    c.name = reader_name(p);
    c.type = read_type(p);
    for (bool more = true; more && !p->failed;) {
        if (reader_accept(p, "collate"))
            c.collation = read_collation(p);
        else if (reader_is_word(p, 0, "options"))
            parse_options(p, false, &ignored);
        else
            more = read_column_constraint(p, &c);
    }
    if (!p->failed)
        add_column(p, t, &c);
}

static void read_columns(struct reader *p, struct table *t)
{
    reader_expect_symbol(p, '(');
    if (reader_accept_symbol(p, ')'))
        return;
    do {
        if (is_table_constraint(p))
            read_table_constraint(p);
        else
            read_column(p, t);
    } while (reader_accept_symbol(p, ','));
    reader_expect_symbol(p, ')');
}

/* --- the clauses behind OPTIONS ----------------------------------------------------------------------- */

static void read_name_list_in_parentheses(struct reader *p)
{
    reader_expect_symbol(p, '(');
    parse_name_list(p);
    reader_expect_symbol(p, ')');
}

static void read_distribution(struct reader *p)
{
    if (reader_accept(p, "roundrobin") || reader_accept(p, "replication"))
        return;
    reader_expect(p, "hash");
    read_name_list_in_parentheses(p);
}

/* One clause. False: none is at hand. */
static bool read_clause(struct reader *p)
{
    struct slice value;
    if (reader_accept(p, "read only") || reader_accept(p, "write only") ||
        reader_accept(p, "read write"))
        return true;
    if (reader_accept(p, "distribute by")) {
        read_distribution(p);
    } else if (reader_accept(p, "partition by")) {
        read_name_list_in_parentheses(p);
        reader_accept(p, "automapped");
    } else if (reader_accept(p, "to group")) {
        reader_name(p);
    } else if (reader_accept(p, "to node")) {
        read_name_list_in_parentheses(p);
    } else if (reader_accept(p, "with") || reader_accept(p, "log into")) {
        reader_name(p);
    } else if (reader_accept(p, "remote log") || reader_accept(p, "per node reject limit")) {
        reader_string(p, &value);
    } else {
        return false;
    }
    return true;
}

static void read_clauses(struct reader *p, struct table *t)
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

static void put_column(struct reader *p, struct buf *b, const struct column *c)
{
    buf_append_cstr(b, "pg_catalog.jsonb_build_object('name', ");
    reader_put_cstr(p, b, c->name);
    buf_append_cstr(b, ", 'type', ");
    reader_put_cstr(p, b, c->type);
    buf_append_cstr(b, ", 'collation', ");
    reader_put_cstr(p, b, c->collation);
    buf_append_cstr(b, ", 'not_null', ");
    parse_put_bool(b, c->not_null);
    buf_append_cstr(b, ")");
}

static const char *write_create(struct reader *p, const struct table *t)
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
    reader_put_cstr(p, &b, t->server[0]);
    buf_append_cstr(&b, ", ");
    parse_put_options(p, &b, &t->options); /* the procedure refuses secrets: tables have none */
    buf_append_cstr(&b, ", ");
    parse_put_bool(&b, t->if_not_exists);
    buf_append_cstr(&b, ", ");
    reader_put_text(p, &b, t->distribution);
    buf_append_cstr(&b, ")");
    return reader_take(p, &b);
}

/* "table s.t": as the statement writes it, for handler_answer.about and makes. */
static const char *table_object(struct reader *p, const char *const *name)
{
    struct buf b;
    buf_init(&b, MAX_CALL_BYTES);
    buf_append_cstr(&b, "table");
    for (size_t i = 0; name[i] != NULL; i++)
        buf_printf(&b, "%c%s", i == 0 ? ' ' : '.', name[i]);
    return reader_take(p, &b);
}

enum handler_claim parse_create_table(struct arena *a, const struct handler_text *statement,
                                      struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct table t = {.server = {NULL, NULL}};
    p.ours = is_distributed(statement);
    reader_expect(&p, "create foreign table");
    t.if_not_exists = reader_accept(&p, "if not exists");
    t.name = parse_qualified_name(&p);
    read_columns(&p, &t);
    reader_expect(&p, "server");
    t.server[0] = reader_name(&p);
    if (reader_is_word(&p, 0, "options"))
        parse_options(&p, false, &t.options);
    read_clauses(&p, &t);
    enum handler_claim claim = reader_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    answer->call = write_create(&p, &t);
    answer->tag = "CREATE FOREIGN TABLE";
    if (!p.ours) {
        answer->ask = parse_ask(&p, "is_hudi_server", t.server);
        answer->about = arena_printf(a, "server %s", t.server[0]);
        if (answer->about == NULL)
            reader_no_memory(&p);
    }
    answer->makes = table_object(&p, t.name);
    return reader_end(&p);
}

/* --- ALTER and DROP ----------------------------------------------------------------------------------- */

/* pgveneer.is_hudi_foreign_table(ARRAY[…]) of each name, joined by AND. */
static const char *ask_tables(struct reader *p, const char *const *const *names, size_t count)
{
    struct buf b;
    buf_init(&b, MAX_CALL_BYTES);
    for (size_t i = 0; i < count; i++) {
        buf_append_cstr(&b, i > 0 ? " AND pgveneer.is_hudi_foreign_table("
                                  : "pgveneer.is_hudi_foreign_table(");
        parse_put_list(p, &b, names[i]);
        buf_append_cstr(&b, ")");
    }
    return reader_take(p, &b);
}

/* What the table is called after RENAME TO or SET SCHEMA; NULL when it keeps its name. */
static const char *changed_object(struct reader *p, const char *const *name, const char *rename_to,
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
    struct reader p = parse_begin(a, statement, err);
    struct parse_options options = {.count = 0};
    const char *rename_to = NULL, *owner_to = NULL, *set_schema = NULL;
    struct buf b;
    reader_expect(&p, "alter foreign table");
    bool if_exists = reader_accept(&p, "if exists");
    const char *const *name = parse_qualified_name(&p);
    if (reader_accept(&p, "rename to"))
        rename_to = reader_name(&p);
    else if (reader_accept(&p, "owner to"))
        owner_to = parse_role(&p);
    else if (reader_accept(&p, "set schema"))
        set_schema = reader_name(&p);
    else
        parse_options(&p, true, &options);
    enum handler_claim claim = reader_end(&p);
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
    reader_put_cstr(&p, &b, rename_to);
    buf_append_cstr(&b, ", 'owner_to', ");
    reader_put_cstr(&p, &b, owner_to);
    buf_append_cstr(&b, ", 'set_schema', ");
    reader_put_cstr(&p, &b, set_schema);
    buf_append_cstr(&b, "))");
    answer->call = reader_take(&p, &b);
    answer->tag = "ALTER FOREIGN TABLE";
    answer->ask = ask_tables(&p, &name, 1);
    answer->about = table_object(&p, name);
    answer->makes = changed_object(&p, name, rename_to, set_schema);
    return reader_end(&p);
}

/* name {, name} of tables. The array moves inside the arena. */
static const char *const **read_tables(struct reader *p, size_t *count)
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
            reader_no_memory(p);
            return NULL;
        }
        names[*count] = parse_qualified_name(p);
        *count += !p->failed;
    } while (reader_accept_symbol(p, ','));
    return names;
}

enum handler_claim parse_drop_table(struct arena *a, const struct handler_text *statement,
                                    struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct buf b;
    size_t count;
    reader_expect(&p, "drop foreign table");
    bool if_exists = reader_accept(&p, "if exists");
    const char *const **names = read_tables(&p, &count);
    bool cascade = reader_accept(&p, "cascade");
    if (!cascade)
        reader_accept(&p, "restrict");
    enum handler_claim claim = reader_end(&p);
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
    answer->call = reader_take(&p, &b);
    answer->tag = "DROP FOREIGN TABLE";
    answer->ask = ask_tables(&p, (const char *const *const *)names, count);
    answer->about = count == 1 ? table_object(&p, names[0]) : NULL;
    return reader_end(&p);
}
