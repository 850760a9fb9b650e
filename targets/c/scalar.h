PFX_UNUSED static inline float PFX_relu(float x) { return x < 0.0f ? 0.0f : x; }
PFX_UNUSED static inline float PFX_max(float a, float b) { return PFX_select((b > a) | (b != b), b, a); }
PFX_UNUSED static inline float PFX_min(float a, float b) { return PFX_select((b < a) | (b != b), b, a); }
PFX_UNUSED static inline float PFX_prelu(float x, float s) { return PFX_select(x < 0.0f, x * s, x); }
PFX_UNUSED static inline float PFX_square(float x) { return x * x; }
PFX_UNUSED static inline float PFX_cube(float x) { return x * x * x; }
PFX_UNUSED static inline float PFX_sign(float x) { return x > 0.0f ? 1.0f : (x < 0.0f ? -1.0f : x); }
PFX_UNUSED static inline float PFX_hardswish(float x) {
    const float h = x * (1.0f / 6.0f) + 0.5f;
    return x * PFX_select(h > 1.0f, 1.0f, PFX_select(h < 0.0f, 0.0f, h));
}
PFX_UNUSED static inline float PFX_elu(float x, float a) { return PFX_select(x < 0.0f, a * (PFX_exp(x) - 1.0f), x); }
PFX_UNUSED static inline float PFX_softplus(float x) { return (x > 0.0f ? x : 0.0f) + log1pf(expf(-fabsf(x))); }
PFX_UNUSED static inline float PFX_gelu(float x) { return 0.5f * x * (1.0f + PFX_erf(x * 0.707106781f)); }
PFX_UNUSED static inline float PFX_gelu_tanh(float x) { return 0.5f * x * (1.0f + PFX_tanh(0.797884561f * (x + 0.044715f * x * x * x))); }
PFX_UNUSED static inline int64_t PFX_to_int64(float x) { return x != x ? 0 : (x >= 9.2e18f ? INT64_MAX : (x <= -9.2e18f ? INT64_MIN : (int64_t)x)); }
PFX_UNUSED static inline int32_t PFX_to_int32(float x) { return x != x ? 0 : (x >= 2147483647.0f ? INT32_MAX : (x <= -2147483648.0f ? INT32_MIN : (int32_t)x)); }
PFX_UNUSED static inline int16_t PFX_to_int16(float x) { return (int16_t)PFX_to_int32(x); }
PFX_UNUSED static inline int8_t PFX_to_int8(float x) { return (int8_t)PFX_to_int32(x); }
PFX_UNUSED static inline uint8_t PFX_to_uint8(float x) { return (uint8_t)PFX_to_int32(x); }
/* Reductions of n floats that lie side by side, in 16 parts, which compilers make vectors of. */
PFX_UNUSED static float PFX_row_max(const float *x, int n) {
    float m[16], r = x[0];
    int i = 0;
    if (n >= 16) {
        for (int l = 0; l < 16; l++) m[l] = x[l];
        for (i = 16; i + 16 <= n; i += 16)
            for (int l = 0; l < 16; l++) m[l] = x[i + l] > m[l] ? x[i + l] : m[l];
        for (int l = 0; l < 16; l++) r = m[l] > r ? m[l] : r;
    }
    for (; i < n; i++) r = x[i] > r ? x[i] : r;
    return r;
}
PFX_UNUSED static float PFX_row_sum(const float *x, int n) {
    float m[16], r = 0.0f;
    int i = 0;
    for (int l = 0; l < 16; l++) m[l] = 0.0f;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) m[l] += x[i + l];
    for (int l = 0; l < 16; l++) r += m[l];
    for (; i < n; i++) r += x[i];
    return r;
}
/* The sum of squares of what is left when d is taken away. */
PFX_UNUSED static float PFX_row_squares(const float *x, int n, float d) {
    float m[16], r = 0.0f;
    int i = 0;
    for (int l = 0; l < 16; l++) m[l] = 0.0f;
    for (; i + 16 <= n; i += 16)
        for (int l = 0; l < 16; l++) m[l] += (x[i + l] - d) * (x[i + l] - d);
    for (int l = 0; l < 16; l++) r += m[l];
    for (; i < n; i++) r += (x[i] - d) * (x[i] - d);
    return r;
}
