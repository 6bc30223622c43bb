/* The catalog's view of a target, fetched in one query.
 *
 * Domains are followed down to their base type, since a staging table must have base types only: the
 * check of a domain is text of a user, and it would run on our connection. Types that we have no
 * binary form for (enums, inet, interval, …) are staged as text and cast inside the owner's
 * function. */
#include "apply/target.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char table_query[] =
    "SELECT c.relkind::text, pg_catalog.format('%I.%I', n.nspname, c.relname), r.rolname"
    "  FROM pg_catalog.pg_class c"
    "  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    "  JOIN pg_catalog.pg_roles r ON r.oid = c.relowner"
    " WHERE c.oid = $1::pg_catalog.oid";

static const char column_query[] =
    "WITH RECURSIVE base AS ("
    "  SELECT a.attnum, a.attname, a.atttypid AS typ, a.atttypmod AS typmod, a.attcollation,"
    "         a.attnotnull, a.attgenerated,"
    "         pg_catalog.format_type(a.atttypid, a.atttypmod) AS declared"
    "    FROM pg_catalog.pg_attribute a"
    "   WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped"
    "  UNION ALL"
    "  SELECT b.attnum, b.attname, t.typbasetype,"
    "         CASE WHEN t.typtypmod = -1 THEN b.typmod ELSE t.typtypmod END, b.attcollation,"
    "         b.attnotnull, b.attgenerated, b.declared"
    "    FROM base b JOIN pg_catalog.pg_type t ON t.oid = b.typ AND t.typtype = 'd')"
    "SELECT b.attname, b.declared, pg_catalog.format_type(b.typ, b.typmod), b.typ, b.typmod,"
    "       CASE WHEN t.typcategory = 'A' THEN t.typelem ELSE 0 END,"
    "       b.attnotnull, b.attgenerated <> '', coalesce(k.place, 0),"
    "       (SELECT pg_catalog.format('%I.%I', n.nspname, l.collname)"
    "          FROM pg_catalog.pg_collation l"
    "          JOIN pg_catalog.pg_namespace n ON n.oid = l.collnamespace"
    "         WHERE l.oid = b.attcollation AND l.oid <> t.typcollation)"
    "  FROM base b"
    "  JOIN pg_catalog.pg_type t ON t.oid = b.typ AND t.typtype <> 'd'"
    "  LEFT JOIN (SELECT u.attnum, u.place FROM pg_catalog.pg_index i,"
    "             pg_catalog.unnest(i.indkey::pg_catalog.int2[]) WITH ORDINALITY u(attnum, place)"
    "             WHERE i.indrelid = $1::pg_catalog.oid AND i.indisprimary"
    "               AND u.place <= i.indnkeyatts) k ON k.attnum = b.attnum"
    " ORDER BY b.attnum";

static const char plain_query[] =
    "SELECT c.relkind = 'r' AND NOT c.relispartition AND NOT c.relrowsecurity"
    "       AND NOT c.relhasrules AND c.relpersistence <> 't'"
    "   AND NOT EXISTS (SELECT FROM pg_catalog.pg_trigger g WHERE g.tgrelid = c.oid)"
    "   AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k"
    "                    WHERE k.conrelid = c.oid AND k.contype NOT IN ('p', 'u', 'n'))"
    "   AND NOT EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = c.oid"
    "                      AND (i.indexprs IS NOT NULL OR i.indpred IS NOT NULL))"
    "   AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE c.oid IN (h.inhrelid, "
    "h.inhparent))"
    "   AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a"
    "         JOIN pg_catalog.pg_type t ON t.oid = a.atttypid"
    "         LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum"
    "        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped"
    "          AND (t.typtype <> 'b' OR t.oid >= 16384 OR a.attgenerated <> ''"
    "               OR pg_catalog.pg_get_expr(d.adbin, d.adrelid) !~"
    "                  $re$^(nextval\\('[^']*'::regclass\\)|now\\(\\)|CURRENT_TIMESTAMP"
    "|CURRENT_DATE|true|false|-?[0-9.]+|'[^']*'::[a-z ]+)$$re$))"
    "  FROM pg_catalog.pg_class c WHERE c.oid = $1::pg_catalog.oid";

static const struct {
    uint32_t oid, array_oid;
    enum apply_form form;
} forms[] = {
    {16, 1000, APPLY_BOOL},
    {21, 1005, APPLY_INT2},
    {23, 1007, APPLY_INT4},
    {20, 1016, APPLY_INT8},
    {700, 1021, APPLY_FLOAT4},
    {701, 1022, APPLY_FLOAT8},
    {1700, 1231, APPLY_NUMERIC},
    {1082, 1182, APPLY_DATE},
    {1083, 1183, APPLY_TIME},
    {1114, 1115, APPLY_TIMESTAMP},
    {1184, 1185, APPLY_TIMESTAMPTZ},
    {25, 1009, APPLY_TEXT},
    {1043, 1015, APPLY_TEXT},
    {1042, 1014, APPLY_TEXT},
    {17, 1001, APPLY_BYTEA},
    {2950, 2951, APPLY_UUID},
    {114, 0, APPLY_JSON},
    {3802, 0, APPLY_JSONB},
};

#define OID_BPCHAR 1042
#define OID_VARCHAR 1043
#define OID_NUMERIC 1700
#define VARHDRSZ 4

/* What the type modifier says, of the type itself or of the elements. */
static void read_modifier(struct apply_column *col, uint32_t oid, int64_t typmod)
{
    if (typmod < VARHDRSZ)
        return;
    if (oid == OID_BPCHAR || oid == OID_VARCHAR)
        col->max_characters = (size_t)(typmod - VARHDRSZ);
    if (oid != OID_NUMERIC)
        return;
    col->precision = (unsigned)((typmod - VARHDRSZ) >> 16 & 0xFFFF);
    col->scale = (int)(((typmod - VARHDRSZ) & 0x7FF) ^ 1024) - 1024; /* 11 bits, signed */
}

static void read_form(struct apply_column *col, uint32_t oid, uint32_t element_oid, int64_t typmod)
{
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        if (forms[i].oid == oid) {
            col->form = forms[i].form;
            read_modifier(col, oid, typmod);
        } else if (forms[i].array_oid == oid && forms[i].array_oid != 0) {
            col->form = APPLY_ARRAY;
            col->element = forms[i].form;
            col->element_oid = element_oid;
            read_modifier(col, element_oid, typmod);
        }
    }
    col->blank_padded = oid == OID_BPCHAR;
}

static bool read_column(struct arena *a, const struct pgresult *r, size_t row,
                        struct apply_column *col, struct err *err)
{
    const char *collation = pgresult_value(r, row, 9);
    read_form(col, (uint32_t)pgresult_int(r, row, 3, 0), (uint32_t)pgresult_int(r, row, 5, 0),
              pgresult_int(r, row, 4, -1));
    col->name = arena_copy_cstr(a, pgresult_value(r, row, 0));
    col->type = arena_copy_cstr(a, pgresult_value(r, row, 1));
    const char *type = col->form == APPLY_BY_TEXT ? "pg_catalog.text" : pgresult_value(r, row, 2);
    col->stage_type = collation == NULL || col->form == APPLY_BY_TEXT
                          ? arena_copy_cstr(a, type)
                          : arena_printf(a, "%s COLLATE %s", type, collation);
    col->not_null = pgresult_bool(r, row, 6);
    col->generated = pgresult_bool(r, row, 7);
    col->key_position = (size_t)pgresult_int(r, row, 8, 0);
    if (col->name == NULL || col->type == NULL || col->stage_type == NULL)
        return err_no_memory(err);
    return true;
}

static bool read_columns(struct arena *a, const struct pgresult *r, struct apply_target *t,
                         struct err *err)
{
    t->count = pgresult_rows(r);
    t->columns = arena_alloc_array(a, t->count + 1, sizeof *t->columns);
    t->key = arena_alloc_array(a, t->count + 1, sizeof *t->key);
    if (t->columns == NULL || t->key == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < t->count; i++) {
        if (!read_column(a, r, i, &t->columns[i], err))
            return false;
        size_t place = t->columns[i].key_position;
        if (place == 0 || place > t->count)
            continue;
        t->key[place - 1] = i;
        t->key_count++;
    }
    return true;
}

static bool read_table(struct arena *a, const struct pgresult *r, struct apply_target *t,
                       bool *is_table, struct err *err)
{
    if (pgresult_rows(r) == 0)
        return err_set(err, SQLSTATE_UNDEFINED_TABLE, "target table with OID %u does not exist",
                       (unsigned)t->oid);
    t->name = arena_copy_cstr(a, pgresult_value(r, 0, 1));
    t->owner = arena_copy_cstr(a, pgresult_value(r, 0, 2));
    if (t->name == NULL || t->owner == NULL)
        return err_no_memory(err);
    const char *kind = pgresult_value(r, 0, 0);
    *is_table = strcmp(kind, "r") == 0 || strcmp(kind, "p") == 0;
    return true;
}

static bool describe(struct arena *a, struct pgclient *c, uint32_t oid, struct apply_target *out,
                     bool *is_table, struct err *err)
{
    struct pgresult *r;
    char text[16];
    const char *values[] = {text};
    snprintf(text, sizeof text, "%u", (unsigned)oid);
    *out = (struct apply_target){.oid = oid};
    if (!pgclient_query(c, table_query, 1, values, &r, err))
        return false;
    bool ok = read_table(a, r, out, is_table, err);
    pgresult_free(r);
    if (!ok || !pgclient_query(c, column_query, 1, values, &r, err))
        return false;
    ok = read_columns(a, r, out, err);
    pgresult_free(r);
    return ok;
}

bool apply_target_describe(struct arena *a, struct pgclient *c, uint32_t oid,
                           struct apply_target *out, struct err *err)
{
    bool is_table;
    return describe(a, c, oid, out, &is_table, err);
}

bool apply_target_read(struct arena *a, struct pgclient *c, uint32_t oid, struct apply_target *out,
                       struct err *err)
{
    bool is_table;
    if (!describe(a, c, oid, out, &is_table, err))
        return false;
    if (!is_table)
        return err_set(err, SQLSTATE_WRONG_OBJECT_TYPE, "%s is not a table", out->name);
    return out->key_count > 0 || err_set(err, SQLSTATE_INVALID_TABLE_DEFINITION,
                                         "target table %s has no primary key", out->name);
}

const struct apply_column *apply_target_find(const struct apply_target *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

bool apply_target_is_plain(struct pgclient *c, const struct apply_target *t, bool *plain,
                           struct err *err)
{
    struct pgresult *r;
    char text[16];
    const char *values[] = {text};
    snprintf(text, sizeof text, "%u", (unsigned)t->oid);
    if (!pgclient_query(c, plain_query, 1, values, &r, err))
        return false;
    *plain = pgresult_rows(r) == 1 && pgresult_bool(r, 0, 0);
    pgresult_free(r);
    for (size_t i = 0; i < t->count; i++) /* these need a cast on their way */
        if (t->columns[i].form == APPLY_BY_TEXT)
            *plain = false;
    return true;
}
