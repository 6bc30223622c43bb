/* The statements of SQL on Hudi (GaussDB(DWS) manual, "SQL on Hudi"; seeds/000).
 *
 * Functions and the history view are objects of the support schema: the gate qualifies their names.
 * The first release does not carry out all of them; those that are missing exist there too and say so
 * with 0A000, which is a better answer than "function does not exist". */
#include "hudi/handler.h"

#include "base/attr.h"

static const struct handler_object objects[] = {
    {"create_hudi_sync_table", "pgveneer", HANDLER_FUNCTION, false},
    {"hudi_sync_task_submit", "pgveneer", HANDLER_FUNCTION, true},
    {"hudi_set_sync_commit", "pgveneer", HANDLER_FUNCTION, false},
    {"hudi_show_sync_state", "pgveneer", HANDLER_FUNCTION, false},
    {"hudi_sync_state_history_view", "pgveneer", HANDLER_RELATION, false},
    {"hudi_sync", "pgveneer", HANDLER_FUNCTION, false},
    {"hudi_sync_custom", "pgveneer", HANDLER_FUNCTION, false},
    {"hudi_get_options", "pgveneer", HANDLER_FUNCTION, false},
    {"hudi_get_max_commit", "pgveneer", HANDLER_FUNCTION, false},
    {"hudi_get_commit", "pgveneer", HANDLER_FUNCTION, false},
    {"pg_show_custom_settings", "pgveneer", HANDLER_FUNCTION, false},
};

static const char *const anchors[] = {"hudi", "foreign", "server", "useft", "pg_show_custom"};

const struct handler hudi_handler = {
    .name = "hudi",
    .objects = objects,
    .object_count = ARRAY_LEN(objects),
    .anchors = anchors,
    .anchor_count = ARRAY_LEN(anchors),
};
