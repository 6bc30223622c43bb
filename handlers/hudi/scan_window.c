/* Rows tell by _hoodie_commit_time which commit wrote them; commits are in the timeline's order, which need
 * not be that of their times. */
#include "scan_window.h"

#include <stdint.h>
#include <string.h>

#include "base/buf.h"
#include "duck.h"
#include "timeline.h"

#define WINDOW_SQL_BYTES ((size_t)64 << 20)

bool scan_window_is_behind(const char *time, const char *limit)
{
    char a[INSTANT_KEY_SIZE], b[INSTANT_KEY_SIZE];
    return instant_key_read(time, a) && instant_key_read(limit, b) && strcmp(a, b) > 0;
}

static size_t find_instant(const struct hudi_names *all, const char *time)
{
    for (size_t i = 0; time != NULL && i < all->count; i++)
        if (strcmp(all->items[i], time) == 0)
            return i;
    return SIZE_MAX;
}

/* Commits are in the timeline's order; a start that is none of them is a time. */
static bool is_in_window(const struct hudi_names *all, const char *after, size_t start, size_t i)
{
    return start == SIZE_MAX ? scan_window_is_behind(all->items[i], after) : i > start;
}

/* Rows of archived commits have no instant on the timeline any more: their time tells. */
static void put_archived(struct buf *b, const struct hudi_names *all, const char *after)
{
    char key[INSTANT_KEY_SIZE];
    if (!instant_key_read(after, key))
        return;
    buf_append_cstr(b, " OR (rpad(ct, 17, '9') > ");
    duck_put_text(b, key);
    buf_append_cstr(b, " AND ct NOT IN (''");
    for (size_t i = 0; i < all->count; i++) {
        buf_append_cstr(b, ", ");
        duck_put_text(b, all->items[i]);
    }
    buf_append_cstr(b, "))");
}

bool scan_window_write(struct arena *a, const struct hudi_table *t, const struct hudi_plan *plan,
                       const char *after, const char **where, struct err *err)
{
    struct hudi_names all;
    struct buf b;
    *where = NULL;
    if (after == NULL || plan->kind == HUDI_PLAN_NOTHING)
        return true;
    if (!hudi_instants_list(a, t, &all, err))
        return false;
    size_t start = find_instant(&all, after), end = find_instant(&all, plan->to);
    buf_init(&b, WINDOW_SQL_BYTES);
    buf_append_cstr(&b, "ct IN (''");
    for (size_t i = 0; i < all.count && (end == SIZE_MAX || i <= end); i++) {
        if (!is_in_window(&all, after, start, i))
            continue;
        buf_append_cstr(&b, ", ");
        duck_put_text(&b, all.items[i]);
    }
    buf_append_cstr(&b, ")");
    if (start == SIZE_MAX)
        put_archived(&b, &all, after);
    const char *text = buf_cstr(&b);
    *where = text == NULL ? NULL : arena_copy_cstr(a, text);
    buf_fini(&b);
    return *where != NULL || err_no_memory(err);
}
