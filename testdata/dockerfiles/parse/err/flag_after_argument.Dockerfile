FROM scratch
COPY a --link b
RUN --mount=type=cache,target=/x
FROM a --platform=b
