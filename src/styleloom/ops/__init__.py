"""Tensor operations of the papers: each fast path beside a slow reference of the same signature.

Everything is plain PyTorch, runs on CPU, CUDA and MPS and differentiates to any order.
"""
