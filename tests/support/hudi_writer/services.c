/* Making a table, and what its owner does to it without changing rows. */
#include "writer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "db.h"

static const char *yes(bool b)
{
    return b ? "true" : "false";
}

static const char *keygen(const struct options *o, bool type)
{
    bool complex = o->key != NULL && strchr(o->key, ',') != NULL;
    if (o->partition == NULL)
        return type ? "NON_PARTITION" : "org.apache.hudi.keygen.NonpartitionedKeyGenerator";
    if (complex || strchr(o->partition, ',') != NULL)
        return type ? "COMPLEX" : "org.apache.hudi.keygen.ComplexKeyGenerator";
    return type ? "SIMPLE" : "org.apache.hudi.keygen.SimpleKeyGenerator";
}

static void write_properties(struct writer *w)
{
    struct options *o = &w->o;
    struct buf b;
    int layout = o->layout == 0 ? 1 : o->layout;
    int version = o->version == 0 ? layout == 2 ? 8 : 6 : o->version;
    buf_init(&b, 1 << 20);
    buf_append_cstr(&b, "#Updated by hudi_writer\n");
    buf_printf(&b, "hoodie.table.name=%s\nhoodie.table.type=COPY_ON_WRITE\n", o->name);
    if (version > 0)
        buf_printf(&b, "hoodie.table.version=%d\n", version);
    buf_printf(&b, "hoodie.timeline.layout.version=%d\n", layout);
    buf_append_cstr(
        &b, layout == 1 ? "hoodie.archivelog.folder=archived\n"
                        : "hoodie.timeline.path=timeline\nhoodie.timeline.history.path=history\n");
    if (o->key != NULL)
        buf_printf(&b, "hoodie.table.recordkey.fields=%s\n", o->key);
    buf_printf(&b, "hoodie.table.partition.fields=%s\n", o->partition == NULL ? "" : o->partition);
    if (o->ordering != NULL)
        buf_printf(&b, "hoodie.table.%s=%s\n",
                   version >= 9 ? "ordering.fields" : "precombine.field", o->ordering);
    buf_printf(&b,
               version >= 8 ? "hoodie.table.keygenerator.type=%s\n"
                            : "hoodie.table.keygenerator.class=%s\n",
               keygen(o, version >= 8));
    if (version >= 8)
        buf_append_cstr(&b, "hoodie.record.merge.mode=COMMIT_TIME_ORDERING\n");
    else
        buf_append_cstr(&b, "hoodie.compaction.payload.class="
                            "org.apache.hudi.common.model.OverwriteWithLatestAvroPayload\n");
    buf_printf(&b, "hoodie.datasource.write.hive_style_partitioning=%s\n", yes(o->hive_style));
    buf_printf(&b, "hoodie.datasource.write.partitionpath.urlencode=%s\n", yes(o->url_encode));
    buf_printf(&b, "hoodie.datasource.write.drop.partition.columns=%s\n",
               yes(o->drop_partition_columns));
    buf_printf(&b, "hoodie.populate.meta.fields=%s\n", yes(!o->no_meta));
    buf_printf(&b, "hoodie.table.timeline.timezone=%s\n",
               o->timezone == NULL ? "UTC" : o->timezone);
    buf_append_cstr(&b, "hoodie.table.base.file.format=PARQUET\n");
    buf_printf(&b, "hoodie.parquet.compression.codec=%s\n", o->codec == NULL ? "gzip" : o->codec);
    for (const char *p = o->extra == NULL ? "" : o->extra; *p != '\0';) {
        size_t n = strcspn(p, ";");
        buf_printf(&b, "%.*s\n", (int)n, p);
        p += n + (p[n] == ';' ? 1 : 0);
    }
    folder_publish(w, ".hoodie/hoodie.properties", buf_data(&b), buf_length(&b));
    buf_fini(&b);
}

void service_create(struct writer *w)
{
    if (w->o.name == NULL)
        die("--name is missing");
    if (access(text(w, "%s/.hoodie/hoodie.properties", w->o.dir), F_OK) == 0)
        die("there is a Hudi table in %s already", w->o.dir);
    const char *folders[] = {".temp", w->o.layout == 2 ? "timeline/history" : "archived"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        folder_make(text(w, "%s/.hoodie/%s", w->o.dir, folders[i]));
    write_properties(w);
}

void service_begin(struct writer *w)
{
    instant_begin(w, w->o.whole_table ? "replacecommit" : "commit", "UPSERT");
    printf("%s\n", w->instant);
}

/* Keeps --keep slices of each group (default 1), drops files of replaced groups. */
void service_clean(struct writer *w)
{
    struct buf content;
    int64_t files = 0;
    int keep = w->o.keep < 1 ? 1 : w->o.keep;
    instant_begin(w, "clean", "CLEAN");
    for (size_t i = 0; i < w->view.ngroups; i++) {
        const struct view_group *g = &w->view.groups[i];
        size_t kept = view_slice(g, w->all) == NULL ? 0 : (size_t)keep;
        for (size_t k = 0; k + kept < g->nfiles; k++, files++)
            folder_remove(w, g->files[k].slice.path);
    }
    buf_init(&content, 1 << 20);
    metadata_write_clean(w, files, w->timeline.oldest_key == NULL ? "" : w->timeline.oldest_key,
                         &content);
    instant_complete(w, buf_data(&content), buf_length(&content));
    buf_fini(&content);
}

static void remove_instant(struct writer *w, const struct instant *it)
{
    static const char *const pending[] = {"commit.requested",       "inflight",
                                          "commit.inflight",        "replacecommit.requested",
                                          "replacecommit.inflight", "clustering.requested",
                                          "clustering.inflight"};
    folder_remove(w, it->path);
    for (size_t i = 0; i < ARRAY_LEN(pending); i++)
        folder_remove(w, text(w, "%s/%s.%s", w->table.timeline_folder, it->requested, pending[i]));
}

static void write_history(struct writer *w, const struct instant *first, const struct instant *last)
{
    const char *name = text(w, "%s_%s_0.parquet", first->requested, last->requested);
    db_run(w->db, "CREATE TABLE history (\"instantTime\" VARCHAR, \"completionTime\" VARCHAR, "
                  "action VARCHAR, metadata BLOB, plan BLOB, version INTEGER)");
    for (const struct instant *it = first; it <= last; it++)
        db_run(w->db, text(w, "INSERT INTO history VALUES (%s, %s, 'commit', NULL, NULL, 1)",
                           rows_literal(w, it->requested), rows_literal(w, it->completed)));
    db_run(w->db,
           text(w, "COPY history TO %s (FORMAT parquet)",
                rows_literal(w, text(w, "%s/%s/%s", w->o.dir, w->table.archive_folder, name))));
    const char *manifest = text(w, "{\"files\" : [ { \"fileName\" : \"%s\" } ] }", name);
    folder_publish(w, text(w, "%s/manifest_1", w->table.archive_folder), manifest,
                   strlen(manifest));
    folder_publish(w, text(w, "%s/_version_", w->table.archive_folder), "1", 1);
}

/* Leaves the --keep newest commits on the timeline. Layout 1's archive gets the name of Hudi's, not
 * its content: no reader of ours looks into it. */
void service_archive(struct writer *w)
{
    size_t n = w->timeline.commits.count;
    size_t keep = w->o.keep < 1 ? 1 : (size_t)w->o.keep;
    if (n <= keep)
        return;
    const struct instant *items = w->timeline.commits.items;
    if (w->table.layout == 2)
        write_history(w, &items[0], &items[n - keep - 1]);
    else
        folder_publish(w, text(w, "%s/.commits_.archive.1_1-0-1", w->table.archive_folder),
                       "#HUDI#", 6);
    for (size_t i = 0; i < n - keep; i++)
        remove_instant(w, &items[i]);
}

/* Takes the commit --time back, or the newest one. */
void service_rollback(struct writer *w)
{
    struct buf content;
    size_t n = w->timeline.commits.count;
    const struct instant *it = w->o.time != NULL ? timeline_find(&w->timeline, w->o.time)
                               : n == 0          ? NULL
                                                 : &w->timeline.commits.items[n - 1];
    if (it == NULL)
        die("no such commit");
    w->o.time = NULL;
    instant_begin(w, "rollback", "ROLLBACK");
    folder_remove(w, it->path);
    for (size_t i = 0; i < w->view.ngroups; i++)
        for (size_t k = 0; k < w->view.groups[i].nfiles; k++)
            if (strcmp(w->view.groups[i].files[k].slice.instant, it->requested) == 0)
                folder_remove(w, w->view.groups[i].files[k].slice.path);
    remove_instant(w, it);
    buf_init(&content, 1 << 20);
    metadata_write_rollback(w, it->requested,
                            it->action == INSTANT_COMMIT ? "commit" : "replacecommit", &content);
    instant_complete(w, buf_data(&content), buf_length(&content));
    buf_fini(&content);
}
