/* Builds the upgrade script: one DO block, so that it is all or nothing whoever sends it. It takes the
 * lock, looks at what is recorded, and EXECUTEs the text of each file that is due under a dollar quote
 * that does not occur in it.
 *
 * The schema must be ours alone: its owner could put functions of his own beside ours, and everybody
 * who calls a vendor statement would run them. */
#include "base/migration.h"

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Advisory lock of all migrations: "pgveneer" read as a number. */
#define MIGRATION_LOCK "8101240731552867698"

/* FNV-1a, 64 bits: tells a changed file from an unchanged one, no more. */
static uint64_t checksum(const char *text)
{
    uint64_t h = 14695981039346656037u;
    for (; *text != '\0'; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

static void choose_quote(const char *text, char *tag, size_t size)
{
    for (unsigned i = 0;; i++) {
        snprintf(tag, size, "$migration%u$", i);
        if (strstr(text, tag) == NULL)
            return;
    }
}

/* "-- revision 3" on the first line; without it 1. */
static unsigned long revision_of(const char *text)
{
    static const char label[] = "-- revision ";
    return strncmp(text, label, sizeof label - 1) != 0 ? 1
                                                       : strtoul(text + sizeof label - 1, NULL, 10);
}

static void put_begin(struct buf *out)
{
    buf_append_cstr(
        out, "DO $pgveneer_migration$\n"
             "DECLARE\n"
             "  at_revision integer;\n"
             "  had_checksum text;\n"
             "BEGIN\n"
             "  PERFORM pg_catalog.set_config('lock_timeout', '5s', true);\n"
             "  PERFORM pg_catalog.pg_advisory_xact_lock(" MIGRATION_LOCK ");\n"
             "  IF EXISTS (SELECT FROM pg_catalog.pg_namespace n JOIN pg_catalog.pg_roles r\n"
             "              ON r.oid = n.nspowner\n"
             "              WHERE n.nspname = 'pgveneer' AND r.rolname <> current_user) THEN\n"
             "    RAISE EXCEPTION 'schema \"pgveneer\" belongs to another role'\n"
             "      USING ERRCODE = '42501', HINT = 'Let the role that owns it log in as service, "
             "or drop the schema.';\n"
             "  END IF;\n"
             "  IF pg_catalog.to_regclass('pgveneer.migration') IS NULL THEN\n"
             "    CREATE SCHEMA IF NOT EXISTS pgveneer;\n"
             "    CREATE TABLE pgveneer.migration (\n"
             "      feature text NOT NULL, name text NOT NULL, checksum text NOT NULL,\n"
             "      installed_at timestamptz NOT NULL DEFAULT pg_catalog.now(),\n"
             "      PRIMARY KEY (feature, name));\n"
             "    GRANT USAGE ON SCHEMA pgveneer TO PUBLIC;\n"
             "    GRANT SELECT ON pgveneer.migration TO PUBLIC;\n"
             "  END IF;\n"
             "  IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attname = 'revision'\n"
             "                    AND attrelid = 'pgveneer.migration'::pg_catalog.regclass) THEN\n"
             "    ALTER TABLE pgveneer.migration ADD COLUMN revision integer NOT NULL DEFAULT 1;\n"
             "  END IF;\n");
}

/* A database that belongs to a newer pgveneer stays as it is. */
static void put_newer(const struct migration_list *lists, size_t count, struct buf *out)
{
    buf_append_cstr(out, "  IF EXISTS (\n"
                         "    SELECT FROM pgveneer.migration m JOIN (VALUES ('', '', 0)");
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < lists[i].count; j++) {
            const struct migration *m = &lists[i].items[j];
            buf_printf(out, ",\n      ('%s', '%s', %lu)", m->feature, m->name, revision_of(m->sql));
        }
    }
    buf_append_cstr(out, ") AS ours (feature, name, revision) USING (feature, name)\n"
                         "     WHERE m.revision > ours.revision) THEN\n"
                         "    RAISE NOTICE 'the support schema is of a newer pgveneer';\n"
                         "    RETURN;\n"
                         "  END IF;\n");
}

static void put_one(const struct migration *m, struct buf *out)
{
    char tag[32];
    choose_quote(m->sql, tag, sizeof tag);
    unsigned long revision = revision_of(m->sql);
    uint64_t sum = checksum(m->sql);
    buf_printf(
        out,
        "  SELECT revision, checksum INTO at_revision, had_checksum FROM pgveneer.migration\n"
        "   WHERE feature = '%s' AND name = '%s';\n"
        "  IF at_revision IS NULL OR at_revision < %lu THEN\n"
        "    EXECUTE %s%s%s;\n"
        "    INSERT INTO pgveneer.migration (feature, name, checksum, revision)\n"
        "    VALUES ('%s', '%s', '%016" PRIx64 "', %lu)\n"
        "    ON CONFLICT (feature, name) DO UPDATE SET checksum = excluded.checksum,\n"
        "      revision = excluded.revision, installed_at = excluded.installed_at;\n"
        "  ELSIF had_checksum <> '%016" PRIx64 "' THEN\n"
        "    RAISE EXCEPTION 'migration %s/%s of the support schema was changed after it was "
        "installed' USING ERRCODE = '55000',\n"
        "      HINT = 'Run the version of pgveneer that installed it, or pgveneer uninstall "
        "first.';\n"
        "  END IF;\n",
        m->feature, m->name, revision, tag, m->sql, tag, m->feature, m->name, sum, revision, sum,
        m->feature, m->name);
}

bool migration_script(const struct migration_list *lists, size_t count, struct buf *out)
{
    put_begin(out);
    put_newer(lists, count, out);
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < lists[i].count; j++)
            put_one(&lists[i].items[j], out);
    buf_append_cstr(out, "END $pgveneer_migration$;\n");
    return !out->failed;
}

/* A schema with a vendor's name may be the user's own: it is ours if its feature is recorded. */
bool migration_uninstall_script(struct buf *out)
{
    return buf_append_cstr(
        out, "DO $pgveneer_migration$\n"
             "DECLARE name text;\n"
             "BEGIN\n"
             "  PERFORM pg_catalog.set_config('lock_timeout', '5s', true);\n"
             "  PERFORM pg_catalog.pg_advisory_xact_lock(" MIGRATION_LOCK ");\n"
             "  IF pg_catalog.to_regclass('pgveneer.migration') IS NULL THEN RETURN; END IF;\n"
             "  FOR name IN SELECT v.name FROM (VALUES ('hudi', 'hudi'), ('rebuild', 'hologres'),\n"
             "                     ('parallel_cursor', 'pgveneer_greenplum'))\n"
             "                AS v (feature, name)\n"
             "              WHERE v.feature IN (SELECT m.feature FROM pgveneer.migration m) LOOP\n"
             "    EXECUTE pg_catalog.format('DROP SCHEMA IF EXISTS %I CASCADE', name);\n"
             "  END LOOP;\n"
             "  DROP SCHEMA pgveneer CASCADE;\n"
             "END $pgveneer_migration$;\n");
}
