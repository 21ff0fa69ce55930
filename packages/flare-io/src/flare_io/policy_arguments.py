"""The command-line options of `ReadPolicy`, the same in every command that reads volumes."""

from __future__ import annotations

import argparse

from flare_io.policy import DEFAULT_MAX_VOXELS, ReadPolicy

__all__ = ["add_policy_arguments", "policy_from"]


def add_policy_arguments(parser: argparse.ArgumentParser, *, hu_check: bool = False) -> None:
    """Add the options to a parser, as a group of their own.

    Parameters
    ----------
    parser : argparse.ArgumentParser
    hu_check : bool
        Whether values that cannot be Hounsfield units are refused unless asked otherwise.

    Examples
    --------
    >>> parser = argparse.ArgumentParser()
    >>> add_policy_arguments(parser)
    >>> policy_from(parser.parse_args(["--nan=-1024", "--allow-thin"])).nan_value
    -1024.0
    """
    group = parser.add_argument_group(
        "what to accept", "without these options, whatever would need a guess is refused"
    )

    def flag(name: str, text: str) -> None:
        group.add_argument(name, action="store_true", help=text)

    flag("--strict", "refuse what is otherwise noted, such as bytes behind the data")
    flag("--allow-thin", "a volume of one slice")
    group.add_argument("--volume", type=int, metavar="K", help="volume of a 4-D file, from 0")
    group.add_argument(
        "--nan", type=float, metavar="HU", help="value in place of NaN and infinite voxels"
    )
    group.add_argument(
        "--assume-orientation",
        metavar="XYZ",
        help="where x, y, z run in a file that does not say, such as LPS",
    )
    group.add_argument(
        "--use-transform",
        choices=("sform", "qform"),
        help="which to believe where the two of a NIfTI file disagree",
    )
    flag("--any-spacing", "spacings that no CT scanner makes")
    group.add_argument(
        "--max-voxels",
        type=int,
        default=DEFAULT_MAX_VOXELS,
        metavar="N",
        help="refuse a header that promises more (default: %(default)s)",
    )
    group.add_argument("--series", metavar="UID", help="which series of a DICOM folder")
    flag("--fill-gaps", "interpolate missing DICOM slices")
    flag("--resample-z", "resample DICOM slices at uneven distances")
    flag("--fix-tilt", "straighten a tilted-gantry scan")
    group.add_argument(
        "--hu-offset", type=float, metavar="HU", help="added to all values, such as -1024"
    )
    check = group.add_mutually_exclusive_group()
    check.add_argument(
        "--hu-check",
        dest="hu_check",
        action="store_true",
        help="refuse values that cannot be Hounsfield units",
    )
    check.add_argument(
        "--assume-hu",
        dest="hu_check",
        action="store_false",
        help="take the values for Hounsfield units, whatever they look like",
    )
    parser.set_defaults(hu_check=hu_check)


def policy_from(arguments: argparse.Namespace) -> ReadPolicy:
    """Return the policy that parsed options stand for.

    Raises
    ------
    ValueError
        If an option's value is out of range.
    """
    letters = arguments.assume_orientation
    return ReadPolicy(
        strict=arguments.strict,
        allow_thin=arguments.allow_thin,
        volume_index=arguments.volume,
        nan_value=arguments.nan,
        assume_orientation=None if letters is None else letters.upper(),
        use_transform=arguments.use_transform,
        any_spacing=arguments.any_spacing,
        max_voxels=arguments.max_voxels,
        series=arguments.series,
        fill_gaps=arguments.fill_gaps,
        resample_z=arguments.resample_z,
        fix_tilt=arguments.fix_tilt,
        hu_check=arguments.hu_check,
        hu_offset=arguments.hu_offset,
    )
