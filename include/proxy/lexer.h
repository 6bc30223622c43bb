/* PostgreSQL's lexical rules (manual, chapter 4.1; src/backend/parser/scan.l), exactly, over a text
 * as the client sent it.
 *
 *   struct lexer x;
 *   struct token t;
 *   lexer_init(&x, text, &dialect);
 *   while (lexer_next(&x, &t))
 *       …
 *
 * Linear time, no recursion, no memory of its own, no byte read outside the text. White space and
 * comments are passed over; each other byte belongs to exactly one token. */
#ifndef PROXY_LEXER_H
#define PROXY_LEXER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/slice.h"
#include "proxy/encoding.h"

struct lexer_dialect {
    bool standard_conforming_strings; /* off: a backslash escapes in '…' too */
    enum encoding encoding;           /* of the client */
};

enum token_kind {
    TOKEN_WORD,   /* unquoted identifier or key word */
    TOKEN_QUOTED, /* "…" or U&"…", with its UESCAPE clause */
    TOKEN_STRING, /* '…', E'…', U&'…' (with UESCAPE), N'…' and $tag$…$tag$, continuations included */
    TOKEN_BITS, /* B'…', X'…' */
    TOKEN_NUMBER,
    TOKEN_PARAMETER, /* $1 */
    TOKEN_SYMBOL,    /* one of , ( ) [ ] ; : . */
    TOKEN_TYPECAST,  /* :: */
    TOKEN_ASSIGN,    /* := or => */
    TOKEN_OPERATOR,  /* any other operator, one character or several */
    TOKEN_OTHER,     /* a byte that no SQL token starts with, or ".." */
    TOKEN_BAD /* literal, quoted name or comment without end; reaches to the end of the text */
};

/* How the literal is written; TOKEN_STRING and TOKEN_QUOTED. */
enum token_form { TOKEN_PLAIN, TOKEN_ESCAPES, TOKEN_UNICODE, TOKEN_DOLLAR };

#define TOKEN_NAME_BYTES 64 /* NAMEDATALEN: longer names are cut, as the server does */

struct token {
    enum token_kind kind;
    enum token_form form;
    size_t start; /* byte offsets: [start, end) */
    size_t end;
    char symbol;  /* TOKEN_SYMBOL: the character; else 0 */
    char uescape; /* TOKEN_UNICODE: the escape character */
    /* WORD: folded to lower case (ASCII only). QUOTED: without quotes, doubled ones undoubled, U&
     * decoded. At most 63 bytes, whole characters. Empty: a name that the server will refuse, or a
     * U& name that the client encoding may not be able to hold. */
    char name[TOKEN_NAME_BYTES];
};

struct lexer {
    struct slice text;
    struct lexer_dialect dialect;
    size_t at; /* first byte not read yet */
    /* A run of operator characters that is being cut into operators (see lexer.c). */
    size_t run_end;
    size_t run_special;
    size_t run_solid;
};

void lexer_init(struct lexer *x, struct slice text, const struct lexer_dialect *d);
/* As lexer_init, and starts in the middle; `at` is where a token, space or comment starts. */
void lexer_init_at(struct lexer *x, struct slice text, const struct lexer_dialect *d, size_t at);
/* Reads the next token; false at the end of the text. */
MUST_USE bool lexer_next(struct lexer *x, struct token *t);

/* All tokens that start in [from, to) of the text, as an array in `a`.
 * Returns false for lack of memory. */
MUST_USE bool lexer_read(struct arena *a, struct slice text, size_t from, size_t to,
                         const struct lexer_dialect *d, struct token **tokens, size_t *count);

static inline bool token_is_symbol(const struct token *t, char symbol)
{
    return t->kind == TOKEN_SYMBOL && t->symbol == symbol;
}
/* An unquoted word, whatever its case. `word` is lower case. */
static inline bool token_is_word(const struct token *t, const char *word)
{
    return t->kind == TOKEN_WORD && t->name[0] == word[0] && strcmp(t->name, word) == 0;
}
/* A name: WORD or QUOTED that is readable. Key words are not told apart. */
bool token_is_name(const struct token *t);

/* The value of a TOKEN_STRING: prefix, quotes, continuations and escapes removed; in the client's
 * encoding, without NUL. `a` owns it.
 * Returns false for other tokens, for escapes that the server refuses, for characters that we
 * cannot write in the client's encoding, and for lack of memory; then value->data is NULL. */
MUST_USE bool token_value(struct arena *a, struct slice text, const struct token *t,
                          const struct lexer_dialect *d, struct slice *value);

/* Writes a string literal with this value that reads the same whether standard_conforming_strings
 * is on or off: '…', or E'…' when it holds a backslash. NULL: no memory. */
MUST_USE const char *lexer_quote(struct arena *a, struct slice value, enum encoding e);

#endif
