/* 'now', 'today', 'tomorrow' and 'yesterday' as a date or a timestamp are constants when a query has been
 * read: the plan shows a date, and no other session would get the same one from the text. As parts of an
 * array or a range too. So every literal counts that has such a word and nothing that a date could not
 * have. */
#include "cursor_moment.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define MAX_BYTES 200u

static bool is_letter(struct slice text, size_t i)
{
    return i < text.len && isalpha((unsigned char)text.data[i]) != 0;
}

static bool has_word(struct slice text, const char *word)
{
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= text.len; i++)
        if (strncasecmp(text.data + i, word, n) == 0 && !is_letter(text, i + n) &&
            (i == 0 || !is_letter(text, i - 1)))
            return true;
    return false;
}

static bool may_be_a_date(struct slice text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!isalnum((unsigned char)text.data[i]) && !isspace((unsigned char)text.data[i]) &&
            (text.data[i] == '\0' || strchr(":+-./,_{}[]()\"", text.data[i]) == NULL))
            return false;
    return text.len <= MAX_BYTES;
}

bool cursor_moment_is_named(struct arena *a, struct slice query, const struct lexer_dialect *d)
{
    static const char *const words[] = {"now", "today", "tomorrow", "yesterday"};
    struct token *tokens;
    size_t count;
    if (!lexer_read(a, query, 0, query.len, d, &tokens, &count))
        return true;
    for (size_t i = 0; i < count; i++) {
        struct slice value;
        if (tokens[i].kind != TOKEN_STRING)
            continue;
        if (!token_value(a, query, &tokens[i], d, &value))
            return true;
        for (size_t k = 0; k < ARRAY_LEN(words); k++)
            if (has_word(value, words[k]) && may_be_a_date(value))
                return true;
    }
    return false;
}
