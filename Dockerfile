# leukobench in a container; docs/index.md says how to build and run it.
FROM python:3.12-slim AS wheel
WORKDIR /source
COPY . .
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheel .

FROM python:3.12-slim
LABEL org.opencontainers.image.source="https://github.com/leukobench/leukobench" \
      org.opencontainers.image.licenses="MIT"
# extras in brackets, such as [onnx] or, for a GPU, [gpu]
ARG EXTRAS=""
RUN --mount=type=bind,from=wheel,source=/wheel,target=/wheel \
    python -m pip install --no-cache-dir "$(echo /wheel/leukobench-*.whl)$EXTRAS"

# what is kept between calls, if it is a volume: weights, decoded images, compiled code; any user may write there
ENV LEUKOBENCH_CACHE=/cache/leukobench KERAS_HOME=/cache/keras NUMBA_CACHE_DIR=/cache/numba MPLCONFIGDIR=/cache/matplotlib
RUN useradd --create-home --uid 1000 leukobench && install --directory --owner leukobench /cache /data
USER leukobench
WORKDIR /data
# compile the loops over pixels once, not at each call
RUN python -c "import leukobench as lb; lb.generate_cohort('few', subjects=4, cells_per_subject=1); \
lb.index_folder('few'); lb.extract_features('few')" && rm -r few && chmod -R a+rwX /cache /data
ENTRYPOINT ["leukobench"]
CMD ["--help"]
