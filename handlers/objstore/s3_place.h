/* Where a folder of a bucket lies and how its store is spoken to, out of the options of a server. */
#ifndef OBJSTORE_S3_PLACE_H
#define OBJSTORE_S3_PLACE_H

#include <stdbool.h>

#include "base/attr.h"
#include "base/buf.h"
#include "base/err.h"
#include "objstore/objstore.h"

#define S3_HOST_BYTES 256
#define S3_REGION_BYTES 64
#define S3_BUCKET_BYTES 256

struct s3_place {
    bool tls;
    bool virtual_hosted;      /* https://bucket.host/key, not https://host/bucket/key */
    char host[S3_HOST_BYTES]; /* with ":port" where it is not the scheme's own */
    char region[S3_REGION_BYTES];
    char bucket[S3_BUCKET_BYTES];
    const char *prefix; /* "" or "path/"; borrows from the options' root */
};

/* Errors: 22023 with the option that is wrong */
MUST_USE bool s3_place_read(const struct objstore_s3_options *o, struct s3_place *out,
                            struct err *err);
/* Takes over the region that the store told; false: nothing new, or not a region. */
bool s3_place_move(struct s3_place *p, const char *region);
/* Appends the value of the header Host. */
void s3_place_put_host(const struct s3_place *p, struct buf *out);
/* Appends the encoded path of an object; of the bucket where key is NULL. */
void s3_place_put_path(const struct s3_place *p, const char *key, struct buf *out);

#endif
