#!/usr/bin/env bash
# The results on real cells in README.md and RESULTS.md, from images to tables.
#
#     LEUKOBENCH_CNMC=C-NMC_Leukemia WEIGHTS=imagenet benchmarks/real_cells.sh OUT
#
# WEIGHTS: ImageNet weights of MobileNet, a file or "imagenet". OUT must not exist yet.
set -euo pipefail
images=${LEUKOBENCH_CNMC:?name the folder of C-NMC images}
weights=${WEIGHTS:?name the weights: a file, or imagenet}
out=${1:?name a folder for the results}
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

for split in split.csv folds; do
  name=${split%.csv}
  run train-svm features.csv --split "$split" --seed 1 -o "runs-$name/svm" --jobs 2
  run train-knn features.csv --split "$split" --seed 1 -o "runs-$name/knn" --jobs 2
  run train-cnn "$images" --manifest manifest.csv --split "$split" --recipe dhuri-mobilenet --weights "$weights" \
    --seed 1 -o "runs-$name/mobilenet" --jobs 2
  run compare "runs-$name/svm" "runs-$name/knn" "runs-$name/mobilenet" --images "$images" -o "report-$name"
done
