"""The names of the two classes: those of the user's folders.

All tables have the labels `all` (leukemic blast, the positive class) and `hem` (normal cell), as C-NMC 2019 does, so
that code and tables of different cohorts fit together. If the class folders have other names, the manifest, and each
partition that is made from it, has the column `class_name` in addition. Runs record the names, and reports, figures and
predictions show them.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from leukobench.cohort.manifest import CLASS_NAME, LABELS, NEGATIVE, POSITIVE

_NAMES_OF = {"label": CLASS_NAME, "predicted": "predicted_class"}  # columns, only with names of the user's


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

    def label_of(self, folder: str) -> str:
        """Return the label of a class folder, whose name may be in upper or lower case; "" for another folder."""
        return {self[label].lower(): label for label in LABELS}.get(folder.lower(), "")

    def counts(self, labels: pd.Series) -> list[str]:
        """Return how many there are of each class: `2,807 leukemia`, `1,107 normal`."""
        return [f"{(labels == label).sum():,} {self[label]}" for label in LABELS]

    def add_to(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return a table with the names of its labels at its end; as it is for the names of C-NMC 2019."""
        return table.assign(**{CLASS_NAME: self.of(table["label"])}) if self.own else table

    def add_beside(self, table: pd.DataFrame, column: str) -> pd.DataFrame:
        """Return a table with the names after its column `label` or `predicted`; as it is for those of C-NMC 2019."""
        if not self.own:
            return table
        table = table.copy()
        table.insert(table.columns.get_loc(column) + 1, _NAMES_OF[column], self.of(table[column]))
        return table


CNMC = ClassNames()
