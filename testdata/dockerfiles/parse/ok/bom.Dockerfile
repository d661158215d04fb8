FROM scratch
RUN x
