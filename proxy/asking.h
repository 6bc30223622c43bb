/* Functions of the support schema that ask the proxy (DESIGN: "A function can ask the proxy"; the SQL
 * side is handlers/task/sql/003_asking.sql). A function raises an INFO with the SQLSTATE PV001; the
 * session takes it out of the stream and hands it to the control connection. */
#ifndef ASKING_H
#define ASKING_H

#include <stdbool.h>

#include "base/slice.h"

struct session;
struct asking; /* of a session in which something was asked */

/* Is the body of a NoticeResponse such a message, and what does it say? The text is opaque: letters,
 * digits and "+/=." in any order, at most 8 KB; nothing else is let through. message borrows. */
bool asking_read(struct slice body, struct slice *message);

/* A NoticeResponse of the server. True: it was for us, the client does not get it. */
bool asking_on_notice(struct session *s, struct slice body);
/* The server is ready for the next request: nobody waits any more. */
void asking_on_ready(struct session *s);
/* The session ends: who waits in the server is told. */
void asking_end(struct session *s);

#endif
