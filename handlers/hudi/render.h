/* Values of Parquet columns as text: compact JSON for nested types, plain text for error messages. */
#ifndef HUDI_RENDER_H
#define HUDI_RENDER_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "duck.h"

/* Appends one value as compact JSON: lists as arrays, structs and maps as objects (members in the
 * order of the file), numbers and booleans bare, everything else as strings: decimals with their
 * scale, dates and timestamps as PostgreSQL prints them (UTC), bytes as "\x" and hex, NaN and
 * infinities by name. */
void render_json(struct buf *b, const struct duck_vector *v, uint64_t row);
/* Appends one value without quotes; nested ones as JSON; NULL as "null". */
void render_text(struct buf *b, const struct duck_vector *v, uint64_t row);

#endif
