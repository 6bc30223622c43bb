/* The inputs of `pgveneer probe`: what a text says, as bytes of the protocol.
 *
 * A file of inputs (proxy/probe/NAME.probe) has a line for each step. Empty lines and lines that begin
 * with "#" say nothing; "== name" begins an input. A step that is a message of the client:
 *
 *   Q text                        Query                P name text    Parse; name(oid,…): with types
 *   B portal statement 'value'…   Bind; NULL; in=0,1 and out=0,1 are format codes
 *   D S|P name   C S|P name       Describe, Close      E portal [n]   Execute, of n rows at most
 *   S  H  X  c                    Sync, Flush, Terminate, CopyDone
 *   d data   f reason   p data    CopyData, CopyFail, password message
 *   F oid 'value'… in= out=       FunctionCall
 *   startup 3.0 name='value'…     StartupMessage of any version; 300*name=value: so many times
 *   msg T body                    a message of type T; body as it stands, without a NUL behind
 *   raw bytes                     bytes
 *
 * The name - is the empty name. In texts \n \t \\ and \x41 mean what they mean in C, and
 *   \{4:-1} \{2:7}   an integer of 4 or 2 bytes        \{abc*300}   abc 300 times
 *   \{user} \{dbname} \{pid} \{id}   names of the session; id is another one in every run
 *   \{n}             the number of the present round of a repeat
 *
 * The steps that are no messages (wait, cancel, …) are probe_run.h's. */
#ifndef PROXY_PROBE_SCRIPT_H
#define PROXY_PROBE_SCRIPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/slice.h"

/* Characters of \{id}. */
#define PROBE_ID_CHARS 10

/* A file of inputs, as the build embeds it. */
struct probe_file {
    const char *name;
    const char *text;
};

struct probe_input {
    const char *file;
    struct slice name;  /* borrow from the file's text */
    struct slice steps; /* lines up to the next input */
};

struct probe_vars {
    const char *user;
    const char *dbname;
    char id[PROBE_ID_CHARS + 1];
    uint32_t pid;
    unsigned n;
};

/* Takes the next input off *text; false: there is none. */
bool probe_next_input(struct slice *text, struct probe_input *out);
/* Takes the next line that says something off *steps; false at the end. */
bool probe_next_step(struct slice *steps, struct slice *line);
/* Takes the first word off *line, without the spaces around it. */
struct slice probe_take_word(struct slice *line);

/* Is this first word that of a message? */
bool probe_is_message(struct slice word);
/* Appends the message that the line says. Errors: 42601 it says none */
MUST_USE bool probe_write_message(struct slice line, const struct probe_vars *vars, struct buf *out,
                                  struct err *err);
/* Appends the text with what \ stands for. */
MUST_USE bool probe_write_text(struct slice text, const struct probe_vars *vars, struct buf *out,
                               struct err *err);

#endif
