"""How many of the 8 bits integer weights may use on this processor.

Without VNNI an x86 processor multiplies bytes by `vpmaddubsw`, which adds two products into 16 bits and cuts off what
is larger: 255 x 127 x 2 does not fit. Weights of 7 bits do (ONNX Runtime's documentation, "Quantize ONNX models").
"""

import platform

from ptft.runtime.device import cpu_flags

_VNNI = {"avx_vnni", "avx512_vnni", "amx_int8"}
_X86 = ("x86_64", "amd64", "i686")


def needs_reduced_range() -> bool:
    """Tell whether products of bytes overflow here unless weights have 7 bits: on x86 without VNNI."""
    return platform.machine().lower() in _X86 and not _VNNI & set(cpu_flags())
