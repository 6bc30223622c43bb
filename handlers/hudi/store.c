/* Which store a foreign table lies in, the registry knows: its server's type and options, the table's
 * foldername, and the keys, which stand in pgveneer.secret, where only the service role reads.
 *
 * Keys of a user mapping go before those of the server, as a whole: a key of the one with a secret of
 * the other would be nonsense. The mapping is that of the task's owner, or PUBLIC's.
 *
 * They may be encrypted (protocol/sealed.h). Values that were read are handed over and wiped. */
#include "store.h"

#include <string.h>
#include <strings.h>

#include "base/buf.h"
#include "protocol/sealed.h"

#define STORE_KEY_BYTES ((size_t)64 << 10)

static const char table_query[] =
    "SELECT s.type, f.options ->> 'foldername', f.options ->> 'format',"
    "       pg_catalog.format('%I.%I', n.nspname, c.relname), s.name"
    "  FROM pgveneer.foreign_table f"
    "  JOIN pgveneer.foreign_server s ON s.name = f.server"
    "  JOIN pg_catalog.pg_class c ON c.oid = f.relid"
    "  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE f.relid = $1::pg_catalog.oid";

static const char options_query[] =
    "WITH mapping AS ("
    "  SELECT m.role, m.options FROM pgveneer.user_mapping m"
    "   WHERE m.server = $1"
    "     AND m.role IN (0, (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = $2))"
    "   ORDER BY m.role = 0 LIMIT 1),"
    " option AS ("
    "  SELECT false AS mapped, 0::pg_catalog.oid AS role, o.key, o.value"
    "    FROM pgveneer.foreign_server s, pg_catalog.jsonb_each_text(s.options) o WHERE s.name = $1"
    "  UNION ALL"
    "  SELECT true, m.role, o.key, o.value"
    "    FROM mapping m, pg_catalog.jsonb_each_text(m.options) o)"
    "SELECT o.mapped, o.key, coalesce(x.value, o.value)"
    "  FROM option o LEFT JOIN pgveneer.secret x"
    "    ON x.server = $1 AND x.mapping = o.mapped AND x.role = o.role AND x.name = o.key";

bool hudi_store_is_misconfigured(const struct err *err)
{
    static const char *const for_a_person[] = {SQLSTATE_INSUFFICIENT_PRIVILEGE,
                                               SQLSTATE_FEATURE_NOT_SUPPORTED,
                                               SQLSTATE_UNDEFINED_TABLE,
                                               SQLSTATE_WRONG_OBJECT_TYPE,
                                               SQLSTATE_INVALID_PARAMETER_VALUE,
                                               SQLSTATE_INVALID_PASSWORD,
                                               SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE};
    for (size_t i = 0; i < ARRAY_LEN(for_a_person); i++)
        if (strcmp(err->sqlstate, for_a_person[i]) == 0)
            return true;
    return false;
}

/* Value of an option of the server or of the mapping; NULL: not set. */
static const char *find_option(const struct pgresult *r, bool mapped, const char *name)
{
    for (size_t i = 0; i < pgresult_rows(r); i++)
        if (pgresult_bool(r, i, 0) == mapped && strcmp(pgresult_value(r, i, 1), name) == 0)
            return pgresult_value(r, i, 2);
    return NULL;
}

static bool must_stop(void *arg)
{
    return job_must_stop(arg);
}

/* The three secrets, decrypted if they are encrypted; wiped when the store has its copies. */
struct keys {
    struct buf values[3];
};
static const char *const key_names[] = {"access_key", "secret_access_key", "security_token"};

/* False with an error; a key that is not set stays empty. */
static bool read_keys(const struct sealed_key *key, const struct pgresult *options, bool mapped,
                      struct keys *out, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(key_names); i++) {
        const char *value = find_option(options, mapped, key_names[i]);
        struct slice text = slice_cstr(value == NULL ? "" : value);
        if (!sealed_is(text))
            buf_append_slice(&out->values[i], text);
        else if (!sealed_read(key, key_names[i], text, &out->values[i], err))
            return false;
        if (buf_cstr(&out->values[i]) == NULL)
            return err_no_memory(err);
    }
    return true;
}

static bool open_bucket(struct job *job, const char *folder, const struct pgresult *options,
                        struct keys *keys, struct objstore **out, struct err *err)
{
    const struct job_settings *s = job->settings;
    bool mapped = find_option(options, true, "access_key") != NULL;
    if (!read_keys(s->secret_key, options, mapped, keys, err))
        return false;
    const struct objstore_s3_options o = {
        .root = folder,
        .address = find_option(options, false, "address"),
        .encrypt = find_option(options, false, "encrypt"),
        .region = find_option(options, false, "region"),
        .addressing = find_option(options, false, "addressing"),
        .access_key = buf_cstr(&keys->values[0]),
        .secret_access_key = buf_cstr(&keys->values[1]),
        .security_token = buf_cstr(&keys->values[2]),
        .ca_file = s->hudi_store_ca_file,
        .cache_folder = s->hudi_cache_dir,
        .cache_bytes = s->hudi_cache_bytes,
        .timeout_s = s->hudi_store_timeout_s,
        .must_stop = must_stop,
        .arg = job,
    };
    return objstore_open_s3(&o, out, err);
}

static void wipe_values(const struct pgresult *r)
{
    for (size_t i = 0; i < pgresult_rows(r); i++)
        if (pgresult_value(r, i, 2) != NULL)
            crypto_wipe((char *)pgresult_value(r, i, 2), strlen(pgresult_value(r, i, 2)));
}

static bool open_s3(struct job *job, const char *folder, const char *server, struct objstore **out,
                    struct err *err)
{
    const char *values[] = {server, job->owner};
    struct keys keys;
    struct pgresult *r;
    if (!pgclient_query(job->db, options_query, 2, values, &r, err))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(keys.values); i++)
        buf_init(&keys.values[i], STORE_KEY_BYTES);
    bool ok = open_bucket(job, folder, r, &keys, out, err);
    for (size_t i = 0; i < ARRAY_LEN(keys.values); i++) {
        crypto_wipe_buf(&keys.values[i]);
        buf_fini(&keys.values[i]);
    }
    wipe_values(r);
    pgresult_free(r);
    return ok;
}

static bool is_s3(const char *type)
{
    return strcasecmp(type, "obs") == 0 || strcasecmp(type, "oss") == 0 ||
           strcasecmp(type, "s3") == 0;
}

/* The registry's row, as texts from the arena. */
struct place {
    const char *type, *folder, *format, *name, *server;
};

static bool read_place(struct arena *a, const struct pgresult *r, struct place *out,
                       struct err *err)
{
    const char **fields[] = {&out->type, &out->folder, &out->format, &out->name, &out->server};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const char *value = pgresult_value(r, 0, i);
        *fields[i] = arena_copy_cstr(a, value == NULL ? "" : value);
        if (*fields[i] == NULL)
            return err_no_memory(err);
    }
    return true;
}

static bool open_place(struct job *job, const struct place *p, struct objstore **out,
                       struct err *err)
{
    bool is_hudi = p->format[0] == '\0' || strcasecmp(p->format, "hudi") == 0;
    if (p->folder[0] == '\0' || !is_hudi)
        return err_set(err, SQLSTATE_WRONG_OBJECT_TYPE, "\"%s\" is not a Hudi foreign table",
                       p->name);
    if (strcasecmp(p->type, "local") == 0)
        return objstore_open_local(p->folder, job->settings->hudi_local_roots, out, err);
    if (is_s3(p->type))
        return open_s3(job, p->folder, p->server, out, err);
    err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
            "reading Hudi tables from servers of type \"%s\" is not supported", p->type);
    return err_hint(err, "Server types that can be read are obs, oss, s3 and local.");
}

bool hudi_store_open(struct arena *a, struct job *job, const char *ftable_oid,
                     struct objstore **out, struct err *err)
{
    const char *values[] = {ftable_oid};
    struct pgresult *r;
    struct place p;
    *out = NULL;
    if (!pgclient_query(job->db, table_query, 1, values, &r, err))
        return false;
    bool ok = pgresult_rows(r) > 0
                  ? read_place(a, r, &p, err)
                  : err_set(err, SQLSTATE_UNDEFINED_TABLE,
                            "foreign table with OID %s does not exist", ftable_oid);
    pgresult_free(r);
    return ok && open_place(job, &p, out, err);
}
