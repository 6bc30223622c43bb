/* The tree comes as JSON: it is walked once by name, and copying it into structs would gain nothing. */
#include "inner_sql.h"

#include <pg_query.h>
#include <stdlib.h>
#include <string.h>

static bool read_tree(const PgQueryParseResult *r, struct json **out, struct err *err)
{
    if (r->error != NULL)
        return err_set(err, SQLSTATE_SYNTAX_ERROR, "%s", r->error->message);
    if (json_read(slice_cstr(r->parse_tree), out, err))
        return true;
    return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "statement is nested too deep");
}

bool inner_sql_read(struct slice text, struct json **out, struct err *err)
{
    *out = NULL;
    if (text.len > INNER_SQL_MAX_BYTES)
        return err_set(err, SQLSTATE_PROGRAM_LIMIT_EXCEEDED, "statement is too long");
    char *copy = calloc(text.len + 1, 1);
    if (copy == NULL)
        return err_no_memory(err);
    if (text.len > 0)
        memcpy(copy, text.data, text.len);
    PgQueryParseResult r = pg_query_parse(copy);
    bool ok = read_tree(&r, out, err);
    pg_query_free_parse_result(r);
    free(copy);
    return ok;
}
