"""Transfer-learning and from-scratch convolutional networks on the cell images."""
