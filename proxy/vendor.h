/* Vendor statements in a session: found by the gate, prepared, rewritten, and their answers put into
 * the client's terms. session_relay.c asks here for each message that may concern them. */
#ifndef PROXY_VENDOR_H
#define PROXY_VENDOR_H

#include <stdbool.h>

#include "base/slice.h"

#include "relay.h"
#include "response_queue.h"

struct session;
struct vendor; /* of a session that had at least one vendor statement */

void vendor_free(struct vendor *v); /* NULL: nothing */
/* The session ends: what is under way elsewhere will not be waited for. */
void vendor_forget(struct session *s);
void vendor_free_note(struct rq_note *note);

/* A whole message of the client that could matter: Query, Parse; Bind, Execute, Describe and Close
 * when vendor_has_names. PASS: it goes on, *note (given away) belongs to its answer. WAIT:
 * session_resume_client will be called and asks again. DROP: it was dealt with. */
enum relay_verdict vendor_on_request(struct session *s, char type, struct slice body,
                                     struct rq_note **note);

/* The rest only when s->vendor is there. */

/* Are there prepared statements or portals that come from rewritten texts? */
bool vendor_has_names(const struct vendor *v);
/* The client's message is being dealt with (it was told WAIT): it must come again, whatever happened
 * meanwhile. */
bool vendor_is_busy(const struct session *s);

/* Must vendor_on_answer see the next message of the server, which has this type? */
bool vendor_wants_answer(const struct session *s, char type);
/* PASS: it goes to the client as it is. DROP: it does not, or something else went in its place. */
enum relay_verdict vendor_on_answer(struct session *s, char type, struct slice body,
                                    enum rq_fate fate, struct rq_note *note);
/* A notice of a statement that is ours: the client's business where it asked for that in other words. */
enum relay_verdict vendor_on_skipped_notice(struct session *s, struct slice body);
void vendor_on_parameter(struct session *s, struct slice name);
/* True: the ReadyForQuery must not go to the client now. */
bool vendor_on_ready(struct session *s);
/* The response queue moved, or something else that is waited for. */
void vendor_on_advance(struct session *s);

#endif
