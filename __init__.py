"""leukobench: handcrafted features and deep networks for leukemic cells, compared on the same subjects."""

__version__ = "0.2.0"
