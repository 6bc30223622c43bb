/* CREATE, ALTER and DROP SERVER (DWS SQL reference, "CREATE SERVER" and its like; the grammar is
 * PostgreSQL's). Servers of dfs_fdw and hdfs_fdw are ours, unless a real wrapper of that name exists;
 * whether the server of an ALTER or DROP is one of them, only the registry knows: it is asked. */
#include <string.h>

#include "parse.h"

#define MAX_CALL_BYTES ((size_t)1 << 26)

/* An object for handler_answer.about and makes: "server s1". */
static const char *server_object(struct reader *p, const char *name)
{
    const char *text = name == NULL ? NULL : arena_printf(p->arena, "server %s", name);
    if (text == NULL)
        reader_no_memory(p);
    return text;
}

/* TYPE 't' is the option of that name; VERSION has no meaning for a store. */
static void read_type_and_version(struct reader *p, struct parse_option *type)
{
    if (reader_accept(p, "type")) {
        *type = (struct parse_option){.action = "add", .name = "type"};
        reader_string(p, &type->value);
    }
    const struct token *t = reader_peek(p, 0);
    if (reader_accept(p, "version")) {
        struct slice version;
        if (reader_string(p, &version))
            reader_mistake_at(p, t, SQLSTATE_FEATURE_NOT_SUPPORTED,
                              "servers of Hudi tables have no version");
    }
}

/* Which wrapper does the statement name? It stands behind FOREIGN DATA WRAPPER, and tells whether the
 * whole is ours before its clauses are read. */
static bool names_our_wrapper(const struct handler_text *s)
{
    for (size_t i = 0; i + 3 < s->count; i++)
        if (token_is_word(&s->tokens[i], "foreign") && token_is_word(&s->tokens[i + 1], "data") &&
            token_is_word(&s->tokens[i + 2], "wrapper"))
            return strcmp(s->tokens[i + 3].name, "dfs_fdw") == 0 ||
                   strcmp(s->tokens[i + 3].name, "hdfs_fdw") == 0;
    return false;
}

enum handler_claim parse_create_server(struct arena *a, const struct handler_text *statement,
                                       struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct parse_options options = {.count = 0};
    struct parse_option type = {.name = NULL};
    struct buf b;
    if (!names_our_wrapper(statement))
        return HANDLER_PASS;
    p.ours = true;
    reader_expect(&p, "create server");
    bool if_not_exists = reader_accept(&p, "if not exists");
    const char *name = reader_name(&p);
    read_type_and_version(&p, &type);
    reader_expect(&p, "foreign data wrapper");
    const char *const wrapper[] = {reader_name(&p), NULL};
    if (reader_is_word(&p, 0, "options"))
        parse_options(&p, false, &options);
    if (type.name != NULL && !parse_options_have(&options, "type"))
        parse_options_add(&p, &options, type);
    enum handler_claim claim = reader_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    buf_init(&b, MAX_CALL_BYTES);
    buf_append_cstr(&b, "CALL pgveneer.create_server(");
    reader_put_cstr(&p, &b, name);
    buf_append_cstr(&b, ", ");
    reader_put_cstr(&p, &b, wrapper[0]);
    buf_append_cstr(&b, ", ");
    parse_put_options(&p, &b, &options);
    buf_append_cstr(&b, ", ");
    parse_put_bool(&b, if_not_exists);
    buf_append_cstr(&b, ")");
    answer->call = reader_take(&p, &b);
    answer->tag = "CREATE SERVER";
    answer->ask = parse_ask(&p, "is_hudi_wrapper", wrapper);
    answer->makes = server_object(&p, name);
    answer->secrets = parse_secrets(&p, &options);
    return reader_end(&p);
}

enum handler_claim parse_alter_server(struct arena *a, const struct handler_text *statement,
                                      struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct parse_options options = {.count = 0};
    struct buf b;
    const char *rename_to = NULL, *owner_to = NULL;
    reader_expect(&p, "alter server");
    const char *const name[] = {reader_name(&p), NULL};
    if (reader_accept(&p, "rename to"))
        rename_to = reader_name(&p);
    else if (reader_accept(&p, "owner to"))
        owner_to = parse_role(&p);
    else
        parse_options(&p, true, &options);
    enum handler_claim claim = reader_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    buf_init(&b, MAX_CALL_BYTES);
    buf_append_cstr(&b, "CALL pgveneer.alter_server(");
    reader_put_cstr(&p, &b, name[0]);
    buf_append_cstr(&b, ", pg_catalog.jsonb_build_object('options', ");
    parse_put_changes(&p, &b, &options);
    buf_append_cstr(&b, ", 'rename_to', ");
    reader_put_cstr(&p, &b, rename_to);
    buf_append_cstr(&b, ", 'owner_to', ");
    reader_put_cstr(&p, &b, owner_to);
    buf_append_cstr(&b, "))");
    answer->call = reader_take(&p, &b);
    answer->tag = "ALTER SERVER";
    answer->ask = parse_ask(&p, "is_hudi_server", name);
    answer->about = server_object(&p, name[0]);
    answer->makes = rename_to != NULL ? server_object(&p, rename_to) : NULL;
    answer->secrets = parse_secrets(&p, &options);
    return reader_end(&p);
}

enum handler_claim parse_drop_server(struct arena *a, const struct handler_text *statement,
                                     struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct buf b;
    reader_expect(&p, "drop server");
    bool if_exists = reader_accept(&p, "if exists");
    const char *const *names = parse_name_list(&p);
    bool cascade = reader_accept(&p, "cascade");
    if (!cascade)
        reader_accept(&p, "restrict");
    enum handler_claim claim = reader_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    buf_init(&b, MAX_CALL_BYTES);
    buf_append_cstr(&b, "CALL pgveneer.drop_server(");
    parse_put_list(&p, &b, names);
    buf_append_cstr(&b, ", ");
    parse_put_bool(&b, if_exists);
    buf_append_cstr(&b, ", ");
    parse_put_bool(&b, cascade);
    buf_append_cstr(&b, ")");
    answer->call = reader_take(&p, &b);
    answer->tag = "DROP SERVER";
    answer->ask = parse_ask(&p, "is_hudi_server", names);
    answer->about = names[1] == NULL ? server_object(&p, names[0]) : NULL;
    return reader_end(&p);
}
