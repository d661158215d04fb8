FROM scratch
RUN echo it's <<EOF
RUN b
