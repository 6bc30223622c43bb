/* Files are mapped into memory, one slice's at a time: a log file may have a gigabyte, and its records
 * go to DuckDB one by one, which spills what does not fit into its memory limit. */
#include "log_load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "duck_append.h"
#include "grow.h"
#include "log_rows.h"
#include "log_scan.h"
#include "protocol/copy_binary.h"

#define TEXT_BYTES ((size_t)64 << 20)
#define ROWS_OF_A_BLOCK 32 /* bits of a sequence number */
#define ORDER_TEXT_BYTES 64
#define DELETES_BYTES ((size_t)1 << 30)

/* ---- files ---- */

static bool map_file(const char *path, struct slice *out, struct err *err)
{
    struct stat st;
    *out = slice_of(NULL, 0);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set_errno(err, errno, "could not open log file \"%s\"", path);
        if (fd >= 0)
            close(fd);
        return false;
    }
    void *data =
        st.st_size == 0 ? NULL : mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    int failure = errno;
    close(fd);
    if (data == MAP_FAILED)
        return err_set_errno(err, failure, "could not read log file \"%s\"", path);
    *out = slice_of(data, (size_t)st.st_size);
    return true;
}

static void unmap_files(const struct slice *files, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (files[i].len > 0)
            munmap((void *)(uintptr_t)files[i].data, files[i].len);
}

/* ---- sources ---- */

static bool is_named(const struct hudi_names *names, const char *field)
{
    for (size_t i = 0; i < names->count; i++)
        if (strcasecmp(names->items[i], field) == 0)
            return true;
    return false;
}

/* Columns that the target has, and those by which rows are merged. */
static bool is_wanted(const void *arg, const char *field)
{
    const struct log_load *l = arg;
    const struct hudi_table *t = l->table;
    if (l->columns == NULL || strncmp(field, "_hoodie_", 8) == 0 || is_named(&t->ordering, field) ||
        is_named(&t->record_key, field) ||
        (t->merge.delete_field != NULL && strcasecmp(t->merge.delete_field, field) == 0))
        return true;
    for (size_t i = 0; i < l->columns->count; i++)
        if (strcasecmp(l->columns->items[i].source, field) == 0)
            return true;
    return false;
}

static bool sign(struct log_load *l, const struct log_block *b, const char *const *values,
                 const char **out, struct err *err)
{
    struct buf t;
    buf_init(&t, TEXT_BYTES);
    buf_printf(&t, "%d %d ", (int)b->type, b->is_partial ? 1 : 0);
    for (size_t i = 0; values != NULL && i < l->table->partition.count; i++)
        buf_printf(&t, "%s ", values[i] == NULL ? "\\N" : values[i]);
    buf_append_slice(&t, b->schema);
    const char *text = buf_cstr(&t);
    *out = text == NULL ? NULL : arena_copy_cstr(l->arena, text);
    buf_fini(&t);
    return *out != NULL || err_no_memory(err);
}

static struct log_source *find_source(const struct log_load *l, const char *signature)
{
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->sources[i].signature, signature) == 0)
            return &l->sources[i];
    return NULL;
}

static bool start_rows(struct log_load *l, struct log_source *s, struct slice schema,
                       struct err *err)
{
    s->table = arena_printf(l->arena, "%slog%zu", l->prefix, l->count);
    return (s->table != NULL || err_no_memory(err)) &&
           log_schema_read(l->arena, schema, &s->type, err) &&
           log_rows_open(l->arena, l->duck, s->table, s->type, is_wanted, l, &s->rows, err);
}

static bool get_source(struct log_load *l, const struct log_block *b, const char **values,
                       struct log_source **out, struct err *err)
{
    const char *signature;
    if (!sign(l, b, values, &signature, err))
        return false;
    *out = find_source(l, signature);
    if (*out != NULL)
        return true;
    l->sources = grow_array(l->arena, l->sources, l->count, &l->room, sizeof *l->sources);
    if (l->sources == NULL)
        return err_no_memory(err);
    struct log_source *s = &l->sources[l->count];
    *s = (struct log_source){.signature = signature, .values = values, .is_partial = b->is_partial};
    if (b->type == LOG_BLOCK_AVRO && !start_rows(l, s, b->schema, err))
        return false;
    l->count++;
    *out = s;
    return true;
}

/* ---- tables of our own ---- */

static size_t order_count(const struct log_load *l)
{
    size_t n = l->table->ordering.count;
    return n == 0 ? 1 : n;
}

static bool open_table(struct log_load *l, const char *name, const char *columns,
                       struct duck_append **out, struct err *err)
{
    const char *table = arena_printf(l->arena, "%s%s", l->prefix, name);
    const char *sql = arena_printf(l->arena, "CREATE TABLE %s%s (%s)", l->prefix, name, columns);
    if (table == NULL || sql == NULL)
        return err_no_memory(err);
    return duck_run(l->duck, sql, err) && duck_append_open(l->duck, table, out, err);
}

static bool open_deletes(struct log_load *l, struct err *err)
{
    if (l->has_deletes)
        return true;
    const char *columns = "slice INTEGER, seq BIGINT, key VARCHAR, cut BOOLEAN";
    for (size_t i = 0; columns != NULL && i < order_count(l); i++)
        columns = arena_printf(l->arena, "%s, k%zu INTEGER, t%zu VARCHAR", columns, i, i);
    if (columns == NULL)
        return err_no_memory(err);
    l->has_deletes = true;
    return open_table(l, "delete", columns, &l->deletes, err);
}

static bool open_blocks(struct log_load *l, struct err *err)
{
    if (l->has_files)
        return true;
    l->has_files = true;
    return open_table(l, "block", "path VARCHAR, slice INTEGER, first BIGINT", &l->blocks, err);
}

/* ---- blocks ---- */

static bool load_avro(struct log_load *l UNUSED, struct log_source *s, const struct log_block *b,
                      int32_t slice, int64_t first, struct err *err)
{
    struct log_content c;
    if (!log_avro_content_read(b->content, &c, err))
        return false;
    struct slice left = c.body;
    for (uint32_t i = 0; i < c.count; i++) {
        uint64_t size = 0;
        for (size_t k = 0; k < 4 && left.len >= 4; k++)
            size = size << 8 | (unsigned char)left.data[k];
        if (left.len < 4 || size > left.len - 4)
            return err_set(err, SQLSTATE_DATA_CORRUPTED,
                           "log block at byte %zu is damaged: it holds %u of %u records", b->offset,
                           i, c.count);
        if (!log_rows_put(s->rows, slice_part(left, 4, 4 + (size_t)size), slice, first + i, err))
            return false;
        left = slice_part(left, 4 + (size_t)size, left.len);
    }
    return true;
}

static bool write_file(const char *path, struct slice content, struct err *err)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL)
        return err_set_errno(err, errno, "could not create \"%s\"", path);
    bool ok = fwrite(content.data, 1, content.len, f) == content.len;
    int failure = errno;
    ok = fclose(f) == 0 && ok;
    return ok || err_set_errno(err, failure, "could not write \"%s\"", path);
}

static bool load_parquet(struct log_load *l, struct log_source *s, const struct log_block *b,
                         int32_t slice, int64_t first, struct err *err)
{
    const char *path = arena_printf(l->arena, "%s/%sblock%lld.parquet",
                                    duck_temp_directory(l->duck), l->prefix, (long long)l->nblocks);
    s->paths = grow_array(l->arena, s->paths, s->npaths, &s->paths_room, sizeof *s->paths);
    if (path == NULL || s->paths == NULL)
        return err_no_memory(err);
    if (!open_blocks(l, err) || !write_file(path, b->content, err))
        return false;
    s->paths[s->npaths++] = path;
    size_t n;
    struct duck_column *columns = duck_append_columns(l->blocks, &n);
    uint64_t row = duck_append_row(l->blocks);
    duck_column_put_bytes(l->blocks, &columns[0], row, slice_cstr(path));
    ((int32_t *)columns[1].data)[row] = slice;
    ((int64_t *)columns[2].data)[row] = first;
    return duck_append_next(l->blocks, err);
}

/* "-12.000000000000345": big-endian two's complement of up to 16 bytes. */
static void put_decimal(char *text, size_t size, const struct log_order *o)
{
    copy_int128 v = o->bytes.len > 0 && (o->bytes.data[0] & 0x80) != 0 ? -1 : 0;
    for (size_t i = 0; i < o->bytes.len && i < sizeof v; i++)
        v = (v * 256) | (unsigned char)o->bytes.data[i];
    copy_int128 unit = 1;
    for (int i = 0; i < o->scale; i++)
        unit *= 10;
    copy_int128 whole = v / unit, rest = v % unit;
    snprintf(text, size, "%s%lld.%0*lld", v < 0 ? "-" : "", (long long)(whole < 0 ? -whole : whole),
             o->scale, (long long)(rest < 0 ? -rest : rest));
}

static void put_order(struct duck_append *ap, struct duck_column *text, uint64_t row,
                      const struct log_order *o)
{
    char number[ORDER_TEXT_BYTES];
    switch (o->kind) {
    case LOG_ORDER_NONE: duck_column_put_null(ap, text, row); return;
    case LOG_ORDER_TEXT:
    case LOG_ORDER_BYTES: duck_column_put_bytes(ap, text, row, o->bytes); return;
    case LOG_ORDER_INT:
    case LOG_ORDER_LONG: snprintf(number, sizeof number, "%lld", (long long)o->number); break;
    case LOG_ORDER_REAL: snprintf(number, sizeof number, "%.17g", o->real); break;
    case LOG_ORDER_DECIMAL: put_decimal(number, sizeof number, o); break;
    }
    duck_column_put_bytes(ap, text, row, slice_cstr(number));
}

static bool put_delete(struct log_load *l, const struct log_delete *d, int32_t slice, int64_t seq,
                       struct err *err)
{
    size_t n;
    struct duck_column *c = duck_append_columns(l->deletes, &n);
    uint64_t row = duck_append_row(l->deletes);
    ((int32_t *)c[0].data)[row] = slice;
    ((int64_t *)c[1].data)[row] = seq;
    duck_column_put_bytes(l->deletes, &c[2], row, d->key);
    ((bool *)c[3].data)[row] = d->unconditional;
    for (size_t i = 0; i < order_count(l); i++) {
        struct log_order none = {.kind = LOG_ORDER_NONE};
        const struct log_order *o = i < d->norders ? &d->orders[i] : &none;
        ((int32_t *)c[4 + 2 * i].data)[row] = (int32_t)o->kind;
        put_order(l->deletes, &c[5 + 2 * i], row, o);
    }
    return duck_append_next(l->deletes, err);
}

static bool load_list(struct log_load *l, struct log_deletes *list, int32_t slice, int64_t first,
                      struct err *err)
{
    struct log_delete d;
    bool found;
    for (int64_t i = 0;; i++) {
        if (!log_delete_next(list, &d, &found, err))
            return false;
        if (!found)
            return true;
        if (!put_delete(l, &d, slice, first + i, err))
            return false;
    }
}

static bool load_deletes(struct log_load *l, const struct log_block *b, int32_t slice,
                         int64_t first, struct err *err)
{
    struct log_content c;
    struct log_deletes list;
    struct arena own;
    if (!log_delete_content_read(b->content, &c, err) || !open_deletes(l, err))
        return false;
    arena_init(&own, DELETES_BYTES);
    bool ok = log_deletes_open(&own, &c, &list, err) && load_list(l, &list, slice, first, err);
    arena_fini(&own);
    return ok;
}

static bool load_block(struct log_load *l, const struct hudi_slice *s, const struct log_block *b,
                       int32_t slice, struct err *err)
{
    const char **values = NULL;
    struct log_source *source;
    int64_t first = ++l->nblocks << ROWS_OF_A_BLOCK;
    if (b->type == LOG_BLOCK_DELETE)
        return load_deletes(l, b, slice, first, err);
    if (l->table->drops_partition_columns &&
        !hudi_partition_values(l->arena, l->table, s->partition_path, &values, err))
        return false;
    if (!get_source(l, b, values, &source, err))
        return false;
    return (b->type == LOG_BLOCK_AVRO ? load_avro : load_parquet)(l, source, b, slice, first, err);
}

/* ---- slices ---- */

static bool counts(const void *state, struct slice instant)
{
    return hudi_state_has(state, instant);
}

static bool load_files(struct log_load *l, const struct hudi_slice *s, const struct slice *files,
                       const struct hudi_state *state, int32_t number, struct err *err)
{
    struct log_blocks blocks;
    if (!log_scan(l->arena, files, s->nlogs, counts, state, &blocks, err))
        return false;
    for (size_t i = 0; i < blocks.count; i++)
        if (!load_block(l, s, &blocks.items[i], number, err))
            return false;
    return true;
}

void log_load_init(struct log_load *l, struct arena *a, struct duck *d,
                   const struct hudi_table *table, const struct columns *columns,
                   const char *prefix)
{
    *l = (struct log_load){
        .arena = a, .duck = d, .table = table, .columns = columns, .prefix = prefix};
}

bool log_load_slice(struct log_load *l, const struct hudi_slice *s, const char *const *paths,
                    const struct hudi_state *state, int32_t number, struct err *err)
{
    size_t mapped = 0;
    bool ok = true;
    struct slice *files = arena_alloc_array(l->arena, s->nlogs + 1, sizeof *files);
    if (files == NULL)
        return err_no_memory(err);
    for (; ok && mapped < s->nlogs; mapped++)
        ok = map_file(paths[mapped], &files[mapped], err);
    ok = ok && load_files(l, s, files, state, number, err);
    unmap_files(files, mapped);
    return ok || err_context(err, "file group \"%s\"", s->file_id);
}

static bool describe(struct log_load *l, struct log_source *s, struct err *err)
{
    struct buf b;
    buf_init(&b, TEXT_BYTES);
    buf_append_cstr(&b, "SELECT * FROM ");
    if (s->type != NULL) {
        duck_put_name(&b, s->table);
    } else {
        buf_append_cstr(&b, "read_parquet(");
        duck_put_text(&b, s->paths[0]);
        buf_append_cstr(&b, ", hive_partitioning=false)");
    }
    const char *sql = buf_cstr(&b);
    bool ok = sql == NULL
                  ? err_no_memory(err)
                  : duck_describe(l->duck, l->arena, sql, &s->columns, &s->column_count, err);
    buf_fini(&b);
    return ok;
}

bool log_load_end(struct log_load *l, struct err *err)
{
    bool ok = err != NULL;
    for (size_t i = 0; i < l->count; i++) {
        struct log_source *s = &l->sources[i];
        ok = log_rows_close(s->rows, ok ? err : NULL) && ok;
        s->rows = NULL;
    }
    ok = duck_append_close(l->deletes, ok ? err : NULL) && ok;
    ok = duck_append_close(l->blocks, ok ? err : NULL) && ok;
    l->deletes = l->blocks = NULL;
    for (size_t i = 0; ok && i < l->count; i++)
        ok = describe(l, &l->sources[i], err);
    return ok;
}
