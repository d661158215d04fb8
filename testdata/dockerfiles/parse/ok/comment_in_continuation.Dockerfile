FROM scratch
RUN a \
# gone
  # gone too
  b \

  c
