/* The contents of instants' files: JSON in layout 1, Avro object containers in layout 2 (and, in both
 * layouts, for clean, rollback and requested clustering). Avro is encoded here field by field beside
 * the schema it follows; the schemas are those of Hudi's own files, without defaults and aliases. */
#include "writer.h"

#include <string.h>

#include "base/json.h"

#define N_STRING "[\"null\",\"string\"]"
#define N_LONG "[\"null\",\"long\"]"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define RECORD(name, fields)                                                                       \
    "{\"type\":\"record\",\"name\":\"" name                                                        \
    "\",\"namespace\":\"org.apache.hudi.avro.model\",\"fields\":[" fields "]}"

static const char stat_fields[] =
    FIELD("fileId", N_STRING) "," FIELD("path", N_STRING) "," FIELD("prevCommit", N_STRING) "," FIELD("numWrites", N_LONG) "," FIELD("numDeletes", N_LONG) "," FIELD(
        "numUpdateWrites",
        N_LONG) "," FIELD("totalWriteBytes",
                          N_LONG) "," FIELD("totalWriteErrors",
                                            N_LONG) "," FIELD("partitionPath",
                                                              N_STRING) "," FIELD("numInserts",
                                                                                  N_LONG) "," FIELD("fileSizeInBytes",
                                                                                                    N_LONG) "," FIELD("baseFile",
                                                                                                                      N_STRING) "," FIELD("logFiles",
                                                                                                                                          "[\"null\",{\"type\":\"array\",\"items\":\"string\"}]") "," FIELD("numUpdates",
                                                                                                                                                                                                            N_LONG);

static void put_long(struct buf *b, int64_t v)
{
    uint64_t z = ((uint64_t)v << 1) ^ (uint64_t)(v >> 63);
    for (; z >= 0x80; z >>= 7)
        buf_append_byte(b, (char)(0x80 | (z & 0x7F)));
    buf_append_byte(b, (char)z);
}

static void put_text(struct buf *b, const char *s)
{
    put_long(b, (int64_t)strlen(s));
    buf_append_cstr(b, s);
}

/* Unions of null and something: branch 1, or 0 for NULL. */
static void put_some_text(struct buf *b, const char *s)
{
    put_long(b, s == NULL ? 0 : 1);
    if (s != NULL)
        put_text(b, s);
}

static void put_some_long(struct buf *b, int64_t v)
{
    put_long(b, 1);
    put_long(b, v);
}

static void write_container(struct buf *out, const char *schema, const struct buf *object)
{
    static const char sync[16] = "hudi_writer_sync";
    buf_append(out, "Obj\1", 4);
    put_long(out, 2);
    put_text(out, "avro.schema");
    put_text(out, schema);
    put_text(out, "avro.codec");
    put_text(out, "null");
    put_long(out, 0);
    buf_append(out, sync, sizeof sync);
    put_long(out, 1);
    put_long(out, (int64_t)buf_length(object));
    buf_append_slice(out, buf_slice(object));
    buf_append(out, sync, sizeof sync);
}

static bool is_new_partition(const struct writer *w, size_t i)
{
    return i == 0 || strcmp(w->stats[i - 1].partition, w->stats[i].partition) != 0;
}

static size_t count_in_partition(const struct writer *w, size_t i)
{
    size_t n = i;
    while (n < w->nstats && strcmp(w->stats[n].partition, w->stats[i].partition) == 0)
        n++;
    return n - i;
}

/* ---- JSON ---- */

static void json_text(struct buf *b, const char *key, const char *value)
{
    buf_printf(b, "      \"%s\" : ", key);
    if (value == NULL)
        buf_append_cstr(b, "null");
    else
        json_write_string(b, slice_cstr(value));
    buf_append_cstr(b, ",\n");
}

static void json_stat(struct buf *b, const struct stat_out *s)
{
    buf_append_cstr(b, "{\n");
    json_text(b, "fileId", s->file_id);
    json_text(b, "path", s->path);
    buf_append_cstr(b, "      \"cdcStats\" : null,\n");
    json_text(b, "prevCommit", s->prev_commit == NULL ? "null" : s->prev_commit);
    buf_printf(b,
               "      \"numWrites\" : %lld,\n      \"numDeletes\" : %lld,\n"
               "      \"numUpdateWrites\" : %lld,\n      \"numInserts\" : %lld,\n"
               "      \"totalWriteBytes\" : %lld,\n      \"totalWriteErrors\" : 0,\n"
               "      \"tempPath\" : null,\n",
               (long long)s->num_writes, (long long)s->num_deletes, (long long)s->num_updates,
               (long long)s->num_inserts, (long long)s->size_bytes);
    json_text(b, "partitionPath", s->partition);
    buf_printf(b,
               "      \"fileSizeInBytes\" : %lld,\n      \"minEventTime\" : null,\n"
               "      \"maxEventTime\" : null\n    }",
               (long long)s->size_bytes);
}

static void json_stats(const struct writer *w, struct buf *b)
{
    buf_append_cstr(b, "  \"partitionToWriteStats\" : {");
    for (size_t i = 0; i < w->nstats; i++) {
        if (is_new_partition(w, i)) {
            buf_append_cstr(b, i == 0 ? "\n    " : " ],\n    ");
            json_write_string(b, slice_cstr(w->stats[i].partition));
            buf_append_cstr(b, " : [ ");
        } else {
            buf_append_cstr(b, ", ");
        }
        json_stat(b, &w->stats[i]);
    }
    buf_append_cstr(b, w->nstats == 0 ? " },\n" : " ]\n  },\n");
}

static void json_replaced(const struct writer *w, struct buf *b)
{
    buf_append_cstr(b, ",\n  \"partitionToReplaceFileIds\" : {");
    for (size_t i = 0; i < w->nreplaced; i++) {
        bool first = i == 0 || strcmp(w->replaced[i - 1].partition, w->replaced[i].partition) != 0;
        buf_append_cstr(b, first ? i == 0 ? "\n    " : " ],\n    " : ", ");
        if (first) {
            json_write_string(b, slice_cstr(w->replaced[i].partition));
            buf_append_cstr(b, " : [ ");
        }
        json_write_string(b, slice_cstr(w->replaced[i].file_id));
    }
    buf_append_cstr(b, w->nreplaced == 0 ? " }" : " ]\n  }");
}

static void write_json(const struct writer *w, struct buf *b)
{
    buf_append_cstr(b, "{\n");
    json_stats(w, b);
    buf_append_cstr(b, "  \"compacted\" : false,\n  \"extraMetadata\" : {");
    if (w->schema != NULL) {
        buf_append_cstr(b, "\n    \"schema\" : ");
        json_write_string(b, slice_cstr(w->schema));
        buf_append_cstr(b, "\n ");
    }
    buf_printf(b, " },\n  \"operationType\" : \"%s\"", w->operation);
    if (strcmp(w->action, "replacecommit") == 0)
        json_replaced(w, b);
    buf_append_cstr(b, "\n}\n");
}

/* ---- Avro ---- */

static void avro_stat(struct buf *b, const struct stat_out *s)
{
    const char *slash = strrchr(s->path, '/');
    put_some_text(b, s->file_id);
    put_some_text(b, s->path);
    put_some_text(b, s->prev_commit == NULL ? "null" : s->prev_commit);
    put_some_long(b, s->num_writes);
    put_some_long(b, s->num_deletes);
    put_some_long(b, s->num_updates);
    put_some_long(b, s->size_bytes);
    put_some_long(b, 0);
    put_some_text(b, s->partition);
    put_some_long(b, s->num_inserts);
    put_some_long(b, s->size_bytes);
    put_some_text(b, slash == NULL ? s->path : slash + 1);
    put_long(b, 0); /* logFiles */
    put_some_long(b, s->num_updates);
}

static void avro_stats(const struct writer *w, struct buf *b)
{
    put_long(b, 1);
    for (size_t i = 0; i < w->nstats; i++) {
        if (is_new_partition(w, i)) {
            if (i > 0)
                put_long(b, 0); /* end of the last partition's array */
            put_long(b, 1);     /* a block of one map entry */
            put_text(b, w->stats[i].partition);
            put_long(b, (int64_t)count_in_partition(w, i));
        }
        avro_stat(b, &w->stats[i]);
    }
    if (w->nstats > 0)
        put_long(b, 0);
    put_long(b, 0);
}

static void avro_replaced(const struct writer *w, struct buf *b)
{
    put_long(b, 1);
    for (size_t i = 0; i < w->nreplaced; i++) {
        put_long(b, 1);
        put_text(b, w->replaced[i].partition);
        size_t n = i;
        while (n < w->nreplaced && strcmp(w->replaced[n].partition, w->replaced[i].partition) == 0)
            n++;
        put_long(b, (int64_t)(n - i));
        for (; i < n; i++)
            put_text(b, w->replaced[i].file_id);
        put_long(b, 0);
        i--;
    }
    put_long(b, 0);
}

static void avro_extra(const struct writer *w, struct buf *b)
{
    put_long(b, 1);
    if (w->schema != NULL) {
        put_long(b, 1);
        put_text(b, "schema");
        put_text(b, w->schema);
    }
    put_long(b, 0);
}

static void write_avro(const struct writer *w, struct buf *out)
{
    bool replaces = strcmp(w->action, "replacecommit") == 0;
    struct buf schema, object;
    buf_init(&schema, 1 << 20);
    buf_init(&object, (size_t)1 << 30);
    buf_printf(
        &schema,
        "{\"type\":\"record\",\"name\":\"%s\",\"namespace\":\"org.apache.hudi.avro.model\","
        "\"fields\":[{\"name\":\"partitionToWriteStats\",\"type\":[\"null\",{\"type\":\"map\","
        "\"values\":{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":"
        "\"HoodieWriteStat\",\"fields\":[%s]}}}]},"
        "{\"name\":\"compacted\",\"type\":[\"null\",\"boolean\"]},"
        "{\"name\":\"extraMetadata\",\"type\":[\"null\",{\"type\":\"map\",\"values\":\"string\"}]},"
        "{\"name\":\"version\",\"type\":[\"int\",\"null\"]},"
        "{\"name\":\"operationType\",\"type\":[\"null\",\"string\"]}%s]}",
        replaces ? "HoodieReplaceCommitMetadata" : "HoodieCommitMetadata", stat_fields,
        replaces ? ",{\"name\":\"partitionToReplaceFileIds\",\"type\":[\"null\",{\"type\":\"map\","
                   "\"values\":{\"type\":\"array\",\"items\":\"string\"}}]}"
                 : "");
    avro_stats(w, &object);
    put_long(&object, 1);
    buf_append_byte(&object, 0); /* compacted: false */
    avro_extra(w, &object);
    put_long(&object, 0);
    put_long(&object, 1); /* version */
    put_some_text(&object, w->operation);
    if (replaces)
        avro_replaced(w, &object);
    write_container(out, buf_cstr(&schema), &object);
    buf_fini(&schema);
    buf_fini(&object);
}

void metadata_write_commit(const struct writer *w, struct buf *out)
{
    if (w->table.layout == 2)
        write_avro(w, out);
    else
        write_json(w, out);
    if (out->failed)
        die("commit metadata is too large");
}

void metadata_write_clustering_plan(struct buf *out)
{
    static const char schema[] =
        RECORD("HoodieRequestedReplaceMetadata",
               FIELD("operationType", N_STRING) "," FIELD("version", "[\"int\",\"null\"]"));
    struct buf object;
    buf_init(&object, 1024);
    put_some_text(&object, "CLUSTER");
    put_long(&object, 0);
    put_long(&object, 1);
    write_container(out, schema, &object);
    buf_fini(&object);
}

void metadata_write_rollback(const struct writer *w, const char *commit, const char *action,
                             struct buf *out)
{
    static const char schema
        [] = RECORD("HoodieRollbackMetadata",
                    FIELD("startRollbackTime", "\"string\"") "," FIELD("timeTakenInMillis", "\"long"
                                                                                            "\"") "," FIELD(
                        "totalFilesDeleted",
                        "\"int\"") "," FIELD("commitsRollback", "{\"type\":\"array\",\"items\":"
                                                                "\"string\"}") "," FIELD("version",
                                                                                         "[\"int\","
                                                                                         "\"null\""
                                                                                         "]") "," FIELD("instantsRollback",
                                                                                                        "{\"type\":\"array\",\"items\":{\"type\":\"record\",\"name\":\"HoodieInstantInfo\","
                                                                                                        "\"fields\":[" FIELD("commitTime", "\"string\"") "," FIELD(
                                                                                                            "action",
                                                                                                            "\"string\"") "]}}"));
    struct buf object;
    buf_init(&object, 4096);
    put_text(&object, w->instant);
    put_long(&object, 1);
    put_long(&object, 1);
    put_long(&object, 1);
    put_text(&object, commit);
    put_long(&object, 0);
    put_long(&object, 0);
    put_long(&object, 1);
    put_long(&object, 1);
    put_text(&object, commit);
    put_text(&object, action);
    put_long(&object, 0);
    write_container(out, schema, &object);
    buf_fini(&object);
}

void metadata_write_clean(const struct writer *w, int64_t files, const char *earliest,
                          struct buf *out)
{
    static const char schema[] = RECORD(
        "HoodieCleanMetadata",
        FIELD("startCleanTime", "\"string\"") "," FIELD("timeTakenInMillis", "\"long\"") "," FIELD(
            "totalFilesDeleted",
            "\"int\"") "," FIELD("earliestCommitToRetain",
                                 "\"string\"") "," FIELD("version", "[\"int\",\"null\"]"));
    struct buf object;
    buf_init(&object, 4096);
    put_text(&object, w->instant);
    put_long(&object, 1);
    put_long(&object, files);
    put_text(&object, earliest);
    put_long(&object, 0);
    put_long(&object, 2);
    write_container(out, schema, &object);
    buf_fini(&object);
}
