/* The scan of prefilter.c with SSSE3 and AVX2: PSHUFB looks up 16 or 32 half-bytes in a table of 16.
 * Which one the machine has is found out when it runs, so the binary is the same everywhere.
 *
 * A step at `at` reads 2 bytes more than it has places. The last step is moved back so that it ends
 * with the text; places that it sees twice are no matter. A text shorter than a step is copied in front
 * of zeros, which are in no word.
 *
 * This is the one file with an #if for a platform: other machines use the scan by bytes. */
#include "prefilter.h"

#ifdef __x86_64__
#include <immintrin.h>

#define STEP_SSSE3 16
#define STEP_AVX2 32
#define OVERHANG (PREFILTER_WINDOW - 1)

/* Bit i: a window may start at at[i]. */
typedef uint32_t step_function(const struct prefilter_tables *t, const char *at);

__attribute__((target("ssse3"), always_inline)) static inline uint32_t step_ssse3(
    const struct prefilter_tables *t, const char *at)
{
    const __m128i low_half = _mm_set1_epi8(15);
    __m128i found = _mm_set1_epi8(-1);
    for (size_t i = 0; i < PREFILTER_WINDOW; i++) {
        __m128i text = _mm_loadu_si128((const __m128i *)(at + i));
        __m128i low = _mm_loadu_si128((const __m128i *)t->nibbles[i][0]);
        __m128i high = _mm_loadu_si128((const __m128i *)t->nibbles[i][1]);
        low = _mm_shuffle_epi8(low, _mm_and_si128(text, low_half));
        high = _mm_shuffle_epi8(high, _mm_and_si128(_mm_srli_epi16(text, 4), low_half));
        found = _mm_and_si128(found, _mm_and_si128(low, high));
    }
    __m128i none = _mm_cmpeq_epi8(found, _mm_setzero_si128());
    return ~(uint32_t)_mm_movemask_epi8(none) & 0xffff;
}

__attribute__((target("avx2"), always_inline)) static inline uint32_t step_avx2(
    const struct prefilter_tables *t, const char *at)
{
    const __m256i low_half = _mm256_set1_epi8(15);
    __m256i found = _mm256_set1_epi8(-1);
    for (size_t i = 0; i < PREFILTER_WINDOW; i++) {
        __m256i text = _mm256_loadu_si256((const __m256i *)(at + i));
        __m256i low =
            _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)t->nibbles[i][0]));
        __m256i high =
            _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)t->nibbles[i][1]));
        low = _mm256_shuffle_epi8(low, _mm256_and_si256(text, low_half));
        high = _mm256_shuffle_epi8(high, _mm256_and_si256(_mm256_srli_epi16(text, 4), low_half));
        found = _mm256_and_si256(found, _mm256_and_si256(low, high));
    }
    __m256i none = _mm256_cmpeq_epi8(found, _mm256_setzero_si256());
    return ~(uint32_t)_mm256_movemask_epi8(none);
}

/* Inlined into both scans, so that the tables stay in registers. */
__attribute__((always_inline)) static inline size_t scan_steps(step_function *step,
                                                               size_t step_bytes,
                                                               const struct prefilter_tables *t,
                                                               struct slice text, size_t from)
{
    size_t reads = step_bytes + OVERHANG;
    if (text.len - from < reads) {
        char padded[STEP_AVX2 + OVERHANG] = {0};
        memcpy(padded, text.data + from, text.len - from);
        uint32_t mask = step(t, padded);
        return mask != 0 ? from + (size_t)__builtin_ctz(mask) : text.len;
    }
    for (size_t at = from;; at += step_bytes) {
        if (at > text.len - reads)
            at = text.len - reads;
        uint32_t mask = step(t, text.data + at);
        if (mask != 0)
            return at + (size_t)__builtin_ctz(mask);
        if (at == text.len - reads)
            return text.len;
    }
}

__attribute__((target("ssse3"))) size_t prefilter_scan_ssse3(const struct prefilter_tables *t,
                                                             struct slice text, size_t from)
{
    return scan_steps(step_ssse3, STEP_SSSE3, t, text, from);
}

__attribute__((target("avx2"))) size_t prefilter_scan_avx2(const struct prefilter_tables *t,
                                                           struct slice text, size_t from)
{
    return scan_steps(step_avx2, STEP_AVX2, t, text, from);
}

prefilter_scan *prefilter_find_vector_scan(void)
{
    if (__builtin_cpu_supports("avx2"))
        return prefilter_scan_avx2;
    return __builtin_cpu_supports("ssse3") ? prefilter_scan_ssse3 : NULL;
}

#else

prefilter_scan *prefilter_find_vector_scan(void)
{
    return NULL;
}

#endif
