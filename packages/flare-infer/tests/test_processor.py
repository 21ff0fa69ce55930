import pytest

from flare_infer import processor


@pytest.fixture
def information(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "_INFORMATION", path)
    processor.has_bfloat16.cache_clear()
    yield path
    processor.has_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu avx2 avx512_bf16 sha_ni", True),
        ("fpu amx_bf16 amx_tile", True),
        ("fpu avx512_bf16_other", False),
        ("fpu avx2", False),
    ],
)
def test_flags_of_the_first_processor_tell(information, flags, expected):
    information.write_text(f"model name\t: avx512_bf16\nflags\t\t: {flags}\nflags\t: amx_bf16\n")
    assert processor.has_bfloat16() is expected


def test_nothing_to_read_means_no(information):
    assert not processor.has_bfloat16()


def test_openvino_is_of_the_same_opinion():
    openvino = pytest.importorskip("flare_infer.backends.openvino")
    processor.has_bfloat16.cache_clear()
    capabilities = openvino.CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert processor.has_bfloat16() == ("BF16" in capabilities)
