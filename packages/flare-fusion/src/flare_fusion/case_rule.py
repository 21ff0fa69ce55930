"""Which rule a case is fused by, which label maps it reads, and what they looked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from flare_fusion.general import GENERAL_RULES, check_general_options
from flare_fusion.rules import Rule, fusion_rule, rule_names
from flare_io.dataset import Case
from flare_io.errors import DatasetError

__all__ = ["CaseRule", "case_rule", "check_rule"]

_ORGANS = frozenset(range(1, 14))
_ALL = _ORGANS | {14}
_OWN_MAPS = {"T1", "T2", "T3"}


@dataclass(frozen=True, kw_only=True)
class CaseRule:
    """The rule for one case.

    Parameters
    ----------
    rule : Rule or str
        A table rule, or the name of a rule that takes any sources.
    sources : tuple of str
        What it reads, in its order.
    options : dict
        Those of the given options that it has.
    """

    rule: Rule | str
    sources: tuple[str, ...]
    options: dict[str, Any]

    @property
    def name(self) -> str:
        """The rule's name."""
        return self.rule if isinstance(self.rule, str) else self.rule.name

    @property
    def asks_k(self) -> bool:
        """Whether a row that holds under the options asks for the annotated classes."""
        if isinstance(self.rule, str):
            return False
        return self.rule.asks_annotated(self.rule.resolved_options(self.options))

    @property
    def definition(self) -> str:
        """Text that changes whenever the rule's meaning does."""
        return f"{self.rule!r} {sorted(self.options.items(), key=lambda item: item[0])!r}"

    def looked_for(self, partial: Iterable[int] | None) -> dict[str, frozenset[int]]:
        """Return the classes that each source looked for.

        A source looked for all that it may hold, the partial label for ``partial``; where that is
        None it is left out. The sources of a rule of any sources count as looking for all classes.
        """
        if isinstance(self.rule, str):
            found = dict.fromkeys(self.sources, _ALL)
        else:
            found = {
                source.name: frozenset(source.matters or source.labels) - {0}
                for source in self.rule.sources
            }
        if "partial" in found:
            known = found.pop("partial")
            if partial is not None:
                # Of its own labels also those that the rule does not read.
                found = {"partial": known & frozenset(partial), **found}
        return {name: found[name] for name in self.sources if name in found}

    def covered(self, partial: Iterable[int] | None) -> frozenset[int]:
        """Return the classes of which a fused label of 0 says that they are not there.

        Those that a source looked for. A rule of any sources does not say what they are; they
        count as organ models.
        """
        known = frozenset(partial or ())
        if isinstance(self.rule, str):
            return known | _ORGANS
        return known.union(*self.looked_for(partial).values())


def case_rule(
    case: Case, rule: str, *, options: Mapping[str, Any], folders: Iterable[str]
) -> CaseRule:
    """Return the rule for a case.

    Parameters
    ----------
    case : Case
    rule : str
        A rule's name or file, or ``"s1"``, which stands for two rules.
    options : mapping
    folders : iterable of str
        Names of the sources that come from folders.

    Raises
    ------
    DatasetError
        If a rule of any sources finds less than two.
    """
    folders = tuple(folders)
    if rule != "s1" and not _is_table_rule(rule):
        # A folder replaces a set of its name, and comes in the order it was given.
        names = (*folders, *(name for name in sorted(case.pseudo_labels) if name not in folders))
        if len(names) < 2:
            raise DatasetError(
                case.id,
                f"rule {rule} needs at least two sources",
                found=", ".join(names) or "none",
                remedy="name their folders with --source NAME=DIR",
                kind="missing",
            )
        return CaseRule(rule=rule, sources=names, options=dict(options))
    if rule == "s1":
        own_maps = case.label is None and {*case.pseudo_labels, *folders} >= _OWN_MAPS
        rule = "s1-unlabeled" if own_maps else "s1-labeled"
        chosen = fusion_rule(rule)
        offered = {option.name for option in chosen.options}
        # Of the two rules one has an option more.
        options = {name: value for name, value in options.items() if name in offered}
    else:
        chosen = fusion_rule(rule)
    return CaseRule(rule=chosen, sources=chosen.source_names, options=dict(options))


def check_rule(rule: str, *, options: Mapping[str, Any], folders: Iterable[str]) -> None:
    """Refuse an unknown rule or option, before any work.

    Raises
    ------
    ValueError
        If there is no such rule, option or value.
    """
    if rule == "s1":
        fusion_rule("s1-labeled").resolved_options(options)
        return
    if _is_table_rule(rule):
        fusion_rule(rule).resolved_options(options)
        return
    if rule not in GENERAL_RULES:
        fusion_rule(rule)
    check_general_options(rule, options)


def _is_table_rule(rule: str) -> bool:
    return rule.endswith(".toml") or rule in rule_names()
