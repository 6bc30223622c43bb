/* Errors as values. Every text is formatted into the fixed arrays of struct err; nothing here
 * allocates, so that "out of memory" can be told too. A text that is too long is cut so that no
 * UTF-8 character is split: the text goes to clients that refuse invalid UTF-8. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void cut_at_character(char *text, size_t size)
{
    size_t n = size - 1;
    while (n > 0 && ((unsigned char)text[n - 1] & 0xC0) == 0x80)
        n--;
    if (n > 0 && (unsigned char)text[n - 1] >= 0xC0) {
        unsigned char lead = (unsigned char)text[n - 1];
        size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
        if (n - 1 + want > size - 1)
            text[n - 1] = '\0';
    }
}

static void format_into(char *dst, size_t size, const char *fmt, va_list args)
{
    int n = vsnprintf(dst, size, fmt, args);
    if (n >= 0 && (size_t)n >= size)
        cut_at_character(dst, size);
}

bool err_set(struct err *err, const char *sqlstate, const char *fmt, ...)
{
    va_list args;
    err_clear(err);
    snprintf(err->sqlstate, sizeof err->sqlstate, "%s", sqlstate);
    va_start(args, fmt);
    format_into(err->message, sizeof err->message, fmt, args);
    va_end(args);
    return false;
}

bool err_detail(struct err *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    format_into(err->detail, sizeof err->detail, fmt, args);
    va_end(args);
    return false;
}

bool err_hint(struct err *err, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    format_into(err->hint, sizeof err->hint, fmt, args);
    va_end(args);
    return false;
}

bool err_context(struct err *err, const char *fmt, ...)
{
    char context[256];
    char message[sizeof err->message];
    va_list args;
    va_start(args, fmt);
    format_into(context, sizeof context, fmt, args);
    va_end(args);
    memcpy(message, err->message, sizeof message);
    if (snprintf(err->message, sizeof err->message, "%s: %s", context, message) >=
        (int)sizeof err->message)
        cut_at_character(err->message, sizeof err->message);
    return false;
}

static const char *sqlstate_of_errno(int errnum)
{
    switch (errnum) {
    case ENOENT:
    case ENOTDIR: return SQLSTATE_UNDEFINED_FILE;
    case EACCES:
    case EPERM: return SQLSTATE_INSUFFICIENT_PRIVILEGE;
    case ENOMEM: return SQLSTATE_OUT_OF_MEMORY;
    case ENOSPC: return "53100";
    case EMFILE:
    case ENFILE: return "53000";
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ETIMEDOUT:
    case ENETUNREACH:
    case EHOSTUNREACH: return SQLSTATE_CONNECTION_FAILURE;
    default: return SQLSTATE_IO_ERROR;
    }
}

bool err_set_errno(struct err *err, int errnum, const char *fmt, ...)
{
    char what[384];
    char reason[128];
    va_list args;
    va_start(args, fmt);
    format_into(what, sizeof what, fmt, args);
    va_end(args);
    return err_set(err, sqlstate_of_errno(errnum), "%s: %s", what,
                   strerror_r(errnum, reason, sizeof reason)); /* GNU form: returns the text */
}

bool err_no_memory(struct err *err)
{
    return err_set(err, SQLSTATE_OUT_OF_MEMORY, "out of memory");
}

void err_clear(struct err *err)
{
    err->sqlstate[0] = err->message[0] = err->detail[0] = err->hint[0] = err->where[0] = '\0';
    err->position = 0;
}

bool err_is_set(const struct err *err)
{
    return err->sqlstate[0] != '\0';
}

bool err_is_transient(const struct err *err)
{
    static const char *const classes[] = {"08", "40", "53", "58"};
    static const char *const states[] = {"55P03", "57P01", "57P02", "57P03"};
    for (size_t i = 0; i < ARRAY_LEN(classes); i++)
        if (strncmp(err->sqlstate, classes[i], 2) == 0)
            return true;
    for (size_t i = 0; i < ARRAY_LEN(states); i++)
        if (strcmp(err->sqlstate, states[i]) == 0)
            return true;
    return false;
}
