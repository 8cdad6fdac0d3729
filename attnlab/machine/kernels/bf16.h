/* bfloat16, one value or a vector of them: to float32, and back to nearest even; sums and maxima within a vector. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef uint16_t bf16;
#define WIDTH 16 /* floats in a vector of AVX512; elsewhere the compiler takes several */
typedef float floats __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(4 * WIDTH), aligned(4), may_alias));
typedef uint32_t words __attribute__((vector_size(4 * WIDTH)));
typedef bf16 halves __attribute__((vector_size(2 * WIDTH), aligned(2), may_alias));
#define AT(from) (*(floats *)(from))

static inline float wide(bf16 v) {
  uint32_t bits = (uint32_t)v << 16;
  float f;
  memcpy(&f, &bits, 4);
  return f;
}

static inline bf16 narrow(float f) {
  uint32_t bits;
  memcpy(&bits, &f, 4);
  uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  return (bf16)(f != f ? 0x7fc0 : rounded); /* NaN stays NaN */
}

static inline floats get(const bf16 *from) { return (floats)(__builtin_convertvector(*(const halves *)from, words) << 16); }

static inline void put(bf16 *to, floats f) {
  words bits = (words)f, nan = (words)(f != f), rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  *(halves *)to = __builtin_convertvector((nan & 0x7fc0) | (~nan & rounded), halves);
}

/* a where `where` is all ones, b where it is 0. */
static inline floats choose(ints where, floats a, floats b) { return (floats)((where & (ints)a) | (~where & (ints)b)); }

#ifdef __clang__
#define TURNED(v, ...) __builtin_shufflevector(v, v, __VA_ARGS__)
#else
#define TURNED(v, ...) __builtin_shuffle(v, (ints){__VA_ARGS__})
#endif
#define BY_8(v) TURNED(v, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7)
#define BY_4(v) TURNED(v, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11)
#define BY_2(v) TURNED(v, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13)
#define BY_1(v) TURNED(v, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14)

static inline float total(floats v) {
  v += BY_8(v), v += BY_4(v), v += BY_2(v), v += BY_1(v);
  return v[0];
}

static inline floats larger(floats a, floats b) { return choose(a > b, a, b); }

static inline float largest_of(floats v) {
  v = larger(v, BY_8(v)), v = larger(v, BY_4(v)), v = larger(v, BY_2(v)), v = larger(v, BY_1(v));
  return v[0];
}
