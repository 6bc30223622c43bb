/* EXPLAIN DECLARE … PARALLEL RETRIEVE CURSOR: the server's plan of the plain cursor, and behind it a line that
 * says where the endpoints would be (spec/parallel-cursor.md section 1.1). For that the stages of a DECLARE are
 * gone through, up to the verdict, but nothing is declared and no snapshot exported.
 *
 * The stages need a savepoint, so outside of a transaction block, where DECLARE itself is refused, there
 * is no line. Neither is there one in formats that are a document. */
#include "cursor_run.h"

#include <stdio.h>

#include "dispatch.h"
#include "session.h"

static struct cursors *cursors_of(struct session *s)
{
    return s->vendor->cursors;
}

void cursor_explain_conclude(struct session *s, unsigned endpoints)
{
    struct cursors *c = cursors_of(s);
    c->line[0] = '\0';
    if (endpoints > 1)
        snprintf(c->line, sizeof c->line, "Endpoint: on all %u segments", endpoints);
    else if (endpoints == 1)
        snprintf(c->line, sizeof c->line, "Endpoint: \"on coordinator\"");
    if (s->vendor->dispatch.type == 'E')
        dispatch_decide(s, RELAY_PASS); /* the Execute goes on; vendor.c puts the line in */
    else
        cursor_run_send_piece(s, c->line);
}

void cursor_explain_start(struct session *s)
{
    cursors_of(s)->run.explains = true;
    if (s->owed.status == 'T' && cursor_declare_what(s)->in_lines)
        cursor_declare_ask_facts(s);
    else
        cursor_explain_conclude(s, 0);
}

void cursor_explain_on_facts(struct session *s)
{
    cursor_declare_keep_settings(s);
    cursor_parallel_start(s);
}
