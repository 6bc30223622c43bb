/* Names of vendor objects in a text: a call, or a relation that is read (context.h says where). The name
 * is qualified in place, and stays as it is where it means something else: an object of the user's own
 * that comes first in the search path, or a common table expression of the statement, which may be
 * defined behind its use, so these names are taken back at the statement's end. */
#include "gate_inspection.h"

#include <string.h>

/* CALL name(…): the name of the procedure takes the place of the whole name. */
static bool find_procedure(struct inspection *in, const struct token *t, const struct spot *spot,
                           const struct handler_object *o, struct gate_edit *edit)
{
    size_t start = spot->behind_catalog ? spot->catalog_start : t->start;
    if (o->call == NULL || start != in->second || strcmp(in->lead[0], "call") != 0)
        return false;
    const char *with = arena_printf(in->arena, "%s.%s", o->schema, o->call);
    in->memory = in->memory && with != NULL;
    *edit = (struct gate_edit){start, t->end - start, slice_cstr(with == NULL ? "" : with)};
    return true;
}

/* Is the word a token of the text? */
static bool mentions(const struct inspection *in, const char *word)
{
    struct lexer x;
    struct token t;
    lexer_init(&x, in->text, &in->dialect);
    while (lexer_next(&x, &t))
        if ((t.kind == TOKEN_WORD || t.kind == TOKEN_QUOTED) && strcmp(t.name, word) == 0)
            return true;
    return false;
}

/* The schema of the object, which may depend on what else the text says. */
static const char *schema_of(const struct inspection *in, const struct handler_object *o)
{
    const struct gate *g = in->gate;
    for (size_t i = 0; i < g->handler_count; i++)
        for (size_t k = 0; k < g->handlers[i]->variant_count; k++) {
            const struct handler_variant *v = &g->handlers[i]->variants[k];
            if (strcmp(v->object, o->name) != 0)
                continue;
            for (const char *const *word = v->words; *word != NULL; word++)
                if (mentions(in, *word))
                    return v->schema;
        }
    return o->schema;
}

void gate_name_add(struct inspection *in, const struct token *t, const struct spot *spot)
{
    const struct handler_object *o;
    enum handler_object_kind kind = spot->kind == SPOT_CALL ? HANDLER_FUNCTION : HANDLER_RELATION;
    uint64_t bit = gate_find_object(in->gate, t->name, kind, &o);
    bool bare = !spot->behind_catalog;
    if (bit == 0)
        return;
    if (bare)
        in->result->objects |= bit;
    if (bare && (in->session->shadowed & bit) != 0)
        return;
    struct found f = {.object = bit, .bare = bare};
    if (find_procedure(in, t, spot, o, &f.edit)) {
        gate_add_found(in, f);
        return;
    }
    const char *schema = schema_of(in, o);
    const char *with = bare ? arena_printf(in->arena, "%s.", schema) : schema;
    if (with == NULL) {
        in->memory = false;
        return;
    }
    f.edit.start = bare ? t->start : spot->catalog_start;
    f.edit.length = bare ? 0 : spot->catalog_end - spot->catalog_start;
    f.edit.with = slice_cstr(with);
    gate_add_found(in, f);
}

void gate_name_note_cte(struct inspection *in, const struct token *t)
{
    const struct handler_object *o;
    in->cte_names |= gate_find_object(in->gate, t->name, HANDLER_RELATION, &o);
}

void gate_name_drop_ctes(struct inspection *in)
{
    size_t kept = in->first_found;
    for (size_t i = kept; i < in->found_count; i++)
        if (!in->found[i].bare || (in->found[i].object & in->cte_names) == 0)
            in->found[kept++] = in->found[i];
    in->found_count = kept;
}
