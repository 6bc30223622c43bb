/* The statements of SQL on Hudi (GaussDB(DWS) manual, "SQL on Hudi"; seeds/000).
 *
 * Functions and the history view are objects of the support schema: the gate qualifies their names.
 * Those that need the store ask a job through the proxy (handlers/task/sql/003_asking.sql).
 *
 * Servers and foreign tables of the wrappers dfs_fdw and hdfs_fdw are rows of a registry: their
 * statements are parsed here and become calls of its procedures. */
#include "hudi/handler.h"

#include "base/attr.h"

#include "parse.h"

static const struct handler_object objects[] = {
    {"create_hudi_sync_table", "pgveneer", HANDLER_FUNCTION, false, NULL},
    {"hudi_sync_task_submit", "pgveneer", HANDLER_FUNCTION, true, NULL},
    {"hudi_set_sync_commit", "pgveneer", HANDLER_FUNCTION, false, NULL},
    {"hudi_show_sync_state", "pgveneer", HANDLER_FUNCTION, false, NULL},
    {"hudi_sync_state_history_view", "pgveneer", HANDLER_RELATION, false, NULL},
    {"hudi_sync", "pgveneer", HANDLER_FUNCTION, false, "call_hudi_sync"},
    {"hudi_sync_custom", "pgveneer", HANDLER_FUNCTION, false, "call_hudi_sync_custom"},
    {"hudi_get_options", "pgveneer", HANDLER_FUNCTION, false, NULL},
    {"hudi_get_max_commit", "pgveneer", HANDLER_FUNCTION, false, NULL},
    {"hudi_get_commit", "pgveneer", HANDLER_FUNCTION, false, NULL},
    {"pg_show_custom_settings", "pgveneer", HANDLER_FUNCTION, false, NULL},
};

static const struct handler_statement statements[] = {
    {"create server", parse_create_server},
    {"alter server", parse_alter_server},
    {"drop server", parse_drop_server},
    {"create foreign table", parse_create_table},
    {"alter foreign table", parse_alter_table},
    {"drop foreign table", parse_drop_table},
    {"grant", parse_grant_server},
    {"revoke", parse_revoke_server},
    {"create user mapping", parse_create_mapping},
    {"alter user mapping", parse_alter_mapping},
    {"drop user mapping", parse_drop_mapping},
    {"alter user", parse_alter_user},
    {"alter role", parse_alter_user},
};

static const char *const anchors[] = {"hudi", "foreign", "server", "useft", "pg_show_custom"};

const struct handler hudi_handler = {
    .name = "hudi",
    .objects = objects,
    .object_count = ARRAY_LEN(objects),
    .statements = statements,
    .statement_count = ARRAY_LEN(statements),
    .anchors = anchors,
    .anchor_count = ARRAY_LEN(anchors),
};
