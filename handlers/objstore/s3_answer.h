/* What S3-compatible stores answer: header lines, pages of a listing, errors. Bytes to values, no I/O. */
#ifndef OBJSTORE_S3_ANSWER_H
#define OBJSTORE_S3_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/attr.h"
#include "base/err.h"
#include "base/slice.h"

/* The status line and the headers that matter; texts that do not fit are left out. */
struct s3_head {
    int status;            /* 0: none seen */
    char etag[160];        /* without quotes; "" when unknown */
    int64_t length;        /* Content-Length, -1: none */
    int64_t range_from;    /* Content-Range, -1: none */
    int64_t total;         /* size behind "/" of Content-Range, -1: none */
    int64_t retry_after_s; /* -1: none */
    char date[40];         /* as sent, for the error about clocks */
    char region[64];       /* x-amz-bucket-region */
    char request_id[80];   /* for the log */
};

/* Before the first line; s3_head_read does it too at a status line (after 100 Continue). */
void s3_head_init(struct s3_head *h);
/* One line with or without its end. What is malformed or unknown is left out. */
void s3_head_read(struct s3_head *h, struct slice line);

struct s3_object {
    const char *key;
    const char *etag; /* without quotes */
    int64_t size_bytes;
    int64_t modified_ms;
};

/* One page of ListObjectsV2, or of its predecessor. From the arena. */
struct s3_page {
    struct s3_object *objects;
    size_t count, capacity;
    const char **prefixes; /* CommonPrefixes, "a/b/" */
    size_t prefix_count, prefix_capacity;
    bool more;
    const char *next_token;  /* NextContinuationToken; NULL: the store does not know it */
    const char *next_marker; /* of the predecessor; NULL */
};

/* Errors: 58030 malformed */
MUST_USE bool s3_page_read(struct arena *a, struct slice xml, struct s3_page *out, struct err *err);

struct s3_fault { /* <Error>; "" what it does not say */
    char code[64];
    char message[256];
    char region[64];
    char endpoint[256];
    char server_time[40];
};

/* A body that is no such document leaves all empty. */
void s3_fault_read(struct slice xml, struct s3_fault *out);

#endif
