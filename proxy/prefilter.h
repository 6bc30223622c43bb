/* A scan that says in nanoseconds that a text holds none of our words. Private to the gate. */
#ifndef PREFILTER_H
#define PREFILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

struct prefilter;

#define PREFILTER_WINDOW 3  /* bytes of a word that the scan looks for */
#define PREFILTER_BUCKETS 8 /* words share the bits of a byte */

/* words  3 letters or more each, ASCII, looked for in any case; borrowed for good */
MUST_USE bool prefilter_new(const char *const *words, size_t count, struct prefilter **out,
                            struct err *err);
void prefilter_free(struct prefilter *p);
/* False: the text holds none of the words. True: it holds one, perhaps in a string or comment. */
MUST_USE bool prefilter_may_hold(const struct prefilter *p, struct slice text);

/* --- between prefilter.c and prefilter_x86.c ---------------------------------------------------------- */

/* Bit b of nibbles[i][0][low] and of nibbles[i][1][high]: some window of bucket b may have this byte at
 * its place i. */
struct prefilter_tables {
    uint8_t nibbles[PREFILTER_WINDOW][2][16];
};

/* Looks for a place at or behind `from` where a window may start; text.len: none. */
typedef size_t prefilter_scan(const struct prefilter_tables *t, struct slice text, size_t from);

/* The scan for this machine, or NULL when it has no vector instructions that we know. */
prefilter_scan *prefilter_find_vector_scan(void);
/* For tests and benchmarks: uses another scan, or with NULL the one without vectors. */
void prefilter_use_scan(struct prefilter *p, prefilter_scan *scan);
prefilter_scan prefilter_scan_avx2, prefilter_scan_ssse3; /* only where the machine has them */

#endif
