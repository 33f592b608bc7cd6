"""The recipes as data: fourteen networks of four studies of C-NMC 2019, and our own."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

from leukobench.cnn.recipes import Augmentation, PublishedCounts, Recipe
from leukobench.core.errors import InputError
from leukobench.core.text import nearest

# Clinton, Somes, Chu & Javed 2020: whole networks from ImageNet weights
_CLINTON: dict[str, Any] = {
    "source": "Clinton, Somes, Chu & Javed 2020, SMU Data Science Review 3(2) art. 4",
    "head": ("average", "dense=256", "dropout=0.5", "sigmoid"),
    "optimizer": MappingProxyType(
        {"name": "Adam", "learning_rate": 1e-4, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
    ),
    "batch_size": 10,
    "epochs": 30,
    "scaling": "unit",
    "pretrained": True,
    "augmentation": Augmentation(rotation=40, shift=0.2, shear=0.2, zoom=0.2, flip=True),
    "split": "split --method image --test-size 0.15 --validation-size 0.1 --seed 121",
    "left_open": "which epoch is kept: best validation AUROC; test part: that of their SVM. Pixels are divided by 255, "
    "as they did, although the weights expect -1 to 1 (scaling=symmetric)",
}
# Mir & Un Nissa 2019: 400 px from the middle, resized to 300
_MIR: dict[str, Any] = {
    "source": "Mir & Un Nissa 2019, Islamic University of Science and Technology, project report",
    "input_side": 300,
    "frame": 400,
    "optimizer": MappingProxyType({"name": "SGD", "learning_rate": 2e-4}),
    "batch_size": 30,
    "epochs": 100,
    "loss": "CategoricalCrossentropy",
    "keep": "val_accuracy",
    "l2": 1e-4,
    "offline_augmentation": 20_000,
    "split": "split --method image --test-size 0.2 (training phase only)",
}
# How pixels are scaled where the source leaves it open
_UNIT = "pixels: divided by 255, the usual choice from scratch"
_SYMMETRIC = "pixels: -1 to 1, which the ImageNet weights expect"
_CAFFE = "pixels: BGR minus the ImageNet means, which the ImageNet weights expect"
_MIR_OPEN = "L2 penalty: 1e-4 on the head's dense layers, no L1; loss: categorical cross-entropy; dropout: 0.5"
_MIR_TRANSFER: dict[str, Any] = _MIR | {
    "head": ("average", "dropout=0.5", "softmax"),
    "pretrained": True,
}
_MIR_TRANSFER_OPEN = (
    f"{_MIR_OPEN}; head: average pool, dropout, softmax; ImageNet weights, whole network trained; optimiser, batch and "
    "epochs: as for their own network"
)
_MIR_DENSE = ("flatten", "dense=4096", "dropout=0.5", "dense=1000", "dropout=0.5", "softmax")
# Dhuri & Guinde 2020: frozen bases
_DHURI: dict[str, Any] = {
    "source": "Dhuri & Guinde 2020, Goa College of Engineering",
    "input_side": 224,
    "optimizer": MappingProxyType({"name": "SGD", "learning_rate": 1e-4, "momentum": 0.9}),
    "batch_size": 32,
    "epochs": 100,
    "loss": "CategoricalCrossentropy",
    "pretrained": True,
    "trained": "head",
    "split": "split --method image --balance (6,036 train, 70 validation, 70 test)",
}
_DHURI_OPEN = "dropout: 0.5; which top layers are trained: the head; which epoch is kept: best validation AUROC"
_DHURI_REPORTED = "accuracy {} in test (70 images, balanced, image-level split)"
# Ours: the first half of MobileNet
_LEUKOBENCH: dict[str, Any] = {
    "source": "leukobench",
    "architecture": "mobilenet",
    "input_side": 224,
    "frame": 320,
    "scaling": "symmetric",
    "pretrained": True,
    "schedule": "cosine",
    "class_weights": "balanced-subjects",
    "keep": "last",
    "views": 8,
    "batchnorm_averages": "first-batch",
    "split": "split --method subject",
}

_ALL = (
    Recipe(
        name="clinton-inceptionv3",
        description="InceptionV3 from ImageNet, whole network fine-tuned",
        architecture="inceptionv3",
        input_side=299,
        reported="accuracy about 90% in validation (10% of the images, image-level split)",
        published=PublishedCounts(trainable=22_000_000, layers=312, in_millions=True),
        **_CLINTON,
    ),
    Recipe(
        name="clinton-xception",
        description="Xception from ImageNet, whole network fine-tuned",
        architecture="xception",
        input_side=299,
        reported="accuracy 91%, recall 98% in validation (10% of the images, image-level split): their best",
        published=PublishedCounts(trainable=21_000_000, layers=133, in_millions=True),
        **_CLINTON,
    ),
    Recipe(
        name="clinton-nasnetlarge",
        description="NASNetLarge from ImageNet, whole network fine-tuned",
        architecture="nasnetlarge",
        input_side=331,
        reported="accuracy about 90% in validation (10% of the images, image-level split); slow start, noisy",
        published=PublishedCounts(trainable=86_000_000, layers=1040, in_millions=True),
        **_CLINTON,
    ),
    Recipe(
        name="clinton-alexnet",
        description="AlexNet from scratch",
        architecture="alexnet",
        input_side=227,
        reported="accuracy 68% (image-level split)",
        published=PublishedCounts(parameters=62_000_000, in_millions=True, outputs=1000),
        **_CLINTON
        | {
            "pretrained": False,
            "head": ("flatten", "dense=4096", "dropout=0.5", "dense=4096", "dropout=0.5", "sigmoid"),
            "left_open": "all but the network: as their other networks; head and input: AlexNet's own",
        },
    ),
    Recipe(
        name="clinton-lightxception",
        description="light Xception from scratch, 1,248,060 parameters",
        architecture="lightxception",
        input_side=450,
        reported="accuracy 91.07% in training, 82.53% in validation (15% of the images, image-level split)",
        published=PublishedCounts(parameters=1_248_060),
        **_CLINTON
        | {
            "pretrained": False,
            "head": ("average", "dropout=0.2", "sigmoid"),
            "optimizer": MappingProxyType({"name": "SGD", "learning_rate": 0.02, "momentum": 0.4, "nesterov": True}),
            "batch_size": 32,
            "epochs": 10,
            "augmentation": Augmentation(rotation=30, shift=0.2, shear=0.2, zoom=0.2),
            "split": "split --method image --test-size 0.15 --validation-size 0.15 --seed 121",
            "left_open": "loss: binary cross-entropy; fill: nearest pixel; which epoch is kept: best validation AUROC; "
            "pixels: divided by 255, as for their other networks",
        },
    ),
    Recipe(
        name="mir-alexnet",
        description="AlexNet from scratch",
        architecture="alexnet",
        reported="accuracy 81.62% (20% of the images, image-level split)",
        head=("flatten", "dense=4096", "dropout=0.5", "dense=4096", "dropout=0.5", "softmax"),
        left_open=f"{_MIR_OPEN}; head: AlexNet's own; optimiser, batch and epochs: as for their own network; {_UNIT}",
        **_MIR,
    ),
    Recipe(
        name="mir-vgg16",
        description="VGG16 from ImageNet, whole network fine-tuned",
        architecture="vgg16",
        scaling="caffe",
        reported="accuracy 84.8% (20% of the images, image-level split)",
        left_open=f"{_MIR_TRANSFER_OPEN}; {_CAFFE}",
        **_MIR_TRANSFER,
    ),
    Recipe(
        name="mir-resnet50",
        description="ResNet50 from ImageNet, whole network fine-tuned",
        architecture="resnet50",
        scaling="caffe",
        reported="accuracy 84.77% (20% of the images, image-level split)",
        left_open=f"{_MIR_TRANSFER_OPEN}; {_CAFFE}",
        **_MIR_TRANSFER,
    ),
    Recipe(
        name="mir-inceptionv3",
        description="InceptionV3 from ImageNet, whole network fine-tuned",
        architecture="inceptionv3",
        scaling="symmetric",
        reported="accuracy 83.67% (20% of the images, image-level split)",
        left_open=f"{_MIR_TRANSFER_OPEN}; {_SYMMETRIC}",
        **_MIR_TRANSFER,
    ),
    Recipe(
        name="mir-proposed",
        description="the authors' own network of 17 layers from scratch, 64,066,938 parameters",
        architecture="mir-proposed",
        reported="accuracy 93.02%, precision 0.89, recall 0.89, confusion [[1370, 77], [71, 603]] (20% of the images, "
        "image-level split)",
        head=_MIR_DENSE,
        left_open=f"{_MIR_OPEN}; {_UNIT}",
        published=PublishedCounts(parameters=64_066_938, base=7_535_040, base_not_trainable=5_568),
        **_MIR,
    ),
    Recipe(
        name="garg-vgg19",
        source="Garg 2020, Machinaa Technology",
        description="VGG19 from ImageNet, frozen; a head of 256 units is trained",
        architecture="vgg19",
        input_side=224,
        scaling="caffe",
        head=("flatten", "dense=256", "dropout=0.5", "softmax"),
        optimizer=MappingProxyType({"name": "Adam", "learning_rate": 1e-4}),
        batch_size=32,
        epochs=30,
        loss="CategoricalCrossentropy",
        pretrained=True,
        trained="head",
        split="split --method image --balance (2,227 all and 2,226 hem in test)",
        reported="accuracy 99.19% in test (2213 + 2204 of 4453 right, balanced, image-level split)",
        left_open="dropout: 0.5; Adam 1e-4, batch 32, 30 epochs; loss: categorical cross-entropy; no augmentation; "
        f"which epoch is kept: best validation AUROC; {_CAFFE}",
        published=PublishedCounts(parameters=26_447_682, trainable=6_423_298),
    ),
    Recipe(
        name="dhuri-mobilenet",
        description="MobileNet from ImageNet, frozen; a head of 2048 units is trained",
        architecture="mobilenet",
        scaling="symmetric",
        head=("average", "dropout=0.5", "dense=2048", "dropout=0.5", "softmax"),
        reported=_DHURI_REPORTED.format("91.4%"),
        left_open=f"{_DHURI_OPEN}; {_SYMMETRIC}",
        **_DHURI,
    ),
    Recipe(
        name="dhuri-vgg16",
        description="VGG16 from ImageNet, frozen; a head of 4096, 4096 and 2048 units is trained",
        architecture="vgg16",
        scaling="caffe",
        head=("flatten", "dense=4096", "dense=4096", "dropout=0.5", "dense=2048", "dropout=0.5", "softmax"),
        reported=_DHURI_REPORTED.format("92.8%"),
        left_open=f"{_DHURI_OPEN}; {_CAFFE}",
        **_DHURI,
    ),
    Recipe(
        name="dhuri-resnet50",
        description="ResNet50 from ImageNet, frozen except for its batch normalisation; the head is trained",
        architecture="resnet50",
        scaling="caffe",
        head=("average", "dropout=0.5", "softmax"),
        reported=_DHURI_REPORTED.format("51.4%"),
        left_open=f"{_DHURI_OPEN}; {_CAFFE}",
        **_DHURI | {"trained": "head+batchnorm"},
    ),
    # Layers, frame, sample weights and views were selected by benchmarks/network_recipe.py; stain augmentation did not
    # help. The average is over the cell: over the whole image, the black background counts by its area (RESULTS.md)
    Recipe(
        name="leukobench",
        description="two middle blocks of MobileNet from ImageNet, frozen, with a linear head: for unseen subjects",
        options=MappingProxyType({"until": ("conv_pw_5_relu", "conv_pw_8_relu")}),
        head=("cell-average", "batchnorm", "sigmoid"),
        optimizer=MappingProxyType({"name": "Adam", "learning_rate": 1e-2}),
        batch_size=64,
        epochs=80,
        trained="head",
        l2=1e-3,
        **_LEUKOBENCH,
    ),
    Recipe(
        name="leukobench-finetuned",
        description="the first half of MobileNet from ImageNet, fine-tuned: for comparison with the frozen one",
        options=MappingProxyType({"until": "conv_pw_8_relu"}),
        head=("average", "dropout=0.3", "sigmoid"),
        optimizer=MappingProxyType({"name": "Adam", "learning_rate": 3e-4}),
        batch_size=32,
        epochs=5,
        augmentation=Augmentation(rotation=180, flip=True),
        **_LEUKOBENCH,
    ),
    Recipe(
        name="leukobench-gpu",
        description="two middle blocks of MobileNet, fine-tuned with frozen batch normalisation: for a GPU",
        options=MappingProxyType({"until": ("conv_pw_5_relu", "conv_pw_8_relu")}),
        head=("cell-average", "batchnorm", "sigmoid"),
        optimizer=MappingProxyType({"name": "Adam", "learning_rate": 5e-4}),
        batch_size=64,
        epochs=30,
        trained="all-but-batchnorm",
        augmentation=Augmentation(rotation=180, zoom=0.1, flip=True),
        **_LEUKOBENCH | {"class_weights": "balanced-subjects-capped"},
    ),
    Recipe(
        name="leukobench-efficientnetb1",
        source="leukobench",
        description="EfficientNet-B1 from ImageNet, whole network fine-tuned: for unseen subjects",
        architecture="efficientnetb1",
        input_side=240,
        frame=320,
        head=("average", "dropout=0.3", "sigmoid"),
        optimizer=MappingProxyType({"name": "Adam", "learning_rate": 1e-4}),
        batch_size=32,
        epochs=20,
        scaling="none",
        pretrained=True,
        schedule="cosine",
        class_weights="balanced",
        patience=6,
        batchnorm_averages="first-batch",
        augmentation=Augmentation(rotation=180, shift=0.05, zoom=0.1, flip=True, stain=0.1),
        split="split --method subject",
    ),
    Recipe(
        name="small-lightxception",
        source="leukobench",
        description="light Xception at 96 px for a few epochs: trains on a laptop in a minute; for the demo",
        architecture="lightxception",
        input_side=96,
        frame=320,
        head=("average", "dropout=0.2", "sigmoid"),
        optimizer=MappingProxyType({"name": "Adam", "learning_rate": 3e-4}),
        batch_size=16,
        epochs=10,
        augmentation=Augmentation(rotation=180, flip=True, stain=0.2),
        options=MappingProxyType({"batch_norm_momentum": 0.9}),
        batchnorm_averages="first-batch",
        split="split --method subject",
    ),
)
RECIPES = {recipe.name: recipe for recipe in _ALL}


def network_recipe(name: str) -> Recipe:
    """Return the recipe of a network.

    Raises:
        InputError: no network has a recipe of that name.

    >>> network_recipe("leukobench").architecture
    'mobilenet'
    """
    if name not in RECIPES:
        raise InputError(f"no network recipe {name!r}{nearest(name, RECIPES)}; choose from {', '.join(RECIPES)}")
    return RECIPES[name]
