/* The database is a file in a temporary folder, so that large tables spill to disk. */
#include "db.h"

#include <duckdb.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "writer.h"

struct db {
    char folder[256];
    duckdb_database db;
    duckdb_connection conn;
};

struct db_rows {
    duckdb_result result;
    char **texts; /* owns; by row and column, as asked for */
    size_t rows;
    size_t columns;
};

struct db *db_open(void)
{
    struct db *d = have(calloc(1, sizeof *d));
    char path[300];
    const char *tmp = getenv("TMPDIR");
    snprintf(d->folder, sizeof d->folder, "%s/hudi_writer.XXXXXX", tmp == NULL ? "/tmp" : tmp);
    if (mkdtemp(d->folder) == NULL)
        die("could not make a temporary folder %s", d->folder);
    snprintf(path, sizeof path, "%s/db", d->folder);
    if (duckdb_open(path, &d->db) != DuckDBSuccess ||
        duckdb_connect(d->db, &d->conn) != DuckDBSuccess)
        die("could not open DuckDB in %s", d->folder);
    db_run(d, "SET preserve_insertion_order = false");
    db_run(d, "SET TimeZone = 'UTC'");
    return d;
}

static int remove_entry(const char *path, const struct stat *s, int kind, struct FTW *f)
{
    (void)s, (void)kind, (void)f;
    return remove(path);
}

void db_close(struct db *d)
{
    if (d == NULL)
        return;
    duckdb_disconnect(&d->conn);
    duckdb_close(&d->db);
    nftw(d->folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
    free(d);
}

struct db_rows *db_query(struct db *d, const char *sql)
{
    struct db_rows *r = have(calloc(1, sizeof *r));
    if (duckdb_query(d->conn, sql, &r->result) != DuckDBSuccess)
        die("%s\nin: %s", duckdb_result_error(&r->result), sql);
    r->rows = duckdb_row_count(&r->result);
    r->columns = duckdb_column_count(&r->result);
    r->texts = have(calloc(r->rows * r->columns + 1, sizeof *r->texts));
    return r;
}

int64_t db_run(struct db *d, const char *sql)
{
    struct db_rows *r = db_query(d, sql);
    int64_t changed = (int64_t)duckdb_rows_changed(&r->result);
    db_rows_free(r);
    return changed;
}

size_t db_rows_count(const struct db_rows *r)
{
    return r->rows;
}

const char *db_rows_text(struct db_rows *r, size_t row, size_t column)
{
    char **slot = &r->texts[row * r->columns + column];
    if (*slot == NULL && !duckdb_value_is_null(&r->result, column, row))
        *slot = duckdb_value_varchar(&r->result, column, row);
    return *slot;
}

int64_t db_rows_int(struct db_rows *r, size_t row, size_t column)
{
    return duckdb_value_int64(&r->result, column, row);
}

void db_rows_free(struct db_rows *r)
{
    for (size_t i = 0; i < r->rows * r->columns; i++)
        duckdb_free(r->texts[i]);
    duckdb_destroy_result(&r->result);
    free(r->texts);
    free(r);
}
