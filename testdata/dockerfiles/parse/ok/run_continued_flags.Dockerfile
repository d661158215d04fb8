FROM scratch
RUN --mount=type=cache,target=/c \
    --network=none \
    make \
  all
