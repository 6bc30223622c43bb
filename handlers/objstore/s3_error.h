/* From what an object store answered to an error that a user understands. */
#ifndef OBJSTORE_S3_ERROR_H
#define OBJSTORE_S3_ERROR_H

#include <stdbool.h>

#include "base/err.h"
#include "transport.h"
#include "s3_answer.h"
#include "s3_place.h"

enum s3_verdict {
    S3_OK,
    S3_AGAIN,   /* busy, broken or lost: the same request may work later */
    S3_CHANGED, /* the object is not the one that was asked for */
    S3_MOVED,   /* the bucket lies in a region that the answer names */
    S3_REFUSED  /* the same request will be answered the same */
};

/* fault: what the body said; empty for HEAD. */
enum s3_verdict s3_judge(const struct transport_exchange *x, const struct s3_fault *fault);
/* The region that an answer names, or NULL. */
const char *s3_told_region(const struct transport_exchange *x, const struct s3_fault *fault);
/* key  of the object, NULL: the bucket's listing. Returns false. */
bool s3_set_error(const struct s3_place *p, const char *key, const struct transport_exchange *x,
                  const struct s3_fault *fault, struct err *err);

#endif
