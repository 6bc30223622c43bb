/* An object graph, written depth first:
 *
 *   class       0 null; 1, number [name, where the number is new]; n + 2: registered class n
 *   reference   1 and then the object, the first time; n + 2: the n-th object so far; 0: null, where
 *               the class is not written since the field's class is final. Not written for boxed
 *               primitives. Strings have it too
 *   object      the fields by their names' order, without names: hoodieKey, orderingVal;
 *               partitionPath, recordKey
 *   array       length + 1, then class, reference and object of each member
 *   string      ASCII of 2 to 63 characters: the bytes, the last one with its high bit set. Else the
 *               length + 1 in UTF-16 units, whose first byte has the high bit set and six bits of it,
 *               then the units in one to three bytes each: surrogates are two units
 *
 * Objects are numbered before their fields are read. The verdict on bytes is sticky, as in avro_cursor.h;
 * what is whole but unknown is told at once. */
#include "kryo_deletes.h"

#include <string.h>

#include "grow.h"

#define JAVA_MODEL "org.apache.hudi.common.model."
#define OLD_MODEL "com.uber.hoodie.common.model."
#define DECIMAL_BYTES 16

enum kind { KIND_OTHER, KIND_TEXT, KIND_KEY, KIND_DECIMAL };

struct object {
    enum kind kind;
    int scale;          /* DECIMAL: digits behind the point */
    struct slice bytes; /* TEXT, DECIMAL; KEY: the record key */
};

/* Classes that Kryo knows without a name. */
enum registered {
    CLASS_INT = 0,
    CLASS_STRING = 1,
    CLASS_FLOAT = 2,
    CLASS_BOOLEAN = 3,
    CLASS_BYTE = 4,
    CLASS_SHORT = 6,
    CLASS_LONG = 7,
    CLASS_DOUBLE = 8
};

struct class
{
    bool is_null;
    int registered; /* -1: it has a name */
    struct slice name;
};

struct kryo_deletes {
    struct arena *arena;
    struct slice left;
    bool bad;
    bool no_memory;
    uint32_t version;
    uint64_t remaining;
    struct object *objects;
    size_t object_count, object_room;
    struct slice *names;
    size_t name_count, name_room;
};

/* ---- bytes ---- */

static unsigned get_byte(struct kryo_deletes *k)
{
    if (k->bad || k->left.len == 0) {
        k->bad = true;
        return 0;
    }
    unsigned char b = (unsigned char)k->left.data[0];
    k->left = slice_part(k->left, 1, k->left.len);
    return b;
}

static uint64_t get_big_endian(struct kryo_deletes *k, size_t bytes)
{
    uint64_t v = 0;
    for (size_t i = 0; i < bytes; i++)
        v = v << 8 | get_byte(k);
    return v;
}

/* Seven bits a byte, the lowest first; the ninth byte of a long has eight. */
static uint64_t get_varint(struct kryo_deletes *k)
{
    uint64_t v = 0;
    for (unsigned i = 0; i < 8 && !k->bad; i++) {
        unsigned b = get_byte(k);
        v |= (uint64_t)(b & 0x7F) << (7 * i);
        if ((b & 0x80) == 0)
            return v;
    }
    return v | (uint64_t)get_byte(k) << 56;
}

static int64_t get_signed(struct kryo_deletes *k)
{
    uint64_t v = get_varint(k);
    return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

static struct slice get_bytes(struct kryo_deletes *k, uint64_t bytes)
{
    if (k->bad || bytes > k->left.len) {
        k->bad = true;
        return slice_of(NULL, 0);
    }
    struct slice s = slice_part(k->left, 0, (size_t)bytes);
    k->left = slice_part(k->left, (size_t)bytes, k->left.len);
    return s;
}

/* ---- strings ---- */

static char *get_room(struct kryo_deletes *k, size_t bytes)
{
    char *text = k->bad ? NULL : arena_alloc(k->arena, bytes + 1);
    k->no_memory |= !k->bad && text == NULL;
    k->bad |= text == NULL;
    return text;
}

static struct slice get_ascii(struct kryo_deletes *k)
{
    size_t n = 0;
    while (n < k->left.len && (k->left.data[n] & 0x80) == 0)
        n++;
    struct slice s = get_bytes(k, (uint64_t)n + 1);
    char *text = get_room(k, s.len);
    if (text == NULL)
        return slice_of(NULL, 0);
    memcpy(text, s.data, s.len);
    text[n] = (char)(text[n] & 0x7F);
    return slice_of(text, s.len);
}

static uint32_t get_unit(struct kryo_deletes *k)
{
    unsigned a = get_byte(k);
    if (a < 0x80)
        return a;
    unsigned b = get_byte(k);
    if (a >> 5 == 6)
        return (a & 0x1F) << 6 | (b & 0x3F);
    k->bad |= a >> 4 != 14;
    return (a & 0x0F) << 12 | (b & 0x3F) << 6 | (get_byte(k) & 0x3F);
}

static size_t put_utf8(char *out, uint32_t c)
{
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0x00, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1; c >>= 6)
        out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(first[n] | c);
    return n;
}

static struct slice get_units(struct kryo_deletes *k, uint64_t units)
{
    size_t n = 0;
    k->bad |= units > k->left.len; /* a unit takes a byte at least */
    char *text = get_room(k, k->bad ? 0 : 3 * (size_t)units);
    for (uint64_t i = 0; i < units && !k->bad; i++) {
        uint32_t c = get_unit(k);
        if (c >= 0xD800 && c < 0xE000) {
            uint32_t low = ++i < units ? get_unit(k) : 0;
            k->bad |= c >= 0xDC00 || low < 0xDC00 || low >= 0xE000;
            c = 0x10000 + ((c & 0x3FF) << 10 | (low & 0x3FF));
        }
        n += put_utf8(text + n, c);
    }
    return slice_of(text, n);
}

/* Its text; without data: null. */
static struct slice get_string(struct kryo_deletes *k)
{
    if (k->bad || k->left.len == 0 || (k->left.data[0] & 0x80) == 0)
        return get_ascii(k);
    unsigned b = get_byte(k);
    uint64_t units = b & 0x3F;
    bool more = (b & 0x40) != 0;
    for (unsigned shift = 6; more && shift <= 27; shift += 7) {
        b = get_byte(k);
        units |= (uint64_t)(b & 0x7F) << shift;
        more = (b & 0x80) != 0;
    }
    return units == 0 ? slice_of(NULL, 0) : get_units(k, units - 1);
}

/* ---- classes and references ---- */

static struct class get_class(struct kryo_deletes *k)
{
    struct class c = {.registered = -1};
    uint64_t id = get_varint(k);
    c.is_null = id == 0;
    if (id != 1) {
        c.registered = id > 100 ? 100 : (int)id - 2;
        return c;
    }
    uint64_t number = get_varint(k);
    k->bad |= number > k->name_count;
    if (!k->bad && number == k->name_count) {
        k->names = grow_array(k->arena, k->names, k->name_count, &k->name_room, sizeof *k->names);
        struct slice name = get_string(k);
        k->no_memory |= k->names == NULL;
        k->bad |= k->names == NULL;
        if (!k->bad)
            k->names[k->name_count++] = name;
    }
    if (!k->bad)
        c.name = k->names[number];
    return c;
}

/* The object that comes, of the kind. *is_new: it is read now; else it was before. NULL: null or bad. */
static struct object *get_reference(struct kryo_deletes *k, enum kind kind, bool *is_new)
{
    uint64_t id = get_varint(k);
    *is_new = id == 1;
    if (k->bad || id == 0)
        return NULL;
    if (id > 1) {
        k->bad |= id - 2 >= k->object_count || k->objects[id - 2].kind != kind;
        return k->bad ? NULL : &k->objects[id - 2];
    }
    k->objects =
        grow_array(k->arena, k->objects, k->object_count, &k->object_room, sizeof *k->objects);
    k->no_memory |= k->objects == NULL;
    k->bad |= k->objects == NULL;
    if (k->bad)
        return NULL;
    k->objects[k->object_count] = (struct object){.kind = kind};
    return &k->objects[k->object_count++];
}

static struct slice get_text(struct kryo_deletes *k)
{
    bool is_new;
    struct object *o = get_reference(k, KIND_TEXT, &is_new);
    if (o != NULL && is_new)
        o->bytes = get_string(k);
    return o == NULL ? slice_of(NULL, 0) : o->bytes;
}

static bool is_model(struct slice name, const char *before, const char *class)
{
    const char *models[] = {JAVA_MODEL, OLD_MODEL};
    if (!slice_starts_with(name, before))
        return false;
    name = slice_part(name, strlen(before), name.len);
    for (size_t i = 0; i < ARRAY_LEN(models); i++)
        if (slice_starts_with(name, models[i]) &&
            slice_equals_cstr(slice_part(name, strlen(models[i]), name.len), class))
            return true;
    return false;
}

/* ---- values ---- */

static bool refuse(const struct kryo_deletes *k, const struct class *c, struct err *err)
{
    if (k->no_memory)
        return err_no_memory(err);
    if (k->bad || c->name.data == NULL)
        return err_set(err, SQLSTATE_DATA_CORRUPTED, "list of deletes in a log file is damaged");
    return err_set(
        err, SQLSTATE_FEATURE_NOT_SUPPORTED,
        "delete blocks of version %u with objects of Java class \"%.*s\" are not supported",
        (unsigned)k->version, (int)(c->name.len > 200 ? 200 : c->name.len), c->name.data);
}

/* Fields of a HoodieKey, or one that was there before. */
static bool get_key(struct kryo_deletes *k, struct slice *key, struct err *err)
{
    bool is_new;
    struct class c = get_class(k);
    if (k->bad || !is_model(c.name, "", "HoodieKey"))
        return refuse(k, &c, err);
    struct object *o = get_reference(k, KIND_KEY, &is_new);
    size_t at = o == NULL ? 0 : (size_t)(o - k->objects); /* the array moves when it grows */
    if (o != NULL && is_new) {
        (void)get_text(k); /* the partition is that of the file */
        struct slice text = get_text(k);
        if (!k->bad)
            k->objects[at].bytes = text;
    }
    k->bad |= o == NULL;
    *key = k->bad ? slice_of(NULL, 0) : k->objects[at].bytes;
    return !k->bad || refuse(k, &c, err);
}

static void get_real(struct kryo_deletes *k, size_t bytes, struct log_order *o)
{
    uint64_t bits = get_big_endian(k, bytes);
    uint32_t half = (uint32_t)bits;
    float f;
    o->kind = LOG_ORDER_REAL;
    memcpy(&o->real, &bits, sizeof o->real);
    memcpy(&f, &half, sizeof f);
    if (bytes == sizeof f)
        o->real = (double)f;
}

/* false: a class that is not known. */
static bool get_registered(struct kryo_deletes *k, int class, struct log_order *o)
{
    o->kind = class == CLASS_LONG ? LOG_ORDER_LONG : LOG_ORDER_INT;
    switch (class) {
    case CLASS_INT:
    case CLASS_LONG: o->number = get_signed(k); return true;
    case CLASS_BOOLEAN: o->number = get_byte(k) != 0; return true;
    case CLASS_BYTE: o->number = (int8_t)get_byte(k); return true;
    case CLASS_SHORT: o->number = (int16_t)get_big_endian(k, 2); return true;
    case CLASS_FLOAT: get_real(k, 4, o); return true;
    case CLASS_DOUBLE: get_real(k, 8, o); return true;
    case CLASS_STRING:
        o->kind = LOG_ORDER_TEXT;
        o->bytes = get_text(k);
        return true;
    default: return false;
    }
}

/* false: more digits than an order holds. */
static bool get_decimal(struct kryo_deletes *k, struct log_order *out)
{
    bool is_new;
    struct object *o = get_reference(k, KIND_DECIMAL, &is_new);
    if (o != NULL && is_new) {
        uint64_t bytes = get_varint(k);
        o->bytes = get_bytes(k, bytes == 0 ? UINT64_MAX : bytes - 1);
        int64_t scale = get_signed(k);
        o->scale = scale < 0 || scale > LOG_ORDER_SCALE_MAX ? -1 : (int)scale;
    }
    k->bad |= o == NULL;
    if (k->bad)
        return true;
    *out = (struct log_order){.kind = LOG_ORDER_DECIMAL, .bytes = o->bytes, .scale = o->scale};
    return o->scale >= 0 && o->bytes.len <= DECIMAL_BYTES;
}

/* Days since 1970: years from March on, as in Howard Hinnant's "chrono-compatible date algorithms". */
static int64_t days_of(int64_t y, unsigned m, unsigned d)
{
    y -= m <= 2;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t of_era = y - era * 400;
    int64_t of_year = (153 * (int64_t)(m > 2 ? m - 3 : m + 9) + 2) / 5 + d - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void get_date(struct kryo_deletes *k, struct log_order *o)
{
    bool is_new;
    struct object *object = get_reference(k, KIND_OTHER, &is_new);
    int32_t year = (int32_t)get_varint(k);
    unsigned month = get_byte(k), day = get_byte(k);
    k->bad |= object == NULL || !is_new || month < 1 || month > 12 || day < 1 || day > 31;
    *o = (struct log_order){.kind = LOG_ORDER_INT, .number = days_of(year, month, day)};
}

static bool get_order(struct kryo_deletes *k, struct log_order *o, struct err *err)
{
    struct class c = get_class(k);
    bool known = true;
    *o = (struct log_order){.kind = LOG_ORDER_NONE};
    if (c.is_null)
        return !k->bad || refuse(k, &c, err);
    if (c.registered >= 0)
        known = get_registered(k, c.registered, o);
    else if (slice_equals_cstr(c.name, "java.math.BigDecimal"))
        known = get_decimal(k, o);
    else if (slice_equals_cstr(c.name, "java.time.LocalDate"))
        get_date(k, o);
    else
        known = false;
    return (known && !k->bad) || refuse(k, &c, err);
}

/* ---- the list ---- */

static bool get_list(struct kryo_deletes *k, struct err *err)
{
    bool is_new;
    struct class c = get_class(k);
    const char *member = k->version == 1 ? "HoodieKey;" : "DeleteRecord;";
    if (k->bad || !is_model(c.name, "[L", member))
        return refuse(k, &c, err);
    k->bad |= get_reference(k, KIND_OTHER, &is_new) == NULL || !is_new;
    uint64_t count = get_varint(k);
    k->bad |= count == 0 || count - 1 > k->left.len;
    k->remaining = count - 1;
    return !k->bad || refuse(k, &c, err);
}

bool kryo_deletes_open(struct arena *a, struct slice body, uint32_t version,
                       struct kryo_deletes **out, struct err *err)
{
    struct kryo_deletes *k = arena_alloc(a, sizeof *k);
    *out = k;
    if (k == NULL)
        return err_no_memory(err);
    *k = (struct kryo_deletes){.arena = a, .left = body, .version = version};
    if (body.len >= 2 && memcmp(body.data, "\xAC\xED", 2) == 0)
        return err_set(err, SQLSTATE_FEATURE_NOT_SUPPORTED,
                       "delete blocks of version %u in Java's own serialization are not supported",
                       (unsigned)version);
    return get_list(k, err);
}

/* A DeleteRecord that stood before says nothing new. */
static bool get_record(struct kryo_deletes *k, struct log_delete *out, bool *again, struct err *err)
{
    bool is_new;
    struct class c = get_class(k);
    if (k->bad || !is_model(c.name, "", "DeleteRecord"))
        return refuse(k, &c, err);
    k->bad |= get_reference(k, KIND_OTHER, &is_new) == NULL;
    *again = !is_new;
    if (k->bad)
        return refuse(k, &c, err);
    out->norders = 1;
    return *again || (get_key(k, &out->key, err) && get_order(k, &out->orders[0], err));
}

bool kryo_deletes_next(struct kryo_deletes *k, struct log_delete *out, bool *found, struct err *err)
{
    bool again = true;
    *out = (struct log_delete){.unconditional = false};
    while (again && k->remaining > 0) {
        k->remaining--;
        again = false;
        if (!(k->version == 1 ? get_key(k, &out->key, err) : get_record(k, out, &again, err)))
            return false;
    }
    *found = !again;
    return true;
}
