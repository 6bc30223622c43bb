/* A folder of a run for files of its own. It goes with the run, or, when the run was killed, with the
 * next run on this machine. */
#ifndef BASE_SCRATCH_H
#define BASE_SCRATCH_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"

struct scratch {
    const char *folder; /* borrows from the arena; NULL: none */
    int lock_fd;        /* owns; the folder itself, locked */
};

/* parent  an existing folder; NULL: $TMPDIR, or /tmp
 * Removes what killed runs of the same user left in parent, then makes a folder of mode 0700.
 * Errors  58030, 58P01, 42501 the folder cannot be made */
MUST_USE bool scratch_open(struct arena *a, const char *parent, struct scratch *out,
                           struct err *err);
/* Removes the folder and all that is in it. Harmless when nothing was opened. */
void scratch_close(struct scratch *s);

#endif
