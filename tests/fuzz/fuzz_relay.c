/* Random bytes through the relay in random pieces, with the response queue behind it as a session has
 * it: requests up, answers down, in any order and as wrong as can be.
 *
 * What must hold: nothing is read outside of a piece (the sanitizer watches); the bytes that go on do
 * not depend on how the stream was cut; the queue's counts stay true; every note is freed once. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "relay.h"
#include "response_queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rq_note {
    int unused;
};

static int live_notes;

static void free_note(struct rq_note *note)
{
    live_notes--;
    free(note);
}

struct owner {
    struct relay relay;
    struct response_queue queue;
    struct buf out;
    unsigned waits;
};

static const char request_types[] = "QPBDECSFcf";

static void put_request(struct owner *o, char type, enum rq_fate fate)
{
    static const enum rq_kind kinds[] = {RQ_QUERY, RQ_PARSE, RQ_BIND,     RQ_DESCRIBE, RQ_EXECUTE,
                                         RQ_CLOSE, RQ_SYNC,  RQ_FUNCTION, RQ_COPY_END, RQ_COPY_END};
    const char *at = type == '\0' ? NULL : strchr(request_types, type);
    struct rq_note *note = at == NULL ? NULL : malloc(sizeof *note);
    if (note == NULL)
        return;
    live_notes++;
    if (!response_queue_request(&o->queue, kinds[at - request_types], fate, note) &&
        !response_queue_is_full(&o->queue))
        abort();
}

/* An even length is a request, ours or the client's; an odd one is an answer. */
static void tell_queue(struct owner *o, struct wire_header h)
{
    struct rq_note *note;
    if ((h.body_bytes & 1) == 0) {
        put_request(o, h.type, (h.body_bytes & 2) != 0 ? RQ_SKIP : RQ_FORWARD);
        return;
    }
    response_queue_peek(&o->queue, h.type, &note);
    response_queue_advance(&o->queue, h.type, 'I');
}

static void check_queue(const struct response_queue *q)
{
    uint32_t skips = 0;
    if (q->count > q->capacity || (q->capacity & (q->capacity - 1)) != 0)
        abort();
    for (uint32_t i = 0; i < q->count; i++)
        skips += q->ring[(q->head + i) & (q->capacity - 1)].fate == RQ_SKIP;
    if (skips != q->skip_count || (q->skipping && q->count > 0))
        abort();
}

static enum relay_verdict verdict_of(char type)
{
    static const enum relay_verdict verdicts[] = {RELAY_PASS, RELAY_DROP, RELAY_WHOLE, RELAY_WAIT};
    return verdicts[(uint8_t)type % 4];
}

static enum relay_verdict on_header(void *owner, struct wire_header h)
{
    struct owner *o = owner;
    enum relay_verdict v = verdict_of(h.type);
    if (v == RELAY_WAIT && o->waits++ % 2 == 0)
        return RELAY_WAIT;
    if (v == RELAY_WHOLE && h.body_bytes < 100000)
        return RELAY_WHOLE;
    tell_queue(o, h);
    check_queue(&o->queue);
    return v == RELAY_DROP ? RELAY_DROP : RELAY_PASS;
}

static enum relay_verdict on_message(void *owner, struct wire_header h, char *message)
{
    struct owner *o = owner;
    uint8_t last = (uint8_t)message[WIRE_HEADER_BYTES + h.body_bytes - 1];
    if (last % 3 == 0 && o->waits++ % 2 == 0)
        return RELAY_WAIT;
    tell_queue(o, h);
    check_queue(&o->queue);
    return last % 3 == 1 ? RELAY_DROP : RELAY_PASS;
}

static void on_bytes(void *owner, const char *data, size_t bytes)
{
    struct owner *o = owner;
    if (!buf_append(&o->out, data, bytes))
        abort();
}

static void on_no_memory(void *owner)
{
    (void)owner;
    abort();
}

static const struct relay_events events = {on_header, on_message, on_bytes, NULL, on_no_memory};
static const uint8_t plain[256] = {['d'] = 1, ['H'] = 1};

static void run(struct owner *o, const uint8_t *data, size_t size, size_t piece)
{
    *o = (struct owner){.waits = 0};
    relay_init(&o->relay, &events, o, plain);
    response_queue_init(&o->queue, free_note);
    buf_init(&o->out, SIZE_MAX / 4);
    for (size_t at = 0; at < size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        char *copy = malloc(RELAY_HEADROOM + n);
        memcpy(copy + RELAY_HEADROOM, data + at, n);
        relay_feed(&o->relay, copy + RELAY_HEADROOM, n);
        while (relay_is_waiting(&o->relay))
            relay_resume(&o->relay);
        free(copy);
    }
    relay_end(&o->relay);
}

static void finish(struct owner *o)
{
    relay_fini(&o->relay);
    response_queue_fini(&o->queue);
    buf_fini(&o->out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct owner whole;
    struct owner cut;
    if (size < 1)
        return 0;
    live_notes = 0;
    run(&whole, data + 1, size - 1, size);
    run(&cut, data + 1, size - 1, 1 + data[0] % 32);
    if (buf_length(&whole.out) != buf_length(&cut.out))
        abort();
    if (buf_length(&whole.out) > 0 &&
        memcmp(buf_data(&whole.out), buf_data(&cut.out), buf_length(&whole.out)) != 0)
        abort();
    if (whole.queue.count != cut.queue.count)
        abort();
    finish(&whole);
    finish(&cut);
    if (live_notes != 0)
        abort();
    return 0;
}
