/* Vendor statements of online rebuilds, for the proxy's list of handlers. */
#ifndef REBUILD_HANDLER_H
#define REBUILD_HANDLER_H

#include "proxy/handler.h"

extern const struct handler rebuild_handler;

#endif
