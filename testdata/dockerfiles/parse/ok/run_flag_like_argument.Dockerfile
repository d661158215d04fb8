FROM scratch
RUN a --mount=x
RUN -- --x
