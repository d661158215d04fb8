FROM scratch
COPY --chown=$u --chmod=$m a b
ADD --checksum=$c a b
RUN --mount=type=cache,target=$t x
COPY --exclude=$x a b
