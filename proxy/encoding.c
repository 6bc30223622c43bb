/* Lengths follow PostgreSQL's src/common/wchar.c (pg_*_mblen), because what matters is where the
 * server thinks that a character ends. It converts a text to its own encoding before it reads it:
 * a backslash or a letter that is the second byte of a character is not one to the server. */
#include "proxy/encoding.h"

#include <strings.h>

#include "base/attr.h"

static const struct {
    const char *name;
    enum encoding encoding;
} names[] = {
    {"UTF8", ENCODING_UTF8},           {"EUC_JP", ENCODING_EUC},
    {"EUC_JIS_2004", ENCODING_EUC},    {"EUC_KR", ENCODING_EUC},
    {"EUC_CN", ENCODING_EUC_CN},       {"EUC_TW", ENCODING_EUC_TW},
    {"MULE_INTERNAL", ENCODING_MULE},  {"SJIS", ENCODING_SJIS},
    {"SHIFT_JIS_2004", ENCODING_SJIS}, {"BIG5", ENCODING_TWO_BYTE},
    {"GBK", ENCODING_TWO_BYTE},        {"UHC", ENCODING_TWO_BYTE},
    {"JOHAB", ENCODING_JOHAB},         {"GB18030", ENCODING_GB18030},
};

enum encoding encoding_find(const char *server_name)
{
    if (server_name == NULL)
        return ENCODING_UTF8;
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcasecmp(server_name, names[i].name) == 0)
            return names[i].encoding;
    return ENCODING_SINGLE_BYTE;
}

static size_t length_utf8(unsigned char b)
{
    if ((b & 0xe0) == 0xc0)
        return 2;
    if ((b & 0xf0) == 0xe0)
        return 3;
    return (b & 0xf8) == 0xf0 ? 4 : 1;
}

static size_t length_euc(unsigned char b)
{
    return b == 0x8f ? 3 : 2;
}

static size_t length_euc_tw(unsigned char b)
{
    if (b == 0x8e)
        return 4;
    return b == 0x8f ? 3 : 2;
}

static size_t length_mule(unsigned char b)
{
    if (b >= 0x81 && b <= 0x8d)
        return 2;
    if (b >= 0x90 && b <= 0x9b)
        return 3;
    return b == 0x9c || b == 0x9d ? 4 : 1;
}

static size_t length_by_first(enum encoding e, unsigned char b)
{
    switch (e) {
    case ENCODING_UTF8: return length_utf8(b);
    case ENCODING_SINGLE_BYTE: return 1;
    case ENCODING_EUC: return length_euc(b);
    case ENCODING_EUC_CN: return 2;
    case ENCODING_EUC_TW: return length_euc_tw(b);
    case ENCODING_MULE: return length_mule(b);
    case ENCODING_SJIS: return b >= 0xa1 && b <= 0xdf ? 1 : 2;
    case ENCODING_TWO_BYTE: return 2;
    case ENCODING_JOHAB: return length_euc(b);
    case ENCODING_GB18030: return 2; /* or 4: the second byte says */
    }
    return 1;
}

size_t encoding_step(enum encoding e, struct slice text, size_t at)
{
    unsigned char b = (unsigned char)text.data[at];
    if (b < 0x80)
        return 1;
    size_t n = length_by_first(e, b);
    size_t left = text.len - at;
    if (e == ENCODING_GB18030 && left > 1 && text.data[at + 1] >= '0' && text.data[at + 1] <= '9')
        n = 4;
    return n < left ? n : left;
}

size_t encoding_count(enum encoding e, struct slice text)
{
    size_t count = 0;
    for (size_t at = 0; at < text.len; at += encoding_step(e, text, at))
        count++;
    return count;
}

size_t encoding_offset(enum encoding e, struct slice text, size_t character)
{
    size_t at = 0;
    for (; at < text.len && character > 0; character--)
        at += encoding_step(e, text, at);
    return at;
}

size_t encoding_clip(enum encoding e, struct slice text, size_t max_bytes)
{
    if (text.len <= max_bytes)
        return text.len;
    size_t at = 0;
    for (;;) {
        size_t n = encoding_step(e, text, at);
        if (at + n > max_bytes)
            return at;
        at += n;
    }
}
