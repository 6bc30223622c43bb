/* Words of a query that mean the time at which it is read. */
#ifndef PROXY_CURSOR_MOMENT_H
#define PROXY_CURSOR_MOMENT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/slice.h"
#include "proxy/lexer.h"

/* May one of the query's string literals be a time like 'now' or 'tomorrow 10:00'? In doubt, yes. */
MUST_USE bool cursor_moment_is_named(struct arena *a, struct slice query,
                                     const struct lexer_dialect *d);

#endif
