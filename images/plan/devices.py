"""Peak rates and memory of accelerators, from their makers' data sheets; rates are dense, without 2:4 sparsity.

The rates were compared with public copies of the data sheets and of their tables: H100 (SXM, PCIe), A100, L40S, H200
and RTX 4090 agree.
"""

from __future__ import annotations

from typing import NamedTuple


class Device(NamedTuple):
    """Peak rate of dense bf16 products accumulated in float32, and memory."""

    flops: float
    """A second. Where the data sheet gives the rate with 2:4 sparsity, half of it."""
    memory: float
    """Bytes; the data sheets' GB are 10^9 of them."""
    source: str


DEVICES = {
    "h200": Device(989.5e12, 141e9, "NVIDIA H200 Tensor Core GPU data sheet, SXM: 1,979 TFLOPS with sparsity, 141 GB"),
    "h100": Device(989.5e12, 80e9, "NVIDIA H100 Tensor Core GPU data sheet, SXM: 1,979 TFLOPS with sparsity, 80 GB"),
    "h100-pcie": Device(
        756.5e12, 80e9, "NVIDIA H100 Tensor Core GPU data sheet, PCIe: 1,513 TFLOPS with sparsity, 80 GB"
    ),
    "a100": Device(312e12, 80e9, "NVIDIA A100 Tensor Core GPU data sheet, 80GB SXM: 312 TFLOPS dense, 80 GB"),
    "a100-40gb": Device(312e12, 40e9, "NVIDIA A100 Tensor Core GPU data sheet, 40GB: 312 TFLOPS dense, 40 GB"),
    "l40s": Device(362.05e12, 48e9, "NVIDIA L40S data sheet: 362.05 TFLOPS dense, 48 GB"),
    "rtx4090": Device(
        165.2e12, 24e9, "NVIDIA Ada GPU architecture white paper: 165.2 TFLOPS dense, float32 sums, 24 GB"
    ),
}
