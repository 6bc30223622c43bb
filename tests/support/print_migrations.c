/* Prints the migration script of the support schema, for tests that install it with psql. */
#include <stdio.h>
#include <stdlib.h>

#include "base/buf.h"
#include "base/migration.h"

extern const struct migration_list task_migrations;
extern const struct migration_list hudi_migrations;

int main(void)
{
    const struct migration_list lists[] = {task_migrations, hudi_migrations};
    struct buf out;
    buf_init(&out, 16 * 1024 * 1024);
    if (!migration_script(lists, sizeof lists / sizeof lists[0], &out))
        return EXIT_FAILURE;
    fwrite(buf_data(&out), 1, buf_length(&out), stdout);
    buf_fini(&out);
    return EXIT_SUCCESS;
}
