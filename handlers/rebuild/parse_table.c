/* SUSPEND and RESUME; table properties of the vendor in ALTER TABLE … SET and CREATE TABLE … WITH
 * (Hologres, "REBUILD" and "CREATE TABLE"; spec/rebuild.md section 1.3).
 *
 * An ALTER TABLE or CREATE TABLE is ours if it names one of the vendor's properties; everything else
 * about it is PostgreSQL's. Of a CREATE TABLE the properties are cut out, the server makes the table
 * from the rest, and the properties are stored behind it. */
#include <string.h>

#include "base/attr.h"

#include "parse.h"

bool rebuild_is_property(const char *name)
{
    static const char *const names[] = {
        "readonly",
        "orientation",
        "distribution_key",
        "clustering_key",
        "event_time_column",
        "segment_key",
        "bitmap_columns",
        "dictionary_encoding_columns",
        "table_group",
        "time_to_live_in_seconds",
        "storage_format",
        "binlog_level",
        "binlog.level",
        "binlog_ttl",
        "binlog.ttl",
        "partition_expiration_time",
        "keep_alive",
        "partition_keep_hot_window",
        "binlog",
        "partition_require_filter",
        "storage_mode",
        "partition_generate_binlog_window",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return strncmp(name, "auto_partitioning", 17) == 0;
}

/* --- tasks --------------------------------------------------------------------------------------- */

static enum handler_claim call_with_id(struct arena *a, const struct handler_text *statement,
                                       struct handler_answer *answer, struct err *err,
                                       const char *word, const char *procedure)
{
    struct buf call;
    struct slice id;
    struct reader r = rebuild_begin(a, statement, &call, err);
    reader_expect(&r, word);
    const struct token *t = reader_peek(&r, 0);
    r.ours = t != NULL && t->kind == TOKEN_STRING;
    call_put(&r, procedure);
    if (reader_string(&r, &id))
        call_put_text(&r, id);
    call_put(&r, ")");
    answer->wakes_workers = true;
    return rebuild_end(&r, answer);
}

enum handler_claim rebuild_parse_suspend(struct arena *a, const struct handler_text *statement,
                                         struct handler_answer *answer, struct err *err)
{
    answer->tag = "SUSPEND";
    return call_with_id(a, statement, answer, err, "suspend", "CALL hologres.rebuild_suspend(");
}

enum handler_claim rebuild_parse_resume(struct arena *a, const struct handler_text *statement,
                                        struct handler_answer *answer, struct err *err)
{
    answer->tag = "RESUME";
    return call_with_id(a, statement, answer, err, "resume", "CALL hologres.rebuild_resume(");
}

/* --- ALTER TABLE ----------------------------------------------------------------------------------- */

/* Does a list of parameters, whose bracket is open, name a property of the vendor? */
static bool names_property(struct reader r)
{
    do {
        struct slice value;
        const char *name = reader_parameter_name(&r);
        const struct token *t = reader_peek(&r, 0);
        if (name == NULL || t == NULL)
            return false;
        if (rebuild_is_property(name))
            return true;
        if (t->kind == TOKEN_OPERATOR && !reader_text(&r, NULL, &value))
            return false;
    } while (reader_accept_symbol(&r, ','));
    return false;
}

/* (ddl_options, write_options), in any order, one or both */
static void read_options(struct reader *r)
{
    reader_expect_symbol(r, '(');
    do {
        if (!reader_accept(r, "ddl_options") && !reader_accept(r, "write_options"))
            reader_mistake(r);
    } while (reader_accept_symbol(r, ','));
    reader_expect_symbol(r, ')');
}

static bool is_reset_of_options(const struct reader *r)
{
    const struct token *bracket = reader_peek(r, 0);
    const struct token *word = reader_peek(r, 1);
    return bracket != NULL && word != NULL && token_is_symbol(bracket, '(') &&
           (token_is_word(word, "ddl_options") || token_is_word(word, "write_options"));
}

enum handler_claim rebuild_parse_alter(struct arena *a, const struct handler_text *statement,
                                       struct handler_answer *answer, struct err *err)
{
    struct buf call;
    struct reader r = rebuild_begin(a, statement, &call, err);
    reader_expect(&r, "alter table");
    bool if_exists = reader_accept(&r, "if exists");
    reader_accept(&r, "only");
    call_put(&r, "CALL hologres.alter_table(");
    call_copy_qualified(&r);
    call_put(&r, if_exists ? ", true, " : ", false, ");
    if (reader_accept(&r, "set reset") || reader_accept(&r, "reset")) {
        r.ours = is_reset_of_options(&r);
        read_options(&r);
        call_put(&r, "'[{\"name\": \"readonly\", \"value\": \"false\"}]'::pg_catalog.jsonb");
    } else if (reader_expect(&r, "set") && reader_expect_symbol(&r, '(')) {
        r.ours = names_property(r);
        call_copy_parameters(&r);
        reader_expect_symbol(&r, ')');
    }
    call_put(&r, ")");
    if (!r.ours)
        reader_mistake(&r);
    answer->tag = "ALTER TABLE";
    return rebuild_end(&r, answer);
}

/* --- CREATE TABLE ---------------------------------------------------------------------------------- */

/* The bracket behind the WITH of a CREATE TABLE, outside brackets; false: there is none. */
static bool find_with(struct reader *r)
{
    size_t depth = 0;
    for (const struct token *t; (t = reader_peek(r, 0)) != NULL; r->at++) {
        if (depth == 0 && token_is_word(t, "as"))
            return false;
        if (depth == 0 && token_is_word(t, "with")) {
            r->at++;
            return reader_accept_symbol(r, '(');
        }
        depth += token_is_symbol(t, '(');
        depth -= depth > 0 && token_is_symbol(t, ')');
    }
    return false;
}

/* WITH (…) in two lists: the vendor's parameters go into the call, the others stay in the text. */
static void split_parameters(struct reader *r, struct buf *stays)
{
    size_t ours = 0, others = 0;
    call_put(r, "pg_catalog.jsonb_build_array(VARIADIC ARRAY[");
    do {
        struct slice value = {.len = 0}, text;
        size_t first = r->at;
        const char *name = reader_parameter_name(r);
        if (name == NULL)
            return;
        bool is_ours = rebuild_is_property(name);
        const struct token *t = reader_peek(r, 0);
        if (t != NULL && t->kind == TOKEN_OPERATOR) {
            r->at++;
            if (is_ours ? !reader_value(r, &value) : !reader_text(r, NULL, &value))
                return;
        }
        text = slice_part(r->statement->text, r->statement->tokens[first].start,
                          r->statement->tokens[r->at - 1].end);
        if (!is_ours) {
            buf_append_cstr(stays, others++ == 0 ? "WITH (" : ", ");
            buf_append_slice(stays, text);
            continue;
        }
        call_put(r, ours++ == 0 ? "" : ", ");
        call_put(r, "pg_catalog.jsonb_build_object('name', ");
        call_put_name(r, name);
        call_put(r, ", 'value', ");
        if (value.data == NULL)
            call_put(r, "NULL");
        else
            call_put_text(r, value);
        call_put(r, ")");
    } while (reader_accept_symbol(r, ','));
    call_put(r, "]::pg_catalog.jsonb[])");
    buf_append_cstr(stays, others > 0 ? ")" : "");
}

/* CREATE [UNLOGGED] TABLE [IF NOT EXISTS]; whether the table may exist is the result */
static bool read_create(struct reader *r)
{
    reader_expect(r, "create");
    reader_accept(r, "unlogged");
    reader_expect(r, "table");
    return reader_accept(r, "if not exists");
}

enum handler_claim rebuild_parse_create(struct arena *a, const struct handler_text *statement,
                                        struct handler_answer *answer, struct err *err)
{
    struct buf call, rest;
    struct reader r = rebuild_begin(a, statement, &call, err);
    bool if_not_exists = read_create(&r);
    call_put(&r, "CALL hologres.create_table(");
    call_copy_qualified(&r);
    r.ours = !r.failed && find_with(&r) && names_property(r);
    if (!r.ours) {
        r.failed = true;
        return rebuild_end(&r, answer);
    }
    size_t with = statement->tokens[r.at - 2].start;
    buf_init(&rest, call.max_bytes);
    buf_append_slice(&rest, slice_part(statement->text, statement->tokens[0].start, with));
    call_put(&r, if_not_exists ? ", true, " : ", false, ");
    split_parameters(&r, &rest);
    size_t behind = r.at < statement->count ? statement->tokens[r.at].end : 0;
    if (reader_expect_symbol(&r, ')')) {
        buf_append_slice(&rest, slice_part(statement->text, behind,
                                           statement->tokens[statement->count - 1].end));
        r.at = statement->count;
    }
    call_put(&r, ", ");
    call_put_text(&r, buf_slice(&rest));
    call_put(&r, ")");
    r.call->failed = r.call->failed || rest.failed;
    buf_fini(&rest);
    answer->tag = "CREATE TABLE";
    return rebuild_end(&r, answer);
}
