"""Compare trained runs: metrics with confidence intervals, paired tests and a report. No model is loaded."""
