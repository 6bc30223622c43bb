#include "prefilter.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct prefilter {
    size_t count;
    char *words[];
};

bool prefilter_new(const char *const *words, size_t count, struct prefilter **out, struct err *err)
{
    struct prefilter *p = calloc(1, sizeof *p + count * sizeof p->words[0]);
    if (p == NULL)
        return err_no_memory(err);
    for (; p->count < count; p->count++) {
        p->words[p->count] = strdup(words[p->count]);
        if (p->words[p->count] == NULL) {
            prefilter_free(p);
            return err_no_memory(err);
        }
    }
    *out = p;
    return true;
}

void prefilter_free(struct prefilter *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->count; i++)
        free(p->words[i]);
    free(p);
}

bool prefilter_may_hold(const struct prefilter *p, struct slice text)
{
    for (size_t at = 0; at < text.len; at++)
        for (size_t i = 0; i < p->count; i++) {
            size_t n = strlen(p->words[i]);
            if (n <= text.len - at && strncasecmp(text.data + at, p->words[i], n) == 0)
                return true;
        }
    return false;
}
