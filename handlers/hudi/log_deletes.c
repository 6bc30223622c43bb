/* Version 3 is a HoodieDeleteRecordList: an array of {recordKey, partitionPath, orderingVal}. The ordering value is a
 * union of wrappers, records of one field each, which encode as the bare value.
 *
 * Versions 1 and 2 are Java objects (kryo_deletes.h).
 *
 * A delete without an ordering value, or with the int 0 that writers put there when the table has
 * none, is unconditional: rows that stand before it go, whatever their ordering value. */
#include "log_rows.h"

#include <string.h>

#include "avro_cursor.h"
#include "kryo_deletes.h"
#include "log_block.h"

#define DELETE_DECIMAL_SCALE 15

/* Branches of orderingVal, in the order of HoodieDeleteRecordList.avsc. */
enum branch {
    BRANCH_NULL,
    BRANCH_BOOLEAN,
    BRANCH_INT,
    BRANCH_LONG,
    BRANCH_FLOAT,
    BRANCH_DOUBLE,
    BRANCH_BYTES,
    BRANCH_STRING,
    BRANCH_DATE,
    BRANCH_DECIMAL,
    BRANCH_TIME_MICROS,
    BRANCH_TIMESTAMP_MICROS,
    BRANCH_ARRAY
};

static void get_boolean(struct avro_cursor *c, struct log_order *o)
{
    struct slice s = avro_get_raw(c, 1);
    o->kind = LOG_ORDER_INT;
    o->number = !c->bad && s.data[0] != 0 ? 1 : 0;
}

static void get_real(struct avro_cursor *c, size_t bytes, struct log_order *o)
{
    float f = 0;
    struct slice s = avro_get_raw(c, bytes);
    o->kind = LOG_ORDER_REAL;
    if (c->bad)
        return;
    if (bytes == sizeof o->real) {
        memcpy(&o->real, s.data, sizeof o->real);
        return;
    }
    memcpy(&f, s.data, sizeof f);
    o->real = (double)f;
}

static void get_number(struct avro_cursor *c, enum log_order_kind kind, struct log_order *o)
{
    o->kind = kind;
    o->number = avro_get_long(c);
}

static void get_bytes(struct avro_cursor *c, enum log_order_kind kind, struct log_order *o)
{
    o->kind = kind;
    o->bytes = avro_get_bytes(c);
}

/* A branch other than the array. */
static void get_order(struct avro_cursor *c, int64_t branch, struct log_order *o)
{
    *o = (struct log_order){.kind = LOG_ORDER_NONE};
    switch (branch) {
    case BRANCH_NULL: return;
    case BRANCH_BOOLEAN: get_boolean(c, o); return;
    case BRANCH_INT:
    case BRANCH_DATE: get_number(c, LOG_ORDER_INT, o); return;
    case BRANCH_LONG: get_number(c, LOG_ORDER_LONG, o); return;
    case BRANCH_TIME_MICROS:
    case BRANCH_TIMESTAMP_MICROS: get_number(c, LOG_ORDER_INT, o); return;
    case BRANCH_FLOAT: get_real(c, 4, o); return;
    case BRANCH_DOUBLE: get_real(c, 8, o); return;
    case BRANCH_BYTES: get_bytes(c, LOG_ORDER_BYTES, o); return;
    case BRANCH_STRING: get_bytes(c, LOG_ORDER_TEXT, o); return;
    case BRANCH_DECIMAL:
        get_bytes(c, LOG_ORDER_DECIMAL, o);
        o->scale = DELETE_DECIMAL_SCALE;
        return;
    default: c->bad = true; return;
    }
}

static bool get_orders(struct avro_cursor *c, struct log_delete *out, struct err *err)
{
    int64_t branch = avro_get_long(c);
    if (branch != BRANCH_ARRAY) {
        out->norders = 1;
        get_order(c, branch, &out->orders[0]);
        return true;
    }
    for (uint64_t n; (n = avro_get_count(c)) > 0;)
        for (; n > 0 && !c->bad; n--) {
            if (out->norders == LOG_ORDER_MAX)
                return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                               "deletes with more than %d ordering values are not supported",
                               LOG_ORDER_MAX);
            get_order(c, avro_get_long(c), &out->orders[out->norders++]);
        }
    return true;
}

/* ["null", "string"] */
static struct slice get_optional_text(struct avro_cursor *c)
{
    int64_t branch = avro_get_long(c);
    if (branch == 1)
        return avro_get_bytes(c);
    c->bad |= branch != 0;
    return slice_of(NULL, 0);
}

static bool is_unconditional(const struct log_delete *d)
{
    for (size_t i = 0; i < d->norders; i++) {
        const struct log_order *o = &d->orders[i];
        if (o->kind != LOG_ORDER_NONE && !(o->kind == LOG_ORDER_INT && o->number == 0))
            return false;
    }
    return true;
}

static bool next_in_avro(struct log_deletes *list, struct log_delete *out, bool *found,
                         struct err *err)
{
    struct avro_cursor c = {list->left, false};
    *out = (struct log_delete){.unconditional = false};
    if (list->in_block == 0)
        list->in_block = avro_get_count(&c);
    *found = list->in_block > 0;
    if (*found) {
        list->in_block--;
        out->key = get_optional_text(&c);
        (void)get_optional_text(&c); /* the partition is that of the file */
        if (!get_orders(&c, out, err))
            return false;
    }
    if (c.bad)
        return err_set(err, SQLSTATE_DATA_CORRUPTED, "list of deletes in a log file is damaged");
    list->left = c.left;
    return true;
}

bool log_deletes_open(struct arena *a, const struct log_content *c, struct log_deletes *out,
                      struct err *err)
{
    *out = (struct log_deletes){.left = c->body};
    return c->version == 3 || kryo_deletes_open(a, c->body, c->version, &out->java, err);
}

bool log_delete_next(struct log_deletes *list, struct log_delete *out, bool *found, struct err *err)
{
    if (!(list->java == NULL ? next_in_avro(list, out, found, err)
                             : kryo_deletes_next(list->java, out, found, err)))
        return false;
    out->unconditional = is_unconditional(out);
    return true;
}
