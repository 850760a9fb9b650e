/* Vectors of 32-bit sums for products of 8-bit integers: DOT adds to each sum four products, of bytes without sign, the same four for all, and
   of bytes with sign. It is exact: where there is no instruction for it, bytes are widened to 16 bits first. */
#if PFX_LANES >= 16
typedef __m512i i16;
typedef i16 i16x;
#define I16_LOAD(p) _mm512_loadu_si512((const void *)(p))
#define I16_QUAD(p) _mm512_set1_epi32(PFX_quad(p))
#define I16_FLOAT(a) _mm512_cvtepi32_ps(a)
#define I16_STORE(p, q, v) PFX_store16(p, q, v)
PFX_UNUSED static inline void PFX_store16(uint8_t *p, uint8_t *q, __m512 v) {
    const __m128i b = _mm512_cvtepi32_epi8(_mm512_cvtps_epi32(v));
    _mm_storel_epi64((__m128i *)(void *)p, b);
    _mm_storel_epi64((__m128i *)(void *)q, _mm_srli_si128(b, 8));
}
#if defined(__AVX512VNNI__)
#define I16_DOT(x, w, c) _mm512_dpbusd_epi32(c, x, w)
#elif defined(__AVX512BW__)
#define I16_DOT(x, w, c) _mm512_add_epi32(c, _mm512_add_epi32( \
    _mm512_madd_epi16(_mm512_and_si512(x, _mm512_set1_epi16(255)), _mm512_srai_epi16(_mm512_slli_epi16(w, 8), 8)), \
    _mm512_madd_epi16(_mm512_srli_epi16(x, 8), _mm512_srai_epi16(w, 8))))
#else
#error "compile with -mavx512bw, or -DPFX_LANES=8"
#endif
#endif
#if PFX_LANES >= 8
PFX_UNUSED static inline int32_t PFX_quad(const uint8_t *p) {
    int32_t r;
    memcpy(&r, p, 4);
    return r;
}
typedef __m256i i8;
typedef i8 i8x;
#define I8_LOAD(p) _mm256_loadu_si256((const __m256i *)(const void *)(p))
#define I8_QUAD(p) _mm256_set1_epi32(PFX_quad(p))
#define I8_FLOAT(a) _mm256_cvtepi32_ps(a)
#define I8_STORE(p, v) PFX_store8(p, v)
PFX_UNUSED static inline void PFX_store8(uint8_t *p, __m256 v) {
    const __m256i a = _mm256_cvtps_epi32(v);
    const __m128i b = _mm_packus_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    _mm_storel_epi64((__m128i *)(void *)p, _mm_packus_epi16(b, b));
}
/* Two bytes, or one, of each of 8 channels, and weights for them. */
#define I8_BYTES(p) _mm_loadl_epi64((const __m128i *)(const void *)(p))
#define I8_PAIR(p, q) _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(I8_BYTES(p), I8_BYTES(q)))
#define I8_ONE(p) _mm256_cvtepu8_epi32(I8_BYTES(p))
#define I8_WIDE(p) _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(p)))
#define I8_MADD(x, w, c) _mm256_add_epi32(c, _mm256_madd_epi16(x, w))
#if defined(__AVX512VNNI__) && defined(__AVX512VL__)
#define I8_DOT(x, w, c) _mm256_dpbusd_epi32(c, x, w)
#else
#define I8_DOT(x, w, c) _mm256_add_epi32(c, _mm256_add_epi32( \
    _mm256_madd_epi16(_mm256_and_si256(x, _mm256_set1_epi16(255)), _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8)), \
    _mm256_madd_epi16(_mm256_srli_epi16(x, 8), _mm256_srai_epi16(w, 8))))
#endif
#elif defined(__ARM_NEON) && defined(__aarch64__)
typedef int32x4_t i4;
typedef int8x16_t i4w;
PFX_UNUSED static inline uint8x16_t i4_quad(const uint8_t *p) {
    uint32_t r;
    memcpy(&r, p, 4);
    return vreinterpretq_u8_u32(vdupq_n_u32(r));
}
PFX_UNUSED static inline int8x16_t i4_weights(const int8_t *p) { return vld1q_s8(p); }
PFX_UNUSED static inline i4 i4_dot(uint8x16_t x, int8x16_t w, i4 c) {
#if defined(__ARM_FEATURE_MATMUL_INT8)
    return vusdotq_s32(c, x, w);
#elif defined(__ARM_FEATURE_DOTPROD)
    /* x - 128 has a sign; what that leaves out is 128 times the sum of the weights */
    const int8x16_t half = vdupq_n_s8(64);
    return vdotq_s32(vdotq_s32(vdotq_s32(c, w, vreinterpretq_s8_u8(veorq_u8(x, vdupq_n_u8(128)))), w, half), w, half);
#else
    const int16x4_t q = vget_low_s16(vreinterpretq_s16_u16(vmovl_u8(vget_low_u8(x))));
    const int16x8_t l = vmovl_s8(vget_low_s8(w)), h = vmovl_s8(vget_high_s8(w));
    const int32x4_t a = vpaddq_s32(vmull_s16(vget_low_s16(l), q), vmull_s16(vget_high_s16(l), q));
    const int32x4_t b = vpaddq_s32(vmull_s16(vget_low_s16(h), q), vmull_s16(vget_high_s16(h), q));
    return vaddq_s32(c, vpaddq_s32(a, b));
#endif
}
PFX_UNUSED static inline void i4_store(uint8_t *p, v4 v) {
    const int16x4_t h = vmovn_s32(vcvtnq_s32_f32(v));
    const uint32_t r = vget_lane_u32(vreinterpret_u32_u8(vqmovun_s16(vcombine_s16(h, h))), 0);
    memcpy(p, &r, 4);
}
typedef uint8x16_t i4x;
#define I4_LOAD(p) vld1q_s32(p)
#define I4_QUAD(p) i4_quad(p)
#define I4_FLOAT(a) vcvtq_f32_s32(a)
#define I4_STORE(p, v) i4_store(p, v)
#define I4_DOT(x, w, c) i4_dot(x, w, c)
#else
typedef struct { int32_t v[4]; } i4;
typedef struct { int8_t v[16]; } i4w;
PFX_UNUSED static inline i4 i4_load(const int32_t *p) { i4 r; memcpy(&r, p, sizeof r); return r; }
PFX_UNUSED static inline i4 i4_quad(const uint8_t *p) { i4 r; for (int i = 0; i < 4; i++) r.v[i] = p[i]; return r; }
PFX_UNUSED static inline i4w i4_weights(const int8_t *p) { i4w r; memcpy(&r, p, sizeof r); return r; }
PFX_UNUSED static inline i4 i4_dot(i4 x, i4w w, i4 c) {
    for (int i = 0; i < 4; i++) c.v[i] += x.v[0] * w.v[4 * i] + x.v[1] * w.v[4 * i + 1] + x.v[2] * w.v[4 * i + 2] + x.v[3] * w.v[4 * i + 3];
    return c;
}
PFX_UNUSED static inline v4 i4_float(i4 a) {
    float t[4];
    for (int i = 0; i < 4; i++) t[i] = (float)a.v[i];
    return V4_LOAD(t);
}
PFX_UNUSED static inline void i4_store(uint8_t *p, v4 v) {
    float t[4];
    V4_STORE(t, v);
    for (int i = 0; i < 4; i++) p[i] = (uint8_t)rintf(t[i]);
}
typedef i4 i4x;
#define I4_LOAD(p) i4_load(p)
#define I4_QUAD(p) i4_quad(p)
#define I4_FLOAT(a) i4_float(a)
#define I4_STORE(p, v) i4_store(p, v)
#define I4_DOT(x, w, c) i4_dot(x, w, c)
#endif
/* The nearest integer, ties to even, plus a zero point, kept within a range. */
PFX_UNUSED static inline int PFX_narrow(float x, float low, float high, int zero) {
    x = x > low ? x : low; /* low where it is not a number */
    x = x < high ? x : high;
    return (int)rintf(x) + zero;
}
PFX_UNUSED static void PFX_halo8(uint8_t *p, int planes, int h, int w, int n, int top, int left, int bottom, int right, int value) {
    const int row = (w + left + right) * n;
    for (int c = 0; c < planes; c++) {
        memset(p, value, (size_t)(top * row + left * n));
        p += top * row + left * n;
        for (int i = 0; i < h; i++) {
            p += w * n;
            if (i + 1 < h) memset(p, value, (size_t)((right + left) * n));
            if (i + 1 < h) p += (right + left) * n;
        }
        memset(p, value, (size_t)(right * n + bottom * row));
        p += right * n + bottom * row;
    }
}
