/* Statements on parallel retrieve cursors: tokens to struct handler_cursor. Private to the gate library;
 * no I/O. */
#ifndef PARALLEL_CURSOR_PARSE_H
#define PARALLEL_CURSOR_PARSE_H

#include "proxy/handler.h"

/* Entries of the handler's table. */
typedef enum handler_claim parse_claim(struct arena *a, const struct handler_text *statement,
                                       struct handler_answer *answer, struct err *err);
parse_claim parse_declare, parse_explain, parse_check, parse_retrieve, parse_fetch;

#endif
