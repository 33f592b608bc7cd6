"""From a folder of images to a comparison, in Python.

Run it in a folder that has the images, or let it generate some:

    python tour.py
"""

from pathlib import Path

import leukobench as lb

images = Path("images")  # yours: one folder a class, `all` and `hem`, below it
if not images.exists():
    lb.generate_cohort(images, subjects=16, cells_per_subject=10)

manifest = lb.index_folder(images, out="manifest.csv")
folds = lb.split(manifest, "kfold", folds=4, seed=1)
lb.write_split(folds, "folds")
lb.extract(images, "manifest.csv", "features.csv", feature_set="leukobench")

svm = lb.train_classifier("features.csv", "folds", "runs/svm", recipe="leukobench-svm")
knn = lb.train_classifier("features.csv", "folds", "runs/knn", recipe="leukobench-knn")

comparison = lb.compare([svm, knn])
print(comparison.table[["run", "auroc", "auroc_low", "auroc_high"]])
comparison.report("report", images=images)

new = svm.predict(images / "training_data" / "fold_0")
print(new.head())
