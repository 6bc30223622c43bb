/* A rewritten text lives as long as anything that can still answer for it: the queue entry of its
 * Query; or its Parse, the statement prepared by that, the portals bound to it, and their Executes.
 * Hence a count of references; all of them are on one loop.
 *
 * The map follows what the client asks for, not what the server grants: a name whose Parse failed
 * stays in it until it is used again or closed. That is harmless, since a name only says how answers
 * are put into the client's terms, if answers of that kind come. */
#include "statement.h"

#include <stdlib.h>
#include <string.h>
#include <uthash.h>

static bool copy_edits(struct statement *st, const struct gate_result *r)
{
    st->edits = arena_alloc_array(&st->arena, r->edit_count + 1, sizeof *st->edits);
    if (st->edits == NULL)
        return false;
    for (size_t i = 0; i < r->edit_count; i++) {
        st->edits[i] = r->edits[i];
        st->edits[i].with.data = arena_copy(&st->arena, r->edits[i].with);
        if (st->edits[i].with.data == NULL)
            return false;
    }
    st->edit_count = r->edit_count;
    return true;
}

static bool copy_tags(struct statement *st, const struct gate_result *r)
{
    st->tags = arena_alloc_array(&st->arena, r->tag_count + 1, sizeof *st->tags);
    if (st->tags == NULL)
        return false;
    for (size_t i = 0; i < r->tag_count; i++) {
        if (r->tags[i] == NULL)
            continue;
        st->tags[i] = arena_copy_cstr(&st->arena, r->tags[i]);
        if (st->tags[i] == NULL)
            return false;
    }
    st->tag_count = r->tag_count;
    return true;
}

static bool copy_cursor(struct statement *st, const struct gate_result *r)
{
    if (r->cursor_count == 0)
        return true;
    struct handler_cursor *c = arena_alloc(&st->arena, sizeof *c);
    if (c == NULL)
        return false;
    *c = *r->cursors[0].what;
    c->name = arena_copy_cstr(&st->arena, c->name);
    c->query.data = arena_copy(&st->arena, c->query);
    st->cursor = c;
    return c->name != NULL && c->query.data != NULL;
}

/* Only the places of characters matter later, so a text with secrets need not stay readable. */
static void blank(struct statement *st, char *text)
{
    for (size_t i = 0; i < st->text.len; i++)
        if ((unsigned char)text[i] < 0x80)
            text[i] = 'x';
}

struct statement *statement_new(struct slice text, const struct gate_result *result)
{
    struct statement *st = calloc(1, sizeof *st);
    if (st == NULL)
        return NULL;
    st->refs = 1;
    st->wakes_workers = result->wakes_workers;
    st->reads_endpoints = result->reads_endpoints;
    arena_init(&st->arena, 0);
    char *copy = arena_copy(&st->arena, text);
    st->text = slice_of(copy, text.len);
    if (copy != NULL && result->secrets != NULL)
        blank(st, copy);
    if (copy == NULL || !copy_edits(st, result) || !copy_tags(st, result) ||
        !copy_cursor(st, result)) {
        statement_unref(st);
        return NULL;
    }
    return st;
}

bool statement_keep_types(struct statement *st, uint16_t count, struct slice types)
{
    st->types = slice_of(arena_copy(&st->arena, types), types.len);
    st->type_count = count;
    return st->types.data != NULL;
}

void statement_unref(struct statement *st)
{
    if (st == NULL || --st->refs > 0)
        return;
    arena_fini(&st->arena);
    free(st);
}

struct rq_note *statement_note(struct statement *st)
{
    struct rq_note *n = st == NULL ? NULL : calloc(1, sizeof *n);
    if (n == NULL)
        return NULL;
    st->refs++;
    n->statement = st;
    return n;
}

/* ---- names ---- */

struct statement_name {
    struct statement *statement; /* owns a reference */
    struct slice bind;           /* owns; of a portal of a statement on a cursor; or empty */
    UT_hash_handle hh;
    size_t key_bytes;
    char key[]; /* kind, then the name */
};

#define BIND_MAX_BYTES ((size_t)64 * 1024)
#define KEY_MAX 1024 /* the server cuts names at 63 bytes; longer keys are not remembered */

static size_t make_key(char *key, char kind, struct slice name)
{
    if (name.len >= KEY_MAX)
        return 0;
    key[0] = kind;
    if (name.len > 0)
        memcpy(key + 1, name.data, name.len);
    return name.len + 1;
}

static struct statement_name *find_name(const struct statement_map *m, char kind, struct slice name)
{
    char key[KEY_MAX];
    struct statement_name *n = NULL;
    size_t bytes = m->names == NULL ? 0 : make_key(key, kind, name);
    if (bytes > 0)
        HASH_FIND(hh, m->names, key, bytes, n);
    return n;
}

struct statement *statement_map_find(const struct statement_map *m, char kind, struct slice name)
{
    struct statement_name *n = find_name(m, kind, name);
    return n == NULL ? NULL : n->statement;
}

static void remove_name(struct statement_map *m, struct statement_name *n)
{
    HASH_DEL(m->names, n);
    statement_unref(n->statement);
    free((char *)n->bind.data);
    free(n);
}

void statement_map_remove(struct statement_map *m, char kind, struct slice name)
{
    struct statement_name *n = find_name(m, kind, name);
    if (n != NULL)
        remove_name(m, n);
}

void statement_map_put(struct statement_map *m, char kind, struct slice name, struct statement *st)
{
    char key[KEY_MAX];
    size_t bytes = make_key(key, kind, name);
    statement_map_remove(m, kind, name);
    struct statement_name *n = bytes == 0 || st == NULL ? NULL : calloc(1, sizeof *n + bytes);
    if (n == NULL)
        return;
    n->statement = st;
    n->key_bytes = bytes;
    memcpy(n->key, key, bytes);
    st->refs++;
    HASH_ADD_KEYPTR(hh, m->names, n->key, n->key_bytes, n);
}

void statement_map_keep_bind(struct statement_map *m, struct slice portal, struct slice bind)
{
    struct statement_name *n = find_name(m, 'P', portal);
    char *copy = n == NULL || bind.len > BIND_MAX_BYTES ? NULL : malloc(bind.len + 1);
    if (copy == NULL)
        return;
    memcpy(copy, bind.data, bind.len);
    free((char *)n->bind.data);
    n->bind = slice_of(copy, bind.len);
}

struct slice statement_map_find_bind(const struct statement_map *m, struct slice portal)
{
    const struct statement_name *n = find_name(m, 'P', portal);
    return n == NULL ? slice_of("", 0) : n->bind;
}

void statement_map_clear(struct statement_map *m, char kind)
{
    struct statement_name *n;
    struct statement_name *next;
    HASH_ITER(hh, m->names, n, next)
    if (n->key[0] == kind)
        remove_name(m, n);
}
