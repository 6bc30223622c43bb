/* A block counts when the commit that wrote it does. Besides, two kinds of blocks take others away:
 *
 *   rollback        a command, written when a commit failed behind whose blocks others follow: the
 *                   blocks of its target before it go
 *   log compaction  the blocks of one commit that stand for those of several: it takes the place of the
 *                   newest of them (what was written while it was made comes after), they go
 *
 * Blocks of CDC data say again what others say. */
#include "log_scan.h"

#include "grow.h"

struct scanner {
    struct arena *arena;
    bool (*counts)(const void *arg, struct slice instant);
    const void *arg;
    struct log_blocks *out;
    size_t room;
};

static bool roll_back(struct scanner *s, const struct log_block *b, struct err *err)
{
    size_t kept = 0;
    if (!slice_equals_cstr(b->command, "0"))
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "command \"%.*s\" in a log file is not supported",
                       (int)(b->command.len > 32 ? 32 : b->command.len), b->command.data);
    for (size_t i = 0; i < s->out->count; i++)
        if (!slice_equals(s->out->items[i].instant, b->target_instant))
            s->out->items[kept++] = s->out->items[i];
    s->out->count = kept;
    return true;
}

static bool add(struct scanner *s, const struct log_block *b, struct err *err)
{
    struct log_blocks *out = s->out;
    if (slice_is_empty(b->instant))
        return err_set(err, SQLSTATE_DATA_CORRUPTED, "log block at byte %zu names no commit",
                       b->offset);
    if (s->counts != NULL && !s->counts(s->arg, b->instant))
        return true;
    if (b->type == LOG_BLOCK_HFILE)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "HFile data blocks in log files are not supported");
    out->items = grow_array(s->arena, out->items, out->count, &s->room, sizeof *out->items);
    if (out->items == NULL)
        return err_no_memory(err);
    out->items[out->count++] = *b;
    return true;
}

static bool take(struct scanner *s, const struct log_block *b, struct err *err)
{
    switch (b->type) {
    case LOG_BLOCK_COMMAND: return roll_back(s, b, err);
    case LOG_BLOCK_CORRUPT:
    case LOG_BLOCK_CDC: return true;
    default: return add(s, b, err);
    }
}

/* ---- log compaction ---- */

/* Is `time` in the list "t1,t2"? */
static bool lists(struct slice list, struct slice time)
{
    while (!slice_is_empty(list)) {
        size_t n = slice_find_byte(list, ',');
        if (slice_equals(slice_trim(slice_part(list, 0, n)), time))
            return true;
        list = slice_part(list, n < list.len ? n + 1 : n, list.len);
    }
    return false;
}

/* The log compaction that replaced the block, or that one's own successor; NULL: none did. */
static const struct log_block *replacement_of(const struct log_blocks *all,
                                              const struct log_block *b)
{
    const struct log_block *found = NULL;
    for (size_t hops = 0; hops <= all->count; hops++) {
        const struct log_block *next = NULL;
        for (size_t i = 0; i < all->count && next == NULL; i++)
            if (lists(all->items[i].compacted_times, b->instant))
                next = &all->items[i];
        if (next == NULL || slice_equals(next->instant, b->instant))
            return found;
        found = b = next;
    }
    return found;
}

static bool is_first_of_instant(const struct log_blocks *list, struct slice instant)
{
    for (size_t i = 0; i < list->count; i++)
        if (slice_equals(list->items[i].instant, instant))
            return false;
    return true;
}

/* Appends the blocks of one commit, the last first. */
static void append_reversed(const struct log_blocks *all, struct slice instant,
                            struct log_blocks *out)
{
    for (size_t i = all->count; i-- > 0;)
        if (slice_equals(all->items[i].instant, instant))
            out->items[out->count++] = all->items[i];
}

/* From the newest block to the oldest, so that a compacted block comes where the newest of those stood
 * that it replaces; those of commits that left nothing to replace stay where they are. */
static bool place_compacted(struct arena *a, struct log_blocks *all, struct err *err)
{
    struct log_blocks list = {.items = arena_alloc_array(a, all->count + 1, sizeof *list.items)};
    if (list.items == NULL)
        return err_no_memory(err);
    for (int leftover = 0; leftover < 2; leftover++)
        for (size_t i = all->count; i-- > 0;) {
            const struct log_block *b = &all->items[i];
            const struct log_block *by = replacement_of(all, b);
            bool replaces = !slice_is_empty(b->compacted_times);
            if (by == NULL && replaces && leftover == 0)
                continue;
            struct slice instant = by == NULL ? b->instant : by->instant;
            if (is_first_of_instant(&list, instant))
                append_reversed(all, instant, &list);
        }
    for (size_t i = 0; i < list.count; i++)
        all->items[i] = list.items[list.count - 1 - i];
    all->count = list.count;
    return true;
}

static bool has_compacted(const struct log_blocks *all)
{
    for (size_t i = 0; i < all->count; i++)
        if (!slice_is_empty(all->items[i].compacted_times))
            return true;
    return false;
}

bool log_scan(struct arena *a, const struct slice *files, size_t nfiles,
              bool (*counts)(const void *arg, struct slice instant), const void *arg,
              struct log_blocks *out, struct err *err)
{
    struct scanner s = {.arena = a, .counts = counts, .arg = arg, .out = out};
    *out = (struct log_blocks){0};
    for (size_t i = 0; i < nfiles; i++) {
        struct log_cursor c = {files[i], 0};
        struct log_block b;
        bool found;
        do {
            if (!log_block_next(&c, &b, &found, err))
                return false;
            if (found && !take(&s, &b, err))
                return false;
        } while (found);
    }
    return !has_compacted(out) || place_compacted(a, out, err);
}
