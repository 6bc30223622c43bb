/* Three generations of properties say the same thing:
 *
 *   versions 0 to 7   hoodie.compaction.payload.class, a Java class that merges two rows
 *   version 8         hoodie.record.merge.mode; CUSTOM with the payload strategy goes back to the class
 *   version 9         the same, and what classes did beyond ordering has properties of its own:
 *                     hoodie.table.partial.update.mode, hoodie.record.merge.property.…
 *
 * The classes that come with Hudi are rows of a table here. Another class, or another merger, is a
 * program that we do not have: refused by its name. */
#include "merge_mode.h"

#include <string.h>
#include <strings.h>

#define PAYLOAD_STRATEGY "00000000-0000-0000-0000-000000000000"
#define EVENT_TIME_STRATEGY "eeb8d96f-b1e4-49fd-bbf8-28ac514178e5"
#define COMMIT_TIME_STRATEGY "ce9acb64-bde0-424c-9b91-f6ebba25356d"
#define PROPERTY_PREFIX "hoodie.record.merge.property."
#define DEBEZIUM_MARKER "__debezium_unavailable_value"

/* What their Java sources say (apache/hudi, hudi-common/…/common/model):
 *
 *   PartialUpdate          overwriteField: value == null. The default is not looked at
 *   OverwriteNonDefaults   OverwriteWithLatestAvroPayload.overwriteField: value equals the default, which
 *                          is null where the schema names none or null. So a null that is not the
 *                          default overwrites
 *   AWSDms                 isDMSDeleteRecord: Op, equalsIgnoreCase("D")
 *   Debezium               isDebeziumDeleteRecord: equalsIgnoreCase("d"), of MySQL and Postgres
 *   MySqlDebezium          by _event_seq, which is made of the two columns here
 *   PostgresDebezium       by _event_lsn; the marker in columns of strings and of bytes
 *
 * In version 9 the properties say it: PartialUpdateHandler.reconcileDefaultValues (equals the default),
 * reconcileMarkerValues (strings and bytes, and only where a property names the marker), and delete markers
 * to the letter. */
static const struct payload {
    const char *name; /* last part of the class's name */
    struct merge_mode mode;
} payloads[] = {
    {"OverwriteWithLatestAvroPayload", {.order = MERGE_COMMIT_TIME}},
    {"DefaultHoodieRecordPayload", {.order = MERGE_EVENT_TIME}},
    {"EventTimeAvroPayload", {.order = MERGE_EVENT_TIME}},
    {"PartialUpdateAvroPayload", {.order = MERGE_EVENT_TIME, .partial = MERGE_IGNORE_NULLS}},
    {"OverwriteNonDefaultsWithLatestAvroPayload",
     {.order = MERGE_COMMIT_TIME, .partial = MERGE_IGNORE_DEFAULTS}},
    {"AWSDmsAvroPayload",
     {.order = MERGE_COMMIT_TIME,
      .delete_field = "Op",
      .delete_marker = "D",
      .delete_any_case = true}},
    {"MySqlDebeziumAvroPayload",
     {.order = MERGE_EVENT_TIME,
      .delete_field = "_change_operation_type",
      .delete_marker = "d",
      .delete_any_case = true,
      .ordering = "_event_bin_file,_event_pos"}},
    {"PostgresDebeziumAvroPayload",
     {.order = MERGE_EVENT_TIME,
      .partial = MERGE_FILL_UNAVAILABLE,
      .unavailable = DEBEZIUM_MARKER,
      .delete_field = "_change_operation_type",
      .delete_marker = "d",
      .delete_any_case = true,
      .ordering = "_event_lsn"}},
};

static const char *find_text(const struct properties *p, const char *key)
{
    const char *v = properties_find(p, key);
    return v == NULL || v[0] == '\0' ? NULL : v;
}

static const char *find_first(const struct properties *p, const char *const *keys, size_t count)
{
    const char *v = NULL;
    for (size_t i = 0; i < count && v == NULL; i++)
        v = find_text(p, keys[i]);
    return v;
}

static bool refuse(struct err *err, const char *what, const char *name)
{
    err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED, "%s \"%.200s\" of the Hudi table is not supported",
            what, name);
    return err_detail(err, "How it merges rows is a program that only its writer has.");
}

static const char *last_part(const char *class_name)
{
    const char *dot = strrchr(class_name, '.');
    return dot == NULL ? class_name : dot + 1;
}

static const struct payload *find_payload(const char *class_name)
{
    for (size_t i = 0; i < ARRAY_LEN(payloads); i++)
        if (strcmp(last_part(class_name), payloads[i].name) == 0)
            return &payloads[i];
    return NULL;
}

static bool check_strategy(const struct properties *p, struct err *err)
{
    static const char *const keys[] = {"hoodie.record.merge.strategy.id",
                                       "hoodie.compaction.record.merger.strategy",
                                       "hoodie.record.merger.strategy"};
    static const char *const known[] = {PAYLOAD_STRATEGY, EVENT_TIME_STRATEGY,
                                        COMMIT_TIME_STRATEGY};
    const char *strategy = find_first(p, keys, ARRAY_LEN(keys));
    if (strategy == NULL)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcasecmp(strategy, known[i]) == 0)
            return true;
    return refuse(err, "merge strategy", strategy);
}

static bool take_order(const struct properties *p, int version, bool has_ordering,
                       struct merge_mode *out, struct err *err)
{
    static const char *const classes[] = {"hoodie.table.legacy.payload.class",
                                          "hoodie.compaction.payload.class",
                                          "hoodie.datasource.write.payload.class"};
    const char *class_name = find_first(p, classes, ARRAY_LEN(classes));
    const char *mode = version < 8 ? NULL : find_text(p, "hoodie.record.merge.mode");
    const struct payload *payload = class_name == NULL ? NULL : find_payload(class_name);
    bool by_class = mode == NULL || strcasecmp(mode, "CUSTOM") == 0;
    *out = (struct merge_mode){.order = has_ordering ? MERGE_EVENT_TIME : MERGE_COMMIT_TIME};
    if (payload != NULL)
        *out = payload->mode;
    if (by_class && class_name != NULL && payload == NULL)
        return refuse(err, "payload class", class_name);
    if (mode == NULL)
        return true;
    if (strcasecmp(mode, "COMMIT_TIME_ORDERING") == 0)
        out->order = MERGE_COMMIT_TIME;
    else if (strcasecmp(mode, "EVENT_TIME_ORDERING") == 0)
        out->order = MERGE_EVENT_TIME;
    else if (!by_class || class_name == NULL)
        return refuse(err, "merge mode", mode);
    return true;
}

static const char *find_merge_property(struct arena *a, const struct properties *p, const char *key)
{
    const char *full = arena_printf(a, PROPERTY_PREFIX "%s", key);
    const char *v = full == NULL ? NULL : find_text(p, full);
    return v == NULL ? find_text(p, key) : v;
}

static bool take_partial(struct arena *a, const struct properties *p, struct merge_mode *out,
                         struct err *err)
{
    const char *mode = find_text(p, "hoodie.table.partial.update.mode");
    const char *marker = find_merge_property(a, p, "hoodie.payload.partial.update.custom.marker");
    if (marker == NULL)
        marker = find_merge_property(a, p, "hoodie.write.partial.update.unavailable.value");
    if (marker != NULL)
        out->unavailable = marker;
    if (mode == NULL || strcasecmp(mode, "NONE") == 0)
        return true;
    if (strcasecmp(mode, "IGNORE_DEFAULTS") == 0) {
        out->partial = MERGE_IGNORE_DEFAULTS;
        return true;
    }
    if (strcasecmp(mode, "FILL_UNAVAILABLE") != 0)
        return refuse(err, "partial update mode", mode);
    out->partial = out->unavailable == NULL ? MERGE_WHOLE : MERGE_FILL_UNAVAILABLE;
    return true;
}

bool merge_mode_read(struct arena *a, const struct properties *p, int version, bool has_ordering,
                     struct merge_mode *out, struct err *err)
{
    if (!check_strategy(p, err) || !take_order(p, version, has_ordering, out, err) ||
        !take_partial(a, p, out, err))
        return false;
    const char *field = find_merge_property(a, p, "hoodie.payload.delete.field");
    const char *marker = find_merge_property(a, p, "hoodie.payload.delete.marker");
    if (field != NULL && marker != NULL) {
        out->delete_field = field;
        out->delete_marker = marker;
        out->delete_any_case = false;
    }
    return true;
}
