/* The messages that clients send: one read and one write each (PostgreSQL manual, chapter 55.7).
 *
 * wire_read_*   takes a cursor at the start of the body; false: the body is no such message. All
 *               slices of *m point into the body.
 * wire_write_*  appends the whole message; false: the buffer has failed. */
#ifndef PROTOCOL_CLIENT_MSG_H
#define PROTOCOL_CLIENT_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/slice.h"
#include "protocol/wire_reader.h"
#include "protocol/wire_writer.h"

/* The first word of a client's first packet, which has no type byte. */
#define WIRE_PROTOCOL_3_0 0x00030000u
#define WIRE_CANCEL_REQUEST 80877102u
#define WIRE_SSL_REQUEST 80877103u
#define WIRE_GSSENC_REQUEST 80877104u
/* Limit of a startup packet behind its length word, as in the server. */
#define WIRE_MAX_STARTUP_BYTES 10000u

/* StartupMessage: Int32 version, then pairs of strings and a NUL at the end. */
struct wire_startup {
    uint32_t version;
    struct slice params; /* the pairs, for wire_startup_next and wire_startup_find */
};
/* The body starts behind the length word. A version that is not 3.x is the caller's to refuse. */
MUST_USE bool wire_read_startup(struct wire_reader *r, struct wire_startup *m);
/* names_values: name, value, name, value, …, NULL; a NULL value skips its pair. */
MUST_USE bool wire_write_startup(struct buf *out, uint32_t version,
                                 const char *const *names_values);
/* Takes the first pair off *params; false at the end. */
bool wire_startup_next(struct slice *params, struct slice *name, struct slice *value);
/* The last value given for a name, as in the server; false: none. */
bool wire_startup_find(const struct wire_startup *m, const char *name, struct slice *value);

/* CancelRequest: Int32 code, Int32 pid, key of 4 bytes (to 256 since protocol 3.2). */
struct wire_cancel {
    uint32_t pid;
    struct slice key;
};
MUST_USE bool wire_read_cancel(struct wire_reader *r, struct wire_cancel *m);
MUST_USE bool wire_write_cancel(struct buf *out, const struct wire_cancel *m);

/* Query 'Q' */
struct wire_query {
    struct slice query;
};
MUST_USE bool wire_read_query(struct wire_reader *r, struct wire_query *m);
MUST_USE bool wire_write_query(struct buf *out, struct slice query);

/* Parse 'P' */
struct wire_parse {
    struct slice name;
    struct slice query;
    uint16_t noids;
    struct slice oids; /* as on the wire: noids times 4 bytes */
};
MUST_USE bool wire_read_parse(struct wire_reader *r, struct wire_parse *m);
MUST_USE bool wire_write_parse(struct buf *out, const struct wire_parse *m);

/* Bind 'B' */
struct wire_bind {
    struct slice portal;
    struct slice statement;
    uint16_t nformats;
    struct slice formats; /* as on the wire: nformats times 2 bytes */
    uint16_t nparams;
    struct slice params; /* as on the wire: for wire_get_value */
    uint16_t nresult_formats;
    struct slice result_formats;
};
MUST_USE bool wire_read_bind(struct wire_reader *r, struct wire_bind *m);
MUST_USE bool wire_write_bind(struct buf *out, const struct wire_bind *m);
/* Text parameters, text results; a NULL in `values` is SQL NULL. */
MUST_USE bool wire_write_bind_text(struct buf *out, struct slice portal, struct slice statement,
                                   const char *const *values, uint16_t count);

/* Describe 'D' and Close 'C' */
struct wire_target {
    char kind; /* 'S' statement, 'P' portal */
    struct slice name;
};
MUST_USE bool wire_read_target(struct wire_reader *r, struct wire_target *m);
MUST_USE bool wire_write_describe(struct buf *out, char kind, struct slice name);
MUST_USE bool wire_write_close(struct buf *out, char kind, struct slice name);

/* Execute 'E' */
struct wire_execute {
    struct slice portal;
    uint32_t max_rows; /* 0: all */
};
MUST_USE bool wire_read_execute(struct wire_reader *r, struct wire_execute *m);
MUST_USE bool wire_write_execute(struct buf *out, struct slice portal, uint32_t max_rows);

/* PasswordMessage 'p': cleartext, or "md5…" */
struct wire_password {
    struct slice password;
};
MUST_USE bool wire_read_password(struct wire_reader *r, struct wire_password *m);
MUST_USE bool wire_write_password(struct buf *out, struct slice password);

/* SASLInitialResponse 'p' and SASLResponse 'p' */
struct wire_sasl_initial {
    struct slice mechanism;
    bool has_data;
    struct slice data;
};
MUST_USE bool wire_read_sasl_initial(struct wire_reader *r, struct wire_sasl_initial *m);
MUST_USE bool wire_write_sasl_initial(struct buf *out, const struct wire_sasl_initial *m);
MUST_USE bool wire_write_sasl_response(struct buf *out, struct slice data);

/* CopyFail 'f' */
MUST_USE bool wire_write_copy_fail(struct buf *out, struct slice reason);
/* Messages without a body, of either side: Sync 'S', Flush 'H', Terminate 'X', CopyDone 'c',
 * ParseComplete '1', BindComplete '2', CloseComplete '3', NoData 'n', EmptyQueryResponse 'I',
 * PortalSuspended 's'. */
MUST_USE bool wire_write_empty(struct buf *out, char type);

#endif
