/* One value carries an error from where it is understood to where it is told (STYLE.md section 6).
 *
 * A function that can fail returns bool and takes `struct err *err` last. The cause sets it with
 * err_set, callers may add err_context, nobody logs it on the way. The fields are those of an
 * ErrorResponse (PostgreSQL manual, chapter 55.8); texts that do not fit are cut at a UTF-8
 * character boundary. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"

struct err {           /* fixed size: copied across threads, never freed */
    char sqlstate[6];  /* "42P01"; empty: no error */
    char message[512]; /* one clause, lower case, no period, names quoted "like this" */
    char detail[2048]; /* full sentences, or empty */
    char hint[256];    /* what the user can do, or empty */
    char where[128];   /* for the log only */
    uint32_t position; /* 1-based character in the client's text (field P), or 0 */
};

/* SQLSTATEs of PostgreSQL (manual, appendix A) that we raise ourselves or branch on. */
#define SQLSTATE_CONNECTION_EXCEPTION "08000"
#define SQLSTATE_CONNECTION_DOES_NOT_EXIST "08003"
#define SQLSTATE_CONNECTION_FAILURE "08006"
#define SQLSTATE_CANNOT_CONNECT "08001"
#define SQLSTATE_PROTOCOL_VIOLATION "08P01"
#define SQLSTATE_FEATURE_NOT_SUPPORTED "0A000"
#define SQLSTATE_STRING_DATA_RIGHT_TRUNCATION "22001"
#define SQLSTATE_NUMERIC_VALUE_OUT_OF_RANGE "22003"
#define SQLSTATE_INVALID_DATETIME "22007"
#define SQLSTATE_CHARACTER_NOT_IN_REPERTOIRE "22021"
#define SQLSTATE_INVALID_PARAMETER_VALUE "22023"
#define SQLSTATE_INVALID_TEXT_REPRESENTATION "22P02"
#define SQLSTATE_NOT_NULL_VIOLATION "23502"
#define SQLSTATE_UNIQUE_VIOLATION "23505"
#define SQLSTATE_ACTIVE_SQL_TRANSACTION "25001"
#define SQLSTATE_IN_FAILED_TRANSACTION "25P02"
#define SQLSTATE_INVALID_STATEMENT_NAME "26000"
#define SQLSTATE_INVALID_AUTHORIZATION "28000"
#define SQLSTATE_INVALID_PASSWORD "28P01"
#define SQLSTATE_INVALID_CATALOG_NAME "3D000"
#define SQLSTATE_INVALID_CURSOR_NAME "34000"
#define SQLSTATE_SERIALIZATION_FAILURE "40001"
#define SQLSTATE_DEADLOCK_DETECTED "40P01"
#define SQLSTATE_SYNTAX_ERROR "42601"
#define SQLSTATE_INSUFFICIENT_PRIVILEGE "42501"
#define SQLSTATE_UNDEFINED_COLUMN "42703"
#define SQLSTATE_UNDEFINED_OBJECT "42704"
#define SQLSTATE_DUPLICATE_OBJECT "42710"
#define SQLSTATE_DATATYPE_MISMATCH "42804"
#define SQLSTATE_WRONG_OBJECT_TYPE "42809"
#define SQLSTATE_UNDEFINED_FUNCTION "42883"
#define SQLSTATE_UNDEFINED_TABLE "42P01"
#define SQLSTATE_DUPLICATE_TABLE "42P07"
#define SQLSTATE_INVALID_TABLE_DEFINITION "42P16"
#define SQLSTATE_OUT_OF_MEMORY "53200"
#define SQLSTATE_TOO_MANY_CONNECTIONS "53300"
#define SQLSTATE_PROGRAM_LIMIT_EXCEEDED "54000"
#define SQLSTATE_OBJECT_NOT_IN_PREREQUISITE_STATE "55000"
#define SQLSTATE_OBJECT_IN_USE "55006"
#define SQLSTATE_LOCK_NOT_AVAILABLE "55P03"
#define SQLSTATE_QUERY_CANCELED "57014"
#define SQLSTATE_ADMIN_SHUTDOWN "57P01"
#define SQLSTATE_CRASH_SHUTDOWN "57P02"
#define SQLSTATE_CANNOT_CONNECT_NOW "57P03"
#define SQLSTATE_IO_ERROR "58030"
#define SQLSTATE_UNDEFINED_FILE "58P01"
#define SQLSTATE_CONFIG_FILE_ERROR "F0000"
#define SQLSTATE_INTERNAL_ERROR "XX000"
#define SQLSTATE_DATA_CORRUPTED "XX001"

/* Sets state and message, clears the other fields. Returns false, so that
 * `return err_set(...)` is the short form. */
bool err_set(struct err *err, const char *sqlstate, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* Adds a detail or a hint to an error that is set; both return false. */
bool err_detail(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
bool err_hint(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* Puts "context: " in front of the message; returns false. */
bool err_context(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The error of a failed system call: message "<what>: <text of errnum>", SQLSTATE by errno
 * (ENOENT 58P01, EACCES and EPERM 42501, ENOMEM 53200, ENOSPC 53100, EMFILE and ENFILE 53000,
 * connection errors 08006, others 58030). Returns false. */
bool err_set_errno(struct err *err, int errnum, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* "out of memory", 53200; returns false. */
bool err_no_memory(struct err *err);
void err_clear(struct err *err);
bool err_is_set(const struct err *err);
/* May the work that failed with this be tried again? Classes 08, 40, 53, 58; 55P03; 57P01-57P03.
 * 28xxx never. */
bool err_is_transient(const struct err *err);

#endif
