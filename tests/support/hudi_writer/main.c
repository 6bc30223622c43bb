/* hudi_writer COMMAND DIR [--option value]…: see usage below. Prints the instant it wrote. */
#include "writer.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "db.h"

static const char usage[] =
    "usage: hudi_writer COMMAND DIR [OPTION]...\n"
    "commands\n"
    "  create             a table; with --sql its first commit too, whose keys must be unique\n"
    "  upsert, insert     rows of --sql; insert matches no keys, so duplicates are possible\n"
    "  delete             keys of --keys-sql (a query with the record key columns)\n"
    "  insert-overwrite   partitions of --sql, or with --table the whole table\n"
    "  delete-partition   --partition-path P\n"
    "  cluster            groups of all partitions, or of --partition-path, into --groups new "
    "ones\n"
    "  clean              keeps --keep files of each group (1)\n"
    "  archive            keeps --keep commits on the timeline (1)\n"
    "  rollback           of --time T, or the newest commit\n"
    "  begin              a pending commit (with --table: a replacecommit); complete it with the\n"
    "                     same --time\n"
    "  show               commits, and what a run behind --time (--completed) would read\n"
    "  check              brings the model in the file --name forward by plans of --keep commits "
    "and\n"
    "                     compares it with the table's snapshots\n"
    "options\n"
    "  create:   --name N --key a,b --partition p --ordering o --layout 1|2 --version V\n"
    "            --hive-style --url-encode --no-meta --drop-partition-columns --timezone "
    "UTC|LOCAL\n"
    "            --codec gzip|snappy|zstd --properties 'k=v;k=v'\n"
    "  commits:  --sql Q --groups N (new file groups per partition) --codec C --time T\n"
    "            --completed T --global (a key that moves leaves its old partition)\n";

struct option_row {
    const char *name;
    size_t offset;
    enum { TEXT, NUMBER, FLAG } kind;
};

#define OPTION(name, member, kind)                                                                 \
    {                                                                                              \
        name, offsetof(struct options, member), kind                                               \
    }

static const struct option_row option_rows[] = {
    OPTION("--name", name, TEXT),
    OPTION("--key", key, TEXT),
    OPTION("--partition", partition, TEXT),
    OPTION("--ordering", ordering, TEXT),
    OPTION("--sql", sql, TEXT),
    OPTION("--keys-sql", sql, TEXT),
    OPTION("--time", time, TEXT),
    OPTION("--completed", completed, TEXT),
    OPTION("--codec", codec, TEXT),
    OPTION("--partition-path", partition_path, TEXT),
    OPTION("--timezone", timezone, TEXT),
    OPTION("--properties", extra, TEXT),
    OPTION("--layout", layout, NUMBER),
    OPTION("--version", version, NUMBER),
    OPTION("--groups", groups, NUMBER),
    OPTION("--keep", keep, NUMBER),
    OPTION("--hive-style", hive_style, FLAG),
    OPTION("--url-encode", url_encode, FLAG),
    OPTION("--no-meta", no_meta, FLAG),
    OPTION("--drop-partition-columns", drop_partition_columns, FLAG),
    OPTION("--table", whole_table, FLAG),
    OPTION("--global", global, FLAG),
};

static void create(struct writer *w)
{
    service_create(w);
    if (w->o.sql == NULL)
        return;
    folder_open(w);
    rows_open(w);
    rows_upsert(w, true); /* the rows are new: no keys to match, which is quick for millions */
}

static void upsert(struct writer *w)
{
    rows_upsert(w, false);
}

static void insert(struct writer *w)
{
    rows_upsert(w, true);
}

static const struct {
    const char *name;
    void (*run)(struct writer *w);
    bool needs_table;
    bool needs_rows;
} commands[] = {
    {"create", create, false, false},
    {"upsert", upsert, true, true},
    {"insert", insert, true, true},
    {"delete", rows_delete, true, true},
    {"insert-overwrite", rows_overwrite, true, true},
    {"delete-partition", service_delete_partition, true, true},
    {"cluster", service_cluster, true, true},
    {"clean", service_clean, true, false},
    {"archive", service_archive, true, true},
    {"rollback", service_rollback, true, false},
    {"begin", service_begin, true, false},
    {"show", service_show, true, false},
    {"check", service_check, true, true},
};

static void read_option(struct options *o, char **argv, int argc, int *i)
{
    for (size_t k = 0; k < ARRAY_LEN(option_rows); k++) {
        const struct option_row *row = &option_rows[k];
        char *place = (char *)o + row->offset;
        if (strcmp(row->name, argv[*i]) != 0)
            continue;
        if (row->kind == FLAG) {
            *(bool *)(void *)place = true;
            return;
        }
        if (*i + 1 == argc)
            die("%s needs a value", argv[*i]);
        const char *value = argv[++*i];
        if (row->kind == TEXT)
            *(const char **)(void *)place = value;
        else
            *(int *)(void *)place = (int)strtol(value, NULL, 10);
        return;
    }
    die("unknown option %s\n%s", argv[*i], usage);
}

int main(int argc, char **argv)
{
    static struct writer w;
    if (argc < 3)
        die("what shall I do?\n%s", usage);
    arena_init(&w.arena, 0);
    for (int i = 3; i < argc; i++)
        read_option(&w.o, argv, argc, &i);
    if (strcmp(argv[1], "create") == 0)
        folder_make(argv[2]);
    w.o.dir = realpath(argv[2], NULL);
    if (w.o.dir == NULL)
        die("no folder %s", argv[2]);
    for (size_t k = 0; k < ARRAY_LEN(commands); k++) {
        if (strcmp(commands[k].name, argv[1]) != 0)
            continue;
        if (commands[k].needs_table)
            folder_open(&w);
        if (commands[k].needs_rows)
            rows_open(&w);
        commands[k].run(&w);
        db_close(w.db);
        objstore_close(w.store);
        arena_fini(&w.arena);
        free((void *)(uintptr_t)w.o.dir);
        return 0;
    }
    die("unknown command %s\n%s", argv[1], usage);
}
