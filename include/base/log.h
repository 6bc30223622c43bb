/* The log: one line an event, one write(2) a line, to standard error.
 *
 *   error    somebody must act        warning  we coped
 *   info     lives begin and end      debug    moves and messages
 *
 * `who` comes first in every line: "s42 app@db 10.0.0.7:5123", "task 64479410-…", "worker".
 * Never a password, token, signed URL or row content; statement text only when a setting says so.
 * Safe from any thread. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
enum log_format { LOG_FORMAT_TEXT, LOG_FORMAT_JSON };

/* Call before threads start; the default is info, text. */
void log_setup(enum log_level level, enum log_format format);
bool log_is_on(enum log_level level);
/* Name of a level and back: "error", "warning", "info", "debug". */
const char *log_level_name(enum log_level level);
bool log_level_find(const char *name, enum log_level *out);

void log_error(const char *who, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_warning(const char *who, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_info(const char *who, const char *fmt, ...) PRINTF_LIKE(2, 3);
void log_debug(const char *who, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* "<what>: <message> (<sqlstate>)", with detail and hint behind. */
void log_err(enum log_level level, const char *who, const char *what, const struct err *err);

#endif
