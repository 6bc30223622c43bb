/* The messages that servers send: one read and one write each (PostgreSQL manual, chapter 55.7).
 * Reads and writes promise what client_msg.h says. */
#ifndef PROTOCOL_SERVER_MSG_H
#define PROTOCOL_SERVER_MSG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"
#include "protocol/wire_reader.h"
#include "protocol/wire_writer.h"

/* Authentication* 'R' */
enum wire_auth_kind {
    WIRE_AUTH_OK = 0,
    WIRE_AUTH_CLEARTEXT = 3,
    WIRE_AUTH_MD5 = 5,
    WIRE_AUTH_GSS = 7,
    WIRE_AUTH_GSS_CONTINUE = 8,
    WIRE_AUTH_SSPI = 9,
    WIRE_AUTH_SASL = 10,
    WIRE_AUTH_SASL_CONTINUE = 11,
    WIRE_AUTH_SASL_FINAL = 12
};
struct wire_auth {
    uint32_t kind;     /* enum wire_auth_kind, or one that we do not know */
    struct slice data; /* MD5: 4 bytes of salt; SASL: the list; CONTINUE and FINAL: the message */
};
MUST_USE bool wire_read_auth(struct wire_reader *r, struct wire_auth *m);
MUST_USE bool wire_write_auth(struct buf *out, const struct wire_auth *m);
/* Is the mechanism in the list of a WIRE_AUTH_SASL? */
bool wire_auth_has_mechanism(const struct wire_auth *m, const char *mechanism);

/* ErrorResponse 'E' and NoticeResponse 'N': fields of a code and a string. */
/* Fields C, M, D, H, P to *err, W (context) to err->where; texts that do not fit are cut. *err is
 * set in any case: 08P01 when the body is damaged (returns false then). */
bool wire_read_error(struct wire_reader *r, struct err *err);
/* severity   "ERROR", "FATAL", "WARNING", "NOTICE", …: fields S and V */
MUST_USE bool wire_write_error(struct buf *out, char type, const char *severity,
                               const struct err *err);
/* A field of the body ("" and false: not there): 'V' severity, 'C' SQLSTATE, 'M', 'D', 'H', 'P'. */
bool wire_error_find(struct slice body, char code, struct slice *value);
/* What a rewritten message has in place of a field. */
struct wire_field_edit {
    char code;
    const char *with; /* NULL: the field is taken out; else it replaces the field, or is added */
};
/* Appends the message of `type` with the body's fields after the edits. Other fields, unknown ones
 * included, stay as they are and in their order. A damaged body is copied unchanged. */
MUST_USE bool wire_write_error_edited(struct buf *out, char type, struct slice body,
                                      const struct wire_field_edit *edits, size_t count);

/* RowDescription 'T' */
struct wire_column {
    struct slice name;
    uint32_t table_oid;
    uint16_t attribute;
    uint32_t type_oid;
    int16_t type_bytes; /* negative: variable */
    int32_t type_modifier;
    uint16_t format; /* 0 text, 1 binary */
};
struct wire_row_description {
    uint16_t ncolumns;
    struct slice columns; /* as on the wire: for wire_get_column */
};
MUST_USE bool wire_read_row_description(struct wire_reader *r, struct wire_row_description *m);
struct wire_column wire_get_column(struct wire_reader *r);
MUST_USE bool wire_write_row_description(struct buf *out, const struct wire_column *columns,
                                         uint16_t count);

/* DataRow 'D' */
struct wire_data_row {
    uint16_t nvalues;
    struct slice values; /* as on the wire: for wire_get_value */
};
MUST_USE bool wire_read_data_row(struct wire_reader *r, struct wire_data_row *m);
MUST_USE bool wire_write_data_row(struct buf *out, const struct wire_value *values, uint16_t count);

/* ParameterDescription 't' */
struct wire_parameter_description {
    uint16_t noids;
    struct slice oids; /* as on the wire */
};
MUST_USE bool wire_read_parameter_description(struct wire_reader *r,
                                              struct wire_parameter_description *m);

/* CommandComplete 'C' */
struct wire_command_complete {
    struct slice tag;
};
MUST_USE bool wire_read_command_complete(struct wire_reader *r, struct wire_command_complete *m);
MUST_USE bool wire_write_command_complete(struct buf *out, struct slice tag);

/* ParameterStatus 'S' */
struct wire_parameter_status {
    struct slice name;
    struct slice value;
};
MUST_USE bool wire_read_parameter_status(struct wire_reader *r, struct wire_parameter_status *m);
MUST_USE bool wire_write_parameter_status(struct buf *out, const struct wire_parameter_status *m);

/* BackendKeyData 'K': pid and a key of 4 to 256 bytes */
struct wire_backend_key {
    uint32_t pid;
    struct slice key;
};
MUST_USE bool wire_read_backend_key(struct wire_reader *r, struct wire_backend_key *m);
MUST_USE bool wire_write_backend_key(struct buf *out, const struct wire_backend_key *m);

/* ReadyForQuery 'Z': 'I' idle, 'T' in a transaction, 'E' in a failed one */
MUST_USE bool wire_read_ready(struct wire_reader *r, char *status);
MUST_USE bool wire_write_ready(struct buf *out, char status);

#endif
