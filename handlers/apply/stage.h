/* What apply.c (streams into staging tables) and write.c (the owner's function) share. */
#ifndef APPLY_STAGE_H
#define APPLY_STAGE_H

#include "apply/apply.h"
#include "base/arena.h"

#define APPLY_STAGE_ROWS "pg_temp.pgveneer_rows"
#define APPLY_STAGE_KEYS "pg_temp.pgveneer_keys"
#define APPLY_COUNTS "pg_temp.pgveneer_counts"
#define APPLY_ONCE "pg_temp.pgveneer_once"
#define APPLY_FUNCTION "pg_temp.pgveneer_write"

struct apply {
    struct pgclient *c;            /* borrows */
    const struct apply_spec *spec; /* borrows */
    struct arena a;                /* statement texts */
    struct buf rows;               /* of the stream under way */
    enum apply_stream stream;
    bool streaming;
    bool has_rows, has_keys; /* staging table is there */
    bool is_owner;           /* SET LOCAL ROLE is in force */
};

static inline const struct apply_column *apply_column_at(const struct apply *ap, size_t i)
{
    return &ap->spec->target->columns[ap->spec->columns[i]];
}

static inline const struct apply_column *apply_key_at(const struct apply *ap, size_t i)
{
    return &ap->spec->target->columns[ap->spec->target->key[i]];
}

/* Stage columns are named by place, so that no name of the user's can collide. */
#define APPLY_ROW_COLUMN "c"
#define APPLY_KEY_COLUMN "k"

/* Place of a target column in a staged row. */
size_t apply_place(const struct apply *ap, size_t target_column);
MUST_USE bool apply_become_owner(struct apply *ap, struct err *err);
MUST_USE bool apply_become_service(struct apply *ap, struct err *err);
/* Runs the text gathered in b; frees it. */
MUST_USE bool apply_run(struct apply *ap, struct buf *b, struct err *err);

#endif
