/* Commits that write rows.
 *
 * The incoming rows stand in table `incoming` with two more columns, __key and __part; the keys of
 * all current files in `held` (partition, file id, key). From both follow two tables that say what
 * happens to each file group:
 *
 *   drops   keys that leave the group's file: replaced by a newer row, deleted, or moved away
 *   adds    incoming rows, each with the file id of its group: the one that holds the key, or one of
 *           the partition's groups by hash, or a new one
 *
 * and each group that either names is rewritten once: old rows without the dropped keys, which keep
 * their commit time, and the added ones with this commit's. */
#include "writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"
#include "grow.h"

const char *rows_literal(struct writer *w, const char *s)
{
    struct buf b;
    buf_init(&b, (size_t)64 << 20);
    buf_append_byte(&b, '\'');
    for (; *s != '\0'; s++) {
        if (*s == '\'')
            buf_append_byte(&b, '\'');
        buf_append_byte(&b, *s);
    }
    buf_append_byte(&b, '\'');
    const char *copy = have(arena_copy(&w->arena, buf_slice(&b)));
    buf_fini(&b);
    return copy;
}

const char *rows_ident(struct writer *w, const char *name)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_append_byte(&b, '"');
    for (; *name != '\0'; name++) {
        if (*name == '"')
            buf_append_byte(&b, '"');
        buf_append_byte(&b, *name);
    }
    buf_append_byte(&b, '"');
    const char *copy = have(arena_copy(&w->arena, buf_slice(&b)));
    buf_fini(&b);
    return copy;
}

/* _hoodie_record_key: the value of one column, or "k1:v1,k2:v2". */
const char *rows_key_expression(struct writer *w)
{
    const struct hudi_names *k = &w->table.record_key;
    if (k->count == 0)
        return "CAST(hash(random()) AS VARCHAR)";
    if (k->count == 1)
        return text(w, "CAST(%s AS VARCHAR)", rows_ident(w, k->items[0]));
    const char *e = "''";
    for (size_t i = 0; i < k->count; i++)
        e = text(w, "%s || %s || CAST(%s AS VARCHAR)", e,
                 rows_literal(w, text(w, "%s%s:", i == 0 ? "" : ",", k->items[i])),
                 rows_ident(w, k->items[i]));
    return e;
}

const char *rows_partition_expression(struct writer *w)
{
    const struct hudi_names *p = &w->table.partition;
    const char *e = "''";
    for (size_t i = 0; i < p->count; i++) {
        const char *value = text(w, "CAST(%s AS VARCHAR)", rows_ident(w, p->items[i]));
        if (w->table.url_encoded)
            value = text(w, "url_encode(%s)", value);
        value = text(w, "coalesce(nullif(%s, ''), '__HIVE_DEFAULT_PARTITION__')", value);
        const char *prefix = w->table.hive_style ? text(w, "%s=", p->items[i]) : "";
        e = text(w, "%s || %s || %s", e,
                 rows_literal(w, text(w, "%s%s", i == 0 ? "" : "/", prefix)), value);
    }
    return e;
}

/* The key of a row in a file. */
static const char *file_key(struct writer *w)
{
    return w->table.has_meta_fields ? "_hoodie_record_key" : rows_key_expression(w);
}

void rows_open(struct writer *w)
{
    w->db = db_open();
    db_run(w->db, "CREATE TABLE slice (part VARCHAR, file_id VARCHAR, path VARCHAR, "
                  "name VARCHAR, instant VARCHAR)");
    for (size_t i = 0; i < w->view.ngroups; i++) {
        const struct view_file *f = view_slice(&w->view.groups[i], w->all);
        if (f == NULL)
            continue;
        db_run(w->db,
               text(w, "INSERT INTO slice VALUES (%s, %s, %s, %s, %s)",
                    rows_literal(w, f->slice.partition_path), rows_literal(w, f->slice.file_id),
                    rows_literal(w, text(w, "%s/%s", w->o.dir, f->slice.path)),
                    rows_literal(w, f->slice.path), rows_literal(w, f->slice.instant)));
    }
}

/* Keys in all current files, in `held`. */
static void read_keys(struct writer *w)
{
    struct db_rows *r = db_query(w->db, "SELECT path FROM slice");
    db_run(w->db, "CREATE TABLE held (part VARCHAR, file_id VARCHAR, key VARCHAR)");
    if (db_rows_count(r) > 0) {
        db_run(w->db, "SET VARIABLE paths = (SELECT list(path) FROM slice)");
        db_run(w->db, text(w,
                           "INSERT INTO held SELECT s.part, s.file_id, %s FROM "
                           "read_parquet(getvariable('paths'), filename = '__file', "
                           "union_by_name = true, hive_partitioning = false) r "
                           "JOIN slice s ON s.path = r.__file",
                           file_key(w)));
    }
    db_rows_free(r);
}

const char *rows_new_file_id(struct writer *w)
{
    struct db_rows *r = db_query(w->db, "SELECT CAST(uuid() AS VARCHAR) || '-0'");
    const char *id = have(arena_copy_cstr(&w->arena, db_rows_text(r, 0, 0)));
    db_rows_free(r);
    return id;
}

/* ---- the rows' schema, as the commit metadata carries it ---- */

static const char *avro_type(struct writer *w, const char *type)
{
    static const struct {
        const char *duck;
        const char *avro;
    } types[] = {
        {"BOOLEAN", "\"boolean\""},
        {"TINYINT", "\"int\""},
        {"SMALLINT", "\"int\""},
        {"INTEGER", "\"int\""},
        {"BIGINT", "\"long\""},
        {"FLOAT", "\"float\""},
        {"DOUBLE", "\"double\""},
        {"BLOB", "\"bytes\""},
        {"DATE", "{\"type\":\"int\",\"logicalType\":\"date\"}"},
        {"TIMESTAMP", "{\"type\":\"long\",\"logicalType\":\"local-timestamp-micros\"}"},
        {"TIMESTAMP WITH TIME ZONE", "{\"type\":\"long\",\"logicalType\":\"timestamp-micros\"}"},
    };
    int precision, scale;
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        if (strcmp(types[i].duck, type) == 0)
            return types[i].avro;
    if (sscanf(type, "DECIMAL(%d,%d)", &precision, &scale) == 2)
        return text(w,
                    "{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"precision\":%d,"
                    "\"scale\":%d}",
                    precision, scale);
    return "\"string\"";
}

static void describe_schema(struct writer *w)
{
    struct db_rows *r = db_query(w->db, "SELECT column_name, data_type FROM "
                                        "(DESCRIBE incoming) t(column_name, data_type) "
                                        "WHERE NOT starts_with(column_name, '__')");
    const char *fields = "";
    for (size_t i = 0; i < db_rows_count(r); i++)
        fields =
            text(w, "%s%s{\"name\":\"%s\",\"type\":[\"null\",%s],\"default\":null}", fields,
                 i == 0 ? "" : ",", db_rows_text(r, i, 0), avro_type(w, db_rows_text(r, i, 1)));
    w->schema = text(w,
                     "{\"type\":\"record\",\"name\":\"%s_record\",\"namespace\":\"hoodie.%s\","
                     "\"fields\":[%s]}",
                     w->table.name, w->table.name, fields);
    db_rows_free(r);
}

/* `incoming` from the user's query; one row a key when `unique`, the one of the highest ordering
 * value. */
static void read_incoming(struct writer *w, bool unique)
{
    const char *pick = "";
    if (w->o.sql == NULL)
        die("--sql is missing");
    if (unique)
        pick = text(w, "QUALIFY row_number() OVER (PARTITION BY __part, __key%s%s%s) = 1",
                    w->table.ordering.count == 0 ? "" : " ORDER BY ",
                    w->table.ordering.count == 0 ? "" : rows_ident(w, w->table.ordering.items[0]),
                    w->table.ordering.count == 0 ? "" : " DESC NULLS LAST");
    db_run(
        w->db,
        text(w,
             "CREATE TABLE incoming AS SELECT *, coalesce(%s, '__null__') AS __key, %s AS __part "
             "FROM (%s) %s",
             rows_key_expression(w), rows_partition_expression(w), w->o.sql, pick));
    describe_schema(w);
}

/* ---- writing a file ---- */

static const char *data_columns(struct writer *w, const char *alias)
{
    const char *drop = "";
    if (w->table.drops_partition_columns)
        for (size_t i = 0; i < w->table.partition.count; i++)
            drop = text(w, "%s, %s", drop, rows_ident(w, w->table.partition.items[i]));
    return text(w, "%s.* EXCLUDE (__key, __part, __file%s)", alias, drop);
}

void rows_write_file(struct writer *w, const char *select, struct stat_out *stat)
{
    const char *name = text(w, "%s_%zu-%d-0_%s.parquet", stat->file_id, w->nstats, 1, w->instant);
    const char *temp = text(w, "%s/.hoodie/.temp/%d.parquet", w->o.dir, (int)getpid());
    const char *codec = w->o.codec != NULL
                            ? w->o.codec
                            : properties_find(&w->properties, "hoodie.parquet.compression.codec");
    const char *rows = !w->table.has_meta_fields
                           ? select
                           : text(w, "SELECT * REPLACE (%s AS _hoodie_file_name) FROM (%s)",
                                  rows_literal(w, name), select);
    stat->path = text(w, "%s%s%s", stat->partition, stat->partition[0] == '\0' ? "" : "/", name);
    partition_begin(w, stat->partition);
    stat->num_writes =
        db_run(w->db, text(w, "COPY (%s) TO %s (FORMAT parquet, COMPRESSION %s)", rows,
                           rows_literal(w, temp), codec == NULL ? "gzip" : codec));
    if (rename(temp, text(w, "%s/%s", w->o.dir, stat->path)) != 0)
        die("could not move a data file to %s", stat->path);
    stat->size_bytes = folder_file_size(w, stat->path);
    w->stats = have(grow_array(&w->arena, w->stats, w->nstats, &w->stats_room, sizeof *w->stats));
    w->stats[w->nstats++] = *stat;
}

/* Rows of `adds` for one group, with this commit's meta columns. */
static const char *select_added(struct writer *w, const char *file_id)
{
    const char *from = text(w, "FROM adds a WHERE __file = %s", rows_literal(w, file_id));
    if (!w->table.has_meta_fields)
        return text(w, "SELECT %s %s", data_columns(w, "a"), from);
    return text(w,
                "SELECT %s AS _hoodie_commit_time, "
                "%s || CAST(row_number() OVER () AS VARCHAR) AS _hoodie_commit_seqno, "
                "__key AS _hoodie_record_key, __part AS _hoodie_partition_path, "
                "'' AS _hoodie_file_name, %s %s",
                rows_literal(w, w->instant),
                rows_literal(w, text(w, "%s_%zu_", w->instant, w->nstats)), data_columns(w, "a"),
                from);
}

static const char *select_kept(struct writer *w, const char *path, const char *file_id)
{
    return text(w,
                "SELECT * FROM read_parquet(%s, hive_partitioning = false) WHERE %s NOT IN "
                "(SELECT key FROM drops WHERE file_id = %s)",
                rows_literal(w, path), file_key(w), rows_literal(w, file_id));
}

/* Rewrites every group that `adds` or `drops` names. */
static void write_groups(struct writer *w)
{
    struct db_rows *r = db_query(
        w->db,
        "SELECT g.part, g.file_id, s.path, s.instant, "
        "(SELECT count(*) FROM adds WHERE __file = g.file_id) AS adds, "
        "(SELECT count(*) FROM drops d WHERE d.file_id = g.file_id AND d.lost) AS deletes, "
        "(SELECT count(*) FROM drops d WHERE d.file_id = g.file_id AND NOT d.lost) AS updates "
        "FROM (SELECT DISTINCT __part AS part, __file AS file_id FROM adds "
        "UNION SELECT part, file_id FROM drops) g LEFT JOIN slice s ON s.file_id = g.file_id "
        "ORDER BY 1, 2");
    for (size_t i = 0; i < db_rows_count(r); i++) {
        const char *old = db_rows_text(r, i, 2);
        const char *prev = db_rows_text(r, i, 3);
        struct stat_out stat = {
            .partition = have(arena_copy_cstr(&w->arena, db_rows_text(r, i, 0))),
            .file_id = have(arena_copy_cstr(&w->arena, db_rows_text(r, i, 1))),
            .prev_commit = prev == NULL ? NULL : have(arena_copy_cstr(&w->arena, prev)),
            .num_deletes = db_rows_int(r, i, 5),
            .num_updates = db_rows_int(r, i, 6),
        };
        int64_t adds = db_rows_int(r, i, 4);
        const char *select = select_added(w, stat.file_id);
        stat.num_inserts = adds - stat.num_updates;
        if (old != NULL && adds > 0)
            select = text(w, "%s UNION ALL BY NAME %s", select_kept(w, old, stat.file_id), select);
        else if (old != NULL)
            select = select_kept(w, old, stat.file_id);
        rows_write_file(w, select, &stat);
    }
    db_rows_free(r);
}

static void complete(struct writer *w)
{
    struct buf content;
    buf_init(&content, (size_t)1 << 30);
    metadata_write_commit(w, &content);
    instant_complete(w, buf_data(&content), buf_length(&content));
    buf_fini(&content);
}

/* ---- commands ---- */

/* Groups for new keys: those of the partition, or --groups new ones. */
static void make_targets(struct writer *w, bool always_new)
{
    db_run(w->db, text(w,
                       "CREATE TABLE target AS SELECT part, file_id, "
                       "row_number() OVER (PARTITION BY part ORDER BY file_id) - 1 AS idx "
                       "FROM slice WHERE %s",
                       always_new ? "false" : "true"));
    db_run(w->db, text(w,
                       "INSERT INTO target SELECT p.part, CAST(uuid() AS VARCHAR) || '-0', n.i "
                       "FROM (SELECT DISTINCT __part AS part FROM incoming "
                       "WHERE __part NOT IN (SELECT part FROM target)) p, "
                       "range(%d) n(i)",
                       w->o.groups < 1 ? 1 : w->o.groups));
    db_run(w->db, "CREATE TABLE target_list AS SELECT part, list(file_id ORDER BY idx) AS ids "
                  "FROM target GROUP BY part");
}

static void place_rows(struct writer *w, bool match)
{
    db_run(w->db, text(w,
                       "CREATE TABLE adds AS SELECT i.*, coalesce(h.file_id, "
                       "t.ids[CAST(hash(i.__key) %% len(t.ids) AS BIGINT) + 1]) AS __file "
                       "FROM incoming i LEFT JOIN (SELECT part, key, min(file_id) AS file_id "
                       "FROM held WHERE %s GROUP BY part, key) h "
                       "ON h.part = i.__part AND h.key = i.__key "
                       "JOIN target_list t ON t.part = i.__part",
                       match ? "true" : "false"));
    db_run(w->db, "CREATE TABLE drops (part VARCHAR, file_id VARCHAR, key VARCHAR, lost BOOLEAN)");
    if (match)
        db_run(w->db, "INSERT INTO drops SELECT h.part, h.file_id, h.key, false FROM held h "
                      "JOIN incoming i ON h.part = i.__part AND h.key = i.__key");
    if (match && w->o.global)
        db_run(w->db, "INSERT INTO drops SELECT h.part, h.file_id, h.key, true FROM held h "
                      "JOIN incoming i ON h.part <> i.__part AND h.key = i.__key");
}

/* insert: keys are neither matched with those of the table nor among themselves. */
void rows_upsert(struct writer *w, bool insert)
{
    bool first = w->view.ngroups == 0;
    instant_begin(w, "commit", !insert ? "UPSERT" : first ? "BULK_INSERT" : "INSERT");
    read_incoming(w, !insert);
    if (insert)
        db_run(w->db, "CREATE TABLE held (part VARCHAR, file_id VARCHAR, key VARCHAR)");
    else
        read_keys(w);
    make_targets(w, false);
    place_rows(w, !insert);
    write_groups(w);
    complete(w);
}

void rows_delete(struct writer *w)
{
    if (w->o.sql == NULL)
        die("--keys-sql is missing");
    instant_begin(w, "commit", "DELETE");
    read_keys(w);
    db_run(w->db, text(w, "CREATE TABLE gone AS SELECT DISTINCT %s AS key FROM (%s)",
                       rows_key_expression(w), w->o.sql));
    db_run(w->db, "CREATE TABLE adds (__key VARCHAR, __part VARCHAR, __file VARCHAR)");
    db_run(w->db, "CREATE TABLE drops AS SELECT h.part, h.file_id, h.key, true AS lost "
                  "FROM held h JOIN gone g ON g.key = h.key");
    write_groups(w);
    complete(w);
}

static void replace_groups(struct writer *w, const char *condition)
{
    struct db_rows *r = db_query(w->db, text(w,
                                             "SELECT part, file_id FROM slice WHERE %s "
                                             "ORDER BY 1, 2",
                                             condition));
    for (size_t i = 0; i < db_rows_count(r); i++) {
        w->replaced = have(grow_array(&w->arena, w->replaced, w->nreplaced, &w->replaced_room,
                                      sizeof *w->replaced));
        w->replaced[w->nreplaced++] =
            (struct replaced_group){have(arena_copy_cstr(&w->arena, db_rows_text(r, i, 0))),
                                    have(arena_copy_cstr(&w->arena, db_rows_text(r, i, 1)))};
    }
    db_rows_free(r);
}

void rows_overwrite(struct writer *w)
{
    instant_begin(w, "replacecommit",
                  w->o.whole_table ? "INSERT_OVERWRITE_TABLE" : "INSERT_OVERWRITE");
    read_incoming(w, true);
    db_run(w->db, "CREATE TABLE held (part VARCHAR, file_id VARCHAR, key VARCHAR)");
    make_targets(w, true);
    place_rows(w, false);
    write_groups(w);
    replace_groups(w, w->o.whole_table ? "true" : "part IN (SELECT __part FROM incoming)");
    complete(w);
}

void service_delete_partition(struct writer *w)
{
    if (w->o.partition_path == NULL)
        die("--partition-path is missing");
    instant_begin(w, "replacecommit", "DELETE_PARTITION");
    replace_groups(w, text(w, "part = %s", rows_literal(w, w->o.partition_path)));
    complete(w);
}

/* All groups of each partition become --groups new ones; rows keep their commit time. */
void service_cluster(struct writer *w)
{
    const char *condition = w->o.partition_path == NULL
                                ? "true"
                                : text(w, "part = %s", rows_literal(w, w->o.partition_path));
    int groups = w->o.groups < 1 ? 1 : w->o.groups;
    instant_begin(w, "replacecommit", "CLUSTER");
    struct db_rows *r = db_query(w->db, text(w,
                                             "SELECT part, CAST(list(path) AS VARCHAR) FROM slice "
                                             "WHERE %s GROUP BY part ORDER BY part",
                                             condition));
    for (size_t i = 0; i < db_rows_count(r); i++) {
        const char *part = have(arena_copy_cstr(&w->arena, db_rows_text(r, i, 0)));
        db_run(w->db, text(w, "SET VARIABLE paths = (SELECT list(path) FROM slice WHERE part = %s)",
                           rows_literal(w, part)));
        for (int k = 0; k < groups; k++) {
            struct stat_out stat = {.partition = part, .file_id = rows_new_file_id(w)};
            rows_write_file(w,
                            text(w,
                                 "SELECT * FROM read_parquet(getvariable('paths'), "
                                 "union_by_name = true, hive_partitioning = false) "
                                 "WHERE hash(%s) %% %d = %d",
                                 file_key(w), groups, k),
                            &stat);
            w->stats[w->nstats - 1].num_inserts = w->stats[w->nstats - 1].num_writes;
        }
    }
    db_rows_free(r);
    replace_groups(w, condition);
    complete(w);
}
