/* Replaces pieces of a text. Private to the gate. */
#ifndef SPLICE_H
#define SPLICE_H

#include "proxy/gate.h"

/* The text with the edits made, which are by start and do not overlap. False: no memory. */
MUST_USE bool splice_text(struct arena *a, struct slice text, const struct gate_edit *edits,
                          size_t count, struct slice *out);

#endif
