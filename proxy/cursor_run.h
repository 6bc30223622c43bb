/* What cursor_run.c, cursor_wait.c and cursor_declare.c share. */
#ifndef PROXY_CURSOR_RUN_H
#define PROXY_CURSOR_RUN_H

#include "base/attr.h"
#include "base/slice.h"

#include "cursor.h"

/* ---- cursor_run.c ---- */

void cursor_run_enter(struct session *s, enum cursor_step step);
void cursor_run_refuse_no_memory(struct session *s);
void cursor_run_reply_tag(struct session *s, const char *tag);
/* The item as a text of its own, as the server gets it; run->statement is its statement. */
MUST_USE bool cursor_run_write_item(struct session *s, const struct cursor_item *item,
                                    struct slice *text);
/* Hands the session the list of endpoints. */
void cursor_run_feed(struct session *s);
/* The item at run->at as a Query of its own. line: NULL, or what follows the rows of its answer */
void cursor_run_send_piece(struct session *s, const char *line);
/* The item at run->at, or the end of the Query. */
void cursor_run_next(struct session *s);

/* ---- cursor_wait.c ---- */

void cursor_wait_start_check(struct session *s, const struct handler_cursor *what);
void cursor_wait_on_name(struct session *s);
void cursor_wait_on_limit(struct session *s);
/* Something may have changed for who waits. */
void cursor_wait_look(struct session *s);
/* Before statements that show endpoints: waits if the text says so, then feeds. */
void cursor_wait_prepare_lists(struct session *s, struct slice text);

/* ---- cursor_declare.c ---- */

void cursor_declare_start(struct session *s);
void cursor_declare_ask_facts(struct session *s);
void cursor_declare_on_facts(struct session *s);
void cursor_declare_on_described(struct session *s);
/* Their answer: may there be workers, and with which settings? */
void cursor_declare_keep_settings(struct session *s);
/* The statement that declares, or is explained. */
const struct handler_cursor *cursor_declare_what(struct session *s);
/* All is known: the endpoints appear, and the client has its answer. */
void cursor_declare_publish(struct session *s, unsigned endpoints);

/* ---- cursor_explain.c ---- */

void cursor_explain_start(struct session *s);
void cursor_explain_on_facts(struct session *s);
/* The cursor would have so many endpoints; 0: not known. */
void cursor_explain_conclude(struct session *s, unsigned endpoints);

#endif
