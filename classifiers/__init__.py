"""SVM and k-NN on a feature table."""
