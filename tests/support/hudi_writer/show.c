/* Prints what our reader would do: the commits, then the plan behind --time. */
#include "writer.h"

#include <stdio.h>

static void print_slices(const char *name, const struct hudi_slices *list)
{
    for (size_t i = 0; i < list->count; i++)
        printf("%s %s\n", name, list->items[i].path);
}

void service_show(struct writer *w)
{
    static const char *const kinds[] = {"nothing", "full", "changes", "reconcile"};
    struct err err;
    struct hudi_names instants;
    struct hudi_plan plan;
    if (!hudi_instants_list(&w->arena, &w->table, &instants, &err) ||
        !hudi_plan_make(&w->arena, &w->table, w->o.time, w->o.completed, w->o.keep, &plan, &err))
        die_of(&err);
    for (size_t i = 0; i < instants.count; i++)
        printf("commit %s\n", instants.items[i]);
    printf("plan %s to %s, %zu commits%s%s\n", kinds[plan.kind], plan.to == NULL ? "-" : plan.to,
           plan.commits, plan.reason == NULL ? "" : ": ", plan.reason == NULL ? "" : plan.reason);
    print_slices("read", &plan.read);
    print_slices("before", &plan.before);
    print_slices("rest", &plan.rest);
}
