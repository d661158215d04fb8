FROM scratch
RUN a \