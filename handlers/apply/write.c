/* The statements that touch the target, and what stands around them.
 *
 * A target may carry text of its owner: triggers, defaults, checks, domains, generated columns. Our
 * login can become other roles, perhaps any; such text must not. A SECURITY DEFINER function of the
 * owner keeps it from setting role and session_authorization, but not from leaving work behind that
 * runs at COMMIT, with our rights: a deferred trigger (deferred anew by a trigger that fires when we
 * make all constraints immediate), or a cursor WITH HOLD. PostgreSQL has a stricter state, made for
 * functions in index expressions: a security-restricted operation runs as the table's owner, refuses
 * both, and takes back every setting at its end. So we have one made:
 *
 *     as the owner    a temporary table of one row, the function that writes (SECURITY DEFINER), and
 *                     one that is said to be immutable and calls it
 *     as the service  CREATE INDEX ON that table (that function (x))
 *
 * PostgreSQL evaluates the expression once for the one row; a second time would fail on the counts,
 * which the function reports in a table of ours that has room for one row. Objects of the owner are
 * never read, called or written by us afterwards, since his text may have changed them; all our names
 * are qualified. Deferrable constraints of the target are checked at the end of each statement.
 *
 * Rows of one key come more than once when a Hudi table holds duplicates. That is rare, and sorting
 * is not cheap: first all rows are written as they are, and only when PostgreSQL reports that a row
 * would be touched twice (21000, 23505), the subtransaction goes back and the winners are chosen by
 * DISTINCT ON. Where equal rows are to be left alone the sort always runs: a loser could otherwise overwrite a
 * winner that was equal already and so untouched.
 *
 * Deletes come first: under a case-blind collation a key may vanish in one spelling and come in
 * another. */
#include <string.h>

#include "stage.h"

#define WRITE_SQL_BYTES ((size_t)8 << 20)

static void put_name(struct apply *ap, struct buf *b, const char *name)
{
    char *quoted = pgclient_quote_name(&ap->a, name);
    if (quoted == NULL)
        b->failed = true;
    else
        buf_append_cstr(b, quoted);
}

/* A staged value as the target's column takes it. */
static void put_value(struct buf *b, const struct apply_column *col, const char *alias,
                      const char *prefix, size_t place)
{
    if (col->form == APPLY_BY_TEXT)
        buf_printf(b, "CAST(%s.%s%zu AS %s)", alias, prefix, place, col->type);
    else
        buf_printf(b, "%s.%s%zu", alias, prefix, place);
}

static void put_target_columns(struct apply *ap, struct buf *b)
{
    for (size_t i = 0; i < ap->spec->count; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        put_name(ap, b, apply_column_at(ap, i)->name);
    }
}

static void put_values(struct apply *ap, struct buf *b)
{
    for (size_t i = 0; i < ap->spec->count; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        put_value(b, apply_column_at(ap, i), "s", APPLY_ROW_COLUMN, i);
    }
}

/* key, then ordering DESC, commit time DESC, sequence number DESC: the longer of two numbers of one
 * commit is the later one. */
static void put_key_values(struct apply *ap, struct buf *b)
{
    for (size_t i = 0; i < ap->spec->target->key_count; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        put_value(b, apply_key_at(ap, i), "s", APPLY_ROW_COLUMN,
                  apply_place(ap, ap->spec->target->key[i]));
    }
}

static void put_winners(struct apply *ap, struct buf *b)
{
    buf_append_cstr(b, "SELECT DISTINCT ON (");
    put_key_values(ap, b);
    buf_append_cstr(b, ") ");
    put_values(ap, b);
    buf_append_cstr(b, " FROM " APPLY_STAGE_ROWS " s ORDER BY ");
    put_key_values(ap, b);
    for (size_t i = 0; i < ap->spec->ordering_count; i++) {
        size_t place = apply_place(ap, ap->spec->ordering[i]);
        buf_append_cstr(b, ", ");
        put_value(b, apply_column_at(ap, place), "s", APPLY_ROW_COLUMN, place);
        buf_append_cstr(b, " DESC NULLS LAST");
    }
    if (ap->spec->commit_fields)
        buf_append_cstr(b, ", s.commit_time COLLATE \"C\" DESC NULLS LAST"
                           ", pg_catalog.length(s.seqno) DESC NULLS LAST"
                           ", s.seqno COLLATE \"C\" DESC NULLS LAST");
}

static bool is_key(const struct apply_column *col)
{
    return col->key_position > 0;
}

/* json has no equality; as text it compares well enough to leave an unchanged row alone. */
static void put_comparison(struct apply *ap, struct buf *b)
{
    bool first = true;
    for (size_t i = 0; i < ap->spec->count; i++) {
        const struct apply_column *col = apply_column_at(ap, i);
        if (is_key(col))
            continue;
        const char *cast = col->form == APPLY_JSON      ? "::pg_catalog.text"
                           : col->form == APPLY_BY_TEXT ? "::pg_catalog.text"
                                                        : "";
        buf_append_cstr(b, first ? " WHERE t." : " OR t.");
        put_name(ap, b, col->name);
        buf_printf(b, "%s IS DISTINCT FROM excluded.", cast);
        put_name(ap, b, col->name);
        buf_append_cstr(b, cast);
        first = false;
    }
}

static void put_conflict(struct apply *ap, struct buf *b, bool only_differing)
{
    buf_append_cstr(b, " ON CONFLICT (");
    for (size_t i = 0; i < ap->spec->target->key_count; i++) {
        buf_append_cstr(b, i == 0 ? "" : ", ");
        put_name(ap, b, apply_key_at(ap, i)->name);
    }
    buf_append_cstr(b, ") DO ");
    bool first = true;
    for (size_t i = 0; i < ap->spec->count; i++) {
        if (is_key(apply_column_at(ap, i)))
            continue;
        buf_append_cstr(b, first ? "UPDATE SET " : ", ");
        put_name(ap, b, apply_column_at(ap, i)->name);
        buf_append_cstr(b, " = excluded.");
        put_name(ap, b, apply_column_at(ap, i)->name);
        first = false;
    }
    if (first)
        buf_append_cstr(b, "NOTHING");
    else if (only_differing)
        put_comparison(ap, b);
}

enum insert_way { INSERT_NEW, INSERT_OR_UPDATE, INSERT_WINNERS, INSERT_DIFFERING_WINNERS };

static void put_insert(struct apply *ap, struct buf *b, enum insert_way way)
{
    buf_printf(b, "INSERT INTO %s AS t (", ap->spec->target->name);
    put_target_columns(ap, b);
    buf_append_cstr(b, ") OVERRIDING SYSTEM VALUE ");
    if (way >= INSERT_WINNERS) {
        put_winners(ap, b);
    } else {
        buf_append_cstr(b, "SELECT ");
        put_values(ap, b);
        buf_append_cstr(b, " FROM " APPLY_STAGE_ROWS " s");
    }
    if (way != INSERT_NEW)
        put_conflict(ap, b, way == INSERT_DIFFERING_WINNERS);
    buf_append_cstr(b, ";\n");
}

/* t.key = staged key, over all columns of the key. */
static void put_match(struct apply *ap, struct buf *b, bool of_keys)
{
    for (size_t i = 0; i < ap->spec->target->key_count; i++) {
        const struct apply_column *col = apply_key_at(ap, i);
        buf_append_cstr(b, i == 0 ? "t." : " AND t.");
        put_name(ap, b, col->name);
        buf_append_cstr(b, " = ");
        if (of_keys)
            put_value(b, col, "s", APPLY_KEY_COLUMN, i);
        else
            put_value(b, col, "s", APPLY_ROW_COLUMN, apply_place(ap, ap->spec->target->key[i]));
    }
}

static void put_deletes(struct apply *ap, struct buf *b, const struct apply_action *action)
{
    if (action->delete_staged && ap->has_keys) {
        buf_printf(b, "DELETE FROM %s t USING " APPLY_STAGE_KEYS " s WHERE ",
                   ap->spec->target->name);
        put_match(ap, b, true);
        buf_append_cstr(b, ";\nGET DIAGNOSTICS n = ROW_COUNT; deleted := deleted + n;\n");
    }
    if (action->delete_missing) {
        buf_printf(b,
                   "DELETE FROM %s t WHERE NOT EXISTS (SELECT FROM " APPLY_STAGE_ROWS " s WHERE ",
                   ap->spec->target->name);
        put_match(ap, b, false);
        buf_append_cstr(b, ");\nGET DIAGNOSTICS n = ROW_COUNT; deleted := deleted + n;\n");
    }
}

static void put_upsert(struct apply *ap, struct buf *b, const struct apply_action *action)
{
    if (!ap->has_rows)
        return;
    if (action->only_differing) {
        put_insert(ap, b, INSERT_DIFFERING_WINNERS);
        return;
    }
    buf_append_cstr(b, "BEGIN\n");
    put_insert(ap, b, action->into_empty ? INSERT_NEW : INSERT_OR_UPDATE);
    buf_append_cstr(b, "EXCEPTION WHEN cardinality_violation OR unique_violation THEN\n");
    put_insert(ap, b, INSERT_WINNERS);
    buf_append_cstr(b, "END;\n");
}

static void put_function(struct apply *ap, struct buf *b, const struct apply_action *action)
{
    buf_append_cstr(b, "#variable_conflict use_column\nDECLARE n pg_catalog.int8; "
                       "upserted pg_catalog.int8 := 0; deleted pg_catalog.int8 := 0;\nBEGIN\n"
                       "SET CONSTRAINTS ALL IMMEDIATE;\n");
    put_deletes(ap, b, action);
    put_upsert(ap, b, action);
    if (ap->has_rows)
        buf_append_cstr(b, "GET DIAGNOSTICS upserted = ROW_COUNT;\n");
    buf_append_cstr(b, "INSERT INTO " APPLY_COUNTS " VALUES (0, upserted, deleted);\nEND");
}

/* As the owner: the function, its immutable face, and the table of one row. */
static bool create_function(struct apply *ap, const struct apply_action *action, struct err *err)
{
    struct buf body, b;
    buf_init(&body, WRITE_SQL_BYTES);
    buf_init(&b, WRITE_SQL_BYTES);
    put_function(ap, &body, action);
    const char *text = buf_cstr(&body);
    char *quoted = text == NULL ? NULL : pgclient_quote_text(&ap->a, text);
    buf_fini(&body);
    buf_printf(
        &b,
        "CREATE FUNCTION " APPLY_FUNCTION "() RETURNS pg_catalog.void LANGUAGE plpgsql "
        "SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET row_security = off AS %s;"
        "CREATE FUNCTION " APPLY_FUNCTION "_once(pg_catalog.int4) RETURNS pg_catalog.int4 "
        "LANGUAGE plpgsql IMMUTABLE AS 'BEGIN PERFORM " APPLY_FUNCTION "(); RETURN 0; END';"
        "CREATE TEMPORARY TABLE " APPLY_ONCE " ON COMMIT DROP AS SELECT 0 AS x",
        quoted == NULL ? "" : quoted);
    b.failed = b.failed || quoted == NULL;
    return apply_run(ap, &b, err);
}

/* The owner reads what was staged and reports two numbers, no more. */
static bool grant_stage(struct apply *ap, struct err *err)
{
    struct buf b;
    buf_init(&b, WRITE_SQL_BYTES);
    buf_append_cstr(&b, "CREATE TEMPORARY TABLE " APPLY_COUNTS " (one pg_catalog.int4 UNIQUE, "
                        "upserted pg_catalog.int8, deleted pg_catalog.int8) ON COMMIT DROP;"
                        "GRANT INSERT ON " APPLY_COUNTS " TO ");
    put_name(ap, &b, ap->spec->target->owner);
    buf_printf(&b, "; GRANT SELECT ON %s%s%s TO ", ap->has_rows ? APPLY_STAGE_ROWS : "",
               ap->has_rows && ap->has_keys ? ", " : "", ap->has_keys ? APPLY_STAGE_KEYS : "");
    put_name(ap, &b, ap->spec->target->owner);
    return apply_run(ap, &b, err);
}

static bool call_function(struct apply *ap, struct apply_counts *counts, struct err *err)
{
    struct pgresult *r;
    if (!pgclient_run(ap->c, "CREATE INDEX ON " APPLY_ONCE " (" APPLY_FUNCTION "_once(x))", err) ||
        !pgclient_reset(ap->c, err) ||
        !pgclient_query(ap->c, "SELECT upserted, deleted FROM " APPLY_COUNTS " WHERE one = 0", 0,
                        NULL, &r, err))
        return false;
    counts->upserted = pgresult_int(r, 0, 0, 0);
    counts->deleted = pgresult_int(r, 0, 1, 0);
    pgresult_free(r);
    return true;
}

static bool drop_stage(struct apply *ap, struct err *err)
{
    if (!pgclient_run(ap->c,
                      "DROP TABLE " APPLY_COUNTS "; DROP TABLE " APPLY_ONCE ";"
                      "DROP FUNCTION " APPLY_FUNCTION "_once(pg_catalog.int4);"
                      "DROP FUNCTION " APPLY_FUNCTION "()",
                      err))
        return false;
    if (ap->has_rows && !pgclient_run(ap->c, "DROP TABLE " APPLY_STAGE_ROWS, err))
        return false;
    if (ap->has_keys && !pgclient_run(ap->c, "DROP TABLE " APPLY_STAGE_KEYS, err))
        return false;
    ap->has_rows = ap->has_keys = false;
    return true;
}

bool apply_write(struct apply *ap, const struct apply_action *action, struct apply_counts *counts,
                 struct err *err)
{
    *counts = (struct apply_counts){0};
    if (!ap->has_rows && !ap->has_keys)
        return true;
    return grant_stage(ap, err) && apply_become_owner(ap, err) &&
           create_function(ap, action, err) && apply_become_service(ap, err) &&
           call_function(ap, counts, err) && drop_stage(ap, err);
}
