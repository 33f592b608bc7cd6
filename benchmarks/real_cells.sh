#!/usr/bin/env bash
# The results on real cells in docs/results.md and RESULTS.md, from images to tables.
#
#     LEUKOBENCH_CNMC=C-NMC_Leukemia WEIGHTS=imagenet benchmarks/real_cells.sh OUT
#
# WEIGHTS: ImageNet weights of MobileNet, a file or "imagenet". OUT must not exist yet.
set -euo pipefail
images=${LEUKOBENCH_CNMC:?name the folder of C-NMC images}
weights=${WEIGHTS:?name the weights: a file, or imagenet}
out=${1:?name a folder for the results}
here=$(cd "$(dirname "$0")" && pwd)
mkdir "$out"
cd "$out"
run() { printf '\n$ leukobench %s\n' "${*//$images/IMAGES}"; time leukobench "$@"; }

run manifest "$images" -o manifest.csv --jobs 2
run extract "$images" --manifest manifest.csv --set leukobench -o features.csv --jobs 2
run extract "$images" --manifest manifest.csv --set clinton19 -o clinton19.csv --jobs 2

# the optimistic bias of lenient splits: the same SVM at every split level
run leakage features.csv manifest.csv --seeds 20 --seed 1 -o leakage --jobs 2

run split manifest.csv --method subject --test-size 0.2 --seed 1 -o split.csv
run split manifest.csv --method kfold --folds 5 --seed 1 -o folds
run split manifest.csv --method image --test-size 0.15 --seed 121 -o image.csv

# the recipe of Clinton et al. on an image-level split, as theirs, and on unseen subjects
run train-svm clinton19.csv --split image.csv --recipe clinton-svm --seed 1 -o runs-image/clinton-svm --jobs 2
run train-svm clinton19.csv --split folds --recipe clinton-svm --seed 1 -o runs-folds/clinton-svm --jobs 2
run compare runs-image/clinton-svm runs-folds/clinton-svm --common --allow-leaky -o report-clinton

# SVM, k-NN and network: on subjects that the selection of the recipes did not see, cross-validated, and on one split
python "$here/later_subjects.py" manifest.csv later.csv
train() { # SPLIT FOLDER SUFFIX
  run train-svm features.csv --split "$1" --seed 1 -o "$2/svm$3" --jobs 2
  run train-knn features.csv --split "$1" --seed 1 -o "$2/knn$3" --jobs 2
  run train-cnn "$images" --manifest manifest.csv --split "$1" --recipe leukobench --weights "$weights" --seed 1 \
    -o "$2/network$3" --jobs 2
}
for split in later.csv folds split.csv; do
  name=${split%.csv}
  train "$split" "runs-$name" ""
  run compare "runs-$name/svm" "runs-$name/knn" "runs-$name/network" --images "$images" -o "report-$name"
done

# how much the results vary with the folds
run split manifest.csv --method kfold --folds 5 --repeats 3 --seed 1 -o repeats
for repeat in repeat_0 repeat_1 repeat_2; do
  train "repeats/$repeat" repeated "/$repeat"
done
run compare repeated/svm repeated/knn repeated/network -o report-repeats
python "$here/calibration.py" repeated/*/*
