/* Java properties files, the form of hoodie.properties (java.util.Properties.load). */
#ifndef HUDI_PROPERTIES_H
#define HUDI_PROPERTIES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

struct properties_item {
    const char *key; /* UTF-8, escapes resolved */
    const char *value;
};

struct properties {
    struct properties_item *items; /* in the order of the file; a later key wins */
    size_t count;
};

/* Copies everything into `a`.
 * Rules    "key=value", "key: value", "key value"; "#" and "!" start comments; a line that ends in
 *          an odd number of backslashes goes on in the next; \t \n \r \f \uXXXX (with surrogate
 *          pairs), any other \x is x. Bytes above 127 are taken as they stand (UTF-8).
 * Errors   XX001 a \u without four hexadecimal digits, a lone surrogate, a NUL byte, text that is
 *          not UTF-8 */
MUST_USE bool properties_read(struct arena *a, struct slice text, struct properties *out,
                              struct err *err);
/* The same with keys and values as they are written, escapes and continued lines included.
 * Errors   XX001 a NUL byte, text that is not UTF-8 */
MUST_USE bool properties_read_raw(struct arena *a, struct slice text, struct properties *out,
                                  struct err *err);
/* Value of a key; NULL when it is absent. */
const char *properties_find(const struct properties *p, const char *key);
/* "true" in any case; `fallback` when absent or empty. */
bool properties_find_bool(const struct properties *p, const char *key, bool fallback);

#endif
