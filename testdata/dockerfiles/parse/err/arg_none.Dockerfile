FROM scratch
ARG
ARG =x
ARG a =b
