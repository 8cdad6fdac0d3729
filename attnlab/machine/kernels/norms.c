/* Batch normalisation in training and what follows it, in one pass over the map to read its statistics and one to write
 * the result; backward likewise. norms.py documents it; the tests compare it with plain PyTorch.
 *
 * A map is bfloat16, (B, P, C): images, positions, channels; C is a divisor or a multiple of LANES. Where it is a
 * divisor, `fold` positions are taken side by side as one row of LANES. Arithmetic is float32, sums over images double;
 * every result is rounded once, to nearest even. Sums are taken image by image, so that they do not depend on threads.
 *
 * stats (5, C): k, mean, 1 / sd, a, b with BN(x) = a x + b; k: the mean over the first image, which sums are taken relative to.
 */
#include "bf16.h"

#define LANES (2 * WIDTH)

/* f where y > 0 or NaN, else 0: what ReLU lets through. */
static inline floats through(floats f, floats y) { return (floats)((words)f & ~(words)(y <= 0)); }

static inline long folded(long C) { return C < LANES ? LANES / C : 1; }

/* Per-channel values (C) for a row, (C fold). */
static inline void spread(const float *values, long C, long fold, float *row) {
  for (long f = 0; f < fold; f++) memcpy(row + f * C, values, C * sizeof(float));
}

/* k (C): the mean over positions of one image. */
static void near_mean(const bf16 *x, long P, long C, float *k) {
  memset(k, 0, C * sizeof(float));
  for (long p = 0; p < P; p++)
    for (long c = 0; c < C; c++) k[c] += wide(x[p * C + c]);
  for (long c = 0; c < C; c++) k[c] /= P;
}

/* sum (B, C) of x - k, and `squares` (B, C) of its square. */
static void moments(const bf16 *x, long B, long P, long C, const float *k, float *sum, float *squares) {
  long fold = folded(C), row = C * fold, n = C < LANES ? C : LANES;
#pragma omp parallel for
  for (long b = 0; b < B; b++)
    for (long c0 = 0; c0 < row; c0 += LANES) {
      const bf16 *from = x + b * P * C + c0;
      float shift[LANES], sums[2][LANES];
      if (fold > 1) spread(k, C, fold, shift);
      else memcpy(shift, k + c0, sizeof shift);
      floats k0 = AT(shift), k1 = AT(shift + WIDTH), s0 = {0}, s1 = {0}, q0 = {0}, q1 = {0};
      for (long r = 0; r < P / fold; r++, from += row) {
        floats x0 = get(from) - k0, x1 = get(from + WIDTH) - k1;
        s0 += x0, s1 += x1, q0 += x0 * x0, q1 += x1 * x1;
      }
      AT(sums[0]) = s0, AT(sums[0] + WIDTH) = s1, AT(sums[1]) = q0, AT(sums[1] + WIDTH) = q1;
      for (long i = 0; i < n; i++) {
        float s = 0, q = 0;
        for (long f = 0; f < fold; f++) s += sums[0][f * n + i], q += sums[1][f * n + i];
        sum[b * C + c0 + i] = s, squares[b * C + c0 + i] = q;
      }
    }
}

/* The first position of the largest sign x over positions, (B, C). */
static void places(const bf16 *x, long B, long P, long C, const float *sign, int64_t *place) {
  long fold = folded(C), row = C * fold;
#pragma omp parallel for
  for (long b = 0; b < B; b++)
    for (long c0 = 0; c0 < row; c0 += WIDTH) {
      const bf16 *from = x + b * P * C + c0;
      float signs[LANES], most[WIDTH];
      int32_t at[WIDTH];
      if (fold > 1) spread(sign, C, fold, signs);
      else memcpy(signs, sign + c0, WIDTH * sizeof(float));
      floats s = AT(signs + (fold > 1 ? c0 : 0)), largest = get(from) * s;
      ints where = {0};
      for (int32_t r = 1; r < P / fold; r++) {
        floats v = get(from + r * row) * s;
        ints more = v > largest;
        where = (more & r) | (~more & where);
        largest = choose(more, v, largest);
      }
      AT(most) = largest, *(ints *)at = where;
      for (long i = 0; i < WIDTH; i++) {
        long c = (c0 + i) % C, p = at[i] * fold + (c0 + i) / C * (fold > 1);
        int64_t *kept = place + b * C + c;
        if (fold > 1 && c0 + i >= C) { /* another position of this channel came before */
          float before = wide(x[(b * P + *kept) * C + c]) * sign[c];
          if (most[i] < before || (most[i] == before && p > *kept)) continue;
        }
        *kept = p;
      }
    }
}

/* stats and the running ones from one batch; sum (B, C): of x - k. mean, largest (B, C): of BN(x) over positions,
 * place (B, C): where the largest first is; each may be null. */
void norm_pool(const bf16 *x, long B, long P, long C, const float *weight, const float *bias, float *running_mean,
               float *running_var, double eps, double momentum, float *stats, float *sum, bf16 *mean, bf16 *largest,
               int64_t *place) {
  float *k = stats, *a = stats + 3 * C, *shift = stats + 4 * C, *squares = malloc(B * C * sizeof(float));
  double N = (double)B * P;
  near_mean(x, P, C, k);
  moments(x, B, P, C, k, sum, squares);
  for (long c = 0; c < C; c++) {
    double s = 0, q = 0;
    for (long b = 0; b < B; b++) s += sum[b * C + c], q += squares[b * C + c];
    double from_k = s / N, var = q / N - from_k * from_k;
    if (var < 0) var = 0;
    double centre = k[c] + from_k, inverse = 1 / sqrt(var + eps);
    stats[C + c] = (float)centre, stats[2 * C + c] = (float)inverse;
    a[c] = (float)(weight[c] * inverse), shift[c] = (float)(bias[c] - centre * weight[c] * inverse);
    running_mean[c] = (float)((1 - momentum) * running_mean[c] + momentum * centre);
    running_var[c] = (float)((1 - momentum) * running_var[c] + momentum * var * N / (N - 1));
  }
  free(squares);
  if (mean)
    for (long i = 0; i < B * C; i++) mean[i] = narrow(a[i % C] * (sum[i] / P + k[i % C]) + shift[i % C]);
  if (largest) {
    places(x, B, P, C, a, place);
    for (long i = 0; i < B * C; i++) {
      largest[i] = narrow(a[i % C] * wide(x[(i / C * P + place[i]) * C + i % C]) + shift[i % C]);
    }
  }
}

/* y = [relu](m BN(x) + shortcut); m (B, C), null: 1; shortcut null: 0. */
void norm_times(const bf16 *x, long B, long P, long C, const float *stats, const bf16 *m, const bf16 *shortcut,
                long relu, bf16 *y) {
  const float *a = stats + 3 * C, *shift = stats + 4 * C;
  long fold = folded(C), row = C * fold;
#pragma omp parallel for
  for (long b = 0; b < B; b++) {
    float *factor = malloc(2 * row * sizeof(float)), *added = factor + row;
    for (long c = 0; c < row; c++) {
      float by = m ? wide(m[b * C + c % C]) : 1;
      factor[c] = a[c % C] * by, added[c] = shift[c % C] * by;
    }
    for (long at = b * P * C; at < (b + 1) * P * C; at += row)
      for (long c = 0; c < row; c += WIDTH) {
        floats v = get(x + at + c) * AT(factor + c) + AT(added + c);
        if (shortcut) v += get(shortcut + at + c);
        if (relu) v = through(v, v);
        put(y + at + c, v);
      }
    free(factor);
  }
}

/* From the gradient of that y: g (same shape) = dy where the ReLU let through, the gradient of the shortcut; null: not
 * written, and the ReLU's part is found from x (there is no shortcut then). token (3, B, C): m, the sum over positions
 * of g, and of g (x - k). dm (B, C), may be null. */
void norm_times_backward(const bf16 *dy, const bf16 *y, const bf16 *x, long B, long P, long C, const float *stats,
                         const bf16 *m, long relu, bf16 *g, float *token, bf16 *dm) {
  const float *k = stats, *a = stats + 3 * C, *shift = stats + 4 * C;
  float *sum = token + B * C, *product = token + 2 * B * C;
  long fold = folded(C), row = C * fold, n = C < LANES ? C : LANES;
#pragma omp parallel for
  for (long b = 0; b < B; b++) {
    for (long c = 0; c < C; c++) token[b * C + c] = m ? wide(m[b * C + c]) : 1;
    for (long c0 = 0; c0 < row; c0 += LANES) {
      float fixed[3][LANES], sums[2][LANES];
      for (long i = 0; i < LANES; i++) {
        long c = (c0 + i) % C;
        fixed[0][i] = k[c], fixed[1][i] = a[c] * token[b * C + c], fixed[2][i] = shift[c] * token[b * C + c];
      }
      floats k0 = AT(fixed[0]), k1 = AT(fixed[0] + WIDTH), a0 = AT(fixed[1]), a1 = AT(fixed[1] + WIDTH);
      floats b0 = AT(fixed[2]), b1 = AT(fixed[2] + WIDTH), s0 = {0}, s1 = {0}, q0 = {0}, q1 = {0};
      for (long at = b * P * C + c0; at < (b + 1) * P * C; at += row) {
        floats x0 = get(x + at), x1 = get(x + at + WIDTH), g0 = get(dy + at), g1 = get(dy + at + WIDTH);
        if (relu && g) g0 = through(g0, get(y + at)), g1 = through(g1, get(y + at + WIDTH));
        if (relu && !g) g0 = through(g0, x0 * a0 + b0), g1 = through(g1, x1 * a1 + b1);
        if (g) put(g + at, g0), put(g + at + WIDTH, g1);
        s0 += g0, s1 += g1, q0 += g0 * (x0 - k0), q1 += g1 * (x1 - k1);
      }
      AT(sums[0]) = s0, AT(sums[0] + WIDTH) = s1, AT(sums[1]) = q0, AT(sums[1] + WIDTH) = q1;
      for (long i = 0; i < n; i++) {
        long c = c0 + i;
        float s = 0, q = 0;
        for (long f = 0; f < fold; f++) s += sums[0][f * n + i], q += sums[1][f * n + i];
        sum[b * C + c] = s, product[b * C + c] = q;
        if (dm) dm[b * C + c] = narrow(a[c] * q + (a[c] * k[c] + shift[c]) * s);
      }
    }
  }
}

/* dx, dweight, dbias of norm_pool, from g and token as norm_times_backward gives them. relu: g is dy still, what the
 * ReLU let through is found from x. dmean, dlargest (B, C) with place: gradients of what was pooled, each may be null. */
void norm_pool_backward(const bf16 *g, const bf16 *x, long B, long P, long C, const float *stats, const float *sum,
                        const float *token, long relu, const bf16 *dmean, const bf16 *dlargest, const int64_t *place,
                        bf16 *dx, float *dweight, float *dbias) {
  const float *k = stats, *mean = stats + C, *inverse = stats + 2 * C, *a = stats + 3 * C, *shift = stats + 4 * C;
  double N = (double)B * P;
  float *by_x = malloc(2 * C * sizeof(float)), *constant = by_x + C;
  for (long c = 0; c < C; c++) { /* dz: the gradient of BN(x) */
    double of_dz = 0, of_dz_x = 0;
    for (long b = 0; b < B; b++) {
      long i = b * C + c;
      double share = dmean ? wide(dmean[i]) : 0, peak = dlargest ? wide(dlargest[i]) : 0;
      of_dz += token[i] * token[B * C + i] + share + peak;
      of_dz_x += token[i] * token[2 * B * C + i] + share * sum[i] / P;
      if (dlargest) of_dz_x += peak * (wide(x[(b * P + place[i]) * C + c]) - k[c]);
    }
    of_dz_x -= of_dz * ((double)mean[c] - k[c]);
    dbias[c] = (float)of_dz, dweight[c] = (float)(of_dz_x * inverse[c]);
    double slope = (double)inverse[c] * inverse[c] * of_dz_x / N;
    by_x[c] = (float)(-a[c] * slope), constant[c] = (float)(a[c] * (mean[c] * slope - of_dz / N));
  }
  long fold = folded(C), row = C * fold;
#pragma omp parallel for
  for (long b = 0; b < B; b++) {
    float *factor = malloc(4 * row * sizeof(float)), *slope = factor + row, *added = slope + row;
    float *offset = added + row;
    for (long i = 0; i < row; i++) {
      long c = i % C, at = b * C + c;
      factor[i] = a[c] * token[at], slope[i] = by_x[c];
      added[i] = constant[c] + (dmean ? a[c] * wide(dmean[at]) / P : 0);
      offset[i] = shift[c] * token[at];
    }
    for (long at = b * P * C; at < (b + 1) * P * C; at += row)
      for (long c = 0; c < row; c += WIDTH) {
        floats v = get(x + at + c), d = get(g + at + c);
        if (relu) d = through(d, v * AT(factor + c) + AT(offset + c));
        put(dx + at + c, d * AT(factor + c) + v * AT(slope + c) + AT(added + c));
      }
    if (dlargest)
      for (long c = 0; c < C; c++) { /* once more where the largest is, unrounded */
        long at = (b * P + place[b * C + c]) * C + c;
        float v = wide(x[at]), d = relu && v * factor[c] + offset[c] <= 0 ? 0 : wide(g[at]);
        dx[at] = narrow(d * factor[c] + v * slope[c] + added[c] + a[c] * wide(dlargest[b * C + c]));
      }
    free(factor);
  }
  free(by_x);
}
