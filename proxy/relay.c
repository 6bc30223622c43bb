/* Walks over the messages of a read, in place.
 *
 *        run           run_end = here                          end
 *   |-----|====================|--header--|-----body------|-----|
 *          may go on in one send
 *
 * The run grows as long as messages pass; it is handed on when something is dropped, kept or waited
 * for, and at the end of the read. So a read costs one send, whatever number of messages it holds.
 *
 * A header that is cut by the end of a read (1 to 4 bytes) is kept back and put in front of the next
 * read: that is what the headroom is for. A message that is wanted whole is collected in `whole` when
 * it does not lie in one read; up to then nobody sees it. While the owner makes us wait, the rest of
 * the read lies in `held`, always beginning with a message, and the owner stops reading. */
#include "relay.h"

#include <string.h>

void relay_init(struct relay *r, const struct relay_events *events, void *owner,
                const uint8_t *plain)
{
    *r = (struct relay){.events = events, .owner = owner, .plain = plain};
    buf_init(&r->whole, SIZE_MAX / 2);
    buf_init(&r->held, SIZE_MAX / 2);
}

void relay_fini(struct relay *r)
{
    buf_fini(&r->whole);
    buf_fini(&r->held);
}

void relay_stop(struct relay *r)
{
    r->stopped = true;
    r->waiting = false;
    r->run = r->run_end = NULL;
}

void relay_flush(struct relay *r)
{
    size_t bytes = (size_t)(r->run_end - r->run);
    const char *run = r->run;
    r->run = r->run_end;
    if (bytes > 0 && !r->stopped)
        r->events->on_bytes(r->owner, run, bytes);
}

bool relay_is_between(const struct relay *r)
{
    return !r->raw && r->body_left == 0;
}

static void keep(struct relay *r, struct buf *b, const char *data, size_t bytes)
{
    if (buf_append(b, data, bytes))
        return;
    relay_stop(r);
    r->events->on_no_memory(r->owner);
}

/* The part of the read behind the run, which nobody looks at now. */
static void hold(struct relay *r, const char *data, const char *end)
{
    relay_flush(r);
    r->waiting = true;
    keep(r, &r->held, data, (size_t)(end - data));
}

/* A message that lies in one read. Returns the byte behind it, or `end` when the rest is held. */
static const char *decide_in_place(struct relay *r, struct wire_header h, char *at, char *end)
{
    size_t bytes = WIRE_HEADER_BYTES + (size_t)h.body_bytes;
    enum relay_verdict v = r->events->on_message(r->owner, h, at);
    if (r->stopped)
        return end;
    if (v == RELAY_WAIT) {
        hold(r, at, end);
        return end;
    }
    if (v == RELAY_DROP) {
        relay_flush(r);
        r->run = at + bytes;
    }
    r->run_end = at + bytes;
    return at + bytes;
}

static const char *collect(struct relay *r, struct wire_header h, const char *at, const char *end)
{
    relay_flush(r);
    r->whole_bytes = WIRE_HEADER_BYTES + h.body_bytes;
    keep(r, &r->whole, at, (size_t)(end - at));
    r->run = r->run_end = end;
    return end;
}

/* What the owner says about the message at `at`. Returns where to go on. */
static const char *ask(struct relay *r, struct wire_header h, char *at, char *end)
{
    enum relay_verdict v = r->events->on_header(r->owner, h);
    if (r->stopped)
        return end;
    switch (v) {
    case RELAY_WAIT: hold(r, at, end); return end;
    case RELAY_WHOLE:
        if ((size_t)(end - at) >= WIRE_HEADER_BYTES + (size_t)h.body_bytes)
            return decide_in_place(r, h, at, end);
        return collect(r, h, at, end);
    case RELAY_DROP:
        relay_flush(r);
        r->dropping = true;
        r->body_left = h.body_bytes;
        r->run = r->run_end = at + WIRE_HEADER_BYTES;
        return r->run;
    case RELAY_PASS: break;
    }
    r->dropping = false;
    r->body_left = h.body_bytes;
    r->run_end = at + WIRE_HEADER_BYTES;
    return r->run_end;
}

/* The body under way; returns the byte behind what is there of it. */
static const char *stream(struct relay *r, const char *at, const char *end)
{
    size_t bytes = (size_t)(end - at);
    if (bytes > r->body_left)
        bytes = r->body_left;
    r->body_left -= (uint32_t)bytes;
    r->run_end = at + bytes;
    if (r->dropping)
        r->run = r->run_end;
    return at + bytes;
}

static void become_raw(struct relay *r, const char *end)
{
    r->raw = true;
    if (r->events->on_unframed != NULL)
        r->events->on_unframed(r->owner);
    r->run_end = end;
    relay_flush(r);
}

static void walk(struct relay *r, char *at, char *end)
{
    r->run = r->run_end = at;
    while (at < end && !r->stopped && !r->waiting) {
        struct wire_header h;
        if (r->body_left > 0) {
            at = (char *)stream(r, at, end);
            continue;
        }
        if (end - at < WIRE_HEADER_BYTES) {
            r->header_bytes = (uint8_t)(end - at);
            memcpy(r->header, at, r->header_bytes);
            break;
        }
        if (!wire_read_header(at, &h)) {
            become_raw(r, end);
            return;
        }
        if (r->plain != NULL && r->plain[(uint8_t)h.type] && !r->attentive) {
            r->dropping = false;
            r->body_left = h.body_bytes;
            at += WIRE_HEADER_BYTES;
            r->run_end = at;
            continue;
        }
        at = (char *)ask(r, h, at, end);
    }
    relay_flush(r);
}

/* The collected message is complete: it is judged, and goes on from its own memory. */
static void decide_collected(struct relay *r)
{
    struct buf whole = r->whole;
    struct wire_header h;
    buf_init(&r->whole, SIZE_MAX / 2);
    r->whole_bytes = 0;
    char *message = whole.data + whole.start;
    if (wire_read_header(message, &h)) {
        enum relay_verdict v = r->events->on_message(r->owner, h, message);
        if (v == RELAY_PASS && !r->stopped)
            r->events->on_bytes(r->owner, message, buf_length(&whole));
        if (v == RELAY_WAIT && !r->stopped) {
            r->waiting = true;
            keep(r, &r->held, message, buf_length(&whole));
        }
    }
    buf_fini(&whole);
}

/* Takes what the collected message lacks; returns how much of the read that is. */
static size_t collect_more(struct relay *r, const char *data, size_t bytes)
{
    size_t lacks = r->whole_bytes - buf_length(&r->whole);
    if (bytes > lacks)
        bytes = lacks;
    keep(r, &r->whole, data, bytes);
    if (!r->stopped && buf_length(&r->whole) == r->whole_bytes)
        decide_collected(r);
    return bytes;
}

void relay_feed(struct relay *r, char *data, size_t bytes)
{
    if (r->stopped)
        return;
    if (r->raw) {
        r->events->on_bytes(r->owner, data, bytes);
        return;
    }
    if (r->waiting) {
        keep(r, &r->held, data, bytes);
        return;
    }
    if (r->whole_bytes > 0) {
        size_t taken = collect_more(r, data, bytes);
        data += taken;
        bytes -= taken;
        if (r->waiting && bytes > 0)
            keep(r, &r->held, data, bytes);
        if (r->waiting || r->stopped || bytes == 0)
            return;
    }
    data -= r->header_bytes;
    memcpy(data, r->header, r->header_bytes);
    bytes += r->header_bytes;
    r->header_bytes = 0;
    walk(r, data, data + bytes);
}

void relay_resume(struct relay *r)
{
    if (!r->waiting || r->stopped)
        return;
    struct buf held = r->held;
    buf_init(&r->held, SIZE_MAX / 2);
    r->waiting = false;
    if (buf_length(&held) > 0)
        walk(r, held.data + held.start, held.data + held.end);
    buf_fini(&held);
}

void relay_end(struct relay *r)
{
    if (r->stopped)
        return;
    if (buf_length(&r->whole) > 0)
        r->events->on_bytes(r->owner, buf_data(&r->whole), buf_length(&r->whole));
    buf_clear(&r->whole);
    if (r->header_bytes > 0 && !r->stopped)
        r->events->on_bytes(r->owner, r->header, r->header_bytes);
    r->header_bytes = 0;
}
