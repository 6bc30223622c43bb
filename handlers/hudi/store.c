/* Which store a foreign table lies in, the registry knows: its server's type and options, and the
 * table's foldername. */
#include "store.h"

#include <string.h>
#include <strings.h>

static const char table_query[] =
    "SELECT s.type, f.options ->> 'foldername', f.options ->> 'format',"
    "       pg_catalog.format('%I.%I', n.nspname, c.relname)"
    "  FROM pgveneer.foreign_table f"
    "  JOIN pgveneer.foreign_server s ON s.name = f.server"
    "  JOIN pg_catalog.pg_class c ON c.oid = f.relid"
    "  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE f.relid = $1::pg_catalog.oid";

enum { TABLE_TYPE, TABLE_FOLDERNAME, TABLE_FORMAT, TABLE_NAME };

bool hudi_store_is_misconfigured(const struct err *err)
{
    static const char *const for_a_person[] = {
        SQLSTATE_INSUFFICIENT_PRIVILEGE, SQLSTATE_FEATURE_NOT_SUPPORTED, SQLSTATE_UNDEFINED_TABLE,
        SQLSTATE_WRONG_OBJECT_TYPE, SQLSTATE_INVALID_PARAMETER_VALUE};
    for (size_t i = 0; i < ARRAY_LEN(for_a_person); i++)
        if (strcmp(err->sqlstate, for_a_person[i]) == 0)
            return true;
    return false;
}

static bool open_by_type(struct job *job, const struct pgresult *r, struct objstore **out,
                         struct err *err)
{
    const char *type = pgresult_value(r, 0, TABLE_TYPE);
    const char *folder = pgresult_value(r, 0, TABLE_FOLDERNAME);
    const char *format = pgresult_value(r, 0, TABLE_FORMAT);
    if (folder == NULL || (format != NULL && strcasecmp(format, "hudi") != 0))
        return err_set(err, SQLSTATE_WRONG_OBJECT_TYPE, "\"%s\" is not a Hudi foreign table",
                       pgresult_value(r, 0, TABLE_NAME));
    if (type != NULL && strcasecmp(type, "local") == 0)
        return objstore_open_local(folder, job->settings->hudi_local_roots, out, err);
    err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
            "reading Hudi tables from servers of type \"%s\" comes with a later release",
            type == NULL ? "" : type);
    return err_hint(err, "A server of type 'local' reads a directory below hudi_local_roots.");
}

bool hudi_store_open(struct arena *a, struct job *job, const char *ftable_oid,
                     struct objstore **out, struct err *err)
{
    const char *values[] = {ftable_oid};
    struct pgresult *r;
    (void)a;
    *out = NULL;
    if (!pgclient_query(job->db, table_query, 1, values, &r, err))
        return false;
    bool ok = pgresult_rows(r) > 0
                  ? open_by_type(job, r, out, err)
                  : err_set(err, SQLSTATE_UNDEFINED_TABLE,
                            "foreign table with OID %s does not exist", ftable_oid);
    pgresult_free(r);
    return ok;
}
