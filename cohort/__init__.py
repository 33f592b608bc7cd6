"""The cohort: images, subjects, and the partition into training, validation and test."""
