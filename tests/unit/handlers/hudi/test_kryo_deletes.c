/* Delete blocks of versions 1 and 2. The bytes were written by Kryo 4.0.2 (kryo-shaded), set up as
 * org.apache.hudi.common.util.SerializationUtils does, from arrays of HoodieKey and DeleteRecord with
 * the fields that these classes have: what is expected beside them is what went in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/attr.h"
#include "kryo_deletes.h"
#include "log_block.h"
#include "log_rows.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyz"

static const struct {
    uint32_t version;
    const char *hex;
    const char *expected; /* "key", "key=ordering value", "key!" unconditional; a line each */
} lists[] = {
    {1,
     "01005b4c6f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f6469654b6579"
     "bb010701016f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f6469654b65"
     "f90101323032342f30312f30b10169643ab1010101040169643ab20101010181018278010101000185c3"
     "a9e282aceda0bdedb880010101040174776963e501010d",
     "id:1!\nid:2!\nx!\n\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80!\ntwice!\ntwice!\n"},
    {1,
     "01005b4c6f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f6469654b6579"
     "bb0101",
     ""},
    {2,
     "01005b4c6f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c657465526563"
     "6f7264bb010501016f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c6574"
     "655265636f72e40101026f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f"
     "6469654b65f90101323032342f30312f30b10161b10200010101010201050161b2020e01010101020105"
     "0161b302d704010101010201050161b402ffffffff0f",
     "a1=0!\na2=7\na3=-300\na4=-2147483648\n"},
    {2,
     "01005b4c6f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c657465526563"
     "6f7264bb010501016f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c6574"
     "655265636f72e40101026f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f"
     "6469654b65f90101323032342f30312f30b10162b10900010101010201050162b209f6a1abfef9620101"
     "01010201050162b309ffffffffffffffffff010101010201050162b409feffffffffffffffff",
     "b1=0L\nb2=1700000000123L\nb3=-9223372036854775808L\nb4=9223372036854775807L\n"},
    {2,
     "01005b4c6f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c657465526563"
     "6f7264bb010501016f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c6574"
     "655265636f72e40101026f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f"
     "6469654b65f90101810163b10301323032342d30312d30b2010101010201050163b20301323032342f30"
     "312f30b1010101010201050163b3030e0101010102010b0163b40305",
     "c1='2024-01-02'\nc2='2024/01/01'\nc3='c3'\nc4=''\n"},
    {2,
     "01005b4c6f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c657465526563"
     "6f7264bb010201016f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c6574"
     "655265636f72e40101026f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f"
     "6469654b65f90101810167b101036a6176612e74696d652e4c6f63616c446174e501e80f0102",
     "g1=19724\n"},
    {1,
     "01005b4c6f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f6469654b6579"
     "bb010301016f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f6469654b65"
     "f90101c1016162636465666768696a6b6c6d6e6f707172737475767778797a6162636465666768696a6b"
     "6c6d6e6f707172737475767778797a6162636465666768696a6b6c016162636465666768696a6b6c6d6e"
     "6f707172737475767778797a6162636465666768696a6b6c6d6e6f707172737475767778797a61626364"
     "65666768696aeb010101018101ed046162636465666768696a6b6c6d6e6f707172737475767778797a61"
     "62636465666768696a6b6c6d6e6f707172737475767778797a6162636465666768696a6b6c6d6e6f7071"
     "72737475767778797a6162636465666768696a6b6c6d6e6f707172737475767778797a61626364656667"
     "68696a6b6c6d6e6f707172737475767778797a6162636465666768696a6b6c6d6e6f7071727374757677"
     "78797a6162636465666768696a6b6c6d6e6f707172737475767778797a6162636465666768696a6b6c6d"
     "6e6f707172737475767778797a6162636465666768696a6b6c6d6e6f707172737475767778797a616263"
     "6465666768696a6b6c6d6e6f707172737475767778797a6162636465666768696a6b6c6d6e6f70717273"
     "7475767778797a6162636465666768696a6b6c6d6e",
     LETTERS LETTERS "abcdefghijk!\n" LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS LETTERS
         LETTERS LETTERS LETTERS LETTERS "abcdefghijklmn!\n"},
};

static const struct {
    uint32_t version;
    const char *hex;
    const char *message;
} refused[] = {
    /* the first eight can be read: floats, booleans, shorts, bytes, null, decimals */
    {2,
     "01005b4c6f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c657465526563"
     "6f7264bb010b01016f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c6574"
     "655265636f72e40101026f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f"
     "6469654b65f90101810165b1043fc00000010101010201050165b20ac002000000000000010101010201"
     "050165b30501010101010201050165b408fffb010101010201050165b50609010101010201050165b600"
     "010101010201050165b701036a6176612e6d6174682e426967446563696d61ec0103cfc7060101010102"
     "01050165b8010301020000010101010201050165b9010301020105010101010201050166b101046a6176"
     "612e6d6174682e426967496e74656765f2010e018ee90ff6c373e0ee4e3f0ad2",
     "delete blocks of version 2 with objects of Java class \"java.math.BigDecimal\" are not "
     "supported"},
    {2,
     "01005b4c6f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c657465526563"
     "6f7264bb010201016f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c6574"
     "655265636f72e40101026f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f"
     "6469654b65f90101810167b101036a6176612e73716c2e54696d657374616df00105",
     "delete blocks of version 2 with objects of Java class \"java.sql.Timestamp\" are not "
     "supported"},
    {2,
     "01005b4c6f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c657465526563"
     "6f7264bb010201016f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e44656c6574"
     "655265636f72e40101026f72672e6170616368652e687564692e636f6d6d6f6e2e6d6f64656c2e486f6f"
     "6469654b65f90101810167b101036a6176612e73716c2e446174e50180a0e1bbcc31",
     "delete blocks of version 2 with objects of Java class \"java.sql.Date\" are not supported"},
    {1, "aced000575720000",
     "delete blocks of version 1 in Java's own serialization are not supported"},
    {1, "01005b4cf8",
     "delete blocks of version 1 with objects of Java class \"[Lx\" are not supported"},
};

static char *read_hex(const char *hex, size_t *size)
{
    *size = strlen(hex) / 2;
    char *bytes = malloc(*size + 1); /* its own block: a read beyond the end is seen */
    for (size_t i = 0; i < *size; i++) {
        char two[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        bytes[i] = (char)strtoul(two, NULL, 16);
    }
    return bytes;
}

static void put_order(char *out, size_t size, const struct log_order *o)
{
    size_t at = strlen(out);
    out += at;
    size -= at;
    switch (o->kind) {
    case LOG_ORDER_NONE: break;
    case LOG_ORDER_INT: snprintf(out, size, "=%lld", (long long)o->number); break;
    case LOG_ORDER_LONG: snprintf(out, size, "=%lldL", (long long)o->number); break;
    case LOG_ORDER_REAL: snprintf(out, size, "=%g", o->real); break;
    case LOG_ORDER_TEXT:
    case LOG_ORDER_BYTES: snprintf(out, size, "='%.*s'", (int)o->bytes.len, o->bytes.data); break;
    case LOG_ORDER_DECIMAL:
        at = (size_t)snprintf(out, size, "=");
        for (size_t i = 0; i < o->bytes.len; i++)
            at += (size_t)snprintf(out + at, size - at, "%02x", (unsigned char)o->bytes.data[i]);
        snprintf(out + at, size - at, "e%d", o->scale);
        break;
    }
}

/* Reads a list; false with *err, and *out has what came before. */
static bool read_list(uint32_t version, struct slice body, char *out, size_t size, struct err *err)
{
    struct arena a;
    struct log_deletes list;
    struct log_delete d;
    struct log_content c = {.version = version, .body = body};
    bool found = true;
    out[0] = '\0';
    arena_init(&a, 1 << 20);
    bool ok = log_deletes_open(&a, &c, &list, err);
    while (ok && (ok = log_delete_next(&list, &d, &found, err)) && found) {
        size_t at = strlen(out);
        snprintf(out + at, size - at, "%.*s", (int)d.key.len, d.key.data);
        for (size_t i = 0; i < d.norders; i++)
            put_order(out, size, &d.orders[i]);
        at = strlen(out);
        snprintf(out + at, size - at, "%s\n", d.unconditional ? "!" : "");
    }
    arena_fini(&a);
    return ok;
}

/* The same of a list in hexadecimal digits. */
static bool read_hex_list(uint32_t version, const char *hex, char *out, size_t out_size,
                          struct err *err)
{
    size_t size;
    char *bytes = read_hex(hex, &size);
    bool ok = read_list(version, slice_of(bytes, size), out, out_size, err);
    free(bytes);
    return ok;
}

static void test_lists(void **state)
{
    char out[2048];
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        assert_true(read_hex_list(lists[i].version, lists[i].hex, out, sizeof out, &err));
        assert_string_equal(out, lists[i].expected);
    }
}

static void test_refused(void **state)
{
    char out[2048];
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        assert_false(read_hex_list(refused[i].version, refused[i].hex, out, sizeof out, &err));
        assert_string_equal(err.message, refused[i].message);
        assert_string_equal(err.sqlstate, "0A000");
        if (i == 0)
            assert_string_equal(out,
                                "e1=1.5\ne2=-2.25\ne3=1\ne4=-5\ne5=9\ne6!\ne7=cfc7e3\ne8=00e0\n");
    }
}

/* A list whose end is missing is damaged, wherever it ends. */
static void test_truncated(void **state)
{
    char out[2048];
    struct err err;
    size_t size;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        char *bytes = read_hex(lists[i].hex, &size);
        for (size_t n = 0; n < size; n++) {
            char *part = malloc(n + 1);
            memcpy(part, bytes, n);
            assert_false(read_list(lists[i].version, slice_of(part, n), out, sizeof out, &err));
            assert_string_equal(err.sqlstate, "XX001");
            free(part);
        }
        free(bytes);
    }
}

/* The other version's array, and a version that there is not. */
static void test_versions(void **state)
{
    char out[2048];
    struct err err;
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        assert_false(read_hex_list(3 - lists[i].version, lists[i].hex, out, sizeof out, &err));
        assert_string_equal(err.sqlstate, "0A000");
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
