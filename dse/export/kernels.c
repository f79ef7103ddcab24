/* kernel: rescale */
/* x * q / 2^31 * 2^shift in two roundings, to the nearest, as LiteRT's reference kernels do. */
static int32_t dse_rescale(int32_t x, int32_t q, int shift) {
  const int right = shift > 0 ? 0 : -shift;
  int64_t value = x;
  if (shift > 0) {
    value *= (int64_t)1 << shift;
    value = value > INT32_MAX ? INT32_MAX : value < INT32_MIN ? INT32_MIN : value;
  }
  value *= q;
  value += value >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
  const int32_t high = (int32_t)(value / ((int64_t)1 << 31));
  const int32_t mask = (int32_t)(((int64_t)1 << right) - 1);
  const int32_t threshold = (mask >> 1) + (high < 0 ? 1 : 0);
  return (high >> right) + ((high & mask) > threshold ? 1 : 0);
}

static int8_t dse_clamp(int32_t value, int32_t low) {
  return (int8_t)(value < low ? low : value > 127 ? 127 : value);
}

/* A map in the arena: a pixel's channels stand together, pitch bytes from one pixel to the next. */
typedef struct {
  int height, width, channels, pitch, zero_point;
} dse_map;

/* kernel: convolution */
#ifdef DSE_CMSIS_NN
#include "arm_nnfunctions.h"
#ifdef CMSIS_NN_USE_SINGLE_ROUNDING
#error "build CMSIS-NN without CMSIS_NN_USE_SINGLE_ROUNDING: this network rounds twice"
#endif
typedef int32_t dse_shift;
static int32_t dse_scratch[DSE_CMSIS_NN_BYTES / 4];
#else
typedef int8_t dse_shift;
#endif

typedef struct {
  int height, width, stride, padding, groups;
  int32_t low;            /* of the result: its zero point where a ReLU follows */
  const int8_t *kernel;   /* (filter, height, width, channel of the group) */
  const int32_t *bias, *multipliers;
  const dse_shift *shifts;
} dse_convolution;

#ifdef DSE_CMSIS_NN
/* The same by Arm's library; -1 where it cannot: groups, channels that stand apart in the input,
   more scratch memory than expected, a shift to the left, which it does not saturate. Results that
   stand apart are made row by row. */
static int dse_cmsis_convolve(const dse_convolution *op, const dse_map *from, const int8_t *x,
                              const dse_map *to, int8_t *y) {
  const int apart = to->pitch != to->channels, rows = apart ? 1 : to->height;
  const int row_bytes = apart ? (to->width * to->channels + 3) / 4 * 4 : 0;
  const int dense = !op->padding && op->height == from->height && op->width == from->width;
  const cmsis_nn_per_channel_quant_params scales = {(int32_t *)op->multipliers,
                                                    (int32_t *)op->shifts};
  const cmsis_nn_dims bias = {1, 1, 1, to->channels}, result = {1, rows, to->width, to->channels};
  cmsis_nn_context context = {(int8_t *)dse_scratch + row_bytes, DSE_CMSIS_NN_BYTES - row_bytes};
  if (op->groups != 1 || from->pitch != from->channels)
    return -1;
  for (int filter = 0; filter < to->channels; filter++)
    if (op->shifts[filter] > 0)
      return -1;
  for (int row = 0; row < to->height; row += rows) {
    const int top = row * op->stride - op->padding, first = top < 0 ? 0 : top;
    const int end = top + (rows - 1) * op->stride + op->height;
    const int last = end < from->height ? end : from->height;
    const cmsis_nn_conv_params params = {
        -from->zero_point, to->zero_point, {op->stride, op->stride},
        {op->padding, first - top}, {1, 1}, {op->low, 127}};
    cmsis_nn_dims input = {1, last > first ? last - first : 0, from->width, from->channels};
    cmsis_nn_dims kernel = {to->channels, op->height, op->width, from->channels};
    int8_t *into = apart ? (int8_t *)dse_scratch : y;
    if (dense) {
      const cmsis_nn_dims pixel = {1, 1, 1, from->height * from->width * from->channels};
      input = kernel = pixel;
      kernel.n = to->channels;
    }
    if (arm_convolve_wrapper_s8_get_buffer_size(&params, &input, &kernel, &result) > context.size ||
        arm_convolve_wrapper_s8(&context, &params, &scales, &input,
                                x + first * from->width * from->channels, &kernel, op->kernel,
                                &bias, op->bias, &result, into) != ARM_CMSIS_NN_SUCCESS)
      return -1;
    if (apart)
      for (int column = 0; column < to->width; column++)
        for (int filter = 0; filter < to->channels; filter++)
          y[(row * to->width + column) * to->pitch + filter] = into[column * to->channels + filter];
  }
  return 0;
}
#endif

/* The filters from begin to end, whose kernels stand at kernel. */
static void dse_convolve_filters(const dse_convolution *op, int begin, int end,
                                 const int8_t *kernel, const dse_map *from, const int8_t *x,
                                 const dse_map *to, int8_t *y) {
  const int depth = from->channels / op->groups, filters = to->channels / op->groups;
  const int32_t zero = from->zero_point;
  for (int row = 0; row < to->height; row++) {
    const int top = row * op->stride - op->padding;
    const int first_row = top < 0 ? -top : 0;
    const int last_row = top + op->height > from->height ? from->height - top : op->height;
    for (int column = 0; column < to->width; column++) {
      const int left = column * op->stride - op->padding;
      const int first = left < 0 ? -left : 0;
      const int last = left + op->width > from->width ? from->width - left : op->width;
      int8_t *result = y + (row * to->width + column) * to->pitch;
      for (int filter = begin; filter < end; filter++) {
        const int group = filter / filters;
        int32_t sum = op->bias[filter];
        for (int i = first_row; i < last_row; i++) {
          const int8_t *w =
              kernel + (((filter - begin) * op->height + i) * op->width + first) * depth;
          const int8_t *v = x + ((top + i) * from->width + left + first) * from->pitch + group * depth;
          for (int j = first; j < last; j++, v += from->pitch, w += depth)
            for (int channel = 0; channel < depth; channel++)
              sum += (v[channel] - zero) * w[channel];
        }
        sum = dse_rescale(sum, op->multipliers[filter], op->shifts[filter]) + to->zero_point;
        result[filter] = dse_clamp(sum, op->low);
      }
    }
  }
}

/* kernel: convolve */
static void dse_convolve(const dse_convolution *op, const dse_map *from, const int8_t *x,
                         const dse_map *to, int8_t *y) {
#ifdef DSE_CMSIS_NN
  if (dse_cmsis_convolve(op, from, x, to, y) == 0)
    return;
#endif
  dse_convolve_filters(op, 0, to->channels, op->kernel, from, x, to, y);
}

/* kernel: codes */
/* Kernels in canonical Huffman codes, the highest bit of a byte first, a filter after the other.
   Two codes are digits of a run of zeros, the lowest first: digit i stands for one or two times
   2^i zeros. The others are values: int8 ones, or levels, which a filter's scale makes int8. */
typedef struct {
  const uint8_t *bits;
  const uint16_t *counts; /* of codes of 1, 2, ... bits */
  int at_once;            /* filters that are decoded before they are used */
  int one, two, shift;    /* the numbers of both digits, in the order of codes */
  const int8_t *values;   /* by the number of the code; NULL where there are levels */
  const int32_t *levels, *scales;
} dse_codes;

/* The next filter of a kernel, from that bit on; where the one behind it begins. */
static uint32_t dse_decode(const dse_codes *codes, uint32_t bit, int filter, int size,
                           int8_t *kernel) {
  for (int i = 0; i < size; i++)
    kernel[i] = 0;
  for (int i = 0, digit = 1; i < size;) {
    const uint16_t *count = codes->counts;
    int code = 0, first = 0, number = 0;
    for (;; count++) {
      code += codes->bits[bit >> 3] >> (7 - (bit & 7)) & 1;
      bit++;
      if (code < first + *count)
        break;
      number += *count;
      first = (first + *count) * 2;
      code *= 2;
    }
    number += code - first;
    if (number == codes->one || number == codes->two) {
      i += number == codes->one ? digit : 2 * digit;
      digit *= 2;
      continue;
    }
    digit = 1;
    kernel[i++] = codes->values ? codes->values[number]
                                : (int8_t)(((int64_t)codes->levels[number] * codes->scales[filter] +
                                            ((int64_t)1 << (codes->shift - 1))) >> codes->shift);
  }
  return bit;
}

static void dse_convolve_coded(const dse_convolution *op, const dse_codes *codes, int8_t *kernel,
                               const dse_map *from, const int8_t *x, const dse_map *to, int8_t *y) {
  const int size = op->height * op->width * (from->channels / op->groups);
  uint32_t bit = 0;
  for (int begin = 0; begin < to->channels; begin += codes->at_once) {
    int end = begin;
    for (; end < begin + codes->at_once && end < to->channels; end++)
      bit = dse_decode(codes, bit, end, size, kernel + (end - begin) * size);
    dse_convolve_filters(op, begin, end, kernel, from, x, to, y);
  }
}

/* kernel: pixels */
/* A 1x1 convolution of uint8 pixels: order, scale, mean and standard deviation of the channels. */
static void dse_scale_pixels(const dse_convolution *op, const uint8_t *image, const dse_map *to,
                             int8_t *y) {
  for (int pixel = 0; pixel < to->height * to->width; pixel++)
    for (int filter = 0; filter < to->channels; filter++) {
      int32_t sum = op->bias[filter];
      for (int channel = 0; channel < to->channels; channel++)
        sum += image[pixel * to->channels + channel] * op->kernel[filter * to->channels + channel];
      sum = dse_rescale(sum, op->multipliers[filter], op->shifts[filter]) + to->zero_point;
      y[pixel * to->pitch + filter] = dse_clamp(sum, op->low);
    }
}

/* kernel: max_pool */
static void dse_max_pool(int window, int stride, const dse_map *from, const int8_t *x,
                         const dse_map *to, int8_t *y) {
#ifdef DSE_CMSIS_NN
  if (from->pitch == from->channels && to->pitch == to->channels) {
    const cmsis_nn_context context = {dse_scratch, DSE_CMSIS_NN_BYTES};
    const cmsis_nn_pool_params params = {{stride, stride}, {0, 0}, {-128, 127}};
    const cmsis_nn_dims input = {1, from->height, from->width, from->channels};
    const cmsis_nn_dims kernel = {1, window, window, 1};
    const cmsis_nn_dims result = {1, to->height, to->width, to->channels};
    if (arm_max_pool_s8(&context, &params, &input, x, &kernel, &result, y) == ARM_CMSIS_NN_SUCCESS)
      return;
  }
#endif
  for (int row = 0; row < to->height; row++) {
    const int top = row * stride;
    const int bottom = top + window > from->height ? from->height : top + window;
    for (int column = 0; column < to->width; column++) {
      const int left = column * stride;
      const int right = left + window > from->width ? from->width : left + window;
      int8_t *result = y + (row * to->width + column) * to->pitch;
      for (int channel = 0; channel < to->channels; channel++) {
        int8_t most = -128;
        for (int i = top; i < bottom; i++)
          for (int j = left; j < right; j++) {
            const int8_t value = x[(i * from->width + j) * from->pitch + channel];
            most = value > most ? value : most;
          }
        result[channel] = most;
      }
    }
  }
}

/* kernel: mean */
static void dse_mean(int32_t q, int shift, const dse_map *from, const int8_t *x,
                     const dse_map *to, int8_t *y) {
  for (int channel = 0; channel < to->channels; channel++) {
    int32_t sum = 0;
    for (int pixel = 0; pixel < from->height * from->width; pixel++)
      sum += x[pixel * from->pitch + channel] - from->zero_point;
    y[channel] = dse_clamp(dse_rescale(sum, q, shift) + to->zero_point, -128);
  }
}

/* kernel: add */
/* (q, shift) of the first input, of the second and of their sum. */
static void dse_add(const int32_t *q, const int8_t *shift, const dse_map *first, const int8_t *a,
                    const dse_map *second, const int8_t *b, const dse_map *to, int8_t *y) {
  for (int pixel = 0; pixel < to->height * to->width; pixel++)
    for (int channel = 0; channel < to->channels; channel++) {
      const int32_t one = a[pixel * first->pitch + channel] - first->zero_point;
      const int32_t other = b[pixel * second->pitch + channel] - second->zero_point;
      const int32_t sum = dse_rescale(one * (1 << 20), q[0], shift[0]) +
                          dse_rescale(other * (1 << 20), q[1], shift[1]);
      y[pixel * to->pitch + channel] =
          dse_clamp(dse_rescale(sum, q[2], shift[2]) + to->zero_point, -128);
    }
}

/* kernel: copy */
static void dse_copy(const dse_map *from, const int8_t *x, const dse_map *to, int8_t *y) {
  for (int pixel = 0; pixel < from->height * from->width; pixel++)
    for (int channel = 0; channel < from->channels; channel++)
      y[pixel * to->pitch + channel] = x[pixel * from->pitch + channel];
}
