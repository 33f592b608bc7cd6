"""The names of the two classes: those of the user's folders.

All tables have the labels `all` (leukemic blast, the positive class) and `hem` (normal cell), as C-NMC 2019 does, so
that code and tables of different cohorts fit together. If the class folders have other names, the manifest, and each
partition that is made from it, has the column `class_name` in addition. Runs record the names, and reports, figures and
predictions show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import pandas as pd

from leukobench.cohort.manifest import CLASS_NAME, LABELS, NEGATIVE, POSITIVE

PREDICTED_CLASS = "predicted_class"  # column of predictions beside `predicted`, only with names of the user's


@dataclass(frozen=True)
class ClassNames:
    """What people call the positive and the negative class; those of C-NMC 2019 by default.

    >>> names = ClassNames("leukemia", "normal")
    >>> names["all"], names.of(["hem", "all", ""])
    ('leukemia', ['normal', 'leukemia', ''])
    """

    positive: str = POSITIVE
    negative: str = NEGATIVE

    @classmethod
    def of_table(cls, rows: pd.DataFrame) -> ClassNames:
        """Return the names in the rows of a manifest or partition."""
        if CLASS_NAME not in rows:
            return cls()
        named = rows.drop_duplicates("label").set_index("label")[CLASS_NAME]
        return cls(*(str(named.get(label, label)) for label in LABELS))

    @property
    def own(self) -> bool:
        """Whether they differ from those of C-NMC 2019."""
        return (self.positive.lower(), self.negative.lower()) != LABELS

    def __getitem__(self, label: str) -> str:
        return {POSITIVE: self.positive, NEGATIVE: self.negative}[label]

    def in_words(self, label: str) -> str:
        """Return the name for a figure or page, where those of C-NMC 2019 need an explanation: `all (blast)`."""
        return self[label] if self.own else {POSITIVE: "all (blast)", NEGATIVE: "hem (normal)"}[label]

    def of(self, labels: pd.Series | list[str]) -> list[str]:
        """Return the name of each label; an unknown label, "", has none."""
        return [self[label] if label else "" for label in labels]

    def add_to(self, table: pd.DataFrame, after: str = "label", column: str = CLASS_NAME) -> pd.DataFrame:
        """Return a table with a column of the names after its column of labels; as it is for those of C-NMC 2019."""
        if not self.own:
            return table
        table = table.copy()
        table.insert(list(table.columns).index(after) + 1, column, self.of(table[after]))
        return table

    def as_json(self) -> Mapping[str, str]:
        """Return the names by `positive` and `negative`."""
        return asdict(self)


CNMC = ClassNames()
