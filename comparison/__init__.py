"""Run folders -> figures with intervals, paired differences, and a report. No model is loaded."""
