/* A client's connection for `pgveneer probe`: sends what no driver sends, in pieces of a chosen size, and
 * tells apart what comes. Blocking, with a deadline. */
#ifndef PROXY_PROBE_CONN_H
#define PROXY_PROBE_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "protocol/scram.h"

#include "conn.h"

/* One side of the comparison, and who logs in there. */
struct probe_target {
    struct conn_target address;
    const char *user;
    const char *dbname;
    const char *password;
    unsigned timeout_ms; /* for every wait */
};

enum probe_event {
    PROBE_MESSAGE,
    PROBE_BYTES,  /* what is no message, up to the end of the connection */
    PROBE_CLOSED, /* nothing more will come */
    PROBE_TIMEOUT
};

struct probe_conn {
    const struct probe_target *target; /* borrows */
    int fd;                            /* -1: not open */
    bool ended;                        /* the other side sends nothing more */
    bool failed;                       /* sending is of no use any more */
    bool lies;                         /* when asked for its password */
    struct buf in;
    uint32_t pid; /* of BackendKeyData */
    char key[256];
    size_t key_bytes;
    struct scram_client *scram; /* owns; NULL unless under way */
};

/* Errors: 08001 */
MUST_USE bool probe_conn_open(struct probe_conn *c, const struct probe_target *target,
                              struct err *err);
/* Zeroed memory is closed already. */
void probe_conn_close(struct probe_conn *c);
/* piece  bytes of each segment that is sent, with time for the other side to read it alone; 0: all at
 *        once. Of long data only the beginning is cut. What comes meanwhile is kept; a peer that is
 *        gone is no error, it shows when one reads. */
void probe_conn_send(struct probe_conn *c, const char *data, size_t bytes, size_t piece);
/* We send nothing more. */
void probe_conn_end(struct probe_conn *c);
/* Takes what comes next. *body borrows until the next call. */
enum probe_event probe_conn_read(struct probe_conn *c, char *type, struct slice *body);
/* Takes one byte, as after SSLRequest. */
enum probe_event probe_conn_read_byte(struct probe_conn *c, char *byte);
/* Answers an Authentication message (its body) as far as it asks for something.
 * Errors: 0A000 a method that is not known here */
MUST_USE bool probe_conn_answer(struct probe_conn *c, struct slice body, size_t piece,
                                struct err *err);

#endif
