#include "metrics.h"

#include <inttypes.h>
#include <string.h>

#include "base/attr.h"

static const struct {
    const char *name, *labels, *help;
} rows[] = {
#define X(id, name, labels, help) {name, labels, help},
    METRICS(X)
#undef X
};

/* In a help text a backslash and a line break are escaped. */
static void put_help(struct buf *out, const char *help)
{
    for (const char *p = help; *p != '\0'; p++) {
        if (*p == '\\' || *p == '\n')
            buf_append_byte(out, '\\');
        buf_append_byte(out, *p == '\n' ? 'n' : *p);
    }
}

void metrics_put_head(struct buf *out, const char *name, const char *type, const char *help)
{
    buf_printf(out, "# HELP %s ", name);
    put_help(out, help);
    buf_printf(out, "\n# TYPE %s %s\n", name, type);
}

void metrics_put_label(struct buf *out, const char *value)
{
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '\\' || *p == '"' || *p == '\n')
            buf_append_byte(out, '\\');
        buf_append_byte(out, *p == '\n' ? 'n' : *p);
    }
}

void metrics_put(struct buf *out, const struct metrics *const *sets, size_t count)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t sum = 0;
        for (size_t k = 0; k < count; k++)
            sum += metrics_get(sets[k], (enum metric)i);
        if (i == 0 || strcmp(rows[i].name, rows[i - 1].name) != 0)
            metrics_put_head(out, rows[i].name, "counter", rows[i].help);
        if (rows[i].labels[0] == '\0')
            buf_printf(out, "%s %" PRIu64 "\n", rows[i].name, sum);
        else
            buf_printf(out, "%s{%s} %" PRIu64 "\n", rows[i].name, rows[i].labels, sum);
    }
}
