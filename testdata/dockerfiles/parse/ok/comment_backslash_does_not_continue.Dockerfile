FROM scratch
# a \
RUN b
