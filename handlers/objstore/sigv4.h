/* AWS Signature Version 4: what S3-compatible stores want to see with each request. */
#ifndef OBJSTORE_SIGV4_H
#define OBJSTORE_SIGV4_H

#include <stdbool.h>
#include <stddef.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/slice.h"

struct sigv4_header {
    const char *name; /* lower case */
    const char *value;
};

struct sigv4_request {
    const char *method;
    const char *path;  /* as it is sent: sigv4_put_encoded, "/" kept; begins with "/" */
    const char *query; /* as it is sent: "key=value" pairs by key, each part encoded; may be "" */
    const struct sigv4_header *headers; /* to be signed, by name; host among them */
    size_t header_count;
    const char *payload_hash; /* SHA-256 in hex, or UNSIGNED-PAYLOAD */
};

struct sigv4_key {
    const char *access_key;
    const char *secret_access_key;
    const char *region;
    const char *service;
};

#define SIGV4_TIME_BYTES 17 /* "20130524T000000Z" */
#define SIGV4_EMPTY_HASH "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

/* Appends the value of the Authorization header. False: no memory, or the buffer is full.
 * time  of the request as in the header x-amz-date, "20130524T000000Z" */
MUST_USE bool sigv4_write(const struct sigv4_request *r, const struct sigv4_key *key,
                          const char *time, struct buf *out);
/* Appends text with every byte but A-Z a-z 0-9 - _ . ~ as %XX; `keep_slash`: "/" as well. */
void sigv4_put_encoded(struct buf *out, struct slice text, bool keep_slash);

#endif
