/* What a server said in one session of an input of `pgveneer probe`: entries, one behind the other in a
 * buffer. */
#ifndef PROXY_PROBE_TRANSCRIPT_H
#define PROXY_PROBE_TRANSCRIPT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/slice.h"

#include "probe_script.h"

/* Of a transcript, and of whatever is collected for it. */
#define PROBE_MAX_BYTES ((size_t)1 << 30)

/* An entry is a message, with what cannot be equal taken out, or (type '#') a word of ours, or (type
 * '?') bytes that are no message. */
struct probe_entry {
    char type;
    struct slice body;
};

/* What an input says cannot be equal, by type of message. */
struct probe_masks {
    bool digits[256];  /* numbers */
    bool bodies[256];  /* what they hold, and how many come one after the other */
    bool without[256]; /* whether they come */
    bool source;       /* of an error: fields F, L and R */
};

void probe_put_entry(struct buf *session, char type, struct slice body);
/* id  the run's own name, which is taken out too */
void probe_put_message(struct buf *session, const struct probe_masks *m, const char *id, char type,
                       struct slice body);
/* Takes the first entry off *session; false at the end. */
bool probe_next_entry(struct slice *session, struct probe_entry *out);

#endif
