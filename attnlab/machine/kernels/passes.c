/* The passes of passes.py over bfloat16 maps in channels_last, which PyTorch's CPU kernels do slowly.
 *
 * A map x is (B, P, C): images, positions, channels. Sums are kept in float32, every result is rounded once, to nearest
 * even. passes.py documents each function; the tests compare the gates built from them with plain PyTorch.
 */
#include "bf16.h"

/* mean, largest, first place of the largest over positions, each (B, C); a null pointer is not computed. */
void pool_positions(const bf16 *x, long B, long P, long C, bf16 *mean, bf16 *largest, int64_t *place) {
#pragma omp parallel for
  for (long b = 0; b < B; b++)
    for (long c0 = 0; c0 < C; c0 += WIDTH) {
      const bf16 *image = x + b * P * C + c0;
      long n = C - c0 < WIDTH ? C - c0 : WIDTH;
      float sum[WIDTH] = {0}, most[WIDTH];
      int32_t at[WIDTH] = {0};
      for (long i = 0; i < n; i++) most[i] = wide(image[i]);
      if (n == WIDTH) {
        for (long p = 0; p < P; p++) {
#pragma omp simd
          for (long i = 0; i < WIDTH; i++) {
            float v = wide(image[p * C + i]);
            sum[i] += v;
            at[i] = v > most[i] ? (int32_t)p : at[i];
            most[i] = v > most[i] ? v : most[i];
          }
        }
      } else {
        for (long p = 0; p < P; p++)
          for (long i = 0; i < n; i++) {
            float v = wide(image[p * C + i]);
            sum[i] += v;
            if (v > most[i]) most[i] = v, at[i] = (int32_t)p;
          }
      }
      for (long i = 0; i < n; i++) {
        long to = b * C + c0 + i;
        if (mean) mean[to] = narrow(sum[i] / P);
        /* a sum of NaN: the maximum is NaN too, as in PyTorch */
        if (largest) largest[to] = sum[i] != sum[i] ? 0x7fc0 : narrow(most[i]), place[to] = at[i];
      }
    }
}

/* y = x m + g, m and g (B, C); g null: 0; h null, or (B, C): added at the positions `place`. */
void times_channels(const bf16 *x, long B, long P, long C, const bf16 *m, const bf16 *g, const bf16 *h,
                    const int64_t *place, bf16 *y) {
#pragma omp parallel for
  for (long b = 0; b < B; b++) {
    float *factor = malloc(2 * C * sizeof(float)), *added = factor + C;
    for (long c = 0; c < C; c++) factor[c] = wide(m[b * C + c]), added[c] = g ? wide(g[b * C + c]) : 0;
    for (long p = 0; p < P; p++) {
      const bf16 *from = x + (b * P + p) * C;
      bf16 *to = y + (b * P + p) * C;
#pragma omp simd
      for (long c = 0; c < C; c++) to[c] = narrow(wide(from[c]) * factor[c] + added[c]);
    }
    if (h)
      for (long c = 0; c < C; c++) {
        long at = (b * P + place[b * C + c]) * C + c;
        y[at] = narrow(wide(x[at]) * factor[c] + added[c] + wide(h[b * C + c]));
      }
    free(factor);
  }
}

/* d (B, C): sum over positions of a b. */
void dot_positions(const bf16 *a, const bf16 *b_, long B, long P, long C, bf16 *d) {
#pragma omp parallel for
  for (long b = 0; b < B; b++)
    for (long c0 = 0; c0 < C; c0 += WIDTH) {
      const bf16 *u = a + b * P * C + c0, *v = b_ + b * P * C + c0;
      long n = C - c0 < WIDTH ? C - c0 : WIDTH;
      float sum[WIDTH] = {0};
      if (n == WIDTH) {
        for (long p = 0; p < P; p++) {
#pragma omp simd
          for (long i = 0; i < WIDTH; i++) sum[i] += wide(u[p * C + i]) * wide(v[p * C + i]);
        }
      } else {
        for (long p = 0; p < P; p++)
          for (long i = 0; i < n; i++) sum[i] += wide(u[p * C + i]) * wide(v[p * C + i]);
      }
      for (long i = 0; i < n; i++) d[b * C + c0 + i] = narrow(sum[i]);
    }
}

/* largest and mean over channels, each (N): N = B P. */
void pool_channels(const bf16 *x, long N, long C, bf16 *largest, bf16 *mean) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) {
    const bf16 *pixel = x + n * C;
    float sum = 0, most = -INFINITY;
    if (C >= WIDTH) {
      floats sums = get(pixel), mosts = sums;
      for (long c = WIDTH; c + WIDTH <= C; c += WIDTH) {
        floats v = get(pixel + c);
        sums += v, mosts = larger(v, mosts);
      }
      sum = total(sums), most = largest_of(mosts);
    }
    for (long c = C / WIDTH * WIDTH; c < C; c++) {
      float v = wide(pixel[c]);
      sum += v;
      most = v > most ? v : most;
    }
    largest[n] = sum != sum ? 0x7fc0 : narrow(most);
    mean[n] = narrow(sum / C);
  }
}

/* y = x s, s (N). */
void times_positions(const bf16 *x, long N, long C, const bf16 *s, bf16 *y) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) {
    float factor = wide(s[n]);
#pragma omp simd
    for (long c = 0; c < C; c++) y[n * C + c] = narrow(wide(x[n * C + c]) * factor);
  }
}

/* d (N): sum over channels of a b. */
void dot_channels(const bf16 *a, const bf16 *b, long N, long C, bf16 *d) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) {
    const bf16 *u = a + n * C, *v = b + n * C;
    floats sums = {0};
    long c = 0;
    for (; c + WIDTH <= C; c += WIDTH) sums += get(u + c) * get(v + c);
    float sum = total(sums);
    for (; c < C; c++) sum += wide(u[c]) * wide(v[c]);
    d[n] = narrow(sum);
  }
}

/* dx = dy s + g + h / ties where x is `largest`; s, g, h, largest (N). */
void times_positions_backward(const bf16 *dy, const bf16 *x, long N, long C, const bf16 *s, const bf16 *g,
                              const bf16 *h, const bf16 *largest, bf16 *dx) {
#pragma omp parallel for
  for (long n = 0; n < N; n++) {
    const bf16 *pixel = x + n * C, *from = dy + n * C;
    bf16 *to = dx + n * C;
    float factor = wide(s[n]), added = wide(g[n]), most = wide(largest[n]);
    const floats one = (floats){0} + 1, none = {0};
    floats counts = {0};
    long c = 0;
    for (; c + WIDTH <= C; c += WIDTH) counts += choose(get(pixel + c) == most, one, none);
    float ties = total(counts);
    for (; c < C; c++) ties += wide(pixel[c]) == most ? 1.0f : 0.0f;
    float share = ties > 0 ? wide(h[n]) / ties : 0;
    for (c = 0; c + WIDTH <= C; c += WIDTH)
      put(to + c, get(from + c) * factor + added + choose(get(pixel + c) == most, none + share, none));
    for (; c < C; c++) to[c] = narrow(wide(from[c]) * factor + added + (wide(pixel[c]) == most ? share : 0.0f));
  }
}

#define ROWS 4 /* of an output, computed together: their sums stay in registers */
#define TAPS 4 /* of a kernel's row, likewise */

/* The distance between rows and the number of rows of a plane with space for a border and for full tiles. */
static inline long row_length(long W, long k) { return (W + WIDTH - 1) / WIDTH * WIDTH + k - 1 + TAPS; }
static inline long row_count(long H, long k) { return (H + ROWS - 1) / ROWS * ROWS + k - 1; }

/* The planes of one image, (C, H, W), as floats, with k / 2 zeros before and at least as many behind. */
static void padded(const bf16 *planes, long C, long H, long W, long k, float *out) {
  long wide_row = row_length(W, k), plane = row_count(H, k) * wide_row, r = k / 2;
  memset(out, 0, C * plane * sizeof(float));
  for (long c = 0; c < C; c++)
    for (long i = 0; i < H; i++)
      for (long j = 0; j < W; j++) out[c * plane + (i + r) * wide_row + j + r] = wide(planes[(c * H + i) * W + j]);
}

/* out (O, H, W) = the k x k kernel (O, C, k, k) over padded planes of C channels. */
static void correlate(const float *planes, long C, long H, long W, long k, const float *kernel, long O, bf16 *out) {
  long wide_row = row_length(W, k), plane = row_count(H, k) * wide_row;
  for (long o = 0; o < O; o++)
    for (long i0 = 0; i0 < H; i0 += ROWS)
      for (long j0 = 0; j0 < W; j0 += WIDTH) {
        floats sums[ROWS] = {0};
        for (long c = 0; c < C; c++)
          for (long u = 0; u < k; u++)
            for (long v = 0; v < k; v++) {
              float weight = kernel[((o * C + c) * k + u) * k + v];
              const float *from = planes + c * plane + (i0 + u) * wide_row + j0 + v;
              for (long r = 0; r < ROWS; r++) sums[r] += weight * AT(from + r * wide_row);
            }
        for (long r = 0; r < ROWS && i0 + r < H; r++)
          for (long j = 0; j < WIDTH && j0 + j < W; j++) out[(o * H + i0 + r) * W + j0 + j] = narrow(sums[r][j]);
      }
}

/* planes (B, C, H, W), kernel float32 (C, k, k) -> out (B, H, W): a `same` convolution to one channel. */
void conv_planes(const bf16 *planes, long B, long C, long H, long W, const float *kernel, long k, bf16 *out) {
#pragma omp parallel for
  for (long b = 0; b < B; b++) {
    float *buffer = malloc(C * row_count(H, k) * row_length(W, k) * sizeof(float));
    padded(planes + b * C * H * W, C, H, W, k, buffer);
    correlate(buffer, C, H, W, k, kernel, 1, out + b * H * W);
    free(buffer);
  }
}

/* Its gradients: of the planes, and of the kernel image by image, (B, C, k, k); flipped: the kernel turned by 180
 * degrees, (C, k, k). */
void conv_planes_backward(const bf16 *dout, const bf16 *planes, long B, long C, long H, long W, const float *flipped,
                          long k, bf16 *dplanes, float *dkernel) {
  long wide_row = row_length(W, k), plane = row_count(H, k) * wide_row;
#pragma omp parallel for
  for (long b = 0; b < B; b++) {
    float *buffer = malloc((C + 1) * plane * sizeof(float)), *g = buffer + C * plane;
    padded(planes + b * C * H * W, C, H, W, k, buffer);
    padded(dout + b * H * W, 1, H, W, k, g);
    correlate(g, 1, H, W, k, flipped, C, dplanes + b * C * H * W);
    for (long c = 0; c < C; c++)
      for (long u = 0; u < k; u++)
        for (long v0 = 0; v0 < k; v0 += TAPS) {
          floats sums[TAPS] = {0};
          for (long i = 0; i < H; i++)
            for (long j = 0; j < W; j += WIDTH) { /* beyond W the gradient is 0 */
              floats grad = AT(g + (i + k / 2) * wide_row + k / 2 + j);
              const float *from = buffer + c * plane + (i + u) * wide_row + j + v0;
              for (long v = 0; v < TAPS; v++) sums[v] += grad * AT(from + v);
            }
          for (long v = 0; v < TAPS && v0 + v < k; v++) {
            float sum = 0;
            for (long j = 0; j < WIDTH; j++) sum += sums[v][j];
            dkernel[((b * C + c) * k + u) * k + v0 + v] = sum;
          }
        }
    free(buffer);
  }
}

/* mean over columns j, (B, H, C), and over rows i, (B, W, C), of x (B, H, W, C). */
void pool_axes(const bf16 *x, long B, long H, long W, long C, bf16 *rows, bf16 *columns) {
#pragma omp parallel for
  for (long b = 0; b < B; b++) {
    float *along = calloc((W + 1) * C, sizeof(float)), *row = along + W * C;
    for (long i = 0; i < H; i++) {
      memset(row, 0, C * sizeof(float));
      for (long j = 0; j < W; j++) {
        const bf16 *from = x + ((b * H + i) * W + j) * C;
        float *column = along + j * C;
#pragma omp simd
        for (long c = 0; c < C; c++) {
          float v = wide(from[c]);
          row[c] += v;
          column[c] += v;
        }
      }
      for (long c = 0; c < C; c++) rows[(b * H + i) * C + c] = narrow(row[c] / W);
    }
    for (long at = 0; at < W * C; at++) columns[b * W * C + at] = narrow(along[at] / H);
    free(along);
  }
}

/* y = x p q + g + h; p, g (B, H, C), one value a row and channel; q, h (B, W, C), one a column; g, h null: 0. */
void times_axes(const bf16 *x, long B, long H, long W, long C, const bf16 *p, const bf16 *q, const bf16 *g,
                const bf16 *h, bf16 *y) {
#pragma omp parallel for
  for (long b = 0; b < B; b++)
    for (long i = 0; i < H; i++)
      for (long j = 0; j < W; j++) {
        long at = ((b * H + i) * W + j) * C, row = (b * H + i) * C, column = (b * W + j) * C;
        if (g) {
#pragma omp simd
          for (long c = 0; c < C; c++)
            y[at + c] = narrow(wide(x[at + c]) * wide(p[row + c]) * wide(q[column + c]) + wide(g[row + c]) +
                               wide(h[column + c]));
        } else {
#pragma omp simd
          for (long c = 0; c < C; c++) y[at + c] = narrow(wide(x[at + c]) * wide(p[row + c]) * wide(q[column + c]));
        }
      }
}

/* dp (B, H, C) = sum over columns of dy x q; dq (B, W, C) = sum over rows of dy x p. */
void dot_axes(const bf16 *dy, const bf16 *x, long B, long H, long W, long C, const bf16 *p, const bf16 *q, bf16 *dp,
              bf16 *dq) {
#pragma omp parallel for
  for (long b = 0; b < B; b++) {
    float *along = calloc((W + 1) * C, sizeof(float)), *row = along + W * C;
    for (long i = 0; i < H; i++) {
      memset(row, 0, C * sizeof(float));
      for (long j = 0; j < W; j++) {
        long at = ((b * H + i) * W + j) * C;
        float *column = along + j * C;
#pragma omp simd
        for (long c = 0; c < C; c++) {
          float v = wide(dy[at + c]) * wide(x[at + c]);
          row[c] += v * wide(q[(b * W + j) * C + c]);
          column[c] += v * wide(p[(b * H + i) * C + c]);
        }
      }
      for (long c = 0; c < C; c++) dp[(b * H + i) * C + c] = narrow(row[c]);
    }
    for (long at = 0; at < W * C; at++) dq[b * W * C + at] = narrow(along[at]);
    free(along);
  }
}
