"""The type of numbers that a CPU samples with."""

import logging
from pathlib import Path

import pytest

from kurve.samplers.processor import cpu_dtype, has_bfloat16


def cpuinfo(folder: Path, line: str) -> Path:
    path = folder / "cpuinfo"
    path.write_text(f"processor\t: 0\nmodel name\t: some\n{line}\nbugs\t: bf16\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("flags\t\t: fpu avx2 avx512f avx512_bf16", True),
        ("flags\t\t: fpu amx_bf16 amx_tile", True),
        ("Features\t: fp asimd bf16", True),
        ("flags\t\t: fpu avx avx2 fma", False),
        ("Features\t: fp asimd", False),
    ],
)
def test_bfloat16_is_read_from_what_the_kernel_says(tmp_path: Path, line: str, expected: bool) -> None:
    assert has_bfloat16(cpuinfo(tmp_path, line)) is expected


def test_a_kernel_that_says_nothing_means_no_bfloat16(tmp_path: Path) -> None:
    assert has_bfloat16(tmp_path / "nothing") is False


def test_auto_is_float32_on_a_processor_without_bfloat16(tmp_path: Path) -> None:
    without, having = cpuinfo(tmp_path, "flags : avx2"), tmp_path / "with"
    having.write_text("flags : avx512_bf16\n")
    assert cpu_dtype("auto", cpuinfo=without) == "float32"
    assert cpu_dtype("auto", cpuinfo=having) == "auto"


def test_half_precision_that_was_asked_for_stays_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert cpu_dtype("bfloat16", cpuinfo=cpuinfo(tmp_path, "flags : avx2")) == "bfloat16"
        assert cpu_dtype("float32", cpuinfo=cpuinfo(tmp_path, "flags : avx2")) == "float32"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "model.dtype=float32" in caplog.text
