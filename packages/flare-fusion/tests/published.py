"""The published rules once more, voxel by voxel with plain ifs, as oracle for the tables."""

from __future__ import annotations

ORGANS = range(1, 14)
TUMOR = 14


def organ_step(a, b, r, *, annotated, trust_partial=False, gt_first=False, tie="background"):
    if a == 0 and b == 0:
        return r if trust_partial and r in ORGANS else 0
    if a == b:
        return r if gt_first and r in annotated and r in ORGANS else a
    if a == 0 or b == 0:
        return a + b
    if r in (a, b):
        return r
    if r == 0:
        return {"background": 0, "A": a, "B": b}[tie]
    return 0


def s1_labeled(a, b, p, *, annotated=frozenset(), tumor_inside_mask=False, **options):
    tumor = p == TUMOR and not (tumor_inside_mask and a == 0 and b == 0)
    if tumor:
        return TUMOR
    return organ_step(a, b, p, annotated=annotated, **options)


def s1_unlabeled(a, b, t1, t2, t3, *, tumor_inside_mask=False, **options):
    votes = (t1 == TUMOR) + (t2 == TUMOR) + (t3 == TUMOR)
    if votes >= 2 and not (tumor_inside_mask and a == 0 and b == 0):
        return TUMOR
    return organ_step(a, b, t1, annotated=frozenset(), **options)


def s2(p, q, *, annotated, erase):
    if p != 0:
        return p
    if erase and q in annotated:
        return 0
    return q


def majority(*labels, tie="background"):
    counts = {label: labels.count(label) for label in labels}
    most = max(counts.values())
    leaders = [label for label in labels if counts[label] == most]
    if len(set(leaders)) == 1:
        return leaders[0]
    return leaders[0] if tie == "first" else 0
