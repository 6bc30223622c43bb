/* A target table as the catalog describes it: columns with the form in which values travel, primary
 * key, owner, and whether writing to it runs anything that a user wrote. */
#ifndef APPLY_TARGET_H
#define APPLY_TARGET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "pgclient/pgclient.h"

/* How a value of a column is written in binary COPY (protocol/copy_binary.h). */
enum apply_form {
    APPLY_BY_TEXT, /* any other type: staged as text, cast to the type when written */
    APPLY_BOOL,
    APPLY_INT2,
    APPLY_INT4,
    APPLY_INT8,
    APPLY_FLOAT4,
    APPLY_FLOAT8,
    APPLY_NUMERIC,
    APPLY_DATE,
    APPLY_TIME,
    APPLY_TIMESTAMP,
    APPLY_TIMESTAMPTZ,
    APPLY_TEXT, /* text, varchar, char(n) */
    APPLY_BYTEA,
    APPLY_UUID,
    APPLY_JSON,
    APPLY_JSONB,
    APPLY_ARRAY /* one dimension; elements have the form `element` */
};

struct apply_column {
    const char *name;
    const char *type; /* declared, as SQL prints it */
    const char
        *stage_type; /* base type under a domain with its modifier and collation; BY_TEXT: text */
    enum apply_form form;
    enum apply_form element; /* APPLY_ARRAY */
    uint32_t element_oid;    /* APPLY_ARRAY */
    size_t max_characters;   /* varchar(n), char(n), arrays of them; 0: no limit */
    bool blank_padded;       /* char(n): trailing blanks mean nothing */
    unsigned precision;      /* numeric(p,s), arrays of it; 0: no limit */
    int scale;
    bool not_null;
    bool generated;      /* GENERATED … STORED: nobody writes it */
    size_t key_position; /* 1-based place in the primary key, 0: not in it */
};

struct apply_target {
    uint32_t oid;
    const char *name;  /* "public.t", quoted where SQL needs it */
    const char *owner; /* role name */
    struct apply_column *columns;
    size_t count;
    size_t *key; /* places in `columns`, in the order of the primary key */
    size_t key_count;
};

/* Everything from `a`. Errors: 42P01 gone, 42809 not a table, 42P16 no primary key */
MUST_USE bool apply_target_read(struct arena *a, struct pgclient *c, uint32_t oid,
                                struct apply_target *out, struct err *err);
/* Name, owner and columns of any relation, a view for example; without what only a target must have.
 * Errors: 42P01 gone */
MUST_USE bool apply_target_describe(struct arena *a, struct pgclient *c, uint32_t oid,
                                    struct apply_target *out, struct err *err);
/* Column by name, letter case included. NULL: none. */
const struct apply_column *apply_target_find(const struct apply_target *t, const char *name);
/* May rows be copied straight into the table? Only where nothing that a user wrote runs: a plain
 * table, columns of PostgreSQL's own types that we write in binary form, no trigger (foreign keys included), rule, row security,
 * check, generated column, expression or partial index, and no default but constants, sequences and
 * the clock. Built-in functions are no excuse: set_config is one. */
MUST_USE bool apply_target_is_plain(struct pgclient *c, const struct apply_target *t, bool *plain,
                                    struct err *err);

#endif
