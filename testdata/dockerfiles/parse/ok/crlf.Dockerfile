FROM scratch
RUN a \
  b
COPY <<E /x
l1
E
