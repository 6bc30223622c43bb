/* What an object store answers: the first byte says which reader gets the rest. */
#include <stddef.h>
#include <stdint.h>

#include "s3_answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_lines(struct slice text)
{
    struct s3_head h;
    s3_head_init(&h);
    while (!slice_is_empty(text)) {
        size_t n = slice_find_byte(text, '\n');
        s3_head_read(&h, slice_part(text, 0, n));
        text = slice_part(text, n < text.len ? n + 1 : n, text.len);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a;
    struct s3_page page;
    struct s3_fault fault;
    struct err err;
    if (size == 0)
        return 0;
    struct slice text = slice_of((const char *)data + 1, size - 1);
    arena_init(&a, (size_t)16 << 20);
    switch (data[0]) {
    case 'h': read_lines(text); break;
    case 'f': s3_fault_read(text, &fault); break;
    default: s3_page_read(&a, text, &page, &err); break;
    }
    arena_fini(&a);
    return 0;
}
