"""The rows d01-d15, d20 and d22 of the catalogue of faults, on synthetic series of 20 slices."""

from __future__ import annotations

import os
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.sequence import Sequence
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from flare_io.dicom import list_series, read_series, read_series_header
from flare_io.errors import GeometryError, UnreadableVolumeError
from flare_io.files import read_volume
from flare_io.policy import ReadPolicy

series = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("dicom_series.py"))))


def _fault(tmp_path, row):
    return series.write_fault(row, tmp_path / row)


def _message(error):
    text = str(error.value)
    assert "\n" not in text
    assert series.PATIENT not in text
    return text


def _refused(folder, *, policy=None):
    """The one-line refusal, the same with and without pixels."""
    kinds = (UnreadableVolumeError, GeometryError)
    with pytest.raises(kinds) as error:
        read_series(folder, policy=policy)
    with pytest.raises(kinds) as of_header:
        read_series_header(folder, policy=policy)
    assert str(of_header.value) == str(error.value)
    return _message(error)


def test_sound_series_equals_what_was_written_and_simpleitk(tmp_path):
    folder = series.write_slices(tmp_path / "s", series.make_series())
    volume = read_series(folder)
    assert volume.array.dtype == np.int16
    assert volume.notes == ()
    np.testing.assert_array_equal(volume.array, series.ct_values())
    assert volume.geometry.spacing_mm == (2.5, 0.8, 0.7)
    assert volume.geometry.origin == (100.0, -50.0, -40.0)
    assert volume.geometry.axis_codes == "SPL"
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    image = reader.Execute()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), volume.array)
    np.testing.assert_allclose(image.GetSpacing()[::-1], volume.geometry.spacing_mm)
    np.testing.assert_allclose(image.GetOrigin()[::-1], volume.geometry.origin)


def test_header_is_the_volume_without_voxels(tmp_path):
    folder = _fault(tmp_path, "d10")
    policy = ReadPolicy(fix_tilt=True)
    header, volume = (read(folder, policy=policy) for read in (read_series_header, read_series))
    assert header.shape == volume.shape
    assert header.dtype == volume.array.dtype
    assert header.geometry == volume.geometry
    assert header.notes == volume.notes


@settings(max_examples=8, deadline=None)
@given(order=st.permutations(range(20)))
def test_file_names_and_instance_numbers_do_not_count(tmp_path_factory, order):
    folder = tmp_path_factory.mktemp("shuffled")
    names = [f"{k:03d}" for k in order]
    series.write_slices(folder, series.make_series(), names=names)
    np.testing.assert_array_equal(read_series(folder).array, series.ct_values())


@pytest.mark.parametrize(
    "cosines",
    [
        [-1, 0, 0, 0, 1, 0],
        [1, 0, 0, 0, 0, -1],
        [0, 1, 0, 0, 0, -1],
        [0.8, 0.6, 0, -0.48, 0.64, 0.6],
    ],
    ids=["mirrored", "coronal", "sagittal", "oblique"],
)
def test_voxels_lie_where_simpleitk_puts_them(tmp_path, cosines):
    normal = np.cross(cosines[:3], cosines[3:])
    slices = series.make_series(ImageOrientationPatient=cosines)
    for k, data in enumerate(slices):
        data.ImagePositionPatient = list(np.round(series.ORIGIN + 2.5 * k * normal, 6))
    folder = series.write_slices(tmp_path / "s", slices)
    volume = read_series(folder)
    image = SimpleITK.ReadImage([str(path) for path in sorted(folder.iterdir())])
    for index in ((0, 0, 0), (19, 11, 9), (3, 5, 7)):
        world = image.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(volume.geometry.world_from_index(index), world[::-1], atol=1e-4)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), volume.array)


def test_d01_one_missing_slice_is_named(tmp_path):
    folder = _fault(tmp_path, "d01")
    assert (
        "gap of 5.0 mm between IMG0010.dcm and IMG0012.dcm, expected 2.5 mm: 1 slice missing"
        in _refused(folder)
    )


def test_d02_three_missing_slices_are_named(tmp_path):
    message = _refused(_fault(tmp_path, "d02"))
    assert "5.0 mm between IMG0004.dcm and IMG0006.dcm" in message
    assert "7.5 mm between IMG0010.dcm and IMG0013.dcm, expected 2.5 mm: 3 slices" in message


def test_d01_d02_gaps_are_filled_on_request_and_noted(tmp_path):
    volume = read_series(_fault(tmp_path, "d02"), policy=ReadPolicy(fill_gaps=True))
    hu = series.ct_values().astype(float)
    expected = hu.copy()
    expected[4] = np.rint((hu[3] + hu[5]) / 2)
    expected[10] = np.rint((2 * hu[9] + hu[12]) / 3)
    expected[11] = np.rint((hu[9] + 2 * hu[12]) / 3)
    # Thirds are not exact in binary, so that a half may round either way.
    assert np.abs(volume.array - expected).max() <= 1
    kept = [k for k in range(20) if k not in (4, 10, 11)]
    np.testing.assert_array_equal(volume.array[kept], hu[kept])
    assert volume.geometry.spacing_mm[0] == pytest.approx(2.5)
    assert any("3 slices interpolated" in note for note in volume.notes)


def test_d03_identical_slice_is_dropped_and_noted(tmp_path):
    volume = read_series(_fault(tmp_path, "d03"))
    np.testing.assert_array_equal(volume.array, series.ct_values())
    assert volume.notes == ("dropped, identical to another slice: IMG0008.dcm",)


def test_d04_other_pixels_at_one_position_name_both_files(tmp_path):
    message = _refused(_fault(tmp_path, "d04"))
    assert "OTHER.dcm" in message
    assert "IMG0008.dcm" in message


def test_d04_same_pixels_with_another_rescale_are_no_duplicate(tmp_path):
    slices = series.make_series()
    twin = series.make_slice(7, series.ct_values()[7], RescaleIntercept="-1000")
    folder = series.write_slices(tmp_path / "s", [*slices, twin])
    assert "same pixels" in _refused(folder)


def test_d05_uneven_slices_name_both_distances(tmp_path):
    message = _refused(_fault(tmp_path, "d05"))
    assert "2.5 mm between IMG0001.dcm and IMG0002.dcm" in message
    assert "3.3 mm between IMG0010.dcm and IMG0011.dcm" in message
    assert "--resample-z" in message


def test_d05_uneven_slices_of_a_ramp_are_resampled_exactly(tmp_path):
    positions = [0.0, 2.0, 5.0, 6.0, 10.0, 12.0]
    # HU = 100 mm^-1 * z, linear, so that linear interpolation must return it at any z.
    slices = [
        series.make_slice(0, np.full((4, 4), 100 * z), ImagePositionPatient=[0, 0, z])
        for z in positions
    ]
    folder = series.write_slices(tmp_path / "s", slices)
    assert "even distances" in _refused(folder)
    volume = read_series(folder, policy=ReadPolicy(resample_z=True))
    step = volume.geometry.spacing_mm[0]
    assert (volume.shape[0] - 1) * step == pytest.approx(12.0)
    expected = np.rint(100 * step * np.arange(volume.shape[0]))
    np.testing.assert_allclose(volume.array[:, 0, 0], expected, atol=1)
    assert any("resampled" in note for note in volume.notes)


def test_d06_jitter_of_micrometers_is_accepted(tmp_path):
    volume = read_series(_fault(tmp_path, "d06"))
    np.testing.assert_array_equal(volume.array, series.ct_values())
    assert volume.geometry.spacing_mm[0] == pytest.approx(2.5, abs=0.001)
    assert volume.notes == ()


@pytest.mark.parametrize(("share", "accepted"), [(0.008, True), (0.02, False)])
def test_d06_one_percent_of_the_spacing_is_the_limit(tmp_path, share, accepted):
    slices = series.make_series()
    slices[9].ImagePositionPatient[2] += share * 2.5
    folder = series.write_slices(tmp_path / "s", slices)
    if accepted:
        np.testing.assert_array_equal(read_series(folder).array, series.ct_values())
    else:
        assert "even distances" in _refused(folder)


def test_d07_scout_is_set_aside_and_noted(tmp_path):
    volume = read_series(_fault(tmp_path, "d07"))
    np.testing.assert_array_equal(volume.array, series.ct_values())
    assert volume.notes == ("set aside, of another orientation (scout): SCOUT.dcm",)


def test_d07_two_orientations_of_equal_count_are_refused(tmp_path):
    slices = series.make_series()[:4]
    for data in slices[:2]:
        data.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    assert "one orientation" in _refused(series.write_slices(tmp_path / "s", slices))


def test_d07_localizer_series_is_set_aside(tmp_path):
    scout = series.make_slice(
        0, series.ct_values()[0], series="1.2.3", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    folder = series.write_slices(tmp_path / "s", [*series.make_series(), scout])
    assert read_series(folder).notes == ("set aside, localizer (scout): IMG0021.dcm",)


@pytest.mark.parametrize("change", ["matrix", "spacing"])
def test_d08_mixed_matrix_names_both_files(tmp_path, change):
    if change == "matrix":
        folder = _fault(tmp_path, "d08")
    else:
        slices = series.make_series()
        slices[5].PixelSpacing = [0.9, 0.7]
        folder = series.write_slices(tmp_path / "s", slices)
    message = _refused(folder)
    assert "IMG0001.dcm" in message
    assert "IMG0006.dcm" in message


def test_d09_two_series_are_listed_and_one_can_be_chosen(tmp_path):
    folder = _fault(tmp_path, "d09")
    message = _refused(folder)
    assert f'{series.SERIES}: 20 slices "portal venous"' in message
    assert f'{series.SERIES}.9: 6 slices "arterial"' in message
    assert "--series" in message
    assert [summary.slices for summary in list_series(folder)] == [20, 6]
    # The longer UID begins with the shorter one: a full match comes first.
    assert read_series(folder, policy=ReadPolicy(series=series.SERIES)).shape[0] == 20
    assert read_series(folder, policy=ReadPolicy(series=series.SERIES + ".")).shape[0] == 6
    assert "starts with 1.2.8" in _refused(folder, policy=ReadPolicy(series="1.2.8"))
    assert "found 0 of these 2" in _refused(folder, policy=ReadPolicy(series="9"))


def test_d09_the_series_without_a_uid_can_be_chosen(tmp_path):
    folder = _fault(tmp_path, "d09")
    for path in folder.iterdir():
        header = pydicom.dcmread(path)
        if header.SeriesInstanceUID == series.SERIES:
            header.SeriesInstanceUID = ""
            header.save_as(path)
    message = _refused(folder)
    assert 'none (no UID): 20 slices "portal venous"' in message
    assert "--series none" in message
    assert read_series(folder, policy=ReadPolicy(series="none")).shape[0] == 20


def test_d10_gantry_tilt_is_refused_with_its_angle(tmp_path):
    message = _refused(_fault(tmp_path, "d10"))
    assert "gantry tilt of 15.0 degrees" in message
    assert "--fix-tilt" in message


def test_d10_sheared_volume_puts_every_point_where_it_was_scanned(tmp_path):
    # HU is a linear function of the patient's y and z, which linear interpolation keeps exactly.
    def truth(points):
        return 5.0 * points[..., 1] + 2.0 * (points[..., 0] - 100)

    angle = np.radians(15.0)
    slices = []
    for k in range(20):
        position = np.array(series.tilted_position(k))[::-1]
        down = np.array([np.sin(angle), np.cos(angle), 0.0])
        right = np.array([0.0, 0.0, 1.0])
        rows, columns = np.mgrid[:40, :10]
        points = position + rows[..., None] * 0.8 * down + columns[..., None] * 0.7 * right
        changes = {
            "ImagePositionPatient": list(position[::-1]),
            "ImageOrientationPatient": series.tilted_orientation(),
        }
        slices.append(series.make_slice(k, np.rint(truth(points)), **changes))
    folder = series.write_slices(tmp_path / "s", slices)
    volume = read_series(folder, policy=ReadPolicy(fix_tilt=True))
    assert any("15.0 degrees" in note for note in volume.notes)
    assert volume.geometry.spacing_mm == pytest.approx((2.5, 0.8, 0.7))
    index = np.stack(np.meshgrid(*map(np.arange, volume.shape), indexing="ij"), -1)
    expected = truth(volume.geometry.world_from_index(index))
    scanned = volume.array != -1024
    # All 40 rows of each slice but at most one at the edge survive; the rest is air.
    assert scanned.sum() >= 20 * 39 * 10
    # Half a HU from rounding what was written, half from rounding what was read.
    assert np.abs(volume.array - expected)[scanned].max() <= 1.01


def test_d10_one_slice_moved_sideways_is_named(tmp_path):
    slices = series.make_series()
    slices[9].ImagePositionPatient[0] += 3
    message = _refused(series.write_slices(tmp_path / "s", slices))
    assert "IMG0010.dcm" in message
    assert "lie above each other" in message


def test_d11_rescale_is_per_slice_and_exact(tmp_path):
    stored = series.ct_values().astype(int) + 1024
    volume = read_series(_fault(tmp_path, "d11"))
    k = np.arange(20)[:, None, None]
    assert volume.array.dtype == np.int16
    np.testing.assert_array_equal(volume.array, stored * (1 + k % 3) - 1024 - k)


def test_d11_fractional_rescale_is_float32(tmp_path):
    folder = series.write_slices(tmp_path / "s", series.make_series(RescaleSlope="0.5"))
    volume = read_series(folder)
    assert volume.array.dtype == read_series_header(folder).dtype == np.float32
    np.testing.assert_array_equal(volume.array, (series.ct_values() + 1024.0) * 0.5 - 1024)


def test_values_beyond_int16_become_int32(tmp_path):
    slices = series.make_series(BitsStored=16, HighBit=15, RescaleIntercept="0")
    slices[3].PixelData = np.full((12, 10), 65535, "<u2").tobytes()
    volume = read_series(series.write_slices(tmp_path / "s", slices))
    assert volume.array.dtype == np.int32
    assert (volume.array[3] == 65535).all()
    np.testing.assert_array_equal(volume.array[4], series.ct_values()[4].astype(int) + 1024)


def test_d12_ct_without_rescale_is_refused(tmp_path):
    message = _refused(_fault(tmp_path, "d12"))
    assert "RescaleSlope" in message
    assert "20 of 20" in message
    assert "--hu-offset" in message


def test_d12_a_stated_offset_stands_in_for_the_rescale(tmp_path):
    volume = read_volume(_fault(tmp_path, "d12"), policy=ReadPolicy(hu_offset=-1024))
    np.testing.assert_array_equal(volume.array, series.ct_values())
    assert volume.notes[0] == "no rescale in the files: stored values taken"


def test_d12_rescale_in_some_slices_only_is_refused_whatever_is_asked(tmp_path):
    slices = series.make_series()
    del slices[4].RescaleSlope
    folder = series.write_slices(tmp_path / "s", slices)
    message = _refused(folder, policy=ReadPolicy(hu_offset=-1024))
    assert "IMG0005.dcm" in message
    assert "1 of 20" in message


def test_d12_other_modalities_keep_stored_values_and_say_so(tmp_path):
    slices = series.make_series(Modality="MR", RescaleSlope=None, RescaleIntercept=None)
    volume = read_series(series.write_slices(tmp_path / "s", slices))
    np.testing.assert_array_equal(volume.array, series.ct_values() + 1024)
    assert volume.notes[-1] == "modality 'MR': values are not Hounsfield units"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("d13", "ImagePositionPatient"),
        ("d14", "pixel data"),
        ("d15", "found 100 of 240 bytes"),
        ("torn", "found 140 of 240 bytes"),
    ],
)
def test_d13_d14_d15_file_at_fault_is_named(tmp_path, row, reason):
    message = _refused(_fault(tmp_path, row))
    assert "IMG0007.dcm" in message
    assert reason in message


def test_d15_every_cut_of_a_file_is_refused(tmp_path):
    folder = series.write_slices(tmp_path / "s", series.make_series()[:4])
    victim = folder / "IMG0002.dcm"
    whole = victim.read_bytes()
    for length in range(132, len(whole), 7):
        victim.write_bytes(whole[:length])
        with pytest.raises((UnreadableVolumeError, GeometryError)):
            read_series_header(folder)


def test_d15_damaged_headers_end_in_a_named_refusal_or_a_volume(tmp_path):
    folder = series.write_slices(tmp_path / "s", series.make_series()[:3])
    victim = folder / "IMG0002.dcm"
    whole = victim.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for place in rng.integers(132, len(whole) - 240, rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        victim.write_bytes(damaged)
        try:
            read_series(folder)
        except (UnreadableVolumeError, GeometryError) as error:
            assert "\n" not in str(error)


def test_thin_series_only_on_request(tmp_path):
    folder = _fault(tmp_path, "lone")
    assert "--allow-thin" in _refused(folder)
    volume = read_series(folder, policy=ReadPolicy(allow_thin=True))
    assert volume.shape == (1, 12, 10)
    assert volume.geometry.spacing_mm == (2.5, 0.8, 0.7)


def test_d20_junk_links_and_subfolders_are_ignored_and_noted(tmp_path):
    folder = series.write_slices(tmp_path / "s", series.make_series())
    (folder / "README.txt").write_text("no slice")
    (folder / "empty").touch()
    (folder / "loop").symlink_to("loop")
    (folder / "nested").mkdir()
    (folder / "nested" / "up").symlink_to("..", target_is_directory=True)
    report = series.make_slice(0, series.ct_values()[0], PixelData=None, Rows=None, Columns=None)
    report.SOPClassUID = "1.2.840.10008.1.3.10"
    report.save_as(folder / "DICOMDIR", enforce_file_format=True)
    volume = read_series(folder)
    np.testing.assert_array_equal(volume.array, series.ct_values())
    assert volume.notes == (
        "ignored, not DICOM: README.txt, empty, loop",
        "ignored, DICOM without an image: DICOMDIR",
        "ignored, subfolders: nested",
    )
    assert "strict" in _refused(folder, policy=ReadPolicy(strict=True))


def test_d20_folder_with_slices_further_down_names_the_way(tmp_path):
    series.write_slices(tmp_path / "venous", series.make_series()[:2])
    assert "e.g. venous" in _refused(tmp_path)


def test_missing_folder_says_so(tmp_path):
    with pytest.raises(OSError, match="absent"):
        read_series(tmp_path / "absent")


def test_d22_hostile_texts_are_never_paths_and_stay_on_one_line(tmp_path, monkeypatch):
    for mode in ("reading_validation_mode", "writing_validation_mode"):
        monkeypatch.setattr(pydicom.config.settings, mode, pydicom.config.IGNORE)
    hostile = "1/../../evil\n\x1b[31m<script>"
    slices = series.make_series(PatientName="../" * 20 + "x" * 10_000, SeriesDescription=hostile)
    for data in slices:
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.3"
    folder = series.write_slices(tmp_path / "s", [*slices, *series.make_series(1, series="1.2.3")])
    before = sorted(os.listdir(tmp_path))
    message = _refused(folder)
    assert "1/../../evil\\n\\x1b[31m<script>" in message
    assert "xxx" not in message
    assert read_series(folder, policy=ReadPolicy(series=series.SERIES)).shape[0] == 20
    assert sorted(os.listdir(tmp_path)) == before


def test_names_sex_and_id_are_in_no_result(tmp_path):
    folder = _fault(tmp_path, "d03")
    text = repr((read_series_header(folder), list_series(folder)))
    assert not any(secret in text for secret in ("Doe", "4711", "'F'"))


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_other_transfer_syntaxes_hold_the_same_values(tmp_path, syntax):
    slices = series.make_series()
    for data in slices:
        item = series.make_slice(0, series.ct_values()[0])
        data.ReferencedImageSequence = Sequence([item])
        data["ReferencedImageSequence"].is_undefined_length = True
        item.is_undefined_length_sequence_item = True
        if syntax == RLELossless:
            data.compress(syntax, encoding_plugin="pydicom")
            continue
        data.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            data.PixelData = np.frombuffer(data.PixelData, "<u2").astype(">u2").tobytes()
    volume = read_series(series.write_slices(tmp_path / "s", slices))
    np.testing.assert_array_equal(volume.array, series.ct_values())


def test_signed_pixels_and_bits_above_the_high_bit(tmp_path):
    hu = series.ct_values()
    slices = series.make_series(PixelRepresentation=1, RescaleIntercept="0")
    for k, data in enumerate(slices):
        # 12-bit two's complement with an overlay in the four bits above.
        data.PixelData = ((hu[k].astype(int) & 0x0FFF) | 0xA000).astype("<u2").tobytes()
    volume = read_series(series.write_slices(tmp_path / "s", slices))
    np.testing.assert_array_equal(volume.array, hu)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"NumberOfFrames": 3}, "3 frames"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "RGB"),
        ({"BitsAllocated": 12}, "12 bits"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "perpendicular"),
        ({"ImagePositionPatient": [0, 0, 1e30]}, "within 1e+06 mm"),
        ({"PixelSpacing": [0, 0.7]}, "PixelSpacing must be positive"),
    ],
    ids=["frames", "color", "bits", "orientation", "position", "spacing"],
)
def test_what_is_no_plain_slice_is_refused_by_rule(tmp_path, changes, reason):
    slices = series.make_series()
    slices[2] = series.make_slice(2, series.ct_values()[2], **changes)
    message = _refused(series.write_slices(tmp_path / "s", slices))
    assert "IMG0003.dcm" in message
    assert reason in message


def test_deflated_files_are_refused(tmp_path):
    slices = series.make_series()[:3]
    for data in slices:
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    assert "deflated" in _refused(series.write_slices(tmp_path / "s", slices))


def test_more_voxels_than_allowed_are_refused_before_allocation(tmp_path):
    folder = series.write_slices(tmp_path / "s", series.make_series())
    assert "at most 2399" in _refused(folder, policy=ReadPolicy(max_voxels=2399))
    assert read_series(folder, policy=ReadPolicy(max_voxels=2400)).shape == (20, 12, 10)
