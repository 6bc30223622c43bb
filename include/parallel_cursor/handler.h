/* Parallel retrieve cursors of Greenplum: what main.c registers. */
#ifndef PARALLEL_CURSOR_HANDLER_H
#define PARALLEL_CURSOR_HANDLER_H

#include "proxy/handler.h"

extern const struct handler parallel_cursor_handler;

#endif
