/* Values of secret options on their way to the database. */
#ifndef SECRET_H
#define SECRET_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "protocol/sealed.h"

/* A JSON object of the same names with sealed values; from the arena.
 * secrets  {"secret_access_key": "…"} as a handler gives it
 * Errors   53200, XX000 */
MUST_USE bool secret_seal(const struct sealed_key *key, const char *secrets, struct arena *a,
                          const char **out, struct err *err);

#endif
