/* Numbered SQL files that the build embeds (handlers/<feature>/sql/NNN_name.sql), and the one script
 * that brings a database up to date with them.
 *
 * The script is plain SQL, so the proxy's control connection, `pgveneer install` and the workers can
 * all send it. Each migration runs in a transaction of its own under an advisory lock, once, and is
 * recorded with its checksum in pgveneer.migration. */
#ifndef BASE_MIGRATION_H
#define BASE_MIGRATION_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"

struct migration {
    const char *feature; /* "task" */
    const char *name;    /* "001_task"; with the feature the key in pgveneer.migration */
    const char *sql;     /* NUL-terminated */
};

/* Migrations of one feature, in order; generated into <feature>_sql.c by the build. */
struct migration_list {
    const struct migration *items;
    size_t count;
};

/* Appends the script for all lists, in their order. It can be run at any time by any number of
 * connections: what is recorded is skipped; a recorded checksum that differs raises 55000 (a shipped
 * file never changes). The role that runs it needs CREATE on the database; a schema pgveneer that
 * another role owns raises 42501. lock_timeout is 5 s, a lock that is
 * not available raises 55P03. False: the buffer is full or without memory. */
MUST_USE bool migration_script(const struct migration_list *lists, size_t count, struct buf *out);
/* Appends the script that removes the support schemas, and nothing where none is installed. */
MUST_USE bool migration_uninstall_script(struct buf *out);

#endif
