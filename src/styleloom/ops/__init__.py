"""Tensor operations of the papers: each fast path beside a slow reference of the same signature.

Everything is plain PyTorch, runs on CPU, CUDA and MPS and differentiates to any order.

In the order in which to read:

- bias_act: bias, activation, gain and clamp
- upfirdn: upsampling, filtering and downsampling of images
- conv2d: convolution whose second derivative is as fast as its first
- resample_conv: convolution with a change of resolution
- conv_layer: convolution, bias and activation as one layer
- modulated_conv: StyleGAN2's convolution, scaled by a style
- instance_norm: instance normalization
- winograd: 3x3 convolution with fewer multiplications, on the CPU
- derived: what follows from weights alone, kept while they stay
- tracing: whether torch.compile, torch.export or torch.func sees a call
"""
