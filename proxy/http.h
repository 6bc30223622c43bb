/* The HTTP interface: GET and HEAD of a few paths, on a loop and thread of its own. */
#ifndef HTTP_H
#define HTTP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "loop.h"

struct http;
struct http_request; /* is owed an answer until http_answer; the path's handler has it */

struct http_path {
    const char *path;
    void (*handle)(void *arg, struct http_request *r);
    void *arg;
};

/* loop   does not run yet; everything happens on its thread
 * paths  constant
 * Errors 42501, 58030 the address cannot be listened on */
MUST_USE bool http_open(struct loop *loop, const char *addr, uint16_t port,
                        const struct http_path *paths, size_t count, struct http **out,
                        struct err *err);
/* After the loop has ended. */
void http_close(struct http *h);

/* Answers and forgets the request. On the loop's thread, at any time after handle was called; a client
 * that is gone by then gets nothing. */
void http_answer(struct http_request *r, int status, const char *type, struct buf *body);

#endif
