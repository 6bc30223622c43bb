/* DuckDB for hudi_writer: run a statement, or die with its error. */
#ifndef HUDI_WRITER_DB_H
#define HUDI_WRITER_DB_H

#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"

struct db;
struct db_rows;

struct db *db_open(void);
void db_close(struct db *d);
/* Rows changed, for statements that change some. */
int64_t db_run(struct db *d, const char *sql);
struct db_rows *db_query(struct db *d, const char *sql);
size_t db_rows_count(const struct db_rows *r);
/* Text of a value, borrowed until db_rows_free; NULL: SQL NULL. */
const char *db_rows_text(struct db_rows *r, size_t row, size_t column);
int64_t db_rows_int(struct db_rows *r, size_t row, size_t column);
void db_rows_free(struct db_rows *r);

#endif
