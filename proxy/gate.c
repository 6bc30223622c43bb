/* The gate: the vendor names and statements of all handlers, compiled into what a text is compared with.
 *
 *   text ── prefilter ──► nothing of ours can be in it: the server's
 *               └───────► inspection (gate_inspect.c)
 *
 * The prefilter has the handlers' anchors: each statement and name of theirs has one of them in it. */
#include "proxy/gate.h"

#include <stdlib.h>
#include <string.h>

#include "gate_inspection.h"
#include "prefilter.h"

/* A quoted identifier can spell any name without its letters, in Unicode escapes. */
#define ANCHOR_UNICODE "u&\""

static bool add_objects(struct gate *g, const struct handler *h, struct err *err)
{
    for (size_t i = 0; i < h->object_count; i++) {
        if (g->object_count == GATE_MAX_OBJECTS)
            return err_set(err, SQLSTATE_INTERNAL_ERROR, "more than %d vendor objects",
                           GATE_MAX_OBJECTS);
        g->by_first[(unsigned char)h->objects[i].name[0]] |= (uint64_t)1 << g->object_count;
        if (h->reads_endpoints)
            g->endpoint_objects |= (uint64_t)1 << g->object_count;
        g->objects[g->object_count++] = &h->objects[i];
    }
    return true;
}

static bool compile_prefilter(struct gate *g, struct err *err)
{
    size_t count = 1;
    for (size_t i = 0; i < g->handler_count; i++)
        count += g->handlers[i]->anchor_count;
    const char **words = calloc(count, sizeof *words);
    if (words == NULL)
        return err_no_memory(err);
    size_t n = 0;
    words[n++] = ANCHOR_UNICODE;
    for (size_t i = 0; i < g->handler_count; i++)
        for (size_t k = 0; k < g->handlers[i]->anchor_count; k++)
            words[n++] = g->handlers[i]->anchors[k];
    bool made = prefilter_new(words, n, &g->prefilter, err);
    free(words);
    return made;
}

bool gate_new(const struct handler *const *handlers, size_t count, struct gate **out,
              struct err *err)
{
    struct gate *g = calloc(1, sizeof *g);
    const struct handler **copy = calloc(count + 1, sizeof(struct handler *));
    if (g == NULL || copy == NULL) {
        free(g);
        free(copy);
        return err_no_memory(err);
    }
    for (size_t i = 0; i < count; i++)
        copy[i] = handlers[i];
    g->handlers = copy;
    g->handler_count = count;
    bool good = compile_prefilter(g, err);
    for (size_t i = 0; good && i < count; i++)
        good = add_objects(g, handlers[i], err);
    if (!good) {
        gate_free(g);
        return false;
    }
    *out = g;
    return true;
}

void gate_free(struct gate *g)
{
    if (g == NULL)
        return;
    prefilter_free(g->prefilter);
    free((void *)g->handlers);
    free(g);
}

size_t gate_object_count(const struct gate *g)
{
    return g->object_count;
}

const struct handler_object *gate_object(const struct gate *g, size_t number)
{
    return g->objects[number];
}

bool gate_may_hold(const struct gate *g, struct slice text)
{
    return prefilter_may_hold(g->prefilter, text);
}

uint64_t gate_find_object(const struct gate *g, const char *name, enum handler_object_kind kind,
                          const struct handler_object **object)
{
    for (uint64_t set = g->by_first[(unsigned char)name[0]]; set != 0; set &= set - 1) {
        const struct handler_object *o = g->objects[__builtin_ctzll(set)];
        if (o->kind == kind && strcmp(o->name, name) == 0) {
            *object = o;
            return set & (~set + 1);
        }
    }
    return 0;
}
