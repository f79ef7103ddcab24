/* What CMSIS-NN's documentation says that its functions compute, the slow obvious way.
   WRONG_BY is added to every result of the one that it names, which a caller has to notice. */
#include "arm_nnfunctions.h"
#include <string.h>

#ifndef CONVOLUTION_WRONG_BY
#define CONVOLUTION_WRONG_BY 0
#endif
#ifndef POOL_WRONG_BY
#define POOL_WRONG_BY 0
#endif

static int32_t clamp(int32_t value, cmsis_nn_activation range) {
  return value < range.min ? range.min : value > range.max ? range.max : value;
}

/* Doubled high half with halves up, then a shift to the right with halves away from zero. */
static int32_t requantize(int32_t value, int32_t multiplier, int32_t shift) {
  const int64_t high = ((int64_t)value * multiplier + ((int64_t)1 << 30)) >> 31;
  const int64_t half = shift ? (int64_t)1 << (-shift - 1) : 0;
  return (int32_t)(high < 0 ? -((-high + half) >> -shift) : (high + half) >> -shift);
}

int32_t arm_convolve_wrapper_s8_get_buffer_size(const cmsis_nn_conv_params *params,
                                                const cmsis_nn_dims *input,
                                                const cmsis_nn_dims *filter,
                                                const cmsis_nn_dims *output) {
  (void)params;
  (void)output;
  return 4 * ((input->c * filter->w * filter->h + 15) / 16 * 16);
}

arm_cmsis_nn_status arm_convolve_wrapper_s8(
    const cmsis_nn_context *ctx, const cmsis_nn_conv_params *params,
    const cmsis_nn_per_channel_quant_params *scales, const cmsis_nn_dims *input, const int8_t *x,
    const cmsis_nn_dims *filter, const int8_t *w, const cmsis_nn_dims *bias_dims,
    const int32_t *bias, const cmsis_nn_dims *output, int8_t *y) {
  const int32_t needed = arm_convolve_wrapper_s8_get_buffer_size(params, input, filter, output);
  if (ctx->size < needed || (uintptr_t)ctx->buf % 4 || input->n != 1 || output->n != 1 ||
      filter->n != output->c || filter->c != input->c || bias_dims->c != output->c ||
      params->dilation.w != 1 || params->dilation.h != 1)
    return ARM_CMSIS_NN_ARG_ERROR;
  memset(ctx->buf, 85, (size_t)needed);
  for (int32_t row = 0; row < output->h; row++)
    for (int32_t column = 0; column < output->w; column++)
      for (int32_t k = 0; k < output->c; k++) {
        int32_t sum = bias[k];
        for (int32_t i = 0; i < filter->h; i++)
          for (int32_t j = 0; j < filter->w; j++) {
            const int32_t a = row * params->stride.h - params->padding.h + i;
            const int32_t b = column * params->stride.w - params->padding.w + j;
            if (a < 0 || a >= input->h || b < 0 || b >= input->w)
              continue;
            for (int32_t c = 0; c < input->c; c++)
              sum += (x[(a * input->w + b) * input->c + c] + params->input_offset) *
                     w[((k * filter->h + i) * filter->w + j) * filter->c + c];
          }
        sum = requantize(sum, scales->multiplier[k], scales->shift[k]) + params->output_offset;
        *y++ = (int8_t)clamp(sum + CONVOLUTION_WRONG_BY, params->activation);
      }
  return ARM_CMSIS_NN_SUCCESS;
}

arm_cmsis_nn_status arm_max_pool_s8(const cmsis_nn_context *ctx, const cmsis_nn_pool_params *params,
                                    const cmsis_nn_dims *input, const int8_t *x,
                                    const cmsis_nn_dims *filter, const cmsis_nn_dims *output,
                                    int8_t *y) {
  (void)ctx;
  if (input->n != 1 || output->n != 1 || input->c != output->c)
    return ARM_CMSIS_NN_ARG_ERROR;
  for (int32_t row = 0; row < output->h; row++)
    for (int32_t column = 0; column < output->w; column++)
      for (int32_t c = 0; c < output->c; c++) {
        int32_t most = -128;
        for (int32_t i = 0; i < filter->h; i++)
          for (int32_t j = 0; j < filter->w; j++) {
            const int32_t a = row * params->stride.h - params->padding.h + i;
            const int32_t b = column * params->stride.w - params->padding.w + j;
            if (a >= 0 && a < input->h && b >= 0 && b < input->w &&
                x[(a * input->w + b) * input->c + c] > most)
              most = x[(a * input->w + b) * input->c + c];
          }
        *y++ = (int8_t)clamp(most + POOL_WRONG_BY, params->activation);
      }
  return ARM_CMSIS_NN_SUCCESS;
}
