/*
 * The colours that the published networks were trained on: mean and standard deviation of
 * ImageNet's red, green and blue, times `scale` (1 for colours of 0..1, 255 for bytes).
 */
#ifndef SP_NN_IMAGENET_H
#define SP_NN_IMAGENET_H

#define SP_IMAGENET_MEAN(scale)                                                                    \
    {                                                                                              \
        0.485f * (scale), 0.456f * (scale), 0.406f * (scale)                                       \
    }
#define SP_IMAGENET_DEVIATION(scale)                                                               \
    {                                                                                              \
        0.229f * (scale), 0.224f * (scale), 0.225f * (scale)                                       \
    }

#endif
