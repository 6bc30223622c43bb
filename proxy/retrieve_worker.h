/* A connection of an endpoint's own: logs in as the declaring user, takes the declaring transaction's
 * snapshot, and reads one slice. It lives on the retrieve session's loop. */
#ifndef PROXY_RETRIEVE_WORKER_H
#define PROXY_RETRIEVE_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

struct conn_target;
struct endpoint;
struct loop;
struct retrieve_worker;

/* Any call of this module is allowed inside. */
struct retrieve_worker_events {
    /* DataRow messages, cut anywhere. */
    void (*on_rows)(void *owner, const char *data, size_t bytes);
    /* The request ended. ended: there are no more rows. err NULL: well; raw: the server's own
     * ErrorResponse body, or empty. After an error the owner closes the worker. */
    void (*on_done)(void *owner, uint64_t rows, bool ended, const struct err *err,
                    struct slice raw);
};

/* NULL: no memory. e: borrows; has workers. */
MUST_USE struct retrieve_worker *retrieve_worker_open(struct loop *l,
                                                      const struct conn_target *target,
                                                      struct endpoint *e,
                                                      const struct retrieve_worker_events *events,
                                                      void *owner);
/* Cancels what runs, and closes. NULL: nothing. */
void retrieve_worker_close(struct retrieve_worker *w);
/* rows: UINT64_MAX: all. formats: as in Bind; encoding: of the rows. One at a time. */
void retrieve_worker_read(struct retrieve_worker *w, uint64_t rows, uint16_t nformats,
                          struct slice formats, const char *encoding);
void retrieve_worker_cancel(struct retrieve_worker *w);
/* The rows' receiver is full, or can take more again. */
void retrieve_worker_pause(struct retrieve_worker *w, bool pause);

#endif
