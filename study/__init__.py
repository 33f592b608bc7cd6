"""What both families share: the cohort, its splits, the cells, and the run folders."""

__version__ = "0.1.0"
