/* How long is a character? The client encodings of PostgreSQL (manual, chapter 24.3), as far as
 * reading SQL text and counting its characters needs them. Bytes that are no valid character
 * count as the server counts them: by their first byte, never beyond the end of the text. */
#ifndef PROXY_ENCODING_H
#define PROXY_ENCODING_H

#include <stdbool.h>
#include <stddef.h>

#include "base/slice.h"

enum encoding {
    ENCODING_UTF8,
    ENCODING_SINGLE_BYTE, /* LATINn, WINn, KOI8R, SQL_ASCII, … and names unknown to us */
    ENCODING_EUC,         /* EUC_JP, EUC_JIS_2004, EUC_KR */
    ENCODING_EUC_CN,
    ENCODING_EUC_TW,
    ENCODING_MULE,
    /* From here on the second byte of a character may be an ASCII letter or a backslash. */
    ENCODING_SJIS,     /* and SHIFT_JIS_2004 */
    ENCODING_TWO_BYTE, /* BIG5, GBK, UHC */
    ENCODING_JOHAB,
    ENCODING_GB18030
};

/* server_name  as the server reports client_encoding: "UTF8", "SJIS"; NULL: UTF8. */
enum encoding encoding_find(const char *server_name);

/* May bytes behind the first of a character be below 0x80? */
static inline bool encoding_has_ascii_trail(enum encoding e)
{
    return e >= ENCODING_SJIS;
}

/* Bytes of the character at text.data[at]; at < text.len. At least 1. */
size_t encoding_step(enum encoding e, struct slice text, size_t at);

/* As encoding_step where bytes behind the first may look like ASCII, else 1: enough for who looks for
 * ASCII characters, and for broken characters as the server's scanner has it. */
static inline size_t encoding_step_ascii(enum encoding e, struct slice text, size_t at)
{
    return encoding_has_ascii_trail(e) ? encoding_step(e, text, at) : 1;
}

/* Characters in the text. */
size_t encoding_count(enum encoding e, struct slice text);
/* Byte offset of the character with this number (0-based); text.len when there are fewer. */
size_t encoding_offset(enum encoding e, struct slice text, size_t character);
/* The longest front part of whole characters with at most max_bytes bytes. */
size_t encoding_clip(enum encoding e, struct slice text, size_t max_bytes);

#endif
