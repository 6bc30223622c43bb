/* Plays one input of `pgveneer probe` against one server, and writes down what comes.
 *
 * Steps that are no messages (the others: probe_script.h). A message waits until a step that needs it
 * sent; so the messages up to the next wait are one segment.
 *
 *   connect            the input begins without a login; messages and login are its own
 *   login [wrong]      sends, then answers what is asked until ReadyForQuery or an error; with a
 *                      wrong password
 *   setup text         Query, and wait for its end
 *   wait ZsG [n]       up to the nth message that has one of these types
 *   wait close | byte  up to the end of the connection; one byte
 *   until condition    sends, then asks pg_stat_activity about this session until it is so
 *   cancel [wrong|short|long|nokey]   a CancelRequest for this session, up to its close
 *   end                we send nothing more, but read
 *   repeat n … done    the steps between, n times
 *   digits EN          numbers in messages of these types cannot be equal
 *   bodies D           nor can what these hold, nor how many come one after the other
 *   without d          nor whether they come at all
 *   source             the server did not raise the error: fields F, L and R do not count
 *   uncut              what the input tests is one segment
 *   2: step            for a second session; its first step is open (with login) or connect
 *
 * At the end Terminate is sent, and everything up to the close is read. */
#ifndef PROXY_PROBE_RUN_H
#define PROXY_PROBE_RUN_H

#include "probe_conn.h"
#include "probe_script.h"
#include "probe_transcript.h"

#define PROBE_SESSIONS 3

struct probe_segments {
    size_t piece;   /* bytes of each; 0: as the steps say */
    bool coalesced; /* all after the login in one, but where the order of two sessions matters */
};

struct probe_transcript {
    struct buf sessions[PROBE_SESSIONS]; /* for probe_next_entry */
    size_t longest_bytes;                /* of what was sent at once */
    bool is_encrypted; /* TLS or GSSAPI was offered: each leg may do as it likes */
};

/* Zeroed memory will do. Errors: 42601 the input is wrong; 08xxx, 0A000 no login is possible */
MUST_USE bool probe_run(const struct probe_target *target, const struct probe_input *input,
                        struct probe_segments segments, struct probe_transcript *out,
                        struct err *err);
/* Does the order of two sessions matter? Then coalesced is the same as whole. */
bool probe_keeps_order(const struct probe_input *input);
void probe_transcript_fini(struct probe_transcript *t);

/* Is there an entry "timeout"? */
bool probe_has_timeout(const struct probe_transcript *t);

#endif
