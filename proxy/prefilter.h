/* A scan that says in nanoseconds that a text holds none of our words. Private to the gate. */
#ifndef PREFILTER_H
#define PREFILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

struct prefilter;

/* words  3 letters or more each, ASCII, looked for in any case */
MUST_USE bool prefilter_new(const char *const *words, size_t count, struct prefilter **out,
                            struct err *err);
void prefilter_free(struct prefilter *p);
/* False: the text holds none of the words. */
MUST_USE bool prefilter_may_hold(const struct prefilter *p, struct slice text);

#endif
