"""Augmentation on the device: one random affine map for each image, so that pixels are resampled once, and stain."""

from __future__ import annotations

import math

from leukobench.cnn.backend import keras
from leukobench.cnn.recipes import Augmentation

ops = keras.ops


class Augment(keras.layers.Layer):
    """Rotate, shift, shear, zoom and flip each image of a batch at random about its middle, and vary its stain.

    The changes are drawn and composed as by Keras' `ImageDataGenerator`, which the reproduced studies used. Inputs are
    images of values 0 to 255 [shape=(n, side, side, 3)]; outputs are float32 images of the same shape, with linear
    interpolation; pixels from outside repeat the nearest. Outside training it changes nothing, unless `always`.
    """

    def __init__(self, augmentation: Augmentation, seed: int, *, always: bool = False) -> None:
        super().__init__(name="augment", trainable=False, dtype="float32")
        self.augmentation, self.always = augmentation, always
        self.seed_generator = keras.random.SeedGenerator(seed)

    def call(self, images: keras.KerasTensor, training: bool = False) -> keras.KerasTensor:
        """Apply the layer."""
        images = ops.cast(images, "float32")
        if not (training or self.always):
            return images
        shape = ops.shape(images)
        moved = ops.image.affine_transform(
            images,
            self._maps(shape[0], ops.cast(shape[1], "float32")),
            interpolation="bilinear",
            fill_mode="nearest",
        )
        if not self.augmentation.stain:
            return moved
        log_gain = keras.random.normal((shape[0], 1, 1, 3), stddev=self.augmentation.stain, seed=self.seed_generator)
        return ops.clip(moved * ops.exp(log_gain), 0.0, 255.0)

    def _maps(self, count: int, side: float) -> keras.KerasTensor:
        """Draw the maps from output to input pixels, as Keras takes them: a0, a1, a2, b0, b1, b2, 0, 0.

        A map is rotation . shift . shear . zoom . flip of [x; y; 1], about the middle of the image, so that a shift is
        along the rotated axes (Keras' `apply_affine_transform`, then its flip).
        """
        by = self.augmentation
        angle = self._draw(count, math.radians(by.rotation))
        shear = self._draw(count, math.radians(by.shear))
        zoom_x, zoom_y = 1 + self._draw(count, by.zoom), 1 + self._draw(count, by.zoom)
        shift_x, shift_y = side * self._draw(count, by.shift), side * self._draw(count, by.shift)
        flip = ops.where(self._draw(count, 1.0) < 0, -1.0, 1.0) if by.flip else ops.ones((count,))
        cos, sin = ops.cos(angle), ops.sin(angle)
        # Keras' shear is [[1, -sin(shear)], [0, cos(shear)]]; rotation . shear has the sum of both angles
        a0, a1 = cos * zoom_x * flip, -ops.sin(angle + shear) * zoom_y
        b0, b1 = sin * zoom_x * flip, ops.cos(angle + shear) * zoom_y
        middle = (side - 1) / 2
        a2 = middle + cos * shift_x - sin * shift_y - (a0 + a1) * middle
        b2 = middle + sin * shift_x + cos * shift_y - (b0 + b1) * middle
        zero = ops.zeros((count,))
        return ops.stack([a0, a1, a2, b0, b1, b2, zero, zero], axis=1)

    def _draw(self, count: int, largest: float) -> keras.KerasTensor:
        """Draw numbers between -largest and largest. [shape=(count,)]"""
        return keras.random.uniform((count,), -largest, largest, seed=self.seed_generator)
