#!/usr/bin/env bash
# Networks on real cells of unseen subjects: frozen, fine-tuned and from scratch, and our own recipe compared with the
# classifiers. The results are in README.md and RESULTS.md.
#
#     LEUKOBENCH_CNMC=C-NMC_Leukemia MOBILENET=imagenet XCEPTION=imagenet benchmarks/real_networks.sh OUT
#
# MOBILENET, XCEPTION: ImageNet weights, a file or "imagenet". OUT must not exist yet. The default is mixed precision,
# which needs a GPU or a CPU with bfloat16 arithmetic; otherwise set PRECISION=float32.
set -euo pipefail
images=${LEUKOBENCH_CNMC:?name the folder of C-NMC images}
mobilenet=${MOBILENET:?name the weights of MobileNet: a file, or imagenet}
xception=${XCEPTION:?name the weights of Xception: a file, or imagenet}
out=${1:?name a folder for the results}
mkdir "$out"
cd "$out"
run() { printf '\n$ leukobench %s\n' "${*//$images/IMAGES}"; time leukobench "$@"; }
train() {
  run train-cnn "$images" --manifest manifest.csv --precision "${PRECISION:-mixed}" --seed 1 --jobs 2 "$@"
}

run manifest "$images" -o manifest.csv --jobs 2
run split manifest.csv --method subject --test-size 0.2 --seed 1 -o split.csv
run split manifest.csv --method kfold --folds 5 --seed 1 -o folds

# our own recipe compared with the classifiers, every cell tested once
run extract "$images" --manifest manifest.csv --set leukobench -o features.csv --jobs 2
run train-svm features.csv --split folds --seed 1 -o runs-folds/svm --jobs 2
run train-knn features.csv --split folds --seed 1 -o runs-folds/knn --jobs 2
train --split folds --recipe leukobench --weights "$mobilenet" --precision float32 -o runs-folds/leukobench
train --split folds --recipe leukobench --set head=average,batchnorm,sigmoid --weights "$mobilenet" --precision float32 \
  -o whole-image
train --split folds --recipe leukobench-finetuned --weights "$mobilenet" -o runs-folds/finetuned
run compare runs-folds/* -o report-folds
run compare runs-folds/leukobench whole-image -o report-heads

# Grad-CAM of every twentieth test cell of a fold
for run in runs-folds/leukobench whole-image runs-folds/finetuned; do
  seen=seen-$(basename $run)
  printf '\n$ leukobench explain %s IMAGES/... --fold 0 --brief -o %s\n' $run $seen
  awk -F, -v folder="$images" '$5 == "test" && $6 == 0 { print folder "/" $1 }' $run/predictions.csv | awk 'NR % 20 == 1' |
    tr '\n' '\0' | xargs -0 leukobench explain --fold 0 --brief -o $seen $run | tail -2
done

# the optimistic bias of lenient splits
run leakage features.csv manifest.csv --images "$images" --recipe leukobench --weights "$mobilenet" --seeds 10 --seed 1 \
  -o leakage --jobs 2

# one subject-level split: MobileNet frozen, fine-tuned and from scratch; a frozen Xception; the light Xception
run train-svm features.csv --split split.csv --seed 1 -o runs/svm --jobs 2
on_split() { train --split split.csv "$@"; }
whole=(--recipe leukobench-finetuned --set 'options={}' --set input_side=160 --set views=1)
on_split "${whole[@]}" --weights "$mobilenet" --set trained=head --epochs 60 -o runs/mobilenet-frozen
on_split "${whole[@]}" --weights "$mobilenet" -o runs/mobilenet-fine-tuned
on_split "${whole[@]}" --weights none -o runs/mobilenet-from-scratch
on_split --recipe garg-vgg19 --weights "$xception" --set architecture=xception --set scaling=symmetric --epochs 10 \
  -o runs/garg-xception
on_split --recipe clinton-alexnet -o runs/alexnet
on_split --recipe clinton-lightxception --set input_side=225 --epochs 5 -o runs/lightxception-225
run compare runs/* -o report
