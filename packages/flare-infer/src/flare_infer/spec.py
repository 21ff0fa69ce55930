"""All of a model but its weights, as one checked value that ``model.json`` holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from flare_infer.components import Components
from flare_infer.windows import WindowPlan
from flare_io.labels import LabelTable
from flare_io.preprocessing import Preprocessing
from flare_nets.config import NetConfig

if TYPE_CHECKING:
    from flare_infer.heads import Head

__all__ = ["Background", "Mode", "ModelSpec", "Order"]

Mode = Literal["fast", "exact"]
Background = Literal["channel", "threshold"]
Order = Literal["resample-decide", "decide-resample", "decide-resample-linear"]


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """All of a model but its weights.

    Parameters
    ----------
    name : str
        For reports.
    net : NetConfig
        The network of every member.
    labels : LabelTable
        The classes it can write, background left out.
    preprocessing : Preprocessing
        From volume to input.
    windows : WindowPlan
        Window, step, axes along which it may be mirrored.
    regions : tuple of int, optional
        For the sigmoid heads of nnU-Net: the label that each channel writes where its probability
        exceeds 1/2, in this order, later ones over earlier ones. None: channels follow the labels
        by rising id, behind that of background if there is one, and the largest logit wins, the
        first of equal ones.
    overlay : tuple of int
        Labels whose channel takes no part in that but decides alone: where its logit exceeds 0 it
        is painted over the others, later ones over earlier ones.
    background : {"channel", "threshold"}
        ``threshold``: no channel stands for background; the largest logit wins where it exceeds 0.
    order : {"resample-decide", "decide-resample", "decide-resample-linear"}
        Logits go back to the original grid and are decided there; or labels are decided on the
        network's grid and go back by the nearest voxel, or by the largest share after linear
        interpolation of each label's mask. The last two are cheaper and coarser.
    components : Components or mapping, optional
        Which islands of a label are kept, on the grid where labels are decided: with
        ``decide-resample`` before resampling. None keeps all.
    default_mode : {"fast", "exact"}
        Imported models repeat nnU-Net's arithmetic by default.
    provenance : mapping
        JSON-ready: where the model comes from.

    Raises
    ------
    ValueError
        If labels, channels, window and net contradict each other.
    """

    name: str
    net: NetConfig
    labels: LabelTable
    preprocessing: Preprocessing
    windows: WindowPlan
    regions: tuple[int, ...] | None = None
    overlay: tuple[int, ...] = ()
    background: Background = "channel"
    order: Order = "resample-decide"
    components: Components | None = None
    default_mode: Mode = "fast"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "overlay", tuple(int(label) for label in self.overlay))
        if self.regions is not None:
            object.__setattr__(self, "regions", tuple(int(label) for label in self.regions))
        if isinstance(self.components, Mapping):
            object.__setattr__(self, "components", Components.from_dict(self.components))
        for name, allowed in (("default_mode", Mode), ("background", Background), ("order", Order)):
            value, choices = getattr(self, name), get_args(allowed)
            if value not in choices:
                raise ValueError(f"{name} must be {' or '.join(choices)}, found {value!r}")
        self._check_channels()
        if self.net.in_channels != len(self.preprocessing.intensities):
            raise ValueError(
                f"net takes {self.net.in_channels} channels, preprocessing describes "
                f"{len(self.preprocessing.intensities)}"
            )
        self.net.check_patch(self.windows.patch)

    def _check_channels(self) -> None:
        channels = self.net.out_channels
        if self.regions is not None:
            if self.overlay or self.background != "channel":
                raise ValueError("regions decide one by one: overlay and background do not apply")
            if channels != len(self.regions):
                raise ValueError(
                    f"net has {channels} output channels for {len(self.regions)} regions"
                )
        elif channels != len(self.channel_labels):
            needed = f"background and {len(self.labels)} labels need {len(self.labels) + 1}"
            if self.background == "threshold":
                needed = f"{len(self.labels)} labels without background need {len(self.labels)}"
            raise ValueError(f"net has {channels} output channels, {needed}")
        for name, written in (("regions", self.regions or ()), ("overlay", self.overlay)):
            unknown = sorted(set(written) - set(self.labels.ids))
            if unknown:
                verb = "write" if name == "regions" else "paints"
                raise ValueError(f"{name} {verb} labels {unknown} that the label table lacks")
        if len(set(self.overlay)) != len(self.overlay):
            raise ValueError(f"overlay must name each label once, got {self.overlay}")

    @property
    def channel_labels(self) -> tuple[int, ...]:
        """The label that each output channel stands for."""
        if self.regions is not None:
            return self.regions
        return self.labels.ids if self.background == "threshold" else (0, *self.labels.ids)

    @property
    def head(self) -> Head:
        """How channels become labels."""
        # Here, as a description is read without NumPy.
        from flare_infer.heads import Head

        labels = self.channel_labels
        if self.regions is not None:
            every = tuple(range(len(labels)))
            return Head(labels=labels, rivals=(), painters=every, by_sigmoid=True)
        return Head(
            labels=labels,
            rivals=tuple(k for k, label in enumerate(labels) if label not in self.overlay),
            painters=tuple(labels.index(label) for label in self.overlay),
            zero=self.background == "threshold",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_dict` is the way back."""
        return {
            "name": self.name,
            "default_mode": self.default_mode,
            "labels": self.labels.to_dict(),
            "regions": None if self.regions is None else list(self.regions),
            "overlay": list(self.overlay),
            "background": self.background,
            "order": self.order,
            "components": None if self.components is None else self.components.to_dict(),
            "preprocessing": self.preprocessing.to_dict(),
            "windows": self.windows.to_dict(),
            "net": self.net.to_dict(),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ModelSpec:
        """Return the spec of a dict made by `to_dict`; a missing field is a ``KeyError``.

        Fields that the first format did not have take their defaults.
        """
        regions, components = fields["regions"], fields.get("components")
        return cls(
            name=str(fields["name"]),
            net=NetConfig.from_dict(fields["net"]),
            labels=LabelTable.from_dict(fields["labels"]),
            preprocessing=Preprocessing.from_dict(fields["preprocessing"]),
            windows=WindowPlan.from_dict(fields["windows"]),
            regions=None if regions is None else tuple(regions),
            overlay=tuple(fields.get("overlay", ())),
            background=fields.get("background", "channel"),
            order=fields.get("order", "resample-decide"),
            components=None if components is None else Components.from_dict(components),
            default_mode=fields["default_mode"],
            provenance=dict(fields["provenance"]),
        )
