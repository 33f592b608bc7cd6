"""What extraction and training leave behind: the feature table, the run folder, and metrics of scores."""
