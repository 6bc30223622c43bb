/* Who may use a server: GRANT and REVOKE USAGE ON FOREIGN SERVER, user mappings, and the attribute
 * USEFT of DWS (ALTER USER u USEFT). All but the last are PostgreSQL's own statements, and ours only
 * when the registry knows the server. */
#include <string.h>

#include "parse.h"

#define MAX_CALL_BYTES ((size_t)1 << 26)

static const char *server_object(struct reader *p, const char *name)
{
    const char *text = arena_printf(p->arena, "server %s", name);
    if (text == NULL)
        reader_no_memory(p);
    return text;
}

/* --- GRANT and REVOKE ----------------------------------------------------------------------------------- */

struct grant {
    const char *const *servers;
    const char *const *roles;
    bool option; /* WITH GRANT OPTION, or CASCADE of a REVOKE */
};

/* role {, role}, NULL-terminated; GROUP may stand before each. */
static const char *const *read_roles(struct reader *p)
{
    size_t count = 0, capacity = 8;
    const char **roles = arena_alloc_array(p->arena, capacity, sizeof *roles);
    do {
        if (roles != NULL && count + 2 > capacity) {
            const char **more = arena_alloc_array(p->arena, capacity * 2, sizeof *more);
            if (more != NULL)
                memcpy(more, roles, count * sizeof *more);
            roles = more;
            capacity *= 2;
        }
        if (roles == NULL) {
            reader_no_memory(p);
            return NULL;
        }
        if (reader_is_word(p, 0, "group"))
            reader_accept(p, "group");
        roles[count] = parse_role(p);
        if (roles[count++] == NULL)
            return NULL;
    } while (reader_accept_symbol(p, ','));
    roles[count] = NULL;
    return roles;
}

static void read_servers(struct reader *p, struct grant *g)
{
    if (!reader_accept(p, "usage") && !reader_accept(p, "all privileges"))
        reader_expect(p, "all");
    reader_expect(p, "on foreign server");
    g->servers = parse_name_list(p);
}

static enum handler_claim write_grant(struct reader *p, const struct grant *g,
                                      const char *procedure, const char *tag,
                                      struct handler_answer *answer)
{
    struct buf b;
    enum handler_claim claim = reader_end(p);
    if (claim != HANDLER_ANSWER)
        return claim;
    buf_init(&b, MAX_CALL_BYTES);
    buf_printf(&b, "CALL pgveneer.%s(", procedure);
    parse_put_list(p, &b, g->servers);
    buf_append_cstr(&b, ", ");
    parse_put_list(p, &b, g->roles);
    buf_append_cstr(&b, ", ");
    parse_put_bool(&b, g->option);
    buf_append_cstr(&b, ")");
    answer->call = reader_take(p, &b);
    answer->tag = tag;
    answer->ask = parse_ask(p, "is_hudi_server", g->servers);
    answer->about = g->servers[1] == NULL ? server_object(p, g->servers[0]) : NULL;
    return reader_end(p);
}

enum handler_claim parse_grant_server(struct arena *a, const struct handler_text *statement,
                                      struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct grant g = {.option = false};
    reader_expect(&p, "grant");
    read_servers(&p, &g);
    reader_expect(&p, "to");
    g.roles = read_roles(&p);
    g.option = reader_accept(&p, "with grant option");
    return write_grant(&p, &g, "grant_server_usage", "GRANT", answer);
}

enum handler_claim parse_revoke_server(struct arena *a, const struct handler_text *statement,
                                       struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct grant g = {.option = false};
    reader_expect(&p, "revoke");
    read_servers(&p, &g);
    reader_expect(&p, "from");
    g.roles = read_roles(&p);
    g.option = reader_accept(&p, "cascade");
    if (!g.option)
        reader_accept(&p, "restrict");
    return write_grant(&p, &g, "revoke_server_usage", "REVOKE", answer);
}

/* --- user mappings ----------------------------------------------------------------------------------- */

struct mapping {
    const char *role;
    const char *server[2]; /* NULL-terminated list of one */
};

static void read_mapping(struct reader *p, struct mapping *m)
{
    reader_expect(p, "for");
    m->role = parse_role(p);
    reader_expect(p, "server");
    m->server[0] = reader_name(p);
    m->server[1] = NULL;
}

/* CALL pgveneer.procedure(role, server, */
static void write_mapping(struct reader *p, struct buf *b, const char *procedure,
                          const struct mapping *m)
{
    buf_init(b, MAX_CALL_BYTES);
    buf_printf(b, "CALL pgveneer.%s(", procedure);
    reader_put_cstr(p, b, m->role);
    buf_append_cstr(b, ", ");
    reader_put_cstr(p, b, m->server[0]);
    buf_append_cstr(b, ", ");
}

static enum handler_claim answer_mapping(struct reader *p, struct buf *b, const char *tag,
                                         const struct mapping *m, struct handler_answer *answer)
{
    answer->call = reader_take(p, b);
    answer->tag = tag;
    answer->ask = parse_ask(p, "is_hudi_server", m->server);
    answer->about = server_object(p, m->server[0]);
    return reader_end(p);
}

enum handler_claim parse_create_mapping(struct arena *a, const struct handler_text *statement,
                                        struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct parse_options options = {.count = 0};
    struct mapping m;
    struct buf b;
    reader_expect(&p, "create user mapping");
    bool if_not_exists = reader_accept(&p, "if not exists");
    read_mapping(&p, &m);
    if (reader_is_word(&p, 0, "options"))
        parse_options(&p, false, &options);
    enum handler_claim claim = reader_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    write_mapping(&p, &b, "create_user_mapping", &m);
    parse_put_options(&p, &b, &options);
    buf_append_cstr(&b, ", ");
    parse_put_bool(&b, if_not_exists);
    buf_append_cstr(&b, ")");
    answer->secrets = parse_secrets(&p, &options);
    return answer_mapping(&p, &b, "CREATE USER MAPPING", &m, answer);
}

enum handler_claim parse_alter_mapping(struct arena *a, const struct handler_text *statement,
                                       struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct parse_options options = {.count = 0};
    struct mapping m;
    struct buf b;
    reader_expect(&p, "alter user mapping");
    read_mapping(&p, &m);
    parse_options(&p, true, &options);
    enum handler_claim claim = reader_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    write_mapping(&p, &b, "alter_user_mapping", &m);
    buf_append_cstr(&b, "pg_catalog.jsonb_build_object('options', ");
    parse_put_changes(&p, &b, &options);
    buf_append_cstr(&b, "))");
    answer->secrets = parse_secrets(&p, &options);
    return answer_mapping(&p, &b, "ALTER USER MAPPING", &m, answer);
}

enum handler_claim parse_drop_mapping(struct arena *a, const struct handler_text *statement,
                                      struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct mapping m;
    struct buf b;
    reader_expect(&p, "drop user mapping");
    bool if_exists = reader_accept(&p, "if exists");
    read_mapping(&p, &m);
    enum handler_claim claim = reader_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    write_mapping(&p, &b, "drop_user_mapping", &m);
    parse_put_bool(&b, if_exists);
    buf_append_cstr(&b, ")");
    return answer_mapping(&p, &b, "DROP USER MAPPING", &m, answer);
}

/* --- USEFT -------------------------------------------------------------------------------------------- */

/* ALTER {USER | ROLE} r [WITH] {USEFT | NOUSEFT}. No question: PostgreSQL has no such attribute. Any
 * other form, or USEFT among other attributes, is the server's to judge. */
enum handler_claim parse_alter_user(struct arena *a, const struct handler_text *statement,
                                    struct handler_answer *answer, struct err *err)
{
    struct reader p = parse_begin(a, statement, err);
    struct buf b;
    reader_expect(&p, "alter");
    if (!reader_accept(&p, "user"))
        reader_expect(&p, "role");
    const char *role = parse_role(&p);
    reader_accept(&p, "with");
    bool useft = reader_accept(&p, "useft");
    if (!useft)
        reader_expect(&p, "nouseft");
    enum handler_claim claim = reader_end(&p);
    if (claim != HANDLER_ANSWER)
        return claim;

    buf_init(&b, MAX_CALL_BYTES);
    buf_append_cstr(&b, "CALL pgveneer.alter_user_useft(");
    reader_put_cstr(&p, &b, role);
    buf_append_cstr(&b, ", ");
    parse_put_bool(&b, useft);
    buf_append_cstr(&b, ")");
    answer->call = reader_take(&p, &b);
    answer->tag = "ALTER ROLE";
    return reader_end(&p);
}
