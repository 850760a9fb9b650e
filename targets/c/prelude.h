/* Products and sums round one after another, unless a body asks for both at once; gcc does so with -std=c99 or -ffp-contract=off. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif
/* Vectors of 4, 8 and 16 floats. Bodies for machines with vectors of PFX_LANES floats use those up to that width. */
#if !defined(PFX_LANES)
#if defined(__AVX512F__) && defined(__AVX512VL__) && defined(__AVX512DQ__) && defined(__FMA__)
#define PFX_LANES 16
#elif defined(__AVX2__) && defined(__FMA__)
#define PFX_LANES 8
#else
#define PFX_LANES 4
#endif
#endif

/* Keeps compilers from taking numbers loaded for one term of a sum along to the next, for which there are no registers. */
#if defined(__GNUC__)
#define FENCE() __asm__ volatile("" ::: "memory")
#else
#define FENCE() (void)0
#endif

#if PFX_LANES >= 8
#include <immintrin.h>
typedef __m256 v8;
#define V8_ZERO() _mm256_setzero_ps()
#define V8_LOAD(p) _mm256_loadu_ps(p)
#define V8_STORE(p, v) _mm256_storeu_ps(p, v)
#define V8_SET(x) _mm256_set1_ps(x)
#define V8_FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define V8_ADD(a, b) _mm256_add_ps(a, b)
#define V8_SUB(a, b) _mm256_sub_ps(a, b)
#define V8_MUL(a, b) _mm256_mul_ps(a, b)
#define V8_DIV(a, b) _mm256_div_ps(a, b)
#define V8_MAX(a, b) _mm256_max_ps(a, b) /* b where one is not a number */
#define V8_MIN(a, b) _mm256_min_ps(a, b)
#define V8_ROUND(a) _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)
#define V8_SCALE(a, n) _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23)))
PFX_UNUSED static inline v8 v8_part(const float *p, int n) {
    float t[8] = {0, 0, 0, 0, 0, 0, 0, 0};
    for (int i = 0; i < n; i++) t[i] = p[i];
    return _mm256_loadu_ps(t);
}
PFX_UNUSED static inline void v8_store_part(float *p, v8 v, int n) {
    float t[8];
    _mm256_storeu_ps(t, v);
    for (int i = 0; i < n; i++) p[i] = t[i];
}
#define V8_PART(p, n) v8_part(p, n)
#define V8_STORE_PART(p, v, n) v8_store_part(p, v, n)
#endif

#if PFX_LANES >= 16
typedef __m512 v16;
#define V16_ZERO() _mm512_setzero_ps()
#define V16_LOAD(p) _mm512_loadu_ps(p)
#define V16_STORE(p, v) _mm512_storeu_ps(p, v)
#define V16_SET(x) _mm512_set1_ps(x)
#define V16_FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define V16_ADD(a, b) _mm512_add_ps(a, b)
#define V16_SUB(a, b) _mm512_sub_ps(a, b)
#define V16_MUL(a, b) _mm512_mul_ps(a, b)
#define V16_DIV(a, b) _mm512_div_ps(a, b)
#define V16_MAX(a, b) _mm512_max_ps(a, b)
#define V16_MIN(a, b) _mm512_min_ps(a, b)
#define V16_ROUND(a) _mm512_cvtepi32_ps(_mm512_cvtps_epi32(a))
#define V16_SCALE(a, n) _mm512_scalef_ps(a, n)
#define V16_JOIN(p, q) _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_loadu_ps(p)), _mm256_loadu_ps(q), 1)
#define V16_SPLIT(p, q, v) (_mm256_storeu_ps(p, _mm512_castps512_ps256(v)), _mm256_storeu_ps(q, _mm512_extractf32x8_ps(v, 1)))
#define V16_PART(p, n) _mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1u), p)
#define V16_STORE_PART(p, v, n) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1u), v)
#endif

#if PFX_LANES == 4
#if defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
typedef float32x4_t v4;
#define V4_ZERO() vdupq_n_f32(0.0f)
#define V4_LOAD(p) vld1q_f32(p)
#define V4_STORE(p, v) vst1q_f32(p, v)
#define V4_SET(x) vdupq_n_f32(x)
#define V4_FMA(a, b, c) vfmaq_f32(c, a, b)
#define V4_ADD(a, b) vaddq_f32(a, b)
#define V4_SUB(a, b) vsubq_f32(a, b)
#define V4_MUL(a, b) vmulq_f32(a, b)
#define V4_DIV(a, b) vdivq_f32(a, b)
#define V4_MAX(a, b) vmaxq_f32(a, b)
#define V4_MIN(a, b) vminq_f32(a, b)
#define V4_ROUND(a) vrndnq_f32(a)
#define V4_SCALE(a, n) vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtnq_s32_f32(n), vdupq_n_s32(127)), 23)))
#elif defined(__SSE2__)
#include <emmintrin.h>
typedef __m128 v4;
#define V4_ZERO() _mm_setzero_ps()
#define V4_LOAD(p) _mm_loadu_ps(p)
#define V4_STORE(p, v) _mm_storeu_ps(p, v)
#define V4_SET(x) _mm_set1_ps(x)
#define V4_FMA(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c)
#define V4_ADD(a, b) _mm_add_ps(a, b)
#define V4_SUB(a, b) _mm_sub_ps(a, b)
#define V4_MUL(a, b) _mm_mul_ps(a, b)
#define V4_DIV(a, b) _mm_div_ps(a, b)
#define V4_MAX(a, b) _mm_max_ps(a, b)
#define V4_MIN(a, b) _mm_min_ps(a, b)
#define V4_ROUND(a) _mm_cvtepi32_ps(_mm_cvtps_epi32(a))
#define V4_SCALE(a, n) _mm_mul_ps(a, _mm_castsi128_ps(_mm_slli_epi32(_mm_add_epi32(_mm_cvtps_epi32(n), _mm_set1_epi32(127)), 23)))
#else
typedef struct { float v[4]; } v4;
static inline v4 v4_load(const float *p) { v4 r; for (int i = 0; i < 4; i++) r.v[i] = p[i]; return r; }
static inline void v4_store(float *p, v4 a) { for (int i = 0; i < 4; i++) p[i] = a.v[i]; }
static inline v4 v4_set(float x) { v4 r; for (int i = 0; i < 4; i++) r.v[i] = x; return r; }
static inline v4 v4_fma(v4 a, v4 b, v4 c) { for (int i = 0; i < 4; i++) c.v[i] += a.v[i] * b.v[i]; return c; }
static inline v4 v4_add(v4 a, v4 b) { for (int i = 0; i < 4; i++) a.v[i] += b.v[i]; return a; }
static inline v4 v4_sub(v4 a, v4 b) { for (int i = 0; i < 4; i++) a.v[i] -= b.v[i]; return a; }
static inline v4 v4_mul(v4 a, v4 b) { for (int i = 0; i < 4; i++) a.v[i] *= b.v[i]; return a; }
static inline v4 v4_div(v4 a, v4 b) { for (int i = 0; i < 4; i++) a.v[i] /= b.v[i]; return a; }
static inline v4 v4_max(v4 a, v4 b) { for (int i = 0; i < 4; i++) b.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i]; return b; }
static inline v4 v4_min(v4 a, v4 b) { for (int i = 0; i < 4; i++) b.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i]; return b; }
static inline v4 v4_round(v4 a) { for (int i = 0; i < 4; i++) a.v[i] = (float)(int)(a.v[i] + (a.v[i] < 0.0f ? -0.5f : 0.5f)); return a; }
static inline v4 v4_scale(v4 a, v4 n) { for (int i = 0; i < 4; i++) a.v[i] = ldexpf(a.v[i], (int)n.v[i]); return a; }
#define V4_ZERO() v4_set(0.0f)
#define V4_LOAD(p) v4_load(p)
#define V4_STORE(p, v) v4_store(p, v)
#define V4_SET(x) v4_set(x)
#define V4_FMA(a, b, c) v4_fma(a, b, c)
#define V4_ADD(a, b) v4_add(a, b)
#define V4_SUB(a, b) v4_sub(a, b)
#define V4_MUL(a, b) v4_mul(a, b)
#define V4_DIV(a, b) v4_div(a, b)
#define V4_MAX(a, b) v4_max(a, b)
#define V4_MIN(a, b) v4_min(a, b)
#define V4_ROUND(a) v4_round(a)
#define V4_SCALE(a, n) v4_scale(a, n)
#endif
PFX_UNUSED static inline v4 v4_part(const float *p, int n) {
    float t[4] = {0, 0, 0, 0};
    for (int i = 0; i < n; i++) t[i] = p[i];
    return V4_LOAD(t);
}
PFX_UNUSED static inline void v4_store_part(float *p, v4 v, int n) {
    float t[4];
    V4_STORE(t, v);
    for (int i = 0; i < n; i++) p[i] = t[i];
}
#define V4_PART(p, n) v4_part(p, n)
#define V4_STORE_PART(p, v, n) v4_store_part(p, v, n)
#endif

/* exp by 2^n times a polynomial of the rest, within 2 units in the last place; the argument is cut to where the result is a normal number. */
#define PFX_EXP(W) \
    PFX_UNUSED static inline v##W v##W##_exp(v##W x) { \
        x = V##W##_MIN(V##W##_SET(88.3762589f), V##W##_MAX(V##W##_SET(-87.3365447f), x)); \
        const v##W n = V##W##_ROUND(V##W##_MUL(x, V##W##_SET(1.44269504f))); \
        const v##W r = V##W##_FMA(n, V##W##_SET(2.12194440e-4f), V##W##_FMA(n, V##W##_SET(-0.693359375f), x)); \
        v##W p = V##W##_SET(1.9875691500e-4f); \
        p = V##W##_FMA(p, r, V##W##_SET(1.3981999507e-3f)); \
        p = V##W##_FMA(p, r, V##W##_SET(8.3334519073e-3f)); \
        p = V##W##_FMA(p, r, V##W##_SET(4.1665795894e-2f)); \
        p = V##W##_FMA(p, r, V##W##_SET(1.6666665459e-1f)); \
        p = V##W##_FMA(p, r, V##W##_SET(5.0000001201e-1f)); \
        p = V##W##_FMA(V##W##_MUL(p, r), r, V##W##_ADD(r, V##W##_SET(1.0f))); \
        return V##W##_SCALE(p, n); \
    } \
    PFX_UNUSED static inline v##W v##W##_sigmoid(v##W x) { \
        return V##W##_DIV(V##W##_SET(1.0f), V##W##_ADD(V##W##_SET(1.0f), v##W##_exp(V##W##_SUB(V##W##_ZERO(), x)))); \
    }
#if PFX_LANES >= 16
PFX_EXP(16)
#endif
#if PFX_LANES >= 8
PFX_EXP(8)
#else
PFX_EXP(4)
#endif

/* The same for loops that the compiler makes vectors of. It does so only where nothing is computed behind a branch, so select takes one of two
   numbers by masks. */
PFX_UNUSED static inline float PFX_select(int c, float a, float b) {
    union { float f; uint32_t u; } x, y;
    const uint32_t m = 0u - (uint32_t)c;
    x.f = a;
    y.f = b;
    x.u = (x.u & m) | (y.u & ~m);
    return x.f;
}
PFX_UNUSED static inline float PFX_exp(float a) {
    const float x = PFX_select(a > 89.0f, 89.0f, PFX_select(a < -104.0f, -104.0f, a));
    union { float f; uint32_t u; } z, low, high;
    z.f = x * 1.44269504f + 12582912.0f; /* rounds to an integer */
    const float n = z.f - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + (r + 1.0f);
    z.u = z.u - 0x4b400000u + 256u; /* n + 256: 2^n in two factors, so that it may be infinite or not normal */
    low.u = ((z.u >> 1) - 1u) << 23;
    high.u = (z.u - (z.u >> 1) - 1u) << 23;
    return p * low.f * high.f;
}
PFX_UNUSED static inline float PFX_sigmoid(float x) { return 1.0f / (1.0f + PFX_exp(-x)); }
PFX_UNUSED static inline float PFX_tanh(float x) {
    /* near zero by a series, elsewhere by exp */
    const float s = x * x;
    const float near = x * (1.0f + s * (-0.333333333f + s * (0.133333333f + s * (-0.0539682540f + s * 0.0218694885f))));
    const float a = fabsf(x);
    const float far = 1.0f - 2.0f / (PFX_exp(2.0f * a) + 1.0f);
    return PFX_select(a < 0.25f, near, PFX_select(x < 0.0f, -far, far));
}
/* erf by Abramowitz and Stegun 7.1.26 is too coarse: near zero a series, elsewhere their 7.1.28, whose error is below 3e-7. */
PFX_UNUSED static inline float PFX_erf(float x) {
    const float s = x * x;
    const float near = x * (1.12837917f + s * (-0.376126389f + s * (0.112837917f + s * (-0.0268661706f + s * (0.00522397762f - s * 0.000854832700f)))));
    const float a = fabsf(x);
    float d = 1.0f + a * (0.0705230784f + a * (0.0422820123f + a * (0.0092705272f + a * (0.0001520143f + a * (0.0002765672f + a * 0.0000430638f)))));
    d = d * d;
    d = d * d;
    d = d * d;
    d = d * d;
    const float far = 1.0f - 1.0f / d;
    return PFX_select(a < 0.6f, near, PFX_select(x < 0.0f, -far, far));
}
/* The zeros around planes of a tensor: its rows are h + top + bottom times w + left + right elements of n floats. */
PFX_UNUSED static void PFX_halo(float *p, int planes, int h, int w, int n, int top, int left, int bottom, int right) {
    const int row = (w + left + right) * n;
    for (int c = 0; c < planes; c++) {
        memset(p, 0, sizeof(float) * (size_t)(top * row + left * n));
        p += top * row + left * n;
        for (int i = 0; i < h; i++) {
            p += w * n;
            if (i + 1 < h) memset(p, 0, sizeof(float) * (size_t)((right + left) * n));
            if (i + 1 < h) p += (right + left) * n;
        }
        memset(p, 0, sizeof(float) * (size_t)(right * n + bottom * row));
        p += right * n + bottom * row;
    }
}
