/* Vendor statements of the task registry (pg_task_…), for the proxy's list of handlers. */
#ifndef TASK_HANDLER_H
#define TASK_HANDLER_H

#include "proxy/handler.h"

extern const struct handler task_handler;

#endif
