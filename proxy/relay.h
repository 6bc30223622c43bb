/* One direction of a connection: a stream of messages that pass while only their headers are looked
 * at. Bodies of any size stream through; what is in memory is the present read, and the messages that
 * the owner wants to see whole.
 *
 * A relay has no sockets. relay_feed takes what was read; on_bytes gets what goes on, in runs as long
 * as possible and from the same memory. */
#ifndef PROXY_RELAY_H
#define PROXY_RELAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "protocol/wire_reader.h"

/* Writable bytes that relay_feed needs in front of its data. */
#define RELAY_HEADROOM WIRE_HEADER_BYTES

enum relay_verdict {
    RELAY_PASS,  /* it goes on as it is */
    RELAY_DROP,  /* it is taken out */
    RELAY_WHOLE, /* (on_header) on_message decides when all of it is there */
    RELAY_WAIT   /* stop in front of it until relay_resume, which asks again from the header on */
};

struct relay_events {
    /* Before anything of the message goes on. */
    enum relay_verdict (*on_header)(void *owner, struct wire_header h);
    /* The whole message, header included, borrowed; PASS, DROP or WAIT. It may be changed in place
     * (not its length). Whoever sends bytes of its own calls relay_flush before. */
    enum relay_verdict (*on_message)(void *owner, struct wire_header h, char *message);
    void (*on_bytes)(void *owner, const char *data, size_t bytes);
    /* A length word that cannot be: from here on every byte passes unread. May be NULL. */
    void (*on_unframed)(void *owner);
    /* No memory to keep a message: the stream cannot go on. */
    void (*on_no_memory)(void *owner);
};

struct relay {
    const struct relay_events *events; /* borrows */
    void *owner;
    const uint8_t *plain; /* [256], by type: pass without asking; NULL: always ask */
    bool attentive;       /* ask for every message, `plain` or not */
    bool waiting;
    bool raw; /* unframed */
    bool stopped;
    bool dropping;        /* the body that is under way is dropped */
    uint8_t header_bytes; /* of a header that is not complete */
    char header[WIRE_HEADER_BYTES];
    uint32_t body_left;   /* of the message under way */
    uint32_t whole_bytes; /* size of the message that `whole` collects; 0: none */
    const char *run;      /* of what may go on in one piece: [run, run_end) */
    const char *run_end;
    struct buf whole; /* the beginning of a message that is wanted whole */
    struct buf held;  /* while waiting: what has not been looked at */
};

void relay_init(struct relay *r, const struct relay_events *events, void *owner,
                const uint8_t *plain);
void relay_fini(struct relay *r);

/* data  writable, with RELAY_HEADROOM writable bytes in front; dies with the return. Nothing of it is
 *       lost: what cannot go on yet is copied. */
void relay_feed(struct relay *r, char *data, size_t bytes);
/* Goes on after RELAY_WAIT; nothing happens if it does not wait. */
void relay_resume(struct relay *r);
static inline bool relay_is_waiting(const struct relay *r)
{
    return r->waiting;
}
/* Is the stream between two messages, as far as it went on? */
bool relay_is_between(const struct relay *r);
/* The stream ended: pieces of a message that were kept back go on as they are. */
void relay_end(struct relay *r);
/* Sends what may go on. For owners that send in between, in on_header and on_message. */
void relay_flush(struct relay *r);
/* Takes no more: what comes is dropped, also what is still to be looked at. For owners that close. */
void relay_stop(struct relay *r);

#endif
