"""Results of extraction and training: the feature table, the run folder, and metrics of scores."""
