/* Numbered SQL files that the build embeds (handlers/<feature>/sql/NNN_name.sql), and the one script
 * that brings a database up to date with them.
 *
 * The script is one statement of plain SQL, so the proxy's control connection, `pgveneer install` and a
 * psql can all send it, and all of it is done or nothing. It runs under an advisory lock; the files run
 * in order, each one once in each of its revisions, which pgveneer.migration records with a checksum.
 *
 * Revisions: a file whose first line says "-- revision 2" is at that one, a file without such a line at 1.
 *
 *   recorded                      what the script does
 *   not at all, a lower revision  runs the file and records it
 *   this revision, this text      nothing
 *   this revision, another text   raises 55000: a released revision never changes
 *   a higher revision             nothing, with any file: the database belongs to a newer pgveneer. Several
 *                                 proxies are upgraded one after the other, so the older ones have to go on;
 *                                 what they call and is no more there fails by its name (42883).
 *
 * So a function is changed in the file that defines it, the only one that does, and the file gets the next
 * revision, once between two releases. From then on it can run over what its former revisions made: CREATE
 * TABLE IF NOT EXISTS and ALTER TABLE … ADD COLUMN IF NOT EXISTS, CREATE OR REPLACE, DROP … IF EXISTS before
 * triggers and policies, and of functions that are gone or return something else. Rows stay. A file that has
 * become needless goes, its record stays; what replaces it is in a file with a higher revision.
 *
 * handlers/sql_revisions.txt knows the texts of each release, scripts/sql_revisions.sh compares (lint) and
 * adds a release. tests/e2e/sql/test_upgrade.py upgrades each of them. */
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
 * connections. The role that runs it needs CREATE on the database; a schema pgveneer that another role
 * owns raises 42501. lock_timeout is 5 s, a lock that is not available raises 55P03. False: the buffer is
 * full or without memory. */
MUST_USE bool migration_script(const struct migration_list *lists, size_t count, struct buf *out);
/* Appends the script that removes the support schemas, and nothing where none is installed. */
MUST_USE bool migration_uninstall_script(struct buf *out);

#endif
