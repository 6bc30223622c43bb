/* A model of a sync, to test plans with: keeps a keyed copy of the table in a DuckDB file (--name),
 * brings it forward by one plan after the other as a job would, and compares it after each with the
 * snapshot that the plan claims to have reached. --keep limits the commits of a plan. */
#include "writer.h"

#include <stdio.h>
#include <string.h>

#include "db.h"

/* Rows of slices as (key, row, ct); without files as an empty relation. */
static const char *relation(struct writer *w, const struct hudi_slices *list)
{
    const char *paths = "";
    for (size_t i = 0; i < list->count; i++)
        paths = text(w, "%s%s%s", paths, i == 0 ? "" : ", ",
                     rows_literal(w, text(w, "%s/%s", w->o.dir, list->items[i].path)));
    if (list->count == 0)
        return "(SELECT '' AS key, '' AS row, '' AS ct WHERE false)";
    const char *meta = w->table.has_meta_fields ? "_hoodie_file_name, _hoodie_commit_seqno" : "";
    return text(w,
                "(SELECT key, CAST(r AS VARCHAR) AS row, ct FROM (SELECT %s || '|' || %s AS key, "
                "%s AS ct, * %s%s%s FROM read_parquet([%s], union_by_name = true, "
                "hive_partitioning = false)) r)",
                rows_partition_expression(w), rows_key_expression(w),
                w->table.has_meta_fields ? "_hoodie_commit_time" : "''",
                meta[0] == '\0' ? "" : "EXCLUDE (", meta, meta[0] == '\0' ? "" : ")", paths);
}

static const char *window(struct writer *w, const struct hudi_plan *plan)
{
    const char *list = "";
    if (plan->commit_times.count == 0)
        return "true";
    for (size_t i = 0; i < plan->commit_times.count; i++)
        list = text(w, "%s%s%s", list, i == 0 ? "" : ", ",
                    rows_literal(w, plan->commit_times.items[i]));
    return text(w, "ct IN (%s)", list);
}

static void apply_changes(struct writer *w, const struct hudi_plan *plan)
{
    const char *read = relation(w, &plan->read);
    db_run(w->db, text(w, "CREATE OR REPLACE TEMP TABLE fresh AS SELECT key, row FROM %s WHERE %s",
                       read, window(w, plan)));
    db_run(w->db, text(w,
                       "DELETE FROM m.state WHERE key IN (SELECT key FROM %s EXCEPT "
                       "SELECT key FROM %s EXCEPT SELECT key FROM %s)",
                       relation(w, &plan->before), read, relation(w, &plan->rest)));
    db_run(w->db, "DELETE FROM m.state WHERE key IN (SELECT key FROM fresh)");
    db_run(w->db, "INSERT INTO m.state SELECT key, row FROM fresh");
}

static void apply_plan(struct writer *w, const struct hudi_plan *plan)
{
    if (plan->kind == HUDI_PLAN_CHANGES) {
        apply_changes(w, plan);
        return;
    }
    db_run(w->db, "DELETE FROM m.state");
    db_run(w->db, text(w, "INSERT INTO m.state SELECT key, row FROM %s", relation(w, &plan->read)));
}

static size_t index_of(const struct hudi_names *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->items[i], name) == 0)
            return i;
    die("commit %s is not on the timeline", name);
}

/* False when the snapshot cannot be read any more. */
static bool compare(struct writer *w, const char *to)
{
    struct err err;
    struct hudi_names instants;
    struct hudi_plan full;
    if (!hudi_instants_list(&w->arena, &w->table, &instants, &err) ||
        !hudi_plan_make(&w->arena, &w->table, NULL, NULL, (int64_t)index_of(&instants, to) + 1,
                        &full, &err))
        die_of(&err);
    if (strcmp(full.to, to) != 0)
        return false;
    struct db_rows *r = db_query(
        w->db, text(w,
                    "SELECT (SELECT count(*) FROM (SELECT key, row FROM %s EXCEPT "
                    "SELECT key, row FROM m.state)), (SELECT count(*) FROM (SELECT key, row "
                    "FROM m.state EXCEPT SELECT key, row FROM %s)), (SELECT count(*) FROM m.state)",
                    relation(w, &full.read), relation(w, &full.read)));
    if (db_rows_int(r, 0, 0) != 0 || db_rows_int(r, 0, 1) != 0)
        die("the state differs from the snapshot at %s: %lld rows are missing, %lld too many", to,
            (long long)db_rows_int(r, 0, 0), (long long)db_rows_int(r, 0, 1));
    printf(", %lld rows", (long long)db_rows_int(r, 0, 2));
    db_rows_free(r);
    return true;
}

static bool step(struct writer *w)
{
    static const char *const kinds[] = {"nothing", "full", "changes", "reconcile"};
    struct err err;
    struct hudi_plan plan;
    struct db_rows *r = db_query(w->db, "SELECT commit, completed FROM m.position");
    bool known = db_rows_count(r) > 0;
    if (!hudi_plan_make(&w->arena, &w->table, known ? db_rows_text(r, 0, 0) : NULL,
                        known ? db_rows_text(r, 0, 1) : NULL, w->o.keep, &plan, &err))
        die_of(&err);
    db_rows_free(r);
    if (plan.kind == HUDI_PLAN_NOTHING)
        return false;
    printf("%s to %s, %zu commits, read %zu, before %zu", kinds[plan.kind], plan.to, plan.commits,
           plan.read.count, plan.before.count);
    apply_plan(w, &plan);
    db_run(w->db, "DELETE FROM m.position");
    db_run(w->db, text(w, "INSERT INTO m.position VALUES (%s, %s)", rows_literal(w, plan.to),
                       rows_literal(w, plan.to_completed)));
    printf("%s\n", compare(w, plan.to) ? "" : ", not compared");
    return true;
}

void service_check(struct writer *w)
{
    if (w->o.name == NULL)
        die("--name is missing");
    db_run(w->db, text(w, "ATTACH %s AS m", rows_literal(w, w->o.name)));
    db_run(w->db, "CREATE TABLE IF NOT EXISTS m.state (key VARCHAR, row VARCHAR)");
    db_run(w->db, "CREATE TABLE IF NOT EXISTS m.position (commit VARCHAR, completed VARCHAR)");
    while (step(w))
        ;
    db_run(w->db, "DETACH m");
}
