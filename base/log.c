/* Lines of up to LOG_LINE_BYTES are formatted on the stack and written with one write(2), so lines
 * of several threads and processes do not mix. Control characters (a peer's text may hold line
 * breaks) are shown as spaces in text form and escaped in JSON form. */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_BYTES 4096

static atomic_int current_level = LOG_LEVEL_INFO;
static atomic_int current_format = LOG_FORMAT_TEXT;
static const char *const level_names[] = {"error", "warning", "info", "debug"};

void log_setup(enum log_level level, enum log_format format)
{
    current_level = (int)level;
    current_format = (int)format;
}

bool log_is_on(enum log_level level)
{
    return (int)level <= current_level;
}

const char *log_level_name(enum log_level level)
{
    return level_names[level];
}

bool log_level_find(const char *name, enum log_level *out)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    return false;
}

static void put_time(char *dst, size_t size)
{
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(dst, size, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(dst + n, size - n, ".%03uZ", (unsigned)(now.tv_nsec / 1000000) % 1000);
}

/* Appends text as the content of a JSON string; keeps room for the closing characters. */
static size_t put_json(char *dst, size_t at, size_t size, const char *text)
{
    for (; *text != '\0' && at + 10 < size; text++) {
        unsigned char c = (unsigned char)*text;
        if (c == '"' || c == '\\') {
            dst[at++] = '\\';
            dst[at++] = (char)c;
        } else if (c < 0x20) {
            at += (size_t)snprintf(dst + at, size - at, "\\u%04x", c);
        } else {
            dst[at++] = (char)c;
        }
    }
    return at;
}

static void write_line(enum log_level level, const char *who, const char *text)
{
    char line[LOG_LINE_BYTES];
    char when[40];
    size_t n;
    put_time(when, sizeof when);
    if (current_format == LOG_FORMAT_JSON) {
        n = (size_t)snprintf(line, sizeof line,
                             "{\"time\":\"%s\",\"pid\":%d,\"level\":\"%s\",\"who\":\"", when,
                             (int)getpid(), level_names[level]);
        n = put_json(line, n, sizeof line, who);
        n += (size_t)snprintf(line + n, sizeof line - n, "\",\"message\":\"");
        n = n < sizeof line ? put_json(line, n, sizeof line, text) : sizeof line - 4;
        memcpy(line + n, "\"}\n", 3);
        n += 3;
    } else {
        n = (size_t)snprintf(line, sizeof line - 1, "%s [%d] %s %s: %s", when, (int)getpid(),
                             level_names[level], who, text);
        if (n > sizeof line - 2)
            n = sizeof line - 2;
        for (size_t i = 0; i < n; i++)
            if ((unsigned char)line[i] < 0x20)
                line[i] = ' ';
        line[n++] = '\n';
    }
    while (write(STDERR_FILENO, line, n) < 0 && errno == EINTR)
        continue;
}

static void log_va(enum log_level level, const char *who, const char *fmt, va_list args)
{
    char text[LOG_LINE_BYTES];
    int saved = errno;
    if (log_is_on(level)) {
        vsnprintf(text, sizeof text, fmt, args);
        write_line(level, who, text);
    }
    errno = saved;
}

void log_error(const char *who, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(LOG_LEVEL_ERROR, who, fmt, args);
    va_end(args);
}

void log_warning(const char *who, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(LOG_LEVEL_WARNING, who, fmt, args);
    va_end(args);
}

void log_info(const char *who, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(LOG_LEVEL_INFO, who, fmt, args);
    va_end(args);
}

void log_debug(const char *who, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    log_va(LOG_LEVEL_DEBUG, who, fmt, args);
    va_end(args);
}

void log_err(enum log_level level, const char *who, const char *what, const struct err *err)
{
    static void (*const at_level[])(const char *, const char *, ...) = {log_error, log_warning,
                                                                        log_info, log_debug};
    at_level[level](who, "%s: %s (%s)%s%s%s%s", what, err->message, err->sqlstate,
                    err->detail[0] == '\0' ? "" : "; detail: ", err->detail,
                    err->hint[0] == '\0' ? "" : "; hint: ", err->hint);
}
