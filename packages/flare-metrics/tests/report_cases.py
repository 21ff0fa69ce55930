"""Results of folders for the tests of the report, without files; and a reader of its pages."""

from dataclasses import replace
from html.parser import HTMLParser

import nibabel as nib
import numpy as np

from flare_metrics.case_result import CaseResult
from flare_metrics.folder import FolderScore
from flare_metrics.protocols import protocol
from flare_metrics.scores import CaseScore, LabelScore

HOSTILE = (
    "<script>document.title='owned'</script>",
    "\" onmouseover='document.title=1' x=\"",
    "two\nlines\tand a tab",
    "\u202eright to left\u2066",
    "\u05de\u05e7\u05e8\u05d4 7",
    "broken \udcff byte",
    "&lt;b&gt; &amp; </td></table>",
    "long_" * 60,
)


def label_score(label, dsc=0.5, nsd=0.25, **changes):
    values = {"presence": "both", "prediction_ml": 2.0, "reference_ml": 4.0, **changes}
    return LabelScore(id=label.id, name=label.name, kind=label.kind, dsc=dsc, nsd=nsd, **values)


def case(name="a", dsc=0.5, nsd=0.25, *, rules=None, status="scored", **changes):
    """Return a case that scores the same in all labels."""
    rules = rules or protocol("sound")
    labels = tuple(label_score(label, dsc, nsd) for label in rules.labels)
    values = {"score": CaseScore(rules.name, labels), "file": f"{name}.nii.gz", **changes}
    return CaseResult(case=name, status=status, **values)


def folder(*cases, rules=None):
    return FolderScore(protocol=rules or protocol("sound"), cases=cases)


def with_label(result, label, **changes):
    """Return a case with another score of one label."""
    labels = tuple(
        replace(score, **changes) if score.id == label else score for score in result.score.labels
    )
    return replace(result, score=CaseScore(result.score.protocol, labels))


def write_map(path, array, affine=None):
    """Write a (z, y, x) array as NIfTI whose axes run to right, anterior, superior."""
    affine = np.diag([2.0, 2.0, 3.0, 1.0]) if affine is None else affine
    nib.save(nib.Nifti1Image(np.ascontiguousarray(array.T), affine), path)
    return str(path)


class Node:
    def __init__(self, tag, attributes, parent=None):
        self.tag, self.attributes, self.parent = tag, attributes, parent
        self.children = []

    def __getitem__(self, name):
        return self.attributes[name]

    def get(self, name, default=None):
        return self.attributes.get(name, default)

    @property
    def text(self):
        return "".join(child if isinstance(child, str) else child.text for child in self.children)

    def all(self, tag, **attributes):
        """Return the elements of a tag below this one, in order."""
        found = []
        for child in self.children:
            if isinstance(child, str):
                continue
            wanted = {name.rstrip("_").replace("_", "-"): v for name, v in attributes.items()}
            if child.tag == tag and all(child.get(name) == v for name, v in wanted.items()):
                found.append(child)
            found += child.all(tag, **attributes)
        return found

    def one(self, tag, **attributes):
        (found,) = self.all(tag, **attributes)
        return found


class _Reader(HTMLParser):
    VOID = ("img", "input", "link", "meta")

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.root = self.here = Node("", {})

    def handle_starttag(self, tag, attributes):
        assert len({name for name, _ in attributes}) == len(attributes), f"twice in {tag}"
        node = Node(tag, dict(attributes), self.here)
        self.here.children.append(node)
        if tag not in self.VOID:
            self.here = node

    def handle_endtag(self, tag):
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.children.append(data)


def parsed(text):
    """Return the tree of a page whose elements must all be closed in order."""
    reader = _Reader()
    reader.feed(text)
    reader.close()
    assert reader.here is reader.root, f"<{reader.here.tag}> stays open"
    return reader.root


def table_rows(table):
    """Return the texts of the rows of a table's body."""
    return [
        [cell.text for cell in row.children if cell.tag in ("th", "td")]
        for row in table.one("tbody").all("tr")
    ]
