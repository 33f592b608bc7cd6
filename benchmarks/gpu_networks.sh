#!/usr/bin/env bash
# Published networks on an image-level and on a subject-level split, trained with JAX on a GPU; and their training speed.
# The results are in RESULTS.md.
#
#     LEUKOBENCH_CNMC=C-NMC_Leukemia XCEPTION=imagenet MOBILENET=imagenet benchmarks/gpu_networks.sh OUT
#
# XCEPTION, MOBILENET: ImageNet weights, a file or "imagenet". OUT must not exist yet.
set -euo pipefail
export KERAS_BACKEND=jax
images=${LEUKOBENCH_CNMC:?name the folder of C-NMC images}
xception=${XCEPTION:?name the weights of Xception: a file, or imagenet}
mobilenet=${MOBILENET:?name the weights of MobileNet: a file, or imagenet}
out=${1:?name a folder for the results}
jobs=$(nproc)
speed=$(dirname "$(realpath "$0")")/training.py
mkdir "$out"
cd "$out"
run() { printf '\n$ leukobench %s\n' "${*//$images/IMAGES}"; time leukobench "$@"; }

run manifest "$images" -o manifest.csv --jobs "$jobs"
run split manifest.csv --method image --test-size 0.15 --validation-size 0.1 --seed 121 -o image.csv
run split manifest.csv --method subject --test-size 0.2 --validation-size 0.1 --seed 1 -o subject.csv

for split in image subject; do
  train() {
    run train-cnn "$images" --manifest manifest.csv --split $split.csv --device gpu --seed 1 --jobs "$jobs" "$@"
  }
  train --recipe clinton-lightxception -o $split/lightxception
  train --recipe clinton-xception --weights "$xception" -o $split/xception
  train --recipe leukobench-finetuned --weights "$mobilenet" -o $split/finetuned
done

time_recipe() { printf '\n$ python benchmarks/training.py %s\n' "$*"; time python "$speed" --device gpu "$@"; }
time_recipe --recipe clinton-xception --images 1920 --theirs-images 192
time_recipe --recipe clinton-lightxception --images 1920 --theirs-images 96
time_recipe --recipe mir-proposed --images 1920 --theirs-images 192
time_recipe --recipe dhuri-mobilenet --recipe leukobench --images 1920 --theirs-images 192
