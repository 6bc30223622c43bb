/* The statements of the task engine: functions of the support schema, and nothing else. Their SQL is
 * in sql/. What starts, stops or moves a task wakes the workers, so that it is seen at once. */
#include "task/handler.h"

#include "base/attr.h"

static const struct handler_object objects[] = {
    {"pg_task_show", "pgveneer", HANDLER_FUNCTION, false, NULL},
    {"pg_task_pause", "pgveneer", HANDLER_FUNCTION, true, NULL},
    {"pg_task_resume", "pgveneer", HANDLER_FUNCTION, true, NULL},
    {"pg_task_remove", "pgveneer", HANDLER_FUNCTION, true, NULL},
    {"pg_task_reset_interval", "pgveneer", HANDLER_FUNCTION, true, NULL},
};

static const char *const anchors[] = {"pg_task_"};

const struct handler task_handler = {
    .name = "task",
    .objects = objects,
    .object_count = ARRAY_LEN(objects),
    .anchors = anchors,
    .anchor_count = ARRAY_LEN(anchors),
};
