/* A status alone says little ("403"), the code in the body says what is wrong ("Amazon S3 API Reference",
 * Error Responses; OBS, OSS and MinIO use the same codes). Answers to HEAD have no body.
 *
 *   28P01  the keys are wrong                    58P01  no such bucket or object
 *   28000  token expired, clock wrong            58030  busy, broken, cut: transient
 *   42501  the keys are right and may not        08001  nobody answers, or not who should
 *
 * The store's own message is told as detail. It never holds a secret of ours: what was signed, which
 * some stores print, stands in other elements. */
#include "s3_error.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static bool is_one_of(const char *code, const char *const *codes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(code, codes[i]) == 0)
            return true;
    return false;
}
#define IS_ONE_OF(code, list) is_one_of(code, list, ARRAY_LEN(list))

static const char *const busy[] = {
    "InternalError",       "ServiceUnavailable",   "SlowDown",
    "RequestTimeout",      "OperationAborted",     "Throttling",
    "ThrottlingException", "RequestLimitExceeded", "TooManyRequests",
    "ServerBusy",
};
static const char *const wrong_key[] = {"InvalidAccessKeyId", "SignatureDoesNotMatch",
                                        "InvalidSecurity", "NotSignedUp"};
static const char *const bad_token[] = {"ExpiredToken", "InvalidToken", "TokenRefreshRequired",
                                        "AuthorizationHeaderMalformed", "InvalidSecurityToken"};
static const char *const wrong_clock[] = {"RequestTimeTooSkewed", "RequestExpired"};

const char *s3_told_region(const struct transport_exchange *x, const struct s3_fault *fault)
{
    if (x->head.region[0] != '\0')
        return x->head.region;
    return fault->region[0] != '\0' ? fault->region : NULL;
}

static enum s3_verdict judge_status(const struct transport_exchange *x,
                                    const struct s3_fault *fault)
{
    int status = x->head.status;
    if (status == 200 || status == 206)
        return S3_OK;
    if (status == 412 || status == 416)
        return S3_CHANGED;
    if ((status == 301 || status == 307 || status == 400 || status == 403) &&
        s3_told_region(x, fault) != NULL)
        return S3_MOVED;
    if (status >= 500 && status != 501 && status != 505)
        return S3_AGAIN;
    if (status == 408 || status == 429 || IS_ONE_OF(fault->code, busy))
        return S3_AGAIN;
    return S3_REFUSED;
}

enum s3_verdict s3_judge(const struct transport_exchange *x, const struct s3_fault *fault)
{
    switch (x->end) {
    case TRANSPORT_ANSWERED: return judge_status(x, fault);
    case TRANSPORT_UNREACHABLE:
    case TRANSPORT_CUT: return S3_AGAIN;
    case TRANSPORT_STOPPED:
    case TRANSPORT_UNTRUSTED:
    case TRANSPORT_IMPOSSIBLE: break;
    }
    return S3_REFUSED;
}

static bool set_unanswered(const struct s3_place *p, const struct transport_exchange *x,
                           struct err *err)
{
    switch (x->end) {
    case TRANSPORT_UNREACHABLE:
        err_set(err, SQLSTATE_CANNOT_CONNECT, "could not connect to object store \"%s\"", p->host);
        break;
    case TRANSPORT_UNTRUSTED:
        err_set(err, SQLSTATE_CANNOT_CONNECT, "certificate of object store \"%s\" is not trusted",
                p->host);
        err_hint(err, "The setting \"hudi_store_ca_file\" names the authorities that are trusted.");
        break;
    case TRANSPORT_IMPOSSIBLE:
        err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE, "cannot ask object store \"%s\"", p->host);
        break;
    default:
        err_set(err, SQLSTATE_IO_ERROR, "connection to object store \"%s\" was lost", p->host);
        break;
    }
    return err_detail(err, "%s.", x->trouble[0] == '\0' ? "No answer came" : x->trouble);
}

static bool set_missing(const struct s3_place *p, const char *key, const struct s3_fault *fault,
                        struct err *err)
{
    if (key == NULL || strcmp(fault->code, "NoSuchBucket") == 0)
        return err_set(err, SQLSTATE_UNDEFINED_FILE,
                       "bucket \"%s\" does not exist in object store \"%s\"", p->bucket, p->host);
    return err_set(err, SQLSTATE_UNDEFINED_FILE,
                   "object \"%s/%s\" does not exist in object store \"%s\"", p->bucket, key,
                   p->host);
}

static bool set_wrong_clock(const struct s3_place *p, const struct transport_exchange *x,
                            const struct s3_fault *fault, struct err *err)
{
    char now[40] = "";
    struct tm tm;
    time_t t = time(NULL);
    if (gmtime_r(&t, &tm) != NULL)
        strftime(now, sizeof now, "%a, %d %b %Y %H:%M:%S GMT", &tm);
    const char *there = fault->server_time[0] != '\0' ? fault->server_time : x->head.date;
    err_set(err, SQLSTATE_INVALID_AUTHORIZATION,
            "the clock of this machine differs too much from that of object store \"%s\"", p->host);
    err_detail(err, "Here it is %s, there %s.", now, there[0] == '\0' ? "another time" : there);
    return err_hint(err, "Set the clock of the machine that pgveneer's worker runs on.");
}

/* The bucket lies elsewhere and the way there is unknown. */
static bool set_moved(const struct s3_place *p, const struct transport_exchange *x,
                      const struct s3_fault *fault, struct err *err)
{
    const char *region = s3_told_region(x, fault);
    err_set(err, SQLSTATE_INVALID_PARAMETER_VALUE,
            "bucket \"%s\" does not lie at \"%s\" in region \"%s\"", p->bucket, p->host, p->region);
    if (fault->endpoint[0] != '\0')
        return err_hint(err, "The store names another address: \"%s\".", fault->endpoint);
    return region == NULL ? false
                          : err_hint(err, "The store names another region: \"%s\".", region);
}

static bool set_answered(const struct s3_place *p, const char *key,
                         const struct transport_exchange *x, const struct s3_fault *fault,
                         struct err *err)
{
    int status = x->head.status;
    const char *what = key == NULL ? "" : key;
    if (IS_ONE_OF(fault->code, wrong_clock))
        return set_wrong_clock(p, x, fault, err);
    if (status == 301 || status == 307)
        return set_moved(p, x, fault, err);
    if (IS_ONE_OF(fault->code, wrong_key))
        err_set(err, SQLSTATE_INVALID_PASSWORD,
                "object store \"%s\" does not accept the keys of the server", p->host);
    else if (status == 401 || IS_ONE_OF(fault->code, bad_token))
        err_set(err, SQLSTATE_INVALID_AUTHORIZATION,
                "object store \"%s\" does not accept the request's authorization", p->host);
    else if (status == 403)
        err_set(err, SQLSTATE_INSUFFICIENT_PRIVILEGE,
                "object store \"%s\" denies access to \"%s/%s\"", p->host, p->bucket, what);
    else if (status == 404)
        set_missing(p, key, fault, err);
    else
        err_set(err, SQLSTATE_IO_ERROR, "object store \"%s\" answers %d for \"%s/%s\"", p->host,
                status, p->bucket, what);
    if (fault->code[0] != '\0')
        err_detail(err, "%s: %s", fault->code,
                   fault->message[0] == '\0' ? "no message" : fault->message);
    if (strcmp(fault->code, "AuthorizationHeaderMalformed") == 0)
        err_hint(err, "The server's option \"region\" is \"%s\" now.", p->region);
    return false;
}

bool s3_set_error(const struct s3_place *p, const char *key, const struct transport_exchange *x,
                  const struct s3_fault *fault, struct err *err)
{
    return x->end == TRANSPORT_ANSWERED ? set_answered(p, key, x, fault, err)
                                        : set_unanswered(p, x, err);
}
