"""Network architectures: each a function that returns the convolutional part as a Keras model.

An entry of `ARCHITECTURES` takes the side of the square input (px) and the weights (a file, "imagenet", or None for
random ones) and maps images of values 0 to 255 [shape=(n, side, side, 3)] to feature maps
[shape=(n, height, width, channels)]; scaling the pixels to what the network expects is part of it. Pooling and
head come from the recipe.
"""

from cnn.architectures.lightxception import light_xception
from cnn.architectures.mobilenet import mobilenet

ARCHITECTURES = {"lightxception": light_xception, "mobilenet": mobilenet}
