#!/usr/bin/env bash
# The figures on real cells that README.md and RESULTS.md quote, from images to tables.
#
#     LEUKOBENCH_CNMC=C-NMC_Leukemia WEIGHTS=imagenet benchmarks/real_cells.sh OUT
#
# WEIGHTS: where MobileNet's ImageNet weights come from, a file or "imagenet". OUT must not exist yet.
set -euo pipefail
images=${LEUKOBENCH_CNMC:?name the folder of C-NMC images}
weights=${WEIGHTS:?name the weights: a file, or imagenet}
out=${1:?name a folder for the results}
mkdir "$out"
cd "$out"
run() { printf '\n$ leukobench %s\n' "${*//$images/IMAGES}"; time leukobench "$@"; }

run manifest "$images" -o manifest.csv --jobs 2
run extract "$images" --manifest manifest.csv -o features.csv --jobs 2

run split manifest.csv --method subject --test-size 0.2 --seed 1 -o split.csv
run split manifest.csv --method kfold --folds 5 --seed 1 -o folds
run split manifest.csv --method image --test-size 0.2 --seed 1 -o image.csv

for split in split.csv folds image.csv; do
  name=${split%.csv}
  run train-svm features.csv --split "$split" --seed 1 -o "runs-$name/svm" --jobs 2
  run train-knn features.csv --split "$split" --seed 1 -o "runs-$name/knn" --jobs 2
  run train-cnn "$images" --manifest manifest.csv --split "$split" --recipe dhuri-mobilenet --weights "$weights" \
    --seed 1 -o "runs-$name/mobilenet" --jobs 2
  run compare "runs-$name/svm" "runs-$name/knn" "runs-$name/mobilenet" -o "report-$name"
done

# how much one split by subject depends on who is drawn
for seed in 1 2 3 4 5 6; do
  run split manifest.csv --method subject --test-size 0.2 --seed "$seed" -o "split-$seed.csv"
  run train-svm features.csv --split "split-$seed.csv" --seed 1 -o "runs-seeds/svm-$seed" --jobs 2
done
