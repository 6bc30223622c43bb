/* Asks: made on the loop that asks, moved to the home loop, moved back with their answer, freed where
 * they were made. While an ask is at home, `done` and `arg` belong to the asking loop all the same:
 * nobody else looks at them, so control_forget needs no lock. A NOTIFY has nobody who waits and is
 * freed at home.
 *
 * The rows of a result travel as they came from the server; their values are only looked up on the
 * asking loop, in the ask's own arena. */
#include "control_ask.h"

#include <stdlib.h>

#include "base/buf.h"
#include "base/log.h"
#include "loop.h"
#include "protocol/crypto.h"

struct control_ask *control_ask_new(struct control *c, struct loop *from, enum ask_kind kind,
                                    struct slice dbname, control_done_fn *done, void *arg)
{
    struct control_ask *ask = calloc(1, sizeof *ask);
    if (ask == NULL)
        return NULL;
    ask->control = c;
    ask->from = from;
    ask->kind = kind;
    ask->done = done;
    ask->arg = arg;
    arena_init(&ask->arena, 0);
    list_init(&ask->link);
    buf_init(&ask->rows.values, CONTROL_CONN_MAX_RESULT_BYTES);
    ask->dbname = arena_copy(&ask->arena, dbname);
    if (ask->dbname != NULL)
        return ask;
    control_ask_free(ask);
    return NULL;
}

void control_ask_free(struct control_ask *ask)
{
    arena_fini(&ask->arena);
    crypto_wipe_buf(&ask->rows.values); /* it may hold what pg_authid has */
    buf_fini(&ask->rows.values);
    free(ask);
}

bool control_ask_copy_query(struct control_ask *ask, const char *sql, const char *const *params,
                            uint16_t nparams)
{
    ask->sql = arena_copy_cstr(&ask->arena, sql);
    ask->params = arena_alloc_array(&ask->arena, nparams + (size_t)1, sizeof *ask->params);
    ask->nparams = nparams;
    if (ask->sql == NULL || ask->params == NULL)
        return false;
    for (uint16_t i = 0; i < nparams; i++) {
        ask->params[i] = params[i] == NULL ? NULL : arena_copy_cstr(&ask->arena, params[i]);
        if (params[i] != NULL && ask->params[i] == NULL)
            return false;
    }
    return true;
}

void control_forget(struct control_ask *ask)
{
    ask->done = NULL;
}

static struct wire_value *read_values(struct control_ask *ask)
{
    size_t count = ask->rows.nrows * ask->rows.ncolumns;
    struct wire_value *values =
        arena_alloc_array(&ask->arena, count == 0 ? 1 : count, sizeof *values);
    struct wire_reader r;
    wire_reader_init(&r, buf_slice(&ask->rows.values));
    for (size_t i = 0; values != NULL && i < count; i++)
        values[i] = wire_get_value(&r);
    return values;
}

/* On the asking loop. */
static void on_answer(struct mail *m)
{
    struct control_ask *ask = MAIL_ENTRY(m, struct control_ask, mail);
    control_done_fn *done = ask->done;
    struct control_result result = {
        .nrows = ask->rows.nrows, .ncolumns = ask->rows.ncolumns, .tag = ask->rows.tag};
    if (done != NULL && !err_is_set(&ask->err)) {
        result.values = read_values(ask);
        if (result.values == NULL)
            err_no_memory(&ask->err);
    }
    if (done != NULL && err_is_set(&ask->err))
        done(ask->arg, NULL, &ask->err);
    else if (done != NULL)
        done(ask->arg, &result, NULL);
    control_ask_free(ask);
}

void control_ask_answer(struct control_ask *ask, const struct err *err)
{
    if (err != NULL)
        ask->err = *err;
    if (ask->from == NULL) {
        if (err != NULL)
            log_err(LOG_LEVEL_WARNING, "control", "could not notify the workers", err);
        control_ask_free(ask);
        return;
    }
    ask->mail.on_receive = on_answer;
    loop_post(ask->from, &ask->mail);
}

void control_ask_answer_all(struct list *asks, const struct err *err)
{
    while (!list_is_empty(asks)) {
        struct control_ask *ask = LIST_ENTRY(list_first(asks), struct control_ask, link);
        list_remove(&ask->link);
        control_ask_answer(ask, err);
    }
}
