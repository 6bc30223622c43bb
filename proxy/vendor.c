/* Nothing is ours yet: no session has vendor statements. */
#include "vendor.h"

void vendor_free(struct vendor *v)
{
    (void)v;
}

void vendor_forget(struct vendor *v)
{
    (void)v;
}

void vendor_free_note(struct rq_note *note)
{
    (void)note;
}

enum relay_verdict vendor_on_request(struct session *s, char type, struct slice body,
                                     struct rq_note **note)
{
    (void)s;
    (void)type;
    (void)body;
    (void)note;
    return RELAY_PASS;
}

bool vendor_wants_answer(const struct session *s, char type)
{
    (void)s;
    (void)type;
    return false;
}

enum relay_verdict vendor_on_answer(struct session *s, char type, struct slice body,
                                    enum rq_fate fate, struct rq_note *note)
{
    (void)s;
    (void)type;
    (void)body;
    (void)note;
    return fate == RQ_SKIP ? RELAY_DROP : RELAY_PASS;
}

void vendor_on_parameter(struct session *s, struct slice name)
{
    (void)s;
    (void)name;
}

void vendor_on_ready(struct session *s)
{
    (void)s;
}

void vendor_on_advance(struct session *s)
{
    (void)s;
}
