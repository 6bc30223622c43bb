/* Answers of Amazon S3 ("Amazon S3 API Reference": ListObjectsV2, ListObjects, Error Responses) and of
 * what is like it: OBS, OSS, MinIO, Swift, Ceph. Differences that matter: quotes around ETags may be
 * missing or be &quot;, the predecessor of ListObjectsV2 gives NextMarker or nothing, elements come
 * in any order. Nothing here is believed further than it can be read: numbers are range checked, and
 * keys are compared with the prefix that was asked for by the caller. */
#include "s3_answer.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "xml.h"

#define S3_MAX_NUMBER ((int64_t)1 << 53)

static void take(char *out, size_t size, struct slice text)
{
    if (text.len >= size)
        return;
    memcpy(out, text.data == NULL ? "" : text.data, text.len);
    out[text.len] = '\0';
}
#define TAKE(field, text) take(field, sizeof(field), text)

/* Digits alone; -1: not a number in range. */
static int64_t read_number(struct slice text)
{
    int64_t n = 0;
    if (text.len == 0)
        return -1;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] < '0' || text.data[i] > '9' || n > S3_MAX_NUMBER)
            return -1;
        n = n * 10 + (text.data[i] - '0');
    }
    return n > S3_MAX_NUMBER ? -1 : n;
}

/* Weak ones are as good: a store's object has one representation. */
static struct slice strip_etag(struct slice text)
{
    text = slice_trim(text);
    if (slice_starts_with(text, "W/"))
        text = slice_part(text, 2, text.len);
    if (text.len >= 2 && text.data[0] == '"' && text.data[text.len - 1] == '"')
        text = slice_part(text, 1, text.len - 1);
    return text;
}

/* ---- headers ---- */

void s3_head_init(struct s3_head *h)
{
    *h = (struct s3_head){.length = -1, .range_from = -1, .total = -1, .retry_after_s = -1};
}

/* "bytes 100-199/5000" */
static void read_content_range(struct s3_head *h, struct slice text)
{
    if (!slice_starts_with(text, "bytes "))
        return;
    text = slice_trim(slice_part(text, 6, text.len));
    size_t dash = slice_find_byte(text, '-'), slash = slice_find_byte(text, '/');
    if (dash >= slash || slash == text.len)
        return;
    h->range_from = read_number(slice_part(text, 0, dash));
    h->total = read_number(slice_part(text, slash + 1, text.len));
}

static void read_status(struct s3_head *h, struct slice line)
{
    size_t space = slice_find_byte(line, ' ');
    s3_head_init(h);
    if (space + 4 > line.len)
        return;
    int64_t status = read_number(slice_part(line, space + 1, space + 4));
    h->status = status > 0 ? (int)status : 0;
}

void s3_head_read(struct s3_head *h, struct slice line)
{
    if (slice_starts_with(line, "HTTP/")) {
        read_status(h, line);
        return;
    }
    size_t colon = slice_find_byte(line, ':');
    if (colon == line.len)
        return;
    struct slice name = slice_trim(slice_part(line, 0, colon));
    struct slice value = slice_trim(slice_part(line, colon + 1, line.len));
    if (slice_equals_nocase(name, "etag"))
        TAKE(h->etag, strip_etag(value));
    else if (slice_equals_nocase(name, "content-length"))
        h->length = read_number(value);
    else if (slice_equals_nocase(name, "content-range"))
        read_content_range(h, value);
    else if (slice_equals_nocase(name, "retry-after"))
        h->retry_after_s = read_number(value);
    else if (slice_equals_nocase(name, "date"))
        TAKE(h->date, value);
    else if (slice_equals_nocase(name, "x-amz-bucket-region"))
        TAKE(h->region, value);
    else if (slice_equals_nocase(name, "x-amz-request-id") ||
             slice_equals_nocase(name, "x-obs-request-id") ||
             slice_equals_nocase(name, "x-oss-request-id"))
        TAKE(h->request_id, value);
}

/* ---- listings ---- */

struct page_reader {
    struct arena *arena;
    struct s3_page *page;
    struct s3_object object; /* the one whose members are being read */
    bool is_listing;
};

static bool copy(struct page_reader *r, struct slice text, const char **out, struct err *err)
{
    if (memchr(text.data == NULL ? "" : text.data, '\0', text.len) != NULL)
        return err_set(err, SQLSTATE_IO_ERROR, "a key of the object store holds a NUL");
    *out = arena_copy(r->arena, text);
    return *out != NULL || err_no_memory(err);
}

/* "2009-10-12T17:50:30.000Z"; 0 when it is something else. */
static int64_t read_time(struct slice text)
{
    char copy_of[32];
    struct tm tm = {0};
    if (text.len >= sizeof copy_of)
        return 0;
    memcpy(copy_of, text.data == NULL ? "" : text.data, text.len);
    copy_of[text.len] = '\0';
    char *rest = strptime(copy_of, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL)
        return 0;
    int64_t ms = 0;
    if (rest[0] == '.')
        for (int i = 1, unit = 100; rest[i] >= '0' && rest[i] <= '9'; i++, unit /= 10)
            ms += (rest[i] - '0') * unit;
    return (int64_t)timegm(&tm) * 1000 + ms;
}

/* A larger array with the old members in it. */
static void *grow(struct arena *a, void *items, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity)
        return items;
    size_t larger = *capacity == 0 ? 64 : *capacity * 2;
    void *copy_of = arena_alloc_array(a, larger, size);
    if (copy_of != NULL && count > 0)
        memcpy(copy_of, items, count * size);
    *capacity = larger;
    return copy_of;
}

static bool end_object(struct page_reader *r, struct err *err)
{
    struct s3_page *p = r->page;
    if (r->object.key == NULL || r->object.size_bytes < 0)
        return err_set(err, SQLSTATE_IO_ERROR,
                       "an entry of the object store's listing has no key or no size");
    p->objects = grow(r->arena, p->objects, p->count, &p->capacity, sizeof *p->objects);
    if (p->objects == NULL)
        return err_no_memory(err);
    if (r->object.etag == NULL)
        r->object.etag = "";
    p->objects[p->count++] = r->object;
    r->object = (struct s3_object){.size_bytes = -1};
    return true;
}

static bool add_prefix(struct page_reader *r, struct slice text, struct err *err)
{
    struct s3_page *p = r->page;
    p->prefixes =
        grow(r->arena, p->prefixes, p->prefix_count, &p->prefix_capacity, sizeof *p->prefixes);
    if (p->prefixes == NULL)
        return err_no_memory(err);
    return copy(r, text, &p->prefixes[p->prefix_count++], err);
}

static bool on_page_element(void *arg, const char *path, struct slice text, struct err *err)
{
    struct page_reader *r = arg;
    if (strcmp(path, "ListBucketResult") == 0)
        r->is_listing = true;
    if (strncmp(path, "ListBucketResult/", 17) != 0)
        return true;
    const char *name = path + 17;
    if (strcmp(name, "Contents/Key") == 0)
        return copy(r, text, &r->object.key, err);
    if (strcmp(name, "Contents/ETag") == 0)
        return copy(r, strip_etag(text), &r->object.etag, err);
    if (strcmp(name, "Contents/Size") == 0)
        r->object.size_bytes = read_number(slice_trim(text));
    else if (strcmp(name, "Contents/LastModified") == 0)
        r->object.modified_ms = read_time(slice_trim(text));
    else if (strcmp(name, "Contents") == 0)
        return end_object(r, err);
    else if (strcmp(name, "CommonPrefixes/Prefix") == 0)
        return add_prefix(r, text, err);
    else if (strcmp(name, "IsTruncated") == 0)
        r->page->more = slice_equals_nocase(slice_trim(text), "true");
    else if (strcmp(name, "NextContinuationToken") == 0)
        return copy(r, text, &r->page->next_token, err);
    else if (strcmp(name, "NextMarker") == 0)
        return copy(r, text, &r->page->next_marker, err);
    return true;
}

bool s3_page_read(struct arena *a, struct slice xml, struct s3_page *out, struct err *err)
{
    *out = (struct s3_page){0};
    struct page_reader r = {.arena = a, .page = out, .object = {.size_bytes = -1}};
    if (!xml_read(xml, on_page_element, &r, err))
        return false;
    return r.is_listing ||
           err_set(err, SQLSTATE_IO_ERROR, "answer of the object store is not a listing");
}

/* ---- errors ---- */

static bool on_fault_element(void *arg, const char *path, struct slice text, struct err *err)
{
    struct s3_fault *f = arg;
    (void)err;
    text = slice_trim(text);
    if (strcmp(path, "Error/Code") == 0)
        TAKE(f->code, text);
    else if (strcmp(path, "Error/Message") == 0)
        TAKE(f->message, text);
    else if (strcmp(path, "Error/Region") == 0)
        TAKE(f->region, text);
    else if (strcmp(path, "Error/Endpoint") == 0)
        TAKE(f->endpoint, text);
    else if (strcmp(path, "Error/ServerTime") == 0)
        TAKE(f->server_time, text);
    return true;
}

void s3_fault_read(struct slice xml, struct s3_fault *out)
{
    struct err ignored;
    *out = (struct s3_fault){.code = ""};
    if (xml.len > 0 && !xml_read(xml, on_fault_element, out, &ignored))
        *out = (struct s3_fault){.code = ""};
}
