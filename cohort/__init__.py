"""Which images, of which subjects, in which part of a split."""
