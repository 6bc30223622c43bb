/* Prints the migration script of the support schema, or with an argument the one that removes it, for
 * tests that run them with psql. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/migration.h"

extern const struct migration_list task_migrations;
extern const struct migration_list hudi_migrations;
extern const struct migration_list rebuild_migrations;
extern const struct migration_list parallel_cursor_migrations;

int main(int argc, char **argv)
{
    (void)argv;
    const struct migration_list lists[] = {task_migrations, hudi_migrations,
                                           rebuild_migrations, parallel_cursor_migrations};
    struct buf out;
    buf_init(&out, 16 * 1024 * 1024);
    bool ok = argc > 1 ? migration_uninstall_script(&out)
                       : migration_script(lists, sizeof lists / sizeof lists[0], &out);
    if (!ok)
        return EXIT_FAILURE;
    fwrite(buf_data(&out), 1, buf_length(&out), stdout);
    buf_fini(&out);
    return EXIT_SUCCESS;
}
