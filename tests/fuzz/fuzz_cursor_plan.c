/* Queries that are to be divided: any text, with "t" for the table. Whatever is spliced in, the text
 * around it is the client's. The same bytes as a plan must not be mistaken for one that divides. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "cursor_plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool good)
{
    if (!good)
        abort();
}

static void check_slice(struct arena *a, const struct cursor_splice *s)
{
    const char *text = cursor_plan_slice(a, s, 3, 9);
    if (text == NULL)
        return;
    size_t front = s->where > 0 ? s->where : s->query.len;
    require(s->where <= s->query.len);
    require(strlen(text) >= front || memchr(s->query.data, '\0', s->query.len) != NULL);
    require(memcmp(text, s->query.data, front) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lexer_dialect d = {size % 2 == 0, ENCODING_UTF8};
    struct slice text = slice_of((const char *)data, size);
    struct cursor_splice s;
    struct cursor_plan p;
    struct arena a;
    arena_init(&a, (size_t)1 << 24);
    if (cursor_plan_find(&a, text, &d, "t", NULL, &s))
        check_slice(&a, &s);
    if (cursor_plan_read(&a, text, &p))
        require(!p.is_divisible || p.scan_count > 0 || size > 0);
    (void)cursor_plan_is_personal(text);
    arena_fini(&a);
    return 0;
}
