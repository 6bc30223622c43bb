/* ASYNC REBUILD TABLE [IF EXISTS] name [WITH (parameter [= value], …)] action [, …]
 * (Hologres, "REBUILD"; seeds/002). Becomes a SELECT of one row, or of none where IF EXISTS finds no table. */
#include <string.h>

#include "parse.h"

static void put_action(struct reader *r, const char *action, const char *column)
{
    call_put(r, "pg_catalog.jsonb_build_object('do', '");
    call_put(r, action);
    call_put(r, "', 'column', ");
    call_put_name(r, column);
}

/* What may stand behind REFERENCES table. */
static void skip_reference_clause(struct reader *r)
{
    if (reader_accept_symbol(r, '(')) {
        reader_name(r);
        reader_expect_symbol(r, ')');
    }
    for (;;) {
        if (reader_accept(r, "match")) {
            reader_name(r);
        } else if (reader_accept(r, "on")) {
            if (!reader_accept(r, "delete"))
                reader_expect(r, "update");
            if (!reader_accept(r, "no action") && !reader_accept(r, "restrict") &&
                !reader_accept(r, "cascade") && !reader_accept(r, "set null"))
                reader_expect(r, "set default");
        } else if (!reader_accept(r, "deferrable") && !reader_accept(r, "not deferrable") &&
                   !reader_accept(r, "initially deferred") &&
                   !reader_accept(r, "initially immediate")) {
            return;
        }
    }
}

/* REFERENCES table …: a foreign key is added apart from its column, which stands in a copy before. */
static void read_reference(struct reader *r, const char *constraint)
{
    reader_expect(r, "references");
    call_put(r, ", 'references', pg_catalog.jsonb_build_object('name', ");
    call_put_name(r, constraint);
    call_put(r, ", 'table', pg_catalog.to_jsonb(");
    call_copy_qualified(r);
    call_put(r, "), 'clause', ");
    size_t first = r->at;
    skip_reference_clause(r);
    if (r->failed)
        return;
    const struct token *tokens = r->statement->tokens;
    call_put_text(r, r->at == first ? slice_cstr("")
                                    : slice_part(r->statement->text, tokens[first].start,
                                                 tokens[r->at - 1].end));
    call_put(r, ")");
}

/* The name in CONSTRAINT name, which the text that was read from token `first` ends with; the text is
 * shortened by it. NULL: there is none. */
static const char *take_constraint_name(struct reader *r, size_t first, struct slice *text)
{
    const struct token *tokens = r->statement->tokens;
    if (r->at < first + 3 || !token_is_word(&tokens[r->at - 2], "constraint") ||
        !token_is_name(&tokens[r->at - 1]))
        return NULL;
    *text = slice_part(r->statement->text, tokens[first].start, tokens[r->at - 3].end);
    return tokens[r->at - 1].name;
}

/* ADD COLUMN c type constraints: all behind the name is one text, but for what refers to a table. */
static void read_add(struct reader *r)
{
    static const char *const not_columns[] = {"constraint", "primary", "unique",
                                              "foreign",    "check",   "exclude"};
    struct slice before, after = slice_cstr("");
    reader_accept(r, "column");
    const struct token *t = reader_peek(r, 0);
    for (size_t i = 0; t != NULL && i < sizeof not_columns / sizeof not_columns[0]; i++)
        if (token_is_word(t, not_columns[i]))
            reader_mistake(r);
    put_action(r, "add", reader_name(r));
    size_t first = r->at;
    if (!reader_text(r, "references", &before))
        return;
    if (reader_is_word(r, 0, "references")) {
        read_reference(r, take_constraint_name(r, first, &before));
        const struct token *next = reader_peek(r, 0);
        if (next != NULL && !token_is_symbol(next, ',') && !reader_text(r, "references", &after))
            return;
    }
    char *definition = arena_printf(r->arena, "%.*s %.*s", (int)before.len, before.data,
                                    (int)after.len, after.data);
    call_put(r, ", 'definition', ");
    if (definition == NULL)
        reader_no_memory(r);
    else
        call_put_text(r, after.len == 0 ? before : slice_cstr(definition));
    call_put(r, ")");
}

static void read_type(struct reader *r, const char *column)
{
    struct slice type, expression;
    put_action(r, "type", column);
    if (!reader_text(r, "using", &type))
        return;
    call_put(r, ", 'type', ");
    call_put_text(r, type);
    if (reader_accept(r, "using") && reader_text(r, NULL, &expression)) {
        call_put(r, ", 'using', ");
        call_put_text(r, expression);
    }
    call_put(r, ")");
}

static void read_alter(struct reader *r)
{
    struct slice expression;
    if (reader_accept(r, "primary key")) {
        put_action(r, "primary_key", NULL);
        call_put(r, ", 'columns', ");
        call_copy_columns(r);
        call_put(r, ")");
        return;
    }
    reader_accept(r, "column");
    const char *column = reader_name(r);
    if (reader_accept(r, "set data type") || reader_accept(r, "type")) {
        read_type(r, column);
    } else if (reader_accept(r, "set default")) {
        put_action(r, "set_default", column);
        call_put(r, ", 'expression', ");
        if (reader_text(r, NULL, &expression))
            call_put_text(r, expression);
        call_put(r, ")");
    } else if (reader_accept(r, "drop default")) {
        put_action(r, "drop_default", column);
        call_put(r, ")");
    } else if (reader_accept(r, "set not null")) {
        put_action(r, "set_not_null", column);
        call_put(r, ")");
    } else if (reader_expect(r, "drop not null")) {
        put_action(r, "drop_not_null", column);
        call_put(r, ")");
    }
}

static void read_partition(struct reader *r)
{
    put_action(r, "partition", NULL);
    call_put(r, reader_accept(r, "logical") ? ", 'logical', true" : ", 'logical', false");
    reader_expect(r, "partition");
    if (reader_accept(r, "by list")) {
        call_put(r, ", 'columns', ");
        call_copy_columns(r);
    }
    call_put(r, ")");
}

static void read_action(struct reader *r)
{
    if (reader_accept(r, "add")) {
        read_add(r);
    } else if (reader_accept(r, "alter")) {
        read_alter(r);
    } else if (reader_accept(r, "to")) {
        read_partition(r);
    } else if (reader_expect(r, "set") && reader_expect_symbol(r, '(')) {
        put_action(r, "set", NULL);
        call_put(r, ", 'properties', ");
        call_copy_parameters(r);
        call_put(r, ")");
        reader_expect_symbol(r, ')');
    }
}

enum handler_claim rebuild_parse_submit(struct arena *a, const struct handler_text *statement,
                                        struct handler_answer *answer, struct err *err)
{
    struct buf call;
    struct reader r = rebuild_begin(a, statement, &call, err);
    reader_expect(&r, "async rebuild table");
    bool if_exists = reader_accept(&r, "if exists");
    call_put(&r, "SELECT query_id FROM hologres.rebuild_submit(");
    call_copy_qualified(&r);
    call_put(&r, if_exists ? ", true, " : ", false, ");
    if (reader_accept(&r, "with") && reader_expect_symbol(&r, '(')) {
        call_copy_parameters(&r);
        reader_expect_symbol(&r, ')');
    } else {
        call_put(&r, "'[]'::pg_catalog.jsonb");
    }
    call_put(&r, ", pg_catalog.jsonb_build_array(VARIADIC ARRAY[");
    read_action(&r);
    while (reader_accept_symbol(&r, ',')) {
        call_put(&r, ", ");
        read_action(&r);
    }
    call_put(&r, "]::pg_catalog.jsonb[]), ");
    if (statement->count > 0)
        call_put_text(&r, slice_part(statement->text, statement->tokens[0].start,
                                     statement->tokens[statement->count - 1].end));
    call_put(&r, ")");
    answer->tag = "ASYNC REBUILD TABLE";
    answer->wakes_workers = true;
    r.ours = true;
    return rebuild_end(&r, answer);
}
