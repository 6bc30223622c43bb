/* An ask on its way from the loop that asks to the one that owns the connections, and back. Private to
 * control.c and control_ask.c. */
#ifndef CONTROL_ASK_H
#define CONTROL_ASK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/list.h"
#include "base/slice.h"
#include "control.h"
#include "control_conn.h"
#include "mailbox.h"

enum ask_kind { ASK_INSTALL, ASK_NOTIFY, ASK_QUERY };

struct control_ask {
    struct mail mail;
    struct list link; /* in its database's queue or its list of those who wait beside */
    struct control *control;
    struct loop *from; /* NULL: nobody waits */
    enum ask_kind kind;
    struct arena arena; /* owns the texts */
    const char *dbname;
    const char *sql;
    const char **params;
    uint16_t nparams;
    uint64_t deadline_ms;
    control_done_fn *done; /* touched by from's thread only; NULL: forgotten */
    void *arg;
    struct control_rows rows;
    struct err err;
};

/* Nothing but the name is copied yet. NULL: no memory. */
MUST_USE struct control_ask *control_ask_new(struct control *c, struct loop *from,
                                             enum ask_kind kind, struct slice dbname,
                                             control_done_fn *done, void *arg);
void control_ask_free(struct control_ask *ask);
MUST_USE bool control_ask_copy_query(struct control_ask *ask, const char *sql,
                                     const char *const *params, uint16_t nparams);

/* Takes the ask. err NULL: it succeeded, or ask->err says why not. */
void control_ask_answer(struct control_ask *ask, const struct err *err);
/* Takes every ask of the list. */
void control_ask_answer_all(struct list *asks, const struct err *err);

#endif
