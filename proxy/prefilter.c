/* Nearly all statements hold none of our words, and this is what they pay: about 10 ns each.
 *
 * The method is known as Teddy. Of each word a window of three bytes is taken, and the text is searched
 * for all windows at once. Six tables of 16 bytes say for each of the three places, and for each half of
 * the byte there, which of eight buckets have a window with such a half-byte; a place of the text where
 * the six answers have a bit in common may start a window of that bucket, and is compared with all
 * windows. Like windows lie in one bucket, so that it takes little else than them. With vector
 * instructions a table lookup serves 16 or 32 places of the text in one step (prefilter_x86.c). Upper
 * and lower case have the same low half, and both high halves are entered, so case costs nothing.
 *
 *   word       hologres      places   o   l   o     rare letters make a good window: "gre" would hit
 *   window      olo                  lo hi each      in every "postgres"
 *
 * There is no false negative: quoting, comments and case leave the letters of a name together, and a name
 * spelled in Unicode escapes holds u&" (which is one of the words). A false hit costs the lexer's time. */
#include "prefilter.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct word {
    struct slice text;
    size_t window; /* where in the word it starts */
    uint32_t key;  /* the window, folded */
};

struct prefilter {
    struct prefilter_tables tables;
    /* The same question without nibbles, a byte at a time. */
    uint8_t bytes[PREFILTER_WINDOW][256];
    prefilter_scan *scan; /* NULL: by bytes */
    size_t word_count;
    struct word words[];
};

/* How rare is the character in SQL? */
static size_t rarity(char c)
{
    static const char by_frequency[] = "etaosrinlcdmuphgbfyvwkxjzq";
    const char *p = strchr(by_frequency, c);
    return c == '\0' || p == NULL ? sizeof by_frequency / 2 : (size_t)(p - by_frequency);
}

/* The window with the rarest letters. */
static size_t choose_window(struct slice word)
{
    size_t best = 0, best_rarity = 0;
    for (size_t at = 0; at + PREFILTER_WINDOW <= word.len; at++) {
        size_t sum = 0;
        for (size_t i = 0; i < PREFILTER_WINDOW; i++)
            sum += rarity(word.data[at + i]);
        if (sum > best_rarity) {
            best = at;
            best_rarity = sum;
        }
    }
    return best;
}

static char to_upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

/* Three bytes as a number in which case makes no difference (nor do a few other characters). */
static uint32_t fold(const char *window)
{
    const unsigned char *w = (const unsigned char *)window;
    return ((uint32_t)w[0] << 16 | (uint32_t)w[1] << 8 | w[2]) | 0x202020;
}

static void enter_window(struct prefilter_tables *t, const char *window, unsigned bucket)
{
    uint8_t bit = (uint8_t)(1u << bucket);
    for (size_t i = 0; i < PREFILTER_WINDOW; i++) {
        const unsigned char cases[] = {(unsigned char)window[i],
                                       (unsigned char)to_upper(window[i])};
        for (size_t k = 0; k < sizeof cases; k++) {
            t->nibbles[i][0][cases[k] & 15] |= bit;
            t->nibbles[i][1][cases[k] >> 4] |= bit;
        }
    }
}

/* How many triples of bytes a bucket takes for a window. */
static unsigned long count_hits(const struct prefilter_tables *t, unsigned bucket)
{
    unsigned long hits = 1;
    for (size_t i = 0; i < PREFILTER_WINDOW; i++)
        for (size_t half = 0; half < 2; half++) {
            unsigned long n = 0;
            for (size_t k = 0; k < 16; k++)
                n += t->nibbles[i][half][k] >> bucket & 1;
            hits *= n;
        }
    return hits;
}

/* The bucket that takes the fewest triples more with this window: like goes to like. */
static unsigned choose_bucket(const struct prefilter *p, const char *window)
{
    unsigned best = 0;
    unsigned long best_more = ULONG_MAX;
    for (unsigned b = 0; b < PREFILTER_BUCKETS; b++) {
        struct prefilter_tables with = p->tables;
        enter_window(&with, window, b);
        unsigned long more = count_hits(&with, b) - count_hits(&p->tables, b);
        if (more < best_more) {
            best = b;
            best_more = more;
        }
    }
    return best;
}

static void enter_word(struct prefilter *p, const char *text)
{
    struct word *w = &p->words[p->word_count++];
    w->text = slice_cstr(text);
    w->window = choose_window(w->text);
    w->key = fold(text + w->window);
    const char *window = text + w->window;
    unsigned bucket = choose_bucket(p, window);
    enter_window(&p->tables, window, bucket);
    for (size_t i = 0; i < PREFILTER_WINDOW; i++) {
        p->bytes[i][(unsigned char)window[i]] |= (uint8_t)(1u << bucket);
        p->bytes[i][(unsigned char)to_upper(window[i])] |= (uint8_t)(1u << bucket);
    }
}

bool prefilter_new(const char *const *words, size_t count, struct prefilter **out, struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (strlen(words[i]) < PREFILTER_WINDOW)
            return err_set(err, SQLSTATE_INTERNAL_ERROR, "anchor \"%s\" is too short", words[i]);
    struct prefilter *p = calloc(1, sizeof *p + count * sizeof p->words[0]);
    if (p == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < count; i++)
        enter_word(p, words[i]);
    p->scan = prefilter_find_vector_scan();
    *out = p;
    return true;
}

void prefilter_free(struct prefilter *p)
{
    free(p);
}

void prefilter_use_scan(struct prefilter *p, prefilter_scan *scan)
{
    p->scan = scan;
}

static size_t scan_bytes(const struct prefilter *p, struct slice text, size_t from)
{
    const unsigned char *t = (const unsigned char *)text.data;
    for (size_t at = from; at + PREFILTER_WINDOW <= text.len; at++)
        if ((p->bytes[0][t[at]] & p->bytes[1][t[at + 1]] & p->bytes[2][t[at + 2]]) != 0)
            return at;
    return text.len;
}

/* Does a word stand in the text whose window starts at `at`? */
static bool is_word_at(const struct prefilter *p, struct slice text, size_t at)
{
    uint32_t key = fold(text.data + at);
    for (size_t i = 0; i < p->word_count; i++) {
        const struct word *w = &p->words[i];
        if (w->key != key || at < w->window || text.len - (at - w->window) < w->text.len)
            continue;
        size_t start = at - w->window;
        if (slice_equals_nocase(slice_part(text, start, start + w->text.len), w->text.data))
            return true;
    }
    return false;
}

bool prefilter_may_hold(const struct prefilter *p, struct slice text)
{
    if (text.len < PREFILTER_WINDOW)
        return false;
    for (size_t at = 0;; at++) {
        at = p->scan != NULL ? p->scan(&p->tables, text, at) : scan_bytes(p, text, at);
        if (at >= text.len)
            return false;
        if (is_word_at(p, text, at))
            return true;
    }
}
