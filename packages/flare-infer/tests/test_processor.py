import pytest

from flare_infer import processor


@pytest.fixture
def information(monkeypatch, tmp_path):
    path = tmp_path / "cpuinfo"
    monkeypatch.setattr(processor, "_INFORMATION", path)
    processor._flags.cache_clear()
    yield path
    processor._flags.cache_clear()


@pytest.mark.parametrize(
    ("flags", "bfloat16", "int8"),
    [
        ("fpu avx2 avx512_bf16 avx512_vnni sha_ni", True, True),
        ("fpu amx_bf16 amx_tile", True, False),
        ("fpu avx_vnni", False, True),
        ("fpu amx_int8", False, True),
        ("fpu avx512_bf16_other avx512_vnni_other", False, False),
        ("fpu avx2", False, False),
    ],
)
def test_flags_of_the_first_processor_tell(information, flags, bfloat16, int8):
    others = "avx512_bf16 avx512_vnni"
    information.write_text(f"model name\t: {others}\nflags\t\t: {flags}\nflags\t: {others}\n")
    assert (processor.has_bfloat16(), processor.has_int8()) == (bfloat16, int8)


def test_nothing_to_read_means_no(information):
    assert not processor.has_bfloat16()
    assert not processor.has_int8()


def test_openvino_is_of_the_same_opinion():
    openvino = pytest.importorskip("flare_infer.backends.openvino")
    processor._flags.cache_clear()
    capabilities = openvino.CORE.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    assert processor.has_bfloat16() == ("BF16" in capabilities)
