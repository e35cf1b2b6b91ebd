"""Which type of numbers this machine's processor computes with at full speed."""

from pathlib import Path

from kurve.chatter import logger

_CPUINFO = Path("/proc/cpuinfo")
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16"}  # x86-64, x86-64 with tiles, Arm
_HALF = ("bfloat16", "float16", "half")


def cpu_dtype(dtype: str, *, cpuinfo: Path = _CPUINFO) -> str:
    """The type to sample with on a CPU: `auto` is float32 where the processor has no instructions for bfloat16.

    There SmolLM2-135M drew 16 tokens a second in bfloat16 and 127 in float32 (vLLM 0.31, AMD EPYC 7003, 2 cores). A
    half-precision type that was asked for stays, with a warning.

    Args:
        dtype: of the model's settings; `auto` is the checkpoint's own.
        cpuinfo: what the kernel says of the processor.
    """
    if has_bfloat16(cpuinfo):
        return dtype
    if dtype == "auto":
        return "float32"
    if dtype in _HALF:
        logger.warning(
            "model.dtype=%s: this processor has no instructions for it and may be many times slower than with "
            "model.dtype=float32",
            dtype,
        )
    return dtype


def has_bfloat16(cpuinfo: Path = _CPUINFO) -> bool:
    """Whether the processor multiplies bfloat16 matrices by itself; False if it does not say."""
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    flags = next((line.partition(":")[2] for line in lines if line.startswith(("flags", "Features"))), "")
    return bool(_BFLOAT16 & set(flags.split()))
