/* A folder tells the value of a partition column only where the key generator writes it there as it is,
 * one folder a column. Then:
 *
 *   integers   the file's type is an integer too, or it is refused; digits are compared as numbers
 *   date       likewise; 2024-05-01, anything else is kept
 *   text       equality alone, byte by byte. What a string column shows is what the folder says; a
 *              timestamp shown as text is not, so the files' type is looked at once they are open
 *
 * Kept are also NULL, names with escapes, and "default" and "", which some releases write for empty ones. */
#include "scan_partitions.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/buf.h"

#define KEPT_TEXT_BYTES ((size_t)64 << 20)
#define MAX_DIGITS 18

static bool is_number(const char *s)
{
    size_t sign = s[0] == '-' ? 1 : 0, n = strspn(s + sign, "0123456789");
    return n > 0 && n <= MAX_DIGITS && s[sign + n] == '\0';
}

static bool is_date(const char *s)
{
    static const char shape[] = "dddd-dd-dd";
    for (size_t i = 0; i < sizeof shape; i++)
        if (shape[i] == 'd' ? s[i] < '0' || s[i] > '9' : s[i] != shape[i])
            return false;
    return true;
}

/* Order of two values; false: they cannot be compared. */
static bool compare(const struct apply_column *column, const char *value, const char *constant,
                    int *order)
{
    switch (column->form) {
    case APPLY_INT2:
    case APPLY_INT4:
    case APPLY_INT8:
        if (!is_number(value) || !is_number(constant))
            return false;
        long long a = strtoll(value, NULL, 10), b = strtoll(constant, NULL, 10);
        *order = a < b ? -1 : a > b;
        return true;
    case APPLY_DATE: *order = strcmp(value, constant); return is_date(value) && is_date(constant);
    case APPLY_TEXT: *order = strcmp(value, constant); return !column->blank_padded;
    default: return false;
    }
}

static bool holds(const char *op, int order)
{
    return (order == 0 && strchr(op, '=') != NULL) || (order < 0 && op[0] == '<') ||
           (order > 0 && op[0] == '>');
}

static bool may_hold(const struct apply_column *column, const struct reach_condition *c,
                     const char *value)
{
    bool is_text = column->form == APPLY_TEXT;
    if (value == NULL || value[0] == '\0' || strchr(value, '%') != NULL ||
        strcmp(value, "default") == 0 || (is_text && (strcmp(c->op, "=") != 0 || !c->is_text)))
        return true;
    for (size_t i = 0; i < c->count; i++) {
        int order;
        if (!compare(column, value, c->values[i], &order) || holds(c->op, order))
            return true;
    }
    return false;
}

static size_t count_folders(const char *path)
{
    size_t n = 1;
    for (const char *at = path; (at = strchr(at, '/')) != NULL; at++)
        n++;
    return n;
}

static bool is_needed(struct arena *a, const struct hudi_table *t, const struct scan_conditions *c,
                      const char *path)
{
    const char **values;
    struct err err;
    if (count_folders(path) != t->partition.count ||
        !hudi_partition_values(a, t, path, &values, &err))
        return true;
    for (size_t i = 0; i < c->count; i++) {
        const struct apply_column *column = &c->view->columns[c->items[i].column];
        for (size_t k = 0; k < t->partition.count; k++)
            if (strcasecmp(t->partition.items[k], column->name) == 0 &&
                !may_hold(column, &c->items[i], values[k]))
                return false;
    }
    return true;
}

static bool put_kept(struct arena *a, const struct hudi_slices *read, const char **kept,
                     struct err *err)
{
    struct buf b;
    buf_init(&b, KEPT_TEXT_BYTES);
    for (size_t i = 0; i < read->count; i++)
        if (i == 0 || strcmp(read->items[i].partition_path, read->items[i - 1].partition_path) != 0)
            buf_printf(&b, "%s\n", read->items[i].partition_path);
    const char *text = buf_cstr(&b);
    *kept = text == NULL ? NULL : arena_copy_cstr(a, text);
    buf_fini(&b);
    return *kept != NULL || err_no_memory(err);
}

static int compare_partitions(const void *a, const void *b)
{
    const struct hudi_slice *x = a, *y = b;
    int order = strcmp(x->partition_path, y->partition_path);
    return order != 0 ? order : strcmp(x->file_id, y->file_id);
}

bool scan_partitions_prune(struct arena *a, const struct hudi_table *t,
                           const struct scan_conditions *c, struct hudi_slices *read,
                           const char **kept, struct err *err)
{
    *kept = NULL;
    if (c->count == 0 || t->partition.count == 0 || !t->partition_is_value || read->count == 0)
        return true;
    struct hudi_slice *items = arena_alloc_array(a, read->count, sizeof *items);
    size_t n = 0;
    if (items == NULL)
        return err_no_memory(err);
    for (size_t i = 0; i < read->count; i++)
        if (is_needed(a, t, c, read->items[i].partition_path) || (i + 1 == read->count && n == 0))
            items[n++] = read->items[i];
    if (n == read->count)
        return true;
    qsort(items, n, sizeof *items, compare_partitions);
    *read = (struct hudi_slices){.items = items, .count = n, .state = read->state};
    return put_kept(a, read, kept, err);
}

static bool is_right(const struct scan_conditions *c, const struct relation_group *g)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct apply_column *column = &c->view->columns[c->items[i].column];
        const struct duck_vector *v = columns_find(g->columns, g->column_count, column->name);
        if (column->form == APPLY_TEXT && v != NULL && v->type != DUCK_TEXT)
            return false;
    }
    return true;
}

bool scan_partitions_are_right(const struct scan_conditions *c, const struct relation *r)
{
    for (size_t i = 0; i < r->count; i++)
        if (!is_right(c, &r->groups[i]))
            return false;
    return true;
}
