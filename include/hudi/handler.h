/* Vendor statements of SQL on Hudi, for the proxy's list of handlers. */
#ifndef HUDI_HANDLER_H
#define HUDI_HANDLER_H

#include "proxy/handler.h"

extern const struct handler hudi_handler;

#endif
